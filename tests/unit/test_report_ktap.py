"""KTAP: the grammar, every verdict its own directive, and no text that ends the document or forges a result.

With LAB_KUNIT (the folder tools/testing/kunit of a kernel's source) kunit.py itself parses the same documents.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from results_samples import HOSTILE, everything, hostile, saved
from synthetic_run import FAILED, GREW, SKIPPED

from orchestrator.model import Ending
from orchestrator.report import ktap, results
from orchestrator.report.results import Results

Golden = Callable[[str, str], None]
KUNIT = os.environ.get("LAB_KUNIT", "")
RESULT = re.compile(r"(ok|not ok) (\d+) ([^#]+?)(?: # (SKIP|ERROR|TIMEOUT)(?: (.*))?)?")


@dataclass
class Test:
    """A test as the document says it."""

    __test__ = False

    name: str
    good: bool
    directive: str
    reason: str
    tests: list[Test] = field(default_factory=list)


def parsed(lines: list[str]) -> list[Test]:
    """The tests of a level, by the grammar of Documentation/dev-tools/ktap.rst; comments left out."""
    assert lines[0] == "KTAP version 1"
    rest = [line for line in lines[1:] if not line.startswith("#")]
    plan = re.fullmatch(r"1\.\.(\d+)", rest[0])
    assert plan, "the plan comes first"
    tests: list[Test] = []
    inner: list[str] = []
    for line in rest[1:]:
        if line.startswith("    "):
            inner.append(line[4:])
            continue
        found = RESULT.fullmatch(line)
        assert found, line
        good, number, name, directive, reason = found.groups()
        assert int(number) == len(tests) + 1
        tests.append(Test(name, good == "ok", directive or "", reason or "", parsed(inner) if inner else []))
        if inner:
            assert f"# Subtest: {name}" in inner
        inner = []
    assert len(tests) == int(plan[1]) > 0, "the plan is kept"
    assert len({test.name for test in tests}) == len(tests), "names are unique"
    assert not inner
    return tests


def checked(text: str, tmp_path: Path) -> list[Test]:
    """The tests, after kunit.py has counted the same ones, if it is there."""
    tests = parsed(text.splitlines())
    if KUNIT:
        leaves = [leaf for test in tests for leaf in test.tests or [test]]
        skipped = sum(leaf.directive == "SKIP" for leaf in leaves)
        failed = sum(not leaf.good for leaf in leaves)
        assert _counted(text, tmp_path) == {"passed": len(leaves) - skipped - failed, "failed": failed,
                                            "skipped": skipped}  # fmt: skip
    return tests


def _counted(text: str, tmp_path: Path) -> dict[str, int]:
    """What kunit.py counts; crashes and errors of the document are counts too, and never wanted."""
    file = tmp_path / "results.ktap"
    file.write_text(text, encoding="utf-8")
    done = subprocess.run([sys.executable, Path(KUNIT) / "kunit.py", "parse", file], capture_output=True, text=True,
                          check=False)  # fmt: skip
    last = re.search(r"Testing complete\. Ran (\d+) tests: (.*)", done.stdout)
    assert last, done.stdout + done.stderr
    counts = {name: int(number) for name, number in re.findall(r"(\w+): (\d+)", last[2])}
    assert (done.returncode == 0) == (not counts.get("failed")), "its exit code is a CI's verdict"
    return {"passed": 0, "failed": 0, "skipped": 0, **counts}


def test_every_verdict(tmp_path: Path, golden: Golden) -> None:
    everything(tmp_path / "m")
    text = ktap.render(results.read([tmp_path / "m"]))
    golden("results.ktap", text.replace(str(tmp_path / "m"), "runs/m"))
    tests = {test.name.split()[0]: test for test in checked(text, tmp_path)}
    assert {name: (test.good, test.directive, test.reason.partition(":")[0]) for name, test in tests.items()} == {
        "pass": (True, "", ""), "fail": (False, "", ""), "skip": (True, "SKIP", "CONFIG_X is not set in this kernel"),
        "error": (False, "ERROR", "could not be evaluated"), "panic": (False, "ERROR", "PANIC"),
        "lost": (False, "ERROR", "LOST GUEST"), "timeout": (False, "TIMEOUT", "no further checkpoint within 30 s"),
        "halted": (False, "ERROR", "INTERRUPTED"), "never": (False, "ERROR", "NOT RUN"),
        "worker": (False, "ERROR", "its worker was ended by signal 9"), "gone": (False, "", ""),
        "broken": (False, "ERROR", "it was PASS by matrix.json, and its run can't be read"),
    }  # fmt: skip
    assert [(test.name, test.good) for test in tests["panic"].tests] == [
        ("run", False), ("second-growth-merges", True), ("grow-one-page", False)]
    assert [(test.name, test.directive) for test in tests["gone"].tests] == [("run", "ERROR"), ("grow-one-page", "")]


@pytest.mark.parametrize("ending", [ending for ending in Ending if ending is not Ending.COMPLETED])
def test_no_ending_reads_as_fewer_tests(tmp_path: Path, ending: Ending) -> None:
    run = saved(tmp_path / "run", GREW, SKIPPED, ending=ending)
    (case,) = checked(ktap.render(results.of_run(run.record, run.directory.path)), tmp_path)
    assert [test.name for test in case.tests] == ["run", "grow-one-page", "limit"]
    assert not case.good and not case.tests[0].good
    assert case.tests[0].directive == ("TIMEOUT" if ending is Ending.TIMEOUT else "ERROR")


def test_nothing_ran(tmp_path: Path) -> None:
    (test,) = checked(ktap.render(Results("", Path("x"), ())), tmp_path)
    assert not test.good and test.reason == "NOT RUN: nothing ran"


def test_hostile_words_are_words(tmp_path: Path) -> None:
    text = ktap.render(hostile(tmp_path))
    (case,) = checked(text, tmp_path)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f\u202e]", text)
    assert [(test.good, test.directive) for test in case.tests] == [
        (False, "ERROR"), (False, ""), (True, "SKIP"), (False, "ERROR"), (True, "")]
    assert not case.good and "SKIP" not in case.directive
    assert not re.search(r"(partitions|VFS|reboot):", text), "kunit.py takes these for the end of the log"


def test_a_test_can_not_have_the_name_of_its_case(tmp_path: Path) -> None:
    """kunit.py takes a result line of that name for the end of the subtest."""
    name = "brk on 6.1 with bookworm"
    run = saved(tmp_path / "run", replace(GREW, id=name), replace(FAILED, id=name), replace(GREW, id=HOSTILE))
    (case,) = checked(ktap.render(results.of_run(run.record, run.directory.path)), tmp_path)
    assert case.name == name and len(case.tests) == 3
    assert [test.good for test in case.tests] == [True, False, True]
