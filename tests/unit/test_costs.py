"""Costs in instructions: what is one, in the terminal, in the page's picture, in a check."""

from __future__ import annotations

from pathlib import Path

import pytest
from compare_samples import compared
from synthetic_run import Builder

from orchestrator import costs
from orchestrator.comparison.model import Topic
from orchestrator.inspection.moment import Run
from orchestrator.observations import Observations
from orchestrator.observed import ObservationError
from orchestrator.report import compare_terminal, compare_words, terminal
from orchestrator.report.html import compare_pictures, cost

RAW = {"began": "2020-01-01T00:00:00Z", "raw": "ab" * 32, "agent": "agent-0.cpio", "guest": "cd" * 32,
       "inspect": None, "record": False}
NOTES = ("cost.fault.write=5939\ncost.fault.none=2\ncost.odd=-5\ncost.words=many\n"
         "cost.huge=123456789012345678901\nbrk=7\n")


def noted(path: Path, *, counted: bool) -> Builder:
    """A run whose second checkpoint has these notes."""
    run = Builder(path).at("start").at("faults", notes=NOTES).at("exit", kind="exit")
    run.record.deterministic = dict(RAW) if counted else {}
    run.directory.save(run.record)
    return run


def test_what_was_counted_is_a_number_of_a_deterministic_run(tmp_path: Path) -> None:
    run = noted(tmp_path / "a", counted=True)
    found = costs.of_run(Run.open(run.directory.path))
    assert [(one.name, one.group, one.instructions, one.line) for one in found] == [
        ("fault.write", "fault", 5939, 1), ("fault.none", "fault", 2, 2)]  # fmt: skip
    other = noted(tmp_path / "b", counted=False)
    assert costs.of_run(Run.open(other.directory.path)) == []


def test_the_terminal_has_them_in_columns_with_what_they_leave_out(tmp_path: Path) -> None:
    run = noted(tmp_path / "a", counted=True)
    text = terminal.render(run.record, run.directory.path)
    assert "cost in instructions\n  fault.write  5\u00a0939  fault.none       2\n" in text
    assert "no caches" in text and f"deterministic: raw evidence {'ab' * 8}\n" in text
    assert all(len(line) <= 80 for line in text.splitlines()[:-1])
    run.record.deterministic["threads"] = True
    assert f"{'ab' * 8}, of threads on one processor\n" in terminal.render(run.record, run.directory.path)
    other = noted(tmp_path / "b", counted=False)
    assert "cost in instructions" not in terminal.render(other.record, other.directory.path)


def test_the_picture_has_a_row_for_each_and_its_evidence(tmp_path: Path) -> None:
    data = cost.data(Run.open(noted(tmp_path / "a", counted=True).directory.path))
    assert data is not None and [(row["name"], row["count"], row["step"]) for row in data["rows"]] == [
        ("fault.write", 5939, 1), ("fault.none", 2, 1)]  # fmt: skip
    assert data["evidence"] == [["evidence/01-faults/notes", 1], ["evidence/01-faults/notes", 2]]
    assert cost.data(Run.open(noted(tmp_path / "b", counted=False).directory.path)) is None


def test_a_check_of_what_was_not_counted_has_no_evidence(tmp_path: Path) -> None:
    run = noted(tmp_path / "a", counted=True)
    found = Observations(run.directory, run.record).cost("fault.write", at="faults")
    assert found.value == 5939 and found.evidence[0].line == 1
    other = noted(tmp_path / "b", counted=False)
    with pytest.raises(ObservationError, match="were not counted"):
        Observations(other.directory, other.record).cost("fault.write", at="faults")


def test_the_raw_digest_is_of_names_and_bytes(tmp_path: Path) -> None:
    run = noted(tmp_path / "a", counted=True)
    before = run.directory.raw_digest()
    assert before == noted(tmp_path / "same", counted=True).directory.raw_digest()
    notes = tmp_path / "a/evidence/01-faults/notes"
    notes.write_text(NOTES.replace("5939", "5938"))
    changed = run.directory.raw_digest()
    notes.write_text(NOTES)
    notes.rename(notes.with_name("noted"))
    assert len({before, changed, run.directory.raw_digest()}) == 3
    notes.with_name("noted").rename(notes)
    run.record.messages.append("what is said of the run is not its evidence")
    run.directory.save(run.record)
    assert run.directory.raw_digest() == before


def test_a_comparison_lists_costs_without_repeats_and_needs_no_reason_for_them(tmp_path: Path) -> None:
    runs = [noted(tmp_path / name, counted=True) for name in ("a", "b")]
    (tmp_path / "b/evidence/01-faults/notes").write_text(NOTES.replace("5939", "7083"))
    for run, kernel in zip(runs, ("5.10", "7.x"), strict=True):
        run.record.case["kernel"] = kernel
        run.record.environment["release"] = f"{kernel.replace('x', '3')}.1-cloud"
        run.directory.save(run.record)
    comparison = compared(*(run.directory.path for run in runs))
    (one,) = [one for case in comparison.cases for one in case.differences if one.topic is Topic.COST]
    assert one.what == "fault.write" and one.spots[0].values == ("5\u00a0939", "7\u00a0083") and not one.unexplained
    assert compare_words.costs(one) == "+19 %"
    text = compare_terminal.render(comparison)
    assert "fault.write           5\u00a0939  7\u00a0083  +19 %" in text, text
    data = compare_pictures.data(comparison.cases[0], ["A", "B"])
    assert data is not None and data["costs"] == [
        {"name": "fault.write", "counts": [5939, 7083], "differs": True},
        {"name": "fault.none", "counts": [2, 2], "differs": False}]  # fmt: skip
