"""Results read from directories: runs, matrices, folders of them, shards of one matrix. Damaged ones are told."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from orchestrator import rundir
from orchestrator.errors import LabError, UsageError
from orchestrator.matrix.record import FILE, CaseRecord, MatrixDirectory, MatrixRecord, State
from orchestrator.model import Ending, Outcome
from orchestrator.report.results import shards
from orchestrator.report.results.model import (
    EARLY,
    UNFINISHED,
    CaseResult,
    Results,
    Verdict,
    finite,
    of_plan,
    of_record,
    unique,
)
from orchestrator.report.text import plural
from orchestrator.rundir import DEPTH, RunDirectory, RunRecord, inner_folders, machine


def read(paths: Sequence[Path], *, whole: bool = True) -> Results:
    """The results below the paths: run directories, matrix directories, folders of them, shards of one matrix.

    The same case found twice counts once, the newest, and ``notes`` say so. A directory that can't be read is a case
    in ERROR which says why; with ``whole`` so is a shard that is missing. Raises UsageError for a path where there is
    neither.
    """
    shelf = _Shelf()
    for path in paths:
        before = len(shelf.found) + len(shelf.matrices)
        shelf.gather(path, DEPTH)
        if len(shelf.found) + len(shelf.matrices) == before and path.resolve() not in shelf.seen:
            raise UsageError(f"{path}: no run directory, nor a matrix, nor a folder of them",
                             "`lab run` and `lab matrix` make them")  # fmt: skip
    cases, notes = _once(shelf.found)
    if whole:
        lost, more = shards.put_together(shelf.matrices)
        cases, notes = cases + lost, more + notes
    if not cases:
        cases = [case for matrix in shelf.matrices for case in shards.alone(*matrix)]
    title = _title(cases, shelf.matrices)
    if not whole:
        title = "".join(f"shard {one.shard.name}: " for _, one in shelf.matrices if one.shard) + title
    return Results(title, paths[0] if len(paths) == 1 else Path(), tuple(_apart(cases)),
                   min((case.started for case in cases if case.started), default=""), shelf.seconds,
                   ", ".join(sorted(shelf.labs)), tuple(shelf.matrices), tuple(notes))  # fmt: skip


@dataclass(frozen=True)
class _Found:
    """A case with what makes it the same as another: what was asked of the guest, and the matrix's options."""

    case: CaseResult
    settings: str  # of the run, as measured in its record; "" without one
    options: str | None = None  # of the matrix that planned it

    @property
    def triple(self) -> tuple[str, str, str]:
        return self.case.scenario, self.case.kernel, self.case.userland


class _Shelf:
    """Collects cases; each directory once, by whatever path it was reached."""

    def __init__(self) -> None:
        self.found: list[_Found] = []
        self.matrices: list[tuple[Path, MatrixRecord]] = []
        self.seen: set[Path] = set()
        self.seconds = 0.0
        self.labs: set[str] = set()

    def gather(self, folder: Path, depth: int) -> None:
        """All runs and matrices at or below a folder; one that can't be looked into is told."""
        try:
            if folder.resolve() in self.seen:
                return
            is_matrix, is_run = (folder / FILE).is_file(), _is_run(folder)
        except (OSError, RuntimeError) as error:  # no permission; links in a circle
            self.found.append(_Found(_unreadable(folder, _said(error)), ""))
            return
        if is_matrix:
            self._matrix(folder)
        elif is_run:
            self._run(folder)
        elif depth:
            for inner in _inside(folder):
                self.gather(inner, depth - 1)

    def _run(self, folder: Path) -> None:
        self.seen.add(folder.resolve())
        record = _load(folder)
        if isinstance(record, str):
            self.found.append(_Found(_unreadable(folder, record), ""))
            return
        self._add(_Found(of_record(record, folder), _settings(record)))
        self.seconds += finite(record.seconds)

    def _matrix(self, folder: Path) -> None:
        self.seen.add(folder.resolve())
        try:
            record = MatrixDirectory.open(folder).load()
        except (LabError, OSError) as error:
            self.found.append(_Found(_unreadable(folder, _said(error)), ""))
        else:
            self.matrices.append((folder, record))
            self.seconds += finite(record.seconds)
            self.labs |= {record.lab} - {""}
            options = json.dumps(asdict(record.options.settings), sort_keys=True)
            for case in record.cases:
                place = folder / case.directory
                self.seen.add(place.resolve())
                result = _planned(case, place)
                self._add(_Found(result, _settings(result.record), options))
        for inner in _inside(folder):  # not of the plan, or there is no plan
            if inner.resolve() not in self.seen and _is_run(inner):
                self._run(inner)

    def _add(self, found: _Found) -> None:
        self.found.append(found)
        if found.case.lab:
            self.labs.add(found.case.lab)


def _is_run(folder: Path) -> bool:
    """Whether a run was made there, even if its record is gone."""
    return (folder / "run.json").is_file() or ((folder / "evidence").is_dir() and (folder / "console.log").is_file())


def _inside(folder: Path) -> list[Path]:
    try:
        return inner_folders(folder)
    except OSError:
        return []


def _load(folder: Path) -> RunRecord | str:
    """The record, or why it can't be read."""
    try:
        return RunDirectory.open(folder).load()
    except (LabError, OSError) as error:
        return _said(error)


