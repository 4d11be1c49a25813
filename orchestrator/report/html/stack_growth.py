"""The picture of the main stack: how far down it reaches at each checkpoint, its limit, and what lies below.

Sizes and distances are bytes; everything that is measured from the stack's end goes down from it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from orchestrator.collect import procfs
from orchestrator.collect.lines import Document
from orchestrator.errors import LabError
from orchestrator.inspection.moment import Run
from orchestrator.model import Checkpoint, Vma
from orchestrator.observed import ObservationError
from orchestrator.report.html.address_space import name
from orchestrator.report.story import Moment, moments
from orchestrator.report.text import PAGE, clean

GAP_PAGES = 256  # stack_guard_gap, mm/mmap.c, where the kernel's command line does not say otherwise
MAX_STEPS = 500  # checkpoints
MAX_MARKS = 8  # addresses shown at one checkpoint
_ADDRESS = re.compile(r"0x[0-9a-f]{4,16}")


@dataclass(frozen=True)
class Mark:
    """An address at or near the stack that the evidence has."""

    address: int
    word: str  # "stack pointer", "fault", or the note's key
    file: str
    line: int


def data(run: Run) -> dict[str, Any] | None:
    """The stack at each checkpoint; None where it never grew and nothing faulted at it."""
    page = _page(run)
    gap = _gap_pages(run) * page
    found = [_step(run, moment, gap) for _, moment in zip(range(MAX_STEPS), _moments(run), strict=False)]
    steps = [step for step in found if step is not None]
    if not (_grows(steps) or any(mark["fault"] for step in steps for mark in step["marks"])):
        return None
    evidence = [[mark["file"], mark["line"]] for step in steps for mark in step["marks"] if mark["line"]]
    evidence += [[step["file"], step["line"]] for step in steps]
    evidence += [[step["limits"], step["limit_line"]] for step in steps if step["limit_line"]]
    return {"page": page, "gap": gap, "steps": steps, "evidence": evidence}


def _moments(run: Run) -> Iterable[Moment]:
    return moments(run.record, run.directory.path)


def _page(run: Run) -> int:
    page = run.record.environment.get("page_size")
    return page if isinstance(page, int) and 0 < page <= 1 << 20 else PAGE


def _gap_pages(run: Run) -> int:
    """The guard gap in pages: ``stack_guard_gap=`` of the kernel's command line as it was read in the guest."""
    try:
        line = " ".join(run.observed.document("evidence/environment/cmdline").lines)
    except (ObservationError, LabError):
        return GAP_PAGES
    found = re.findall(r"(?:^|\s)stack_guard_gap=(\d{1,6})(?:\s|$)", line)
    return int(found[-1]) if found else GAP_PAGES


def _grows(steps: Iterable[dict[str, Any]]) -> bool:
    """Whether one process has a stack of two sizes."""
    sizes: dict[tuple[int, str], set[int]] = {}
    for step in steps:
        sizes.setdefault((step["pid"], step["end"]), set()).add(step["size"])
    return any(len(found) > 1 for found in sizes.values())


def _step(run: Run, moment: Moment, gap: int) -> dict[str, Any] | None:
    stack = next((vma for vma in moment.vmas if vma.name == "[stack]" and not vma.inode), None)
    if stack is None:
        return None
    checkpoint = moment.checkpoint
    below = max((vma for vma in moment.vmas if vma.end <= stack.start), key=lambda vma: vma.end, default=None)
    limits = f"{checkpoint.directory}/proc/{checkpoint.pid}/limits"
    limit, line = _limit(run, limits)
    reach = stack.start - 2 * gap if below is None else max(below.start, stack.start - 64 * gap)
    marks = [mark for mark in (*_pointer(run, checkpoint), *_noted(moment))
             if reach <= mark.address < stack.end][:MAX_MARKS]  # fmt: skip
    return {
        "index": checkpoint.index, "pid": checkpoint.pid, "start": f"{stack.start:#x}", "end": f"{stack.end:#x}",
        "size": stack.size, "rss": dict(stack.fields).get("Rss"), "file": moment.file, "line": stack.line,
        "limit": limit, "limits": limits, "limit_line": line, "below": _below(below, stack),
        "marks": [_mark(mark, stack) for mark in sorted(marks, key=lambda mark: -mark.address)],
    }  # fmt: skip


def _below(below: Vma | None, stack: Vma) -> dict[str, Any] | None:
    """The mapping below, and the unmapped bytes between it and the stack."""
    if below is None:
        return None
    return {"name": name(below), "perms": below.perms, "start": f"{below.start:#x}", "end": f"{below.end:#x}",
            "gap": stack.start - below.end, "size": below.size}  # fmt: skip


def _mark(mark: Mark, stack: Vma) -> dict[str, Any]:
    return {"address": f"{mark.address:#x}", "word": mark.word, "depth": stack.end - mark.address,
            "fault": mark.word == "fault", "file": mark.file, "line": mark.line}  # fmt: skip


def _limit(run: Run, file: str) -> tuple[int | None, int]:
    """The soft RLIMIT_STACK, and its line; None where it is unlimited (then with its line) or not known."""
    try:
        found = procfs.parse_limits(run.observed.document(file)).get("stack")
    except (ObservationError, LabError):
        return None, 0
    if found is None:
        return None, 0
    return (int(found.soft) if found.soft != float("inf") else None), found.line


def _pointer(run: Run, checkpoint: Checkpoint) -> list[Mark]:
    """The stack pointer, the last but one word of /proc/PID/syscall (lib/syscall.c, fs/proc/base.c)."""
    file = f"{checkpoint.directory}/proc/{checkpoint.pid}/syscall"
    try:
        document: Document = run.observed.document(file)
    except (ObservationError, LabError):
        return []
    words = document.lines[0].split() if document.lines else []
    if len(words) not in (3, 9) or not _ADDRESS.fullmatch(words[-2]):
        return []
    return [Mark(int(words[-2], 16), "stack pointer", file, 1)]


def _noted(moment: Moment) -> list[Mark]:
    """Notes that are addresses; the one that a fatal signal was about is the fault."""
    file = f"{moment.checkpoint.directory}/notes"
    fatal = moment.checkpoint.kind == "signal"
    return [
        Mark(int(value, 16), "fault" if fatal and key == "signal.addr" else clean(key, 40), file, line)
        for line, (key, value) in enumerate(moment.notes, 1)
        if _ADDRESS.fullmatch(value) and key != "signal.sp"
    ]  # fmt: skip
