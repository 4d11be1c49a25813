"""`lab run brk`, as a user types it, on the oldest and the newest kernel and glibc."""

from __future__ import annotations

import json
import os
from pathlib import Path

import jsonschema
import pytest
from conftest import NEWEST, OLDEST, Lab

from orchestrator import schema
from orchestrator.model import Ending, Outcome

BRK_CLAIMS = {"brk.read", "brk.grow", "brk.merge", "brk.shrink", "brk.unaligned", "brk.limit", "brk.random"}


@pytest.mark.parametrize(("kernel", "userland"), [OLDEST, NEWEST])
def test_brk(lab: Lab, kernel: str, userland: str) -> None:
    done = lab("run", "brk", "-k", kernel, "-u", userland, "-o", "run", "--json", "record.json")
    assert done.returncode == 0, done.stdout + done.stderr
    record = lab.record("run")
    assert record.ending is Ending.COMPLETED and record.outcome is Outcome.PASS
    assert {f.claim for f in record.findings if f.outcome is Outcome.PASS} >= BRK_CLAIMS
    assert all(f.operands for f in record.findings), "a finding without evidence proves nothing"
    assert done.stdout.split("\n\n")[-1].startswith("PASS")
    assert (lab.folder / "record.json").read_text() == (lab.folder / "run/run.json").read_text()
    jsonschema.validate(json.loads((lab.folder / "record.json").read_text()), schema.load("run"))


def test_what_ran_is_measured(lab: Lab) -> None:
    assert lab("run", "brk", "-k", "6.1", "-u", "2.41", "-o", "run", "-q").returncode == 0
    record = lab.record("run")
    assert record.environment["release"].startswith("6.1.") and record.environment["glibc"] == "2.41"
    assert record.environment["page_size"] == 4096
    assert "-accel" in record.emulator["command"] and record.emulator["reason"]
    assert [boot.outcome for boot in record.boots][-1] == "ready"
    evidence = lab.folder / "run/evidence"
    assert "CONFIG_MMU=y" in (evidence / "environment/config").read_text()
    assert "kernel.randomize_va_space = 2" in (evidence / "environment/sysctl").read_text()
    assert list(evidence.glob("*-grown/proc/*/smaps")), "raw evidence is kept"


def test_check_evaluates_again_without_a_guest(lab: Lab) -> None:
    assert lab("run", "brk", "-o", "run", "-q").returncode == 0
    before = (lab.folder / "run/run.json").read_bytes()
    again = lab("check", "run", "--json", "-", env={"LAB_CACHE": "/nonexistent"})
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["findings"] == json.loads(before)["findings"]
    assert (lab.folder / "run/run.json").read_bytes() == before

    for smaps in (lab.folder / "run/evidence").glob("*-grown/proc/*/smaps"):
        smaps.write_text(smaps.read_text().replace("[heap]", "[hexp]"))
    spoiled = lab("check", "run")
    assert spoiled.returncode in (1, 3) and "grow-vma" in spoiled.stdout

    for maps in (lab.folder / "run/evidence").glob("*-grown/proc/*/*"):
        if maps.is_file():
            maps.unlink()
    assert lab("check", "run").returncode == 3, "no evidence is ERROR, never PASS"


def test_a_failure_shows_operands_and_evidence(lab: Lab) -> None:
    done = lab("run", "brk", "-o", "run", "-D", "MUTATE_TWO_PAGES")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "FAIL" in done.stdout and "grow (brk.grow)" in done.stdout
    assert "evidence/02-grown/notes:" in done.stdout, "each operand names its line of evidence"


def test_dry_run_prints_the_command_and_starts_nothing(lab: Lab) -> None:
    done = lab("run", "brk", "--dry-run", "-a", "nokaslr")
    assert done.returncode == 0 and "-kernel" in done.stdout and "nokaslr" in done.stdout
    assert not (lab.folder / "runs").exists()


def test_json_on_stdout_is_json_alone(lab: Lab) -> None:
    done = lab("run", "brk", "-o", "run", "--json", "-")
    assert json.loads(done.stdout)["outcome"] == "PASS"


def test_a_wheel_gives_the_same_lab(lab: Lab, tmp_path: Path) -> None:
    """pip install of a built wheel, away from the checkout, scenarios and images included."""
    import subprocess
    import sys
    import venv

    checkout = Path(__file__).resolve().parents[2]
    wheels = tmp_path / "wheels"
    subprocess.run([sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(wheels), str(checkout)],
                   check=True, timeout=300)
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv/bin/python"
    (wheel,) = wheels.glob("*.whl")
    subprocess.run([python, "-m", "pip", "install", "-q", str(wheel)], check=True, timeout=300)
    command = [tmp_path / "venv/bin/lab", "run", "brk", "-q", "-o", tmp_path / "run"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False,
                          env={**os.environ, "LAB_TEST_MARK": lab.mark})
    assert done.returncode == 0, done.stdout + done.stderr