def _said(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror or str(error)
    return error.message if isinstance(error, LabError) else str(error)


def _unreadable(folder: Path, why: str) -> CaseResult:
    name = folder.name or Path.cwd().name or str(folder)  # "."
    return CaseResult(name, name, "?", "?", folder, None, Verdict.ERROR, why)


def _settings(record: RunRecord | None) -> str:
    """What makes runs of one name cases of their own: the settings and the machine."""
    return json.dumps([record.case.get("settings"), machine(record)], sort_keys=True) if record else ""


def _planned(case: CaseRecord, place: Path) -> CaseResult:
    """A case of a matrix: by its run directory, and by the matrix's record where there is none or it was not told."""
    plan = of_plan(case)
    if case.state is State.WAITING:
        return replace(plan, verdict=Verdict.NOT_RUN, detail="planned, and never started")
    record = _load(place) if place.exists() else f"{place}: there is no such directory"
    if isinstance(record, str):
        return _without(case, plan, record, place if place.exists() else None)
    result = replace(of_record(record, place), name=plan.name, scenario=case.scenario, kernel=case.kernel,
                     userland=case.userland, seconds=plan.seconds or finite(record.seconds))  # fmt: skip
    if record.ending is Ending.UNFINISHED and case.state in (State.DONE, State.INTERRUPTED):  # nobody told it
        verdict, detail = EARLY.get(case.ending, Verdict.LOST), case.detail or UNFINISHED
        return replace(result, verdict=verdict if case.ending is not Ending.COMPLETED else Verdict.ERROR,
                       ending=case.ending, detail=detail)  # fmt: skip
    if case.unconfirmed:
        result = replace(result, first=case.first)
    return result


def _without(case: CaseRecord, plan: CaseResult, why: str, place: Path | None) -> CaseResult:
    """A case that was started and has no record that can be read. What the matrix knows of a failure is kept."""
    if case.state is State.INTERRUPTED:
        return replace(plan, verdict=Verdict.INTERRUPTED, ending=Ending.INTERRUPTED, directory=place)
    if case.state is State.RUNNING:
        return replace(plan, detail=UNFINISHED, ending=Ending.UNFINISHED, directory=place)
    if case.ending is not Ending.COMPLETED:  # it may never have had a directory: its pieces could not be made
        verdict = EARLY.get(case.ending, Verdict.LOST)
        return replace(plan, verdict=verdict, ending=case.ending, detail=case.detail or why, directory=place)
    failed = case.outcome is Outcome.FAIL
    return replace(plan, verdict=Verdict.FAIL if failed else Verdict.ERROR, directory=place,
                   detail=f"it was {case.outcome} by {FILE}, and its run can't be read: {why}")  # fmt: skip


def _once(found: Sequence[_Found]) -> tuple[list[CaseResult], list[str]]:
    """Each case once, in the order in which they were found: the newest that ran; and what was left out, in words."""
    newest: dict[tuple[object, ...], _Found] = {}
    older: dict[tuple[object, ...], int] = {}
    known = {(*one.triple, one.options) for one in found if one.case.verdict is not Verdict.NOT_RUN}
    for one in found:
        planned = (*one.triple, one.options)
        if one.case.verdict is Verdict.NOT_RUN and planned in known:
            continue  # another shard ran it, or it is told already
        known.add(planned)
        readable = one.case.record is not None or one.options is not None
        key = (*one.triple, one.settings or one.options) if readable else (one.case.directory,)
        other = newest.get(key)
        older[key] = older.get(key, 0) + (other is not None)
        if other is None or one.case.started >= other.case.started:
            newest[key] = one
    notes = [f"{newest[key].case.name}: {count + 1} runs; the newest counts, {newest[key].case.directory}"
             for key, count in older.items() if count]  # fmt: skip
    return [replace(one.case, older=older[key]) for key, one in newest.items()], notes


def _apart(cases: Sequence[CaseResult]) -> Iterator[CaseResult]:
    """The cases with names that differ: by what was set, else by a number."""
    counts = Counter(case.name for case in cases)
    words = [settings_words(case.record) if counts[case.name] > 1 else "" for case in cases]
    longer = (f"{case.name}, {said}" if said else case.name for case, said in zip(cases, words, strict=True))
    names = unique(longer, " #")
    for case, name in zip(cases, names, strict=True):
        yield case if name == case.name else replace(case, name=name)


def settings_words(record: RunRecord | None) -> str:
    """What was set, as "kernel.randomize_va_space=0, ulimit data=1048576, append nokaslr"; "" for nothing."""
    return ", ".join(rundir.settings_words(record)) if record else ""


def _title(cases: Sequence[CaseResult], matrices: Sequence[tuple[Path, MatrixRecord]]) -> str:
    """ "brk on 6.12 with trixie", "9 scenarios on 4 pairs of kernel and userland"."""
    if len(cases) == 1 and not matrices:
        return cases[0].name
    scenarios = plural(len({case.scenario for case in cases}), "scenario")
    pairs = len({(case.kernel, case.userland) for case in cases})
    return f"{scenarios} on {plural(pairs, 'pair')} of kernel and userland"
