"""What the kernel had of one process at one checkpoint, as values that a repeat has too. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from typing import Any, NamedTuple

from orchestrator.collect import objects
from orchestrator.collect.objects import KernelObjects
from orchestrator.digest import left_out
from orchestrator.digest.canonical import text
from orchestrator.digest.space import is_file, is_filled, is_given, sized
from orchestrator.digest.subject import Process, Subject
from orchestrator.model import Vma

_COVERS = {"pte": 1, "pmd": objects.ENTRIES, "pud": objects.ENTRIES**2}  # pages that a leaf there maps
_GONE = (left_out.KERNEL_ADDRESSES, left_out.IDS, left_out.TIMES, left_out.SUMS, left_out.TABLES, left_out.INODES)
_MM_ADDRESSES = frozenset({"mmap_base", "task_size"})


class Leaf(NamedTuple):
    """An entry that maps pages."""

    at: int  # the first address
    pages: int
    kind: str
    writable: bool
    dirty: bool


def parts(subject: Subject, one: Process) -> Iterator[tuple[str, Any]]:
    """Kind of evidence and value."""
    if one.moment.pid not in subject.run.pids(one.moment.checkpoint, "kernel"):
        return
    found = one.moment.kernel
    subject.leave(*_GONE)
    yield "kernel objects", {
        "levels": list(found.levels), "broken": sorted(found.broken), "mm": _mm(subject, one, found),
        "tasks": [_without(item.fields) for item in found.tasks], "vmas": _vmas(subject, one, found),
    }  # fmt: skip
    yield "pages", _pages(subject, one, found)


def _without(fields: Any) -> dict[str, Any]:
    for rule in _GONE:
        fields = rule.without(fields)
    return {name: value for name, value in fields.items() if name not in ("is", "fsbase")}


def _mm(subject: Subject, one: Process, found: KernelObjects) -> Any:
    if found.mm is None:
        return None
    names = subject.names(one.moment.checkpoint.index, one.moment.pid)
    fields = _without(found.mm.fields)
    if one.cut or one.shared:
        fields = left_out.CUT.without(fields)
    if one.shared or not one.placed:
        fields = left_out.PLACES.without(fields)
    return {name: names.number(value) if isinstance(value, int) else value for name, value in fields.items()
            if name not in _MM_ADDRESSES and not (one.shared and name == "brk")}  # fmt: skip


def _vmas(subject: Subject, one: Process, found: KernelObjects) -> Any:
    names = _names(one)
    rows = []
    for item in found.vmas:
        fields = item.fields
        name, vma = names.get(fields["start"], ("?", None))
        if vma is not None and not is_given(subject, one, name, vma):
            continue
        row = {"name": name, "flags": fields["flags"], "file": fields.get("file"), "merge": bool(fields["anon_vma"])}
        if fields.get("file"):
            row["pgoff"] = fields["pgoff"]
        if sized(subject, one, name):
            row["size"] = fields["end"] - fields["start"]
        rows.append(row)
    return rows if one.placed else sorted(rows, key=text)


def _names(one: Process) -> dict[int, tuple[str, Vma]]:
    return {vma.start: (name, vma) for name, vma in one.vmas}


def _pages(subject: Subject, one: Process, found: KernelObjects) -> Any:
    """Of each mapping that is no file's and not the main stack: each page that the tables map, what kind of page it is,
    and whether it may be written to and has been. Of a file's only the private copies."""
    leaves = sorted(_leaves(found))
    starts = [leaf.at for leaf in leaves]
    rows = []
    for start, (name, vma) in _names(one).items():
        if not is_filled(subject, one, name, vma):
            continue
        inside = leaves[bisect_left(starts, start):bisect_left(starts, vma.end)]
        pages = [[(leaf.at - start) // objects.PAGE, *leaf[1:]] for leaf in inside
                 if not is_file(vma) or leaf.kind in "aA"]  # fmt: skip
        if pages:
            rows.append([name, pages])
    return rows if one.placed else sorted(rows, key=text)


def _leaves(found: KernelObjects) -> Iterator[Leaf]:
    for table in found.tables.values():
        pages = _COVERS.get(table.level, 0)
        for index, kind in table.kinds.items() if pages else ():
            value = table.entries[index]
            if kind != "-":
                yield Leaf(table.base + index * pages * objects.PAGE, pages, kind, bool(value & objects.WRITABLE),
                           bool(value & objects.DIRTY))  # fmt: skip
