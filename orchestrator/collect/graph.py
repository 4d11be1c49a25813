"""The function graph as text (tracefs, ``trace`` of the tracer function_graph): calls in calls, with durations. Pure.

The format is that of kernel/trace/trace_functions_graph.c with the options funcgraph-proc and funcgraph-duration.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from orchestrator.collect.ftrace import base
from orchestrator.collect.lines import Document

MAX_CALLS = 100_000  # of one file
MAX_DEPTH = 50  # the kernel's own bound: FTRACE_RETFUNC_DEPTH, include/linux/ftrace.h

# " 0)  program-252   | + 45.651 us   |  handle_mm_fault() {": of a task's name 7 characters, which may be anything
_LINE = re.compile(r"\s*\d+\)\s.{0,24}-(\d+)\s*\|([^|]*)\|(.*)")
_MARK = re.compile(r"\s*/\* lab: (begin|end) ([A-Za-z0-9._-]{1,64}) \*/")
_MICROSECONDS = re.compile(r"(\d{1,12}(?:\.\d{1,6})?) us")
_CALL = re.compile(r"\s*([^\s(){};/]{1,200})(?: \[[^\]]*\])?\(.*\)( \{|;)")
_RETURN = re.compile(r"\s*\}")


@dataclass
class Call:
    """One call. ``micros``: its duration with all that it called, None if it had not returned."""

    name: str  # without compilers' suffixes
    pid: int  # of the thread
    line: int
    micros: float | None = None
    calls: list[Call] = field(default_factory=list)


@dataclass
class Graph:
    """What one window has: the calls that stand at its top, in the order of time."""

    name: str
    calls: list[Call] = field(default_factory=list)
    cut: bool = False  # there was more than can be kept


def parse_graph(document: Document) -> Iterator[Graph]:
    """The windows, in the order of time. Lines that are no call (interrupts, switches, comments) are left out."""
    current: Graph | None = None
    open_calls: dict[int, list[Call]] = {}  # by thread, the innermost last
    count = 0
    for number, line in enumerate(document.lines, 1):
        found = _LINE.match(line)
        if found is None:
            continue
        if mark := _MARK.match(found[3]):
            if current is not None:
                yield current
            current = Graph(mark[2]) if mark[1] == "begin" else None
            open_calls = {}
        elif current is not None:
            count += 1
            if count > 2 * MAX_CALLS:
                current.cut = True
                break
            _take(current, open_calls.setdefault(int(found[1]), []), found, number)
    if current is not None:
        yield current


def _take(graph: Graph, stack: list[Call], found: re.Match[str], number: int) -> None:
    """One line: a call begins, returns, or both."""
    duration = _MICROSECONDS.search(found[2])
    micros = float(duration[1]) if duration else None
    if _RETURN.match(found[3]):
        if stack:
            stack.pop().micros = micros
        return
    call = _CALL.match(found[3])
    if call is None:
        return
    made = Call(base(call[1]), int(found[1]), number, micros)
    if len(stack) < MAX_DEPTH:
        (stack[-1].calls if stack else graph.calls).append(made)
    else:
        graph.cut = True
    if call[2] != ";":
        stack.append(made)
