"""The picture of the address space: what is drawn at each checkpoint, from top to bottom.

A row is a mapping, a gap between mappings, a mapping that went, or a fold of many that stayed as they were; the
script only gives it place and colour. Sizes and resident sizes are bytes, addresses "0x…".
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from orchestrator.address_space import Change, Kind, resident
from orchestrator.inspection.moment import Run
from orchestrator.model import Vma
from orchestrator.report.story import Moment, moments
from orchestrator.report.text import PAGE, clean, cut, plus, size

MAX_STEPS = 500  # checkpoints
MAX_BARS = 36  # mappings drawn at one checkpoint; of more, those which stayed as they were are folded
MAX_LISTED = 1_200_000  # bytes, about, of the mappings in the tables of all checkpoints together
MAX_NOTES = 24  # of one checkpoint
MAX_NAME = 40  # columns
MAX_PATH = 200  # characters

_SPECIAL = {"[heap]": "heap", "[stack]": "stack", "[vdso]": "kernel", "[vvar]": "kernel", "[vvar_vclock]": "kernel",
            "[vsyscall]": "kernel"}  # fmt: skip


def kind(vma: Vma) -> str:
    """What a mapping is for: text rodata data heap anon stack file kernel guard, as the colours are called."""
    if not vma.inode and vma.name in _SPECIAL:
        return _SPECIAL[vma.name]
    if vma.perms.startswith("---"):
        return "guard"
    if not vma.inode:
        return "anon"
    if vma.perms.endswith("s"):
        return "file"
    return "text" if "x" in vma.perms else "data" if "w" in vma.perms else "rodata"


def name(vma: Vma) -> str:
    """A mapping for people: the file's last part; a file that is called as the kernel's own are keeps its path."""
    last = vma.name.rpartition("/")[2]
    whole = not last or (last.startswith("[") and vma.name.startswith("/")) or vma.name.startswith("/dev/")
    shown = vma.name if whole else last
    return cut(clean(shown), MAX_NAME) or "anonymous"


def data(run: Run) -> dict[str, Any] | None:
    """The rows of each checkpoint, and each mapping once; None where no checkpoint has any."""
    page = run.record.environment.get("page_size")
    book = _Book()
    steps: list[dict[str, Any]] = []
    for moment in moments(run.record, run.directory.path):
        if len(steps) == MAX_STEPS:
            break
        steps.append(_step(moment, book))
    if not any(step["rows"] for step in steps):
        return None
    evidence = [[step["file"], row["line"]] for step in steps for row in step["rows"]
                if row.get("line") and row["mark"] not in ("", Kind.TOUCHED)]  # fmt: skip
    return {"page": page if isinstance(page, int) and page > 0 else PAGE, "vmas": book.entries, "steps": steps,
            "evidence": evidence}  # fmt: skip


_Marks = dict[tuple[int, int], tuple[str, str]]


class _Book:
    """Each mapping once: most are the same at every checkpoint. ``spent``: about how many bytes are listed."""

    def __init__(self) -> None:
        self.entries: list[list[Any]] = []
        self.spent = 0
        self._places: dict[tuple[Any, ...], int] = {}

    def listed(self, vmas: Iterable[Vma], marks: _Marks) -> list[list[Any]]:
        """[place, line, mark, words] of each mapping for a table, as long as there is room."""
        found = []
        for vma in vmas:
            if self.spent > MAX_LISTED:
                break
            found.append([self.place(vma), vma.line, *marks.get(_key(vma), ("", ""))])
            self.spent += 20
        return found

    def place(self, vma: Vma) -> int:
        """The index of a mapping's entry: start, end, permissions, name, path, kind, resident bytes or None."""
        path = clean(vma.name, MAX_PATH)
        entry = (f"{vma.start:#x}", f"{vma.end:#x}", vma.perms, name(vma), path, kind(vma), resident((vma,)))
        if entry not in self._places:
            self._places[entry] = len(self.entries)
            self.entries.append(list(entry))
            self.spent += 70 + len(entry[3]) + len(path)
        return self._places[entry]


def _step(moment: Moment, book: _Book) -> dict[str, Any]:
    vmas = sorted(moment.vmas, key=lambda vma: -vma.start)
    marks = _marks(moment.changes)
    gone = [vma for change in moment.changes if change.kind is Kind.WENT for vma in change.before]
    rows = _rows(vmas, gone, marks, book)
    listed = book.listed(vmas, marks)
    return {
        "rows": rows, "list": listed, "unlisted": len(vmas) - len(listed), "totals": _totals(moment),
        "fresh": moment.fresh, "problem": moment.problem, "file": moment.file,
        "notes": [_note(key, value) for key, value in moment.notes[:MAX_NOTES]],
    }  # fmt: skip


