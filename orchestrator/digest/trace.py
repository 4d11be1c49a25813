"""What the kernel recorded before a checkpoint, window by window, as values that a repeat has too. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from orchestrator.collect import ftrace, graph
from orchestrator.collect.ftrace import Record, Trace, Window
from orchestrator.comparison.places import LOWEST
from orchestrator.digest import left_out
from orchestrator.digest.names import Names
from orchestrator.digest.space import MAIN_STACK, is_file
from orchestrator.digest.subject import Subject
from orchestrator.model import Checkpoint, Vma
from orchestrator.observed import ObservationError

_FAULT, _HANDLED, _ALLOCATION, _RSS = "page_fault_user", "lab_fault", "mm_page_alloc", "rss_stat"
_NEW_TASK = "task_newtask"
_IN_FAULT = frozenset({"handle_mm_fault", "exc_page_fault", "do_user_addr_fault"})
# fields that are addresses of the kernel, frames, ids, or where in its code and stack a program was
_GONE = re.compile(r"(?:page|pfn|vma|vma_start|vma_end|mm_id|curr|ip|\w*[pt]id|\w*comm|tls|stack|uargs)$")
_PAIR = re.compile(r"(\w+)(?:=|: )([^\s,()]+)")
_RESULT = re.compile(r"sys_\w+ -> (0x[0-9a-f]{1,16})$")
_OF_ARENAS = ("sys_mmap", "sys_munmap", "sys_mprotect")
_OF_TASKS = ("sys_clone", "sys_fork", "sys_vfork", "sys_wait", "sys_get", "sys_set")  # their result is an id

# Of the functions that the graph has (tracing.GRAPH_FILTER). What the page allocator and the LRU lists call depends on
# free lists and on how full a batch is
_LEAVES = re.compile(r"__alloc_(?:frozen_)?pages|folio_add_lru|lru_cache_add")
# Tables that a fault finds missing, the tries for a huge page that the address decides, statistics, and what is no part
# of the fault: a wake-up that an interrupt brings, and what a probe reads its arguments with
_HIDDEN = re.compile(r"alloc_pages(?:_noprof|_current)?$|(?:__)?get_(?:free|zeroed)_pages?|do_huge_pmd_anonymous_page$"
                     r"|\w*stat_mod|\w*_page_state|default_|copy_from_user_nofault")  # fmt: skip


def parts(subject: Subject, checkpoint: Checkpoint) -> Iterator[tuple[str, Any]]:
    """Kind of evidence and value."""
    folder = f"{checkpoint.directory}/trace"
    try:
        document = subject.run.observed.document(f"{folder}/events")
        lost = ftrace.lost(subject.run.observed.document(f"{folder}/stats"))
    except ObservationError:  # nothing was traced, or it was cut off
        return
    subject.leave(left_out.ALLOCATIONS, left_out.THREADS, left_out.IDS, left_out.ADDRESSES)
    trace = ftrace.parse_trace(document)
    yield "trace", {"lost": lost > 0, "windows": [_window(subject, checkpoint, trace, one) for one in trace.windows]}
    try:
        graphs = list(graph.parse_graph(subject.run.observed.document(f"{folder}/graph")))
        whole = not ftrace.lost(subject.run.observed.document(f"{folder}/graph-stats"))
    except ObservationError:
        return
    yield "call trees", [[one.name, _tree(subject, checkpoint, trace, one) if whole else None] for one in graphs]


# -- records -------------------------------------------------------------------------------------


def _window(subject: Subject, checkpoint: Checkpoint, trace: Trace, window: Window) -> Any:
    """The records of the thread that marked it, in their order. How far others came, the scheduler decides."""
    records = [one for one in trace.records[window.first:window.last] if one.pid == window.pid]
    rows = list(_records(subject, checkpoint, records))
    if not subject.placed(checkpoint):
        rows = [row for row, before in zip(rows, [None, *rows], strict=False) if row != before]
    return [window.name, window.closed, window.flaw, rows]


def _records(subject: Subject, checkpoint: Checkpoint, records: list[Record]) -> Iterator[Any]:
    """Those that are given, up to where a task is made: from there on two go side by side."""
    names = subject.names(checkpoint.index, checkpoint.pid)
    vmas = [vma for one in subject.processes.get(checkpoint.index, ()) for _, vma in one.vmas]
    arenas = subject.arenas(checkpoint)
    given = True  # whether the fault that the thread takes is
    for record in records:
        if record.name in (_FAULT, _HANDLED):
            address = ftrace.number(_value(record, "address"))
            given = isinstance(address, int) and _is_given(vmas, address)
        in_fault = record.name in (_FAULT, _HANDLED) or not _IN_FAULT.isdisjoint(record.chain)
        if record.name == _RSS or (in_fault and not given) or (arenas and record.name in _OF_ARENAS):
            continue
        if record.name == _ALLOCATION and not _of_user(record):
            continue
        yield [record.name, _details(record, names), list(record.chain)]
        if record.name == _NEW_TASK:
            return


def _is_given(vmas: list[Vma], address: int) -> bool:
    """Whether the address is in memory that is no file's and not the main stack."""
    found = next((vma for vma in vmas if vma.start <= address < vma.end), None)
    return found is None or not (is_file(found) or found.name == MAIN_STACK)


