"""`lab inspect` for a terminal: an address space, a heap, the threads, or what a run has to inspect. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from orchestrator.collect.heap_values import STATES
from orchestrator.inspection.facts import Fact, Section, View
from orchestrator.report.inspect_terminal import checked, heading, place, troubles
from orchestrator.report.inspect_words import words
from orchestrator.report.text import Paint, clean, columns, flow, plural, size

Values = Mapping[str, Any]
_TITLES = {"mm": "The address space", "heap": "The heap", "threads": "The threads", "contents": "What can be inspected"}
_NUMBERS = ("users", "count", "map_count")
_PAGES = ("total_vm", "data_vm", "exec_vm", "stack_vm", "locked_vm", "rss_file", "rss_anon", "rss_swap", "rss_shmem")


def render(view: View, *, width: int = 80, colour: bool = False) -> str:
    """The view as text."""
    paint = Paint(colour)
    where = view.where
    title = f"{_TITLES.get(view.kind, view.kind)} at {clean(where.at, 64)}, process {where.pid}"
    lines = [paint(title, "bold"), *heading(where, width, paint)]
    for section in view.sections:
        lines += ["", paint(clean(section.title, 80), "bold"), *_section(section, width, paint)]
    lines += checked(view.checks, width, paint)
    return "\n".join([*lines, *troubles(view.troubles, width, paint)]) + "\n"


def _section(section: Section, width: int, paint: Paint) -> Iterator[str]:
    for fact in section.facts:
        yield from _fact(fact, width, paint)
    if section.more:
        yield f"  ... and {section.more} more (-v)"


def _fact(fact: Fact, width: int, paint: Paint) -> Iterator[str]:
    """Its lines, with the evidence at the end of the last one where there is room, else below it."""
    say = _ROWS.get(fact.topic)
    lines = [line for text in (say(fact.values) if say else words(fact)) for line in
             flow([part for part in text.strip().split("  ") if part], width, "  ", "    ")]  # fmt: skip
    *before, last = lines or [""]
    yield from before
    at = " ".join(place(one) for one in fact.evidence[:2])
    free = width - columns(last) - columns(at)
    if at and free < 2:
        yield last
        last, free = "", max(width - columns(at), 4)
    yield last + (" " * free + paint(at, "dim") if at else "")


def _mm(v: Values) -> list[str]:
    """Addresses, then counts of pages, then the rest."""
    special = {"address", "pgd", "exe", *_NUMBERS, *_PAGES, "pgtables_bytes", "def_flags"}
    head = f"mm_struct {v['address']:#x}  pgd {v['pgd']:#x}"
    counts = "  ".join(f"{name} {v[name]}" for name in _NUMBERS if name in v)
    pages = "  ".join(f"{name} {v[name]} ({size(v[name] * 4096)})" for name in _PAGES if name in v)
    addresses = "  ".join(f"{name} {v[name]:#x}" for name in v if name not in special and isinstance(v[name], int))
    last = f"pgtables_bytes {size(v['pgtables_bytes'])}  def_flags {v['def_flags']:#x}  exe {clean(str(v.get('exe')))}"
    return [f"{head}  {counts}", addresses, pages, last]


def _vma(v: Values) -> list[str]:
    """A line like that of /proc/PID/maps, with the object's own address; its flags; its pages."""
    name = clean(str(v["name"]), 60).rpartition("/")[2] or "anonymous"
    counts = "  ".join(f"{kind} {count}" for kind, count in v["pages"].items())
    flags = [flag for flag in v["names"] if flag not in ("read", "write", "exec", "mayread", "maywrite", "mayexec")]
    parts = [f"{v['start']:x}-{v['end']:x} {v['perms']}", size(v["end"] - v["start"]), name, f"vma {v['address']:#x}",
             " ".join(clean(flag, 24) for flag in flags), f"pages: {counts or 'none'}"]  # fmt: skip
    return ["  ".join(part for part in parts if part)]


def _counts(v: Values) -> list[str]:
    return ["pages mapped: " + "  ".join(f"{kind} {count}" for kind, count in v.items())]


def _tables(v: Values) -> list[str]:
    return ["tables: " + "  ".join(f"{level} {count}" for level, count in v.items())]


def _malloc(v: Values) -> list[str]:
    head = f"glibc {clean(str(v['glibc']), 20)}  {clean(str(v['libc']), 100)}  safe linking: " \
        f"{'yes' if v['safe_linking'] else 'no'}"
    numbers = [name for name in v if name not in ("glibc", "libc", "safe_linking") and isinstance(v[name], int)]
    return [head, "  ".join(f"{name} {_number(v[name])}" for name in numbers)]


def _number(value: int) -> str:
    return f"{value:#x}" if value > 1 << 32 else str(value)


def _whole_arena(v: Values) -> list[str]:
    threads = ", ".join(map(str, v["threads"][:12])) or "none"
    numbers = "  ".join(f"{name} {_number(v[name])}" for name in
                        ("top", "last_remainder", "system_mem", "max_system_mem", "next") if name in v)  # fmt: skip
    return [f"{v['address']:#x}  of threads: {threads}", numbers]


def _heap(v: Values) -> list[str]:
    states = "  ".join(f"{STATES[state].short} {count} ({size(total)})"
                       for state, (count, total) in v["states"].items())  # fmt: skip
    broken = f"the walk breaks off at {clean(v['broken'])}" if v["broken"] else ""
    reach = f"{v['start']:#x} to {v['end']:#x}  {size(v['end'] - v['start'])}  {plural(v['chunks'], 'chunk')}"
    return [reach, states, *([broken] if broken else [])]


def _size(v: Values) -> list[str]:
    return [f"{v['size']:>8} bytes  {v['used']:>7} in use  {v['free']:>7} free"]


def _chunk(v: Values) -> list[str]:
    flags = " ".join(v["flags"])
    return [f"{v['address']:#x}  {v['size']} bytes  {v['means']}  {flags}"]


def _list(v: Values) -> list[str]:
    chunks = " ".join(f"{chunk:#x}" for chunk in v["chunks"])
    more = f" and {v['length'] - len(v['chunks'])} more" if v["length"] > len(v["chunks"]) else ""
    name = f"tcache {v['index']} of thread {v['thread']}  {v['size']} bytes  count {v['count']}" \
        if v["list"] == "tcache" else f"{v['list']} {v['index']}"
    broken = f"  broken: {clean(v['broken'])}" if v["broken"] else ""
    return [f"{name}  {plural(v['length'], 'chunk')}: {chunks}{more}{broken}"]


_ROWS: Mapping[str, Callable[[Values], list[str]]] = {
    "mm": _mm, "vma": _vma, "pages": _counts, "tables": _tables, "malloc": _malloc, "whole-arena": _whole_arena,
    "heap": _heap, "size": _size, "chunk": _chunk, "list": _list,
}  # fmt: skip
