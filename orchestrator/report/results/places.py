"""Where the expectations of results stand: the file as seen from the repository, and the line. Reads scenarios."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from orchestrator import scenario
from orchestrator.errors import LabError
from orchestrator.model import Finding, Scenario
from orchestrator.report.results.model import CaseResult, Results

MAX_PARTS = 64  # of a path in a record

Key = tuple[str, str, str, str]  # scenario file as recorded; expectation, condition and check of a finding


@dataclass(frozen=True)
class Place:
    """A line, from 1, of a file, relative to the repository."""

    file: str
    line: int


def key_of(case: CaseResult, finding: Finding | None) -> Key:
    """What a place goes by: that of a finding, or with None that of the case's scenario."""
    source = str(case.record.case.get("source") or "") if case.record else ""
    return (source, finding.id, finding.when, finding.check) if finding else (source, "", "", "")


def find(results: Results, repository: Path) -> dict[Key, Place]:
    """The places of all findings whose scenario lies in the repository, as it is now; others have none."""
    root = repository.resolve()
    found: dict[Key, Place] = {}
    known: dict[str, tuple[str, Scenario | None] | None] = {}
    for case in results.cases:
        source = key_of(case, None)[0]
        if source not in known:
            known[source] = _read(source, root)
        entry = known[source]
        if entry is not None:
            file, wanted = entry
            found[key_of(case, None)] = Place(file, 1)
            if wanted is not None:
                found |= {key_of(case, finding): Place(file, line) for finding in case.findings
                          if (line := _line(wanted, finding))}  # fmt: skip
    return found


def _read(source: str, root: Path) -> tuple[str, Scenario | None] | None:
    """The file's name in the repository, and the scenario; None where it is not in it."""
    for path in _candidates(source, root):
        try:
            real = path.resolve()
            if not (real.is_relative_to(root) and real.is_file()):
                continue
            wanted = scenario.load(real.parent) if real.name == scenario.FILE else None
        except (OSError, RuntimeError, LabError):
            wanted = None
        return str(real.relative_to(root)), wanted
    return None


def _candidates(source: str, root: Path) -> Iterator[Path]:
    """The file itself; and, for a run that another machine made, what lies here as it did there."""
    path = Path(source)
    if not source or "\0" in source or len(path.parts) > MAX_PARTS:
        return
    yield path
    parts = path.parts[1:] if path.is_absolute() else path.parts
    if ".." not in parts:
        yield from (root.joinpath(*parts[first:]) for first in range(max(len(parts) - 1, 0)))


def _line(wanted: Scenario, finding: Finding) -> int:
    """The line of the variant that was checked, else of its expectation; 0 if the scenario has it no more."""
    for expectation in wanted.expectations:
        if expectation.id == finding.id:
            lines = [one.line for one in expectation.variants if (one.when, one.check) == (finding.when, finding.check)]
            return next((line for line in lines if line), expectation.line)
    return 0