def _value(record: Record, name: str) -> str:
    found = re.search(rf"(?:^|\s){name}=(\S+)", record.details)
    return found[1] if found else ""


def _of_user(record: Record) -> bool:
    """Whether the page is for a program: those that the kernel takes for itself cannot be moved."""
    flags = _value(record, "gfp_flags")
    return "MOVABLE" in flags or "TRANSHUGE" in flags


def _details(record: Record, names: Names) -> Any:
    """The fields, without those that chance decides; of a system call that returned, what it returned."""
    if result := _RESULT.match(record.details):
        number = int(result[1], 16)
        new = record.name.startswith(_OF_TASKS) and 0 < number < LOWEST
        return ["result", names.member(number) if new else names.number(number)]
    return [[key, _named(value, record, names)] for key, value in _PAIR.findall(record.details)
            if not _GONE.match(key)]  # fmt: skip


def _named(value: str, record: Record, names: Names) -> Any:
    """A system call's numbers are hexadecimal, also those without 0x (print_syscall_enter(), kernel/trace)."""
    if record.name.startswith("sys_") and re.fullmatch(r"[0-9a-f]{1,16}", value):
        return names.number(int(value, 16))
    number = ftrace.number(value)
    return names.number(number) if isinstance(number, int) else names.text(value)


# -- call trees ----------------------------------------------------------------------------------


def _tree(subject: Subject, checkpoint: Checkpoint, trace: Trace, found: graph.Graph) -> Any:
    """The calls of the thread that marked the window. The graph has no addresses: its faults are those of the trace, in
    the same order; where they are not as many, it can't be told which are given, and none is."""
    window = next((one for one in trace.windows if one.name == found.name), None)
    if window is None or found.cut:
        return None
    calls = [one for one in found.calls if one.pid == window.pid and not _HIDDEN.match(one.name)]
    faults = [ftrace.number(_value(one, "address")) for one in trace.records[window.first:window.last]
              if one.pid == window.pid and one.name == _HANDLED]  # fmt: skip
    if len(faults) != sum(one.name == "handle_mm_fault" for one in calls):
        return None
    vmas = [vma for one in subject.processes.get(checkpoint.index, ()) for _, vma in one.vmas]
    rows, rest = [], iter(faults)
    for call in calls:
        address = next(rest) if call.name == "handle_mm_fault" else None
        if not isinstance(address, int) or _is_given(vmas, address):
            rows.append([call.name, _calls(call.calls)])
    return rows


def _calls(calls: list[graph.Call]) -> Any:
    return [[one.name, [] if _LEAVES.match(one.name) else _calls(one.calls)] for one in calls
            if not _HIDDEN.match(one.name)]  # fmt: skip
