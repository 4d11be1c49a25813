"""The kernel's trace as text (tracefs, ``trace``): records, call chains, and the windows marked in it. Pure.

The format is that of kernel/trace/trace_output.c; what differs between kernels is said where it is read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import NamedTuple

from orchestrator.collect.lines import Document, EvidenceError

# "  task name-123  [000] d..1.   2.053030: event: details": the name has 16 columns, and may hold anything
_RECORD = re.compile(
    r"(.{1,16})-(\d+)\s+\[\d+\]\s\S+\s+(\d+\.\d+): (?:(\w+): ?|(?=sys_\w+(?:\(| -> ))|<stack trace>$)(.*)"
)
_SYSCALL_NAME = re.compile(r"sys_\w+")
_MARK = re.compile(r"lab: (begin|end) ([A-Za-z0-9._-]{1,64})")
_SYSCALL = re.compile(r"sys_(\w+)(?:\((.*)\)| -> (0x[0-9a-f]+))$")
_ARGUMENT = re.compile(r"(\w+): ([^,\s]*)")
_QUOTED = re.compile(r'"[^"]*"')  # a user's text after its pointer, as new kernels show it; nothing is escaped in it
_FIELD = re.compile(r"(\w+)=(\S*)")
_HEXADECIMAL = frozenset({"clone_flags"})  # printed without 0x: include/trace/events/task.h
# The name may hold anything, so what follows it is found from the right: include/trace/events/task.h
_NEW_TASK = re.compile(r"pid=(\d+) comm=.* clone_flags=([0-9a-f]+) oom_score_adj=-?\d+")
_SUFFIX = re.compile(r"\.(?:isra|constprop|part|cold|llvm)\..*|\.cold$")
_STATS = re.compile(r"cpu\d+ entries=(\d+) overrun=(\d+) commit_overrun=(\d+) dropped=(\d+)")
_MISSED = re.compile(r"probe \w+ hits=\d+ missed=(\d+)")
_INNER = re.compile(  # what the recording itself adds at the inner end of a chain
    r"trace_event_raw_event_|trace_event_buffer|event_triggers_|stacktrace_trigger|kprobe_|ftrace_|arch_ftrace_"
    r"|__traceiter_|trace_stack|__trace_stack|trace_call_|0x|kretprobe_|aggr_pre_|opt_pre_|optimized_"
)


class Record(NamedTuple):
    """One record. ``name`` is the event's, "sys_mmap" for both sides of a system call."""

    pid: int  # of the thread
    name: str
    details: str
    line: int
    seconds: float
    chain: tuple[str, ...]  # functions, innermost first, without compilers' suffixes


@dataclass(frozen=True)
class Window:
    """What was recorded between two marks of the program: records[first:last]."""

    name: str
    first: int
    last: int
    closed: bool  # False: the trace ends inside, as when the program died
    began: float  # seconds, trace clock
    pid: int  # the thread that opened it
    flaw: str = ""  # why not all of it was recorded: another window ended in it


@dataclass(frozen=True)
class Trace:
    """All records of one buffer, in the order of time, and the windows in it."""

    records: tuple[Record, ...]
    windows: tuple[Window, ...]


@dataclass(frozen=True)
class Setup:
    """What labrun said about one thing that was asked for: "ok", "absent" or "refused"."""

    state: str
    detail: str  # the kernel's own name for it, or the error
    line: int


def base(function: str) -> str:
    """A function's name as in the source: without .isra.0 and the like."""
    return _SUFFIX.sub("", function)


def parse_trace(document: Document) -> Trace:
    """All records with their windows. Raises EvidenceError for a line that the kernel does not write."""
    records: list[Record] = []
    chain: list[str] = []  # of the record before, while its lines come
    owner = 0  # the thread whose chain it is
    windows: list[Window] = []
    opened: dict[str, Window] = {}
    match = _RECORD.match
    for number, line in enumerate(document.lines, 1):
        if line.startswith(" => "):
            if not owner:
                raise document.garbled(number, "a call chain after its record")
            chain.append(base(line[4:].strip()))
            continue
        if chain:
            _close_chain(records, chain, owner)
            chain = []
        if not line or line[0] == "#":
            continue
        found = match(line)
        if found is None:
            raise document.garbled(number, "a record of the kernel's trace")
        name = found[4] or _syscall_name(found[5])
        if not name:
            owner = int(found[2])
            continue  # "<stack trace>": of the record before; its lines follow
        record = Record(int(found[2]), name, found[5], number, float(found[3]), ())
        if name == "tracing_mark_write":
            _mark(record, len(records), opened, windows)
        else:
            records.append(record)
    if chain:
        _close_chain(records, chain, owner)
    windows += [replace(window, last=len(records)) for window in opened.values()]
    return Trace(tuple(records), tuple(windows))


