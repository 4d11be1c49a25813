"""Costs in instructions: what is one, in the terminal, in the page's picture, in a check."""

from __future__ import annotations

from pathlib import Path

import pytest
from synthetic_run import Builder

from orchestrator import costs
from orchestrator.inspection.moment import Run
from orchestrator.observations import Observations
from orchestrator.observed import ObservationError
from orchestrator.report import terminal
from orchestrator.report.html import cost
from orchestrator.report.story import moments

RAW = {"began": "2020-01-01T00:00:00Z", "raw": "ab" * 32, "agent": "agent-0.cpio", "record": False}
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
    found = costs.costs(run.record, moments(run.record, run.directory.path))
    assert [(one.name, one.group, one.instructions, one.line) for one in found] == [
        ("fault.write", "fault", 5939, 1), ("fault.none", "fault", 2, 2)]  # fmt: skip
    other = noted(tmp_path / "b", counted=False)
    assert costs.costs(other.record, moments(other.record, other.directory.path)) == []


def test_the_terminal_has_them_in_columns_with_what_they_leave_out(tmp_path: Path) -> None:
    run = noted(tmp_path / "a", counted=True)
    text = terminal.render(run.record, run.directory.path)
    assert "cost in instructions\n  fault.write  5\u00a0939  fault.none       2\n" in text
    assert "no caches" in text and f"deterministic: raw evidence {'ab' * 8}\n" in text
    assert all(len(line) <= 80 for line in text.splitlines()[:-1])
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
