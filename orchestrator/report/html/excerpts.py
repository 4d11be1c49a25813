"""The lines of evidence that a page keeps: those which something on it cites, each with the lines around it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from markupsafe import escape

from orchestrator.model import Evidence, Finding
from orchestrator.report.story import content_of
from orchestrator.report.text import clean
from orchestrator.rundir import RunDirectory, safe

AROUND = 2  # lines kept before and after a cited one
HEAD = 8  # lines kept of a file that is cited as a whole
MAX_LINE = 240  # characters of a line
MAX_FILES = 400  # of one case
MAX_LINES = 4000  # of one case, all files together
MAX_BYTES = 500_000  # the same, as they stand on a page


@dataclass(frozen=True)
class Line:
    """One kept line. ``number`` counts from 1; 0 says that lines are left out here."""

    number: int
    text: str
    cited: bool


@dataclass(frozen=True)
class Excerpt:
    """What is kept of one file: ``trouble`` says why there are no lines, or not all."""

    anchor: str
    file: str  # relative to the run directory
    total: int  # lines of the file
    lines: tuple[Line, ...]
    trouble: str = ""

    def ranges(self) -> list[list[int]]:
        """[first, last] of each run of lines without a gap."""
        found: list[list[int]] = []
        for line in self.lines:
            if line.number and found and line.number == found[-1][1] + 1:
                found[-1][1] = line.number
            elif line.number:
                found.append([line.number, line.number])
        return found


class Excerpts:
    """The evidence of one case on a page: which lines are there, and where."""

    def __init__(self, case: str, directory: RunDirectory | None, cited: Iterable[Evidence]) -> None:
        wanted: dict[str, set[int]] = {}
        for evidence in cited:
            wanted.setdefault(evidence.file, set()).add(evidence.line)
        self.left_out = max(len(wanted) - MAX_FILES, 0)  # files
        files = sorted(wanted)[:MAX_FILES]
        lines, size = MAX_LINES, MAX_BYTES
        found = []
        for index, file in enumerate(files):
            one = _excerpt(f"e-{case}-{index}", directory, file, wanted[file], lines, size)
            lines -= len(one.lines)
            size -= sum(map(_bytes, one.lines))
            found.append(one)
        self.all = tuple(found)
        self._places = {one.file: (one, frozenset(line.number for line in one.lines)) for one in found}

    def link(self, evidence: Evidence) -> str:
        """The fragment of a line, "#e-…"; "" if it is not kept."""
        if evidence.file not in self._places:
            return ""
        excerpt, numbers = self._places[evidence.file]
        if not evidence.line:
            return f"#{excerpt.anchor}"
        return f"#{excerpt.anchor}-{evidence.line}" if evidence.line in numbers else ""

    def index(self) -> dict[str, Any]:
        """For the scripts: file -> {anchor, lines: [[first, last], …]}."""
        return {one.file: {"anchor": one.anchor, "lines": one.ranges()} for one in self.all}


def cited(findings: Iterable[Finding]) -> list[Evidence]:
    """Every line that findings rest on, in their order."""
    return [evidence for finding in findings for operand in finding.operands for evidence in operand.evidence]


def _excerpt(anchor: str, run: RunDirectory | None, file: str, wanted: set[int], room: int, size: int) -> Excerpt:
    if run is None or not safe(file):
        return Excerpt(anchor, file, 0, (), "not a file of this run")
    try:
        text = content_of(run, file)
    except (OSError, ValueError) as error:
        return Excerpt(anchor, file, 0, (), str(error))
    if "\0" in text[:4096] or text.startswith("\x7fELF"):
        return Excerpt(anchor, file, 0, (), "is not text; it lies in the run directory")
    every = text.removesuffix("\n").split("\n") if text else []
    numbers = sorted(_around(wanted, len(every)))
    kept = []
    for number in numbers[: max(room, 0)]:
        size -= _bytes(Line(number, clean(every[number - 1], MAX_LINE), False))
        if size < 0:
            break
        kept.append(number)
    trouble = "" if every else "is empty, or not there"
    if len(kept) < len(numbers):
        trouble = f"{len(numbers) - len(kept)} more cited lines are in the run directory only"
    return Excerpt(anchor, file, len(every), tuple(_lines(every, kept, wanted)), trouble)


def _bytes(line: Line) -> int:
    """About how many bytes a line takes on a page."""
    return 70 + len(escape(line.text).encode())


def _around(wanted: set[int], total: int) -> set[int]:
    numbers: set[int] = set()
    for line in wanted:
        first, last = (1, HEAD) if line == 0 else (line - AROUND, line + AROUND)
        if line <= total:
            numbers.update(range(max(first, 1), min(last, total) + 1))
    return numbers


def _lines(every: list[str], kept: list[int], wanted: set[int]) -> Iterable[Line]:
    before = 0
    for number in kept:
        if number != before + 1:
            yield Line(0, f"… {number - before - 1} lines", False)
        yield Line(number, clean(every[number - 1], MAX_LINE), number in wanted)
        before = number
    if kept and before < len(every):
        yield Line(0, f"… {len(every) - before} lines", False)