def _syscall_name(text: str) -> str:
    found = _SYSCALL_NAME.match(text)
    return found[0] if found else ""


def _close_chain(records: list[Record], chain: list[str], owner: int) -> None:
    """Gives the last record its chain. The trigger that records chains knows no pid filter
    (__trace_trigger_soft_disabled()): another task's, without a record, is left out."""
    if not records or records[-1].pid != owner or records[-1].chain:
        return
    while chain and _INNER.match(chain[0]):
        del chain[0]
    records[-1] = records[-1]._replace(chain=tuple(chain))


def _mark(record: Record, position: int, opened: dict[str, Window], windows: list[Window]) -> None:
    """A mark of somebody else's is none of ours. Every end stops the recording, also in a window around it."""
    found = _MARK.match(record.details)
    if found is None:
        return
    word, name = found.groups()
    if word == "begin":
        if name in opened:
            windows.append(replace(opened[name], last=position, flaw="it began again before its end"))
        opened[name] = Window(name, position, position, False, record.seconds, record.pid)
    elif name in opened:
        windows.append(replace(opened.pop(name), last=position, closed=True))
        for other, window in opened.items():
            opened[other] = replace(window, flaw=f"the end of the window {name!r} stopped the recording in it")


def lost(document: Document) -> int:
    """How many records are missing: labrun's trace/stats, a line for each processor (what the buffer did not take)
    and one for each probe that was not run every time."""
    total, buffers = 0, 0
    for number, line in enumerate(document.lines, 1):
        if found := _STATS.fullmatch(line):
            buffers += 1
            total += sum(int(found[index]) for index in (2, 3, 4))
        elif found := _MISSED.fullmatch(line):
            total += int(found[1])
        else:
            raise document.garbled(number, "the statistics of a trace buffer")
    if not buffers:
        raise EvidenceError(f"{document.file}: no statistics of the trace buffer")
    return total


def parse_setup(document: Document) -> dict[tuple[str, str], Setup]:
    """labrun's report: ("event", "kmem:rss_stat") and so on, what became of each."""
    found: dict[tuple[str, str], Setup] = {}
    for number, line in enumerate(document.lines, 1):
        match = re.fullmatch(r"(\w+) (\S+) (ok|absent|refused)(?: (.*))?", line)
        if match is None:
            raise document.garbled(number, "a line about the kernel trace")
        found[match[1], match[2]] = Setup(match[3], match[4] or "", number)
    return found


def fields(record: Record, document: Document) -> dict[str, object]:
    """The ``key=value`` pairs of a record: numbers where int(value, 0) reads them."""
    found: dict[str, object] = {
        key: number(f"0x{value}" if key in _HEXADECIMAL else value) for key, value in _FIELD.findall(record.details)
    }
    if not found and record.details and not record.details.startswith("("):
        raise document.garbled(record.line, "a record with fields")
    return found


def number(text: str) -> int | str:
    """A number as the kernel prints it ("0x1f", "12", "-3", "4096B"), else the text."""
    try:
        return int(text.removesuffix("B") if text[:-1].isdecimal() else text, 0) if len(text) <= 24 else text
    except ValueError:
        return text


def parse_new_task(record: Record, document: Document) -> tuple[int, int]:
    """The new task's id and the clone flags of a ``task_newtask``. Raises EvidenceError."""
    found = _NEW_TASK.fullmatch(record.details)
    if found is None:
        raise document.garbled(record.line, "a new task")
    return int(found[1]), int(found[2], 16)


@dataclass(frozen=True)
class Syscall:
    """One side of a system call: its arguments, or its result."""

    name: str
    arguments: dict[str, int | str]
    result: int | None  # negative: an error number


def parse_syscall(record: Record, document: Document) -> Syscall:
    """``sys_mmap(addr: 0, len: 1000, …)`` or ``sys_mmap -> 0x7f…``; all numbers are hexadecimal.

    Raises EvidenceError for anything else.
    """
    found = _SYSCALL.match(record.details)
    if found is None:
        raise document.garbled(record.line, "a system call")
    if found[3] is not None:
        value = int(found[3], 16)
        return Syscall(found[1], {}, value - (1 << 64) if value >= 1 << 63 else value)
    arguments: dict[str, int | str] = {}
    for key, value in _ARGUMENT.findall(_QUOTED.sub("", found[2])):
        if key in arguments:  # a text with quotes in it, that reads as an argument
            raise document.garbled(record.line, "a system call with each argument once")
        hexadecimal = re.fullmatch(r"(?:0x)?([0-9a-f]{1,16})", value)
        arguments[key] = int(hexadecimal[1], 16) if hexadecimal else value
    return Syscall(found[1], arguments, None)
