"""The report of several cases for a terminal: the table of a matrix, whatever they were read from. Pure."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from orchestrator.matrix.record import CaseRecord, Failing, MatrixRecord, PairRecord, ScenarioRecord, State
from orchestrator.model import Ending, Outcome
from orchestrator.report import matrix_table
from orchestrator.report.results import CaseResult, Results, Verdict
from orchestrator.report.text import clean, plural, wrap

MAX_NOTES = 20
_ENDINGS = {Verdict.LOST: Ending.LOST_GUEST, Verdict.TIMEOUT: Ending.TIMEOUT, Verdict.INTERRUPTED: Ending.INTERRUPTED}


def render(results: Results, *, width: int = 80, colour: bool = False) -> str:
    """The report as text with a final newline; what was left out stands before the table."""
    if not results.cases:
        return summary(results)
    notes = [line for note in results.notes[:MAX_NOTES] for line in wrap(clean(note, 2000), width, "note  ")]
    if len(results.notes) > MAX_NOTES:
        notes.append(f"note  ... {plural(len(results.notes) - MAX_NOTES, 'more note')}")
    resumable = len(results.matrices) == 1
    table = matrix_table.render(as_matrix(results), results.place, width=width, colour=colour, resumable=resumable)
    return "\n".join(notes) + "\n\n" + table if notes else table


def summary(results: Results, where: str = "") -> str:
    """One line: "FAIL  36 cases: 35 passed, 1 failed -> report.html"."""
    return f"{results.word}  {results.counted}" + (f" -> {clean(where, 4096)}" if where else "") + "\n"


def as_matrix(results: Results) -> MatrixRecord:
    """The cases as a matrix would have kept them. Cases that would share a cell have rows of their own."""
    cases = [_case(case, results.place) for case in results.cases]
    cells = Counter((case.scenario, case.kernel, case.userland) for case in results.cases)
    for case, result in zip(cases, results.cases, strict=True):
        if cells[result.scenario, result.kernel, result.userland] > 1:
            case.scenario = _row(result)
    stopped = any(record.state is State.INTERRUPTED for _, record in results.matrices)
    pairs = dict.fromkeys((case.kernel, case.userland) for case in cases)
    return MatrixRecord(
        lab=results.lab, started=results.started, state=State.INTERRUPTED if stopped else State.DONE,
        seconds=results.seconds, boots=sum(record.boots for _, record in results.matrices) or _boots(results),
        exit_code=results.exit_code,
        scenarios=[ScenarioRecord(name, "", "") for name in dict.fromkeys(case.scenario for case in cases)],
        pairs=[PairRecord(kernel, userland, kernel, userland) for kernel, userland in pairs], cases=cases,
    )  # fmt: skip


def _row(result: CaseResult) -> str:
    """ "brk, -DX=1": what makes the name of the case another."""
    return result.scenario + result.name.removeprefix(f"{result.scenario} on {result.kernel} with {result.userland}")


def _boots(results: Results) -> int:
    return sum(len(case.record.boots) for case in results.cases if case.record)


def _case(case: CaseResult, place: Path) -> CaseRecord:
    states = {Verdict.NOT_RUN: State.WAITING, Verdict.INTERRUPTED: State.INTERRUPTED}
    failing = [Failing(one.id, one.claim, one.at, one.outcome, one.message) for one in case.findings
               if one.outcome in (Outcome.FAIL, Outcome.ERROR)]  # fmt: skip
    simple = case.verdict.value in (outcome.value for outcome in Outcome)
    ending = _ending(case)
    return CaseRecord(
        _below(case.directory, place), case.scenario, case.kernel, case.userland,
        state=states.get(case.verdict, State.DONE), outcome=Outcome(case.verdict.value) if simple else Outcome.ERROR,
        ending=ending, detail="" if case.record and ending is Ending.COMPLETED else case.detail,
        exit_code=case.exit_code, booted=True, first=case.first, seconds=case.seconds,
        counts={outcome.value: case.count(outcome) for outcome in Outcome if case.count(outcome)}, failing=failing,
    )  # fmt: skip


def _ending(case: CaseResult) -> Ending:
    """The ending that the table has the right word for, also where none is known."""
    if case.verdict in (Verdict.PASS, Verdict.SKIP, Verdict.FAIL):
        return Ending.COMPLETED
    if case.ending is None or (case.ending is Ending.COMPLETED and case.record is None):
        return _ENDINGS.get(case.verdict, Ending.HOST_ERROR)
    return case.ending


def _below(directory: Path | None, place: Path) -> str:
    """The directory as seen from the place that was given, for that is shown before it; "" without one."""
    if directory is None:
        return ""
    try:
        return str(directory.relative_to(place))
    except ValueError:
        return str(directory.absolute())
