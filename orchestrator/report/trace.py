"""What the kernel recorded before a checkpoint, window by window, for people: counts, and the calls as a tree.

Reads only the run directory; what can't be read is told, never fatal.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from orchestrator.collect import ftrace
from orchestrator.collect.ftrace import Record, Trace, Window
from orchestrator.collect.lines import Document
from orchestrator.errors import LabError
from orchestrator.model import Checkpoint
from orchestrator.rundir import RunDirectory

MAX_FILE = 64 << 20  # bytes: labrun sends no more
MAX_CALLS = 60  # lines of the call tree shown for one window
_MARK = re.compile(r"/\* lab: (begin|end) ([A-Za-z0-9._-]{1,64}) \*/")
_CALL = re.compile(r"[^|]*\|[^|]*\|  (.*)$")  # processor and task | time | call


@dataclass(frozen=True)
class Recorded:
    """One window: how often what happened in it, and the function graph's lines, innermost part only."""

    name: str
    closed: bool
    counts: tuple[tuple[str, int], ...]  # ("user fault", 2), ("mmap()", 1), …
    calls: tuple[str, ...]  # "handle_mm_fault() {", indented as the kernel does
    problem: str = ""  # why it can't be shown, or is not all there


def windows(run: RunDirectory, checkpoint: Checkpoint) -> tuple[Recorded, ...]:
    """The windows in the trace that was collected at a checkpoint, in the order of time."""
    file = f"{checkpoint.directory}/trace/events"
    try:
        document = _document(run, file)
        if document is None:
            return ()
        trace = ftrace.parse_trace(document)
        graph = _document(run, f"{checkpoint.directory}/trace/graph")
        lost = _lost(run, checkpoint)
    except (OSError, ValueError, LabError) as error:
        return (Recorded("", True, (), (), str(error)),)
    calls = _calls(graph) if graph else {}
    return tuple(_recorded(trace, window, calls.get(window.name, ()), lost) for window in trace.windows)


def _document(run: RunDirectory, file: str) -> Document | None:
    path = run.file(file)
    if path.is_symlink() or not path.is_file():
        return None
    if path.stat().st_size > MAX_FILE:
        raise ValueError(f"{file} is larger than {MAX_FILE >> 20} MiB")
    return Document.of(file, path.read_bytes())


def _lost(run: RunDirectory, checkpoint: Checkpoint) -> str:
    stats = _document(run, f"{checkpoint.directory}/trace/stats")
    count = ftrace.lost(stats) if stats else 0
    return f"the buffer overflowed: {count} records are not there" if count else ""


def _recorded(trace: Trace, window: Window, calls: Iterable[str], problem: str) -> Recorded:
    counts = Counter(word for r in trace.records[window.first:window.last] if (word := _counted(r)))
    order = ("user fault", "page allocation", "new task")
    found = sorted(counts.items(), key=lambda item: (order.index(item[0]) if item[0] in order else len(order)))
    return Recorded(window.name, window.closed, tuple(found), tuple(calls), problem or window.flaw)


def _counted(record: Record) -> str:
    """What a record counts as; "" for those that say the same as another one."""
    words = {"page_fault_user": "user fault", "mm_page_alloc": "page allocation", "task_newtask": "new task",
             "lab_fault": "", "rss_stat": ""}  # fmt: skip
    if record.name in words:
        return words[record.name]
    if record.name.startswith("sys_"):
        return "" if " -> " in record.details else f"{record.name[4:]}()"
    return f"{record.name[4:]}()" if record.name.startswith("lab_") else record.name


def _calls(graph: Document) -> dict[str, list[str]]:
    """The graph's lines by window: without processor, task and times."""
    found: dict[str, list[str]] = {}
    current: list[str] | None = None
    for line in graph.lines:
        mark = _MARK.search(line)
        if mark:
            current = found.setdefault(mark[2], []) if mark[1] == "begin" else None
        elif current is not None and (call := _CALL.search(line)):
            current.append(call[1])
    return found


def shown(calls: tuple[str, ...]) -> Iterator[str]:
    """The first lines of a call tree, and how many more there are."""
    yield from calls[:MAX_CALLS]
    if len(calls) > MAX_CALLS:
        yield f"... {len(calls) - MAX_CALLS} more lines, in the trace/graph file of this checkpoint"
