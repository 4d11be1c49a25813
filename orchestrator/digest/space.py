"""/proc/PID of one process at one checkpoint as values that a repeat has too. Pure."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from orchestrator.collect import procfs
from orchestrator.collect.lines import Document
from orchestrator.comparison.places import LARGE
from orchestrator.digest import left_out
from orchestrator.digest.canonical import text
from orchestrator.digest.names import Names
from orchestrator.digest.subject import Process, Subject
from orchestrator.model import Vma
from orchestrator.observed import ObservationError

MAIN_STACK, HEAP, ANONYMOUS = "[stack]", "[heap]", "anonymous"
_PLAIN = ("personality", "oom_score_adj", "cmdline", "comm")
_CLOSED = "---p"
_APART = 1 << 32  # bytes: the program and mmap's area are farther apart
# what smaps says of the kind of mapping, and not of its pages
_KIND = frozenset({"Size", "THPeligible"})


def parts(subject: Subject, one: Process) -> Iterator[tuple[str, Any]]:
    """Kind of evidence and value."""
    subject.leave(left_out.ADDRESSES, left_out.INODES)
    if one.moment.mappings is not None:
        yield "mappings", _mappings(subject, one)
        yield "memory", _memory(subject, one)
    yield "counters", _counters(subject, one)


# -- mappings ------------------------------------------------------------------------------------


def _mappings(subject: Subject, one: Process) -> Any:
    """In the order of addresses with their distances; where chance decides these, without, and in an order of ours.
    Of reserved memory only how much it is: a program cuts pieces off it where it finds a boundary."""
    if not one.placed:
        subject.leave(left_out.PLACES)
    rows = []
    before: Vma | None = None
    for name, vma in one.vmas:
        if is_given(subject, one, name, vma):
            near = before if one.placed and before and not _is_reserved(before) else None
            rows.append(_mapping(subject, one, name, vma, near))
        before = vma
    reserved = sum(vma.size for _, vma in one.vmas if _is_reserved(vma))
    return [rows if one.placed else sorted(rows, key=text), None if one.shared else reserved]


def is_given(subject: Subject, one: Process, name: str, vma: Vma) -> bool:
    """Whether a mapping is given by itself."""
    return not _is_reserved(vma) and not (one.shared and name.endswith((ANONYMOUS, " bss")))


def _is_reserved(vma: Vma) -> bool:
    return vma.perms == _CLOSED and not vma.name and not vma.inode


def _mapping(subject: Subject, one: Process, name: str, vma: Vma, before: Vma | None = None) -> dict[str, Any]:
    flags = sorted(vma.flags)
    found: dict[str, Any] = {"name": name, "perms": vma.perms, "offset": vma.offset, "flags": flags}
    if sized(subject, one, name):
        found["size"] = vma.size
    if before is not None and not _begins(name, before) and (gap := vma.start - before.end) < _APART:
        found["gap"] = gap
    return found


def _begins(name: str, before: Vma) -> bool:
    """Whether a part of the address space begins with the mapping that ASLR moves by itself: heap, main stack, vdso."""
    return name in (HEAP, MAIN_STACK, "[vsyscall]") or (name.startswith("[v") and not before.name.startswith("[v"))


def sized(subject: Subject, one: Process, name: str) -> bool:
    """Whether the size of a mapping of that name, and what is in it, is no chance."""
    if one.shared and name in (HEAP, ANONYMOUS):
        subject.leave(left_out.SHARED)
        return False
    if name in one.cut:
        subject.leave(left_out.CUT)
        return False
    return True


# -- what of them is in memory -------------------------------------------------------------------


def _memory(subject: Subject, one: Process) -> Any:
    """smaps' fields: of files without what counts their pages, of the main stack without any."""
    subject.leave(left_out.FILES, left_out.STACK)
    found = []
    for name, vma in one.vmas:
        if not is_filled(subject, one, name, vma):
            continue
        fields = {key: value for key, value in vma.fields if key not in _KIND}
        found.append([name, left_out.FILES.without(fields) if is_file(vma) else _own(fields)])
    return found if one.placed else sorted(found, key=text)


def is_filled(subject: Subject, one: Process, name: str, vma: Vma) -> bool:
    """Whether to say which pages of a mapping are there."""
    if name == MAIN_STACK or not sized(subject, one, name) or not is_given(subject, one, name, vma):
        return False
    if vma.size >= LARGE and not is_file(vma):
        subject.leave(left_out.HUGE)
        return False
    return True


def is_file(vma: Vma) -> bool:
    """Whether pages of a file, or of memory that is shared like one, are in it."""
    return bool(vma.inode) or vma.name.startswith("[v")


def _own(fields: Mapping[str, int]) -> dict[str, int]:
    """Of anonymous memory: how much is resident, and in what kind of pages. Who else has the page is left out where
    it is a share of another process's count."""
    return {name: value for name, value in fields.items() if not name.startswith("Pss") and name != "Referenced"}


# -- counters ------------------------------------------------------------------------------------

_LEFT_OUT = (left_out.IDS, left_out.TIMES, left_out.SUMS, left_out.TABLES, left_out.QUEUES)


def _counters(subject: Subject, one: Process) -> Any:
    subject.leave(*_LEFT_OUT)
    names = subject.names(one.moment.checkpoint.index, one.moment.pid)
    folder = f"{one.moment.checkpoint.directory}/proc/{one.moment.pid}"
    return {
        "status": _fields(subject, one, f"{folder}/status", procfs.parse_status, names),
        "stat": _fields(subject, one, f"{folder}/stat", procfs.parse_stat, names),
        "limits": _limits(subject, f"{folder}/limits"),
        "words": {name: names.text(" ".join(lines)) for name in _PLAIN
                  if (lines := _lines(subject, f"{folder}/{name}")) is not None},
        "threads": [_lines(subject, f"{folder}/task/{tid}/comm") for tid in one.threads],
    }  # fmt: skip


def _fields(subject: Subject, one: Process, file: str, parse: Callable[[Document], dict[str, procfs.Value]],
            names: Names) -> Any:
    try:
        values = parse(subject.run.observed.document(file))
    except ObservationError:  # it is not there, or was cut off
        return None
    for rule in (*_LEFT_OUT, left_out.CUT) if one.cut or one.shared else _LEFT_OUT:
        values = rule.without(values)
    return {name: names.number(found.value) if isinstance(found.value, int) else names.text(str(found.value))
            for name, found in values.items()}  # fmt: skip


def _limits(subject: Subject, file: str) -> Any:
    try:
        found = procfs.parse_limits(subject.run.observed.document(file))
    except ObservationError:
        return None
    return {name: [None if value == math.inf else value for value in (one.soft, one.hard)]
            for name, one in left_out.ENVIRONMENT.without(found).items()}  # fmt: skip


def _lines(subject: Subject, file: str) -> list[str] | None:
    with contextlib.suppress(ObservationError):
        return list(subject.run.observed.document(file).lines)
    return None
