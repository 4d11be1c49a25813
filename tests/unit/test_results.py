"""Results as read from directories: every case once, none lost, each verdict its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from synthetic_run import ERRED, FAILED, GREW, SKIPPED, Builder, brk

from orchestrator.model import Ending, Finding
from orchestrator.report import results
from orchestrator.report.results import CaseResult, Verdict

CODES = {Ending.TIMEOUT: 5, Ending.INTERRUPTED: 130, Ending.HOST_ERROR: 3, Ending.UNFINISHED: 3}


def saved(path: Path, *findings: Finding, ending: Ending = Ending.COMPLETED, **case: object) -> Builder:
    """A run directory with these findings, as the lab leaves it."""
    run = brk(path)
    run.record.findings = list(findings)
    run.record.case |= case
    if ending is not Ending.COMPLETED:
        run.end(ending, f"it was {ending}", CODES.get(ending, 4))
    run.directory.save(run.record)
    return run


def only(path: Path) -> CaseResult:
    (case,) = results.read([path]).cases
    return case


@pytest.mark.parametrize(
    ("findings", "verdict", "code"),
    [
        ((GREW,), Verdict.PASS, 0), ((GREW, SKIPPED), Verdict.PASS, 0), ((SKIPPED,), Verdict.SKIP, 0),
        ((GREW, FAILED), Verdict.FAIL, 1), ((FAILED, ERRED), Verdict.FAIL, 1), ((GREW, ERRED), Verdict.ERROR, 3),
        ((), Verdict.ERROR, 3),
    ],
)  # fmt: skip
def test_what_the_findings_say_counts(tmp_path: Path, findings: tuple[Finding, ...], verdict: Verdict,
                                      code: int) -> None:
    saved(tmp_path / "run", *findings)  # each record says PASS of itself
    found = results.read([tmp_path / "run"])
    assert found.cases[0].verdict is verdict
    assert found.exit_code == code
    assert bool(found.cases[0].detail) is (verdict is not Verdict.PASS)


@pytest.mark.parametrize("ending", [ending for ending in Ending if ending is not Ending.COMPLETED])
def test_every_ending_has_a_word_and_a_code(tmp_path: Path, ending: Ending) -> None:
    saved(tmp_path / "run", FAILED, ending=ending)
    case = only(tmp_path / "run")
    assert case.exit_code == CODES.get(ending, 4)
    assert case.verdict not in (Verdict.PASS, Verdict.SKIP, Verdict.FAIL)
    expected = {Ending.HOST_ERROR: "ERROR"}.get(ending, ending.value.replace("-", " ").upper())
    assert case.word == expected


def test_words_are_distinct() -> None:
    assert len({verdict.value for verdict in Verdict}) == 8