def _totals(moment: Moment) -> dict[str, int | None]:
    """How many mappings, their size and resident size, and by how much these changed; without [vsyscall], which /proc
    shows everywhere and no mm has."""
    now, before = ([vma for vma in vmas if vma.name != "[vsyscall]"] for vmas in (moment.vmas, moment.previous))
    mapped, was_mapped = (sum(vma.size for vma in vmas) for vmas in (now, before))
    rss, was = resident(now), resident(before)
    compared = bool(moment.file) and not moment.fresh
    return {
        "count": len(now), "mapped": mapped, "rss": rss, "mapped_by": mapped - was_mapped if compared else None,
        "rss_by": rss - was if compared and rss is not None and was is not None else None,
    }  # fmt: skip


def _key(vma: Vma) -> tuple[int, int]:
    return vma.start, vma.end


def _marks(changes: Iterable[Change]) -> _Marks:
    """(start, end) of a mapping that is there -> what happened to it, and by how much."""
    return {_key(vma): (change.kind.value, _says(change)) for change in changes for vma in change.after}


def _says(change: Change) -> str:
    """By how much, and where: "+4 KiB at the end", "1 became 3", "was r--p", "RSS 8 → 12 KiB"."""
    if change.kind in (Kind.GREW, Kind.SHRANK):
        low, high = change.low, change.high
        return f"{plus(change.bytes)} at {'both ends' if low and high else 'the start' if low else 'the end'}"
    if change.kind in (Kind.SPLIT, Kind.MERGED):
        return f"{len(change.before)} became {len(change.after)}"
    if change.kind is Kind.PERMISSIONS:
        return f"was {change.before[0].perms}"
    if change.kind is Kind.MOVED:
        return f"was at {change.before[0].start:#x}"
    before, after = change.rss_before, change.rss_after
    if change.kind is Kind.TOUCHED and before is not None and after is not None:
        was, now = size(before).partition(" "), size(after).partition(" ")
        return f"RSS {was[0] if was[2] == now[2] else size(before)} → {size(after)}"
    return size(change.vma.size)


def _rows(vmas: Sequence[Vma], gone: Iterable[Vma], marks: _Marks, book: _Book) -> list[dict[str, Any]]:
    """From the highest address down: mappings, folds of many, what went, and the gaps between them."""
    groups = [(group, False) for group in _folded(vmas, marks)] + [([vma], True) for vma in [*gone][:MAX_BARS]]
    rows: list[dict[str, Any]] = []
    above = 0
    for group, went in sorted(groups, key=lambda item: -item[0][0].start):
        low, high = group[-1].start, max(vma.end for vma in group)
        if rows and high < above:
            rows.append({"gap": above - high})
        rows.append(_row(group, went, marks, book))
        above = min(low, above) if rows[:-1] else low
    return rows


def _folded(vmas: Sequence[Vma], marks: _Marks) -> Iterator[list[Vma]]:
    """Each mapping alone while they are few; of many, those that tell something alone, and the others folded."""
    if len(vmas) <= MAX_BARS:
        yield from ([vma] for vma in vmas)
        return

    def rank(vma: Vma) -> int:
        what = marks.get(_key(vma), ("",))[0]
        return 0 if kind(vma) in ("heap", "stack") else 1 if what not in ("", Kind.TOUCHED) else 2 if what else 3

    alone = {id(vma) for vma in sorted(vmas, key=rank)[:MAX_BARS]}
    fold: list[Vma] = []
    for vma in vmas:
        if id(vma) in alone:
            if fold:
                yield fold
            yield [vma]
            fold = []
        else:
            fold.append(vma)
    if fold:
        yield fold


def _row(group: Sequence[Vma], went: bool, marks: _Marks, book: _Book) -> dict[str, Any]:
    first = group[0]
    if len(group) > 1:
        low, high = group[-1].start, max(vma.end for vma in group)
        changed = Counter(marks[_key(vma)][0] for vma in group if _key(vma) in marks)
        return {"fold": len(group), "start": f"{low:#x}", "end": f"{high:#x}", "rss": resident(group),
                "bytes": sum(vma.size for vma in group), "mark": next(iter(changed), ""),
                "says": ", ".join(f"{count} {what}" for what, count in changed.items())}  # fmt: skip
    if went:
        return {"vma": book.place(first), "mark": Kind.WENT.value, "says": size(first.size), "gone": True}
    mark, says = marks.get(_key(first), ("", ""))
    return {"vma": book.place(first), "mark": mark, "says": says, "line": first.line}


def _note(key: str, value: str) -> list[str]:
    """[key, value, address]: "" where the value is none that could lie in an address space."""
    number = re.fullmatch(r"0x[0-9a-f]{4,16}", value)
    return [clean(key, 64), clean(value, 80), value if number else ""]
