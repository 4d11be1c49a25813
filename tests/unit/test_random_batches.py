"""Which random numbers restored guests may share is said by kernel, from evidence."""

from __future__ import annotations

from pathlib import Path

import pytest
from synthetic_run import brk

from orchestrator import random_batches
from orchestrator.judgement import judge
from orchestrator.model import Scenario
from orchestrator.versions import Version

DEBIAN = "sysname = Linux\nrelease = {0}-cloud-amd64\nversion = #1 SMP Debian {0}-1 (2026-01-01)\nmachine = x86_64\n"


@pytest.mark.parametrize(
    ("has_probe", "kernel", "shared"),
    [(False, "5.10.118", True), (True, "5.10.119", False), (True, "5.15.0-91-generic", False), (False, "5.17.3", True),
     (False, "5.18", False), (False, "6.12", False)],
)  # fmt: skip
def test_the_function_counts_and_for_new_kernels_the_version(has_probe: bool, kernel: str, shared: bool) -> None:
    assert random_batches.shared(has_probe, Version(kernel)) is shared


@pytest.mark.parametrize(
    ("symbols", "kernel", "named"),
    [("crng_make_state absent\n", "5.10.1", True), ("crng_make_state present t\n", "5.10.1", False),
     ("crng_make_state absent\n", "6.1.5", False), ("do_brk present T\n", "5.10.1", False), (None, "5.10.1", False)],
)  # fmt: skip
def test_the_record_names_them(tmp_path: Path, symbols: str | None, kernel: str, named: bool) -> None:
    """Not where nothing was looked for, as in the runs of an older lab."""
    made = brk(tmp_path / "run")
    made.record.restored = {"made": "x", "boot_seconds": 1, "same": "kernel addresses"}
    made.directory.write("evidence/environment/uname", DEBIAN.format(kernel).encode())
    if symbols is not None:
        made.directory.write("evidence/environment/symbols", symbols.encode())
    for _ in range(2):  # `lab check` judges again
        judge(made.record, made.directory, Scenario(name="x", summary="", directory=Path(), programs=(), plain=True))
        assert made.record.restored["same"] == "kernel addresses" + random_batches.SHARED * named


def test_a_run_that_booted_says_nothing_of_it(tmp_path: Path) -> None:
    made = brk(tmp_path / "run")
    made.directory.write("evidence/environment/uname", DEBIAN.format("5.10.1").encode())
    made.directory.write("evidence/environment/symbols", b"crng_make_state absent\n")
    judge(made.record, made.directory, Scenario(name="x", summary="", directory=Path(), programs=(), plain=True))
    assert made.record.restored == {}
