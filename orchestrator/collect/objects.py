"""Kernel objects as the evidence file ``kernel/PID.jsonl`` has them -> values, and the walk of page tables. Pure.

The file is written by ``collect.kernel.snapshot``, a JSON object a line. Addresses and sizes are bytes unless a name
says pages; the bits of entries are the processor's (Intel SDM vol. 3A, 4.5; arch/x86/include/asm/pgtable_types.h).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestrator.collect.lines import Document

FORMAT, VERSION = "kernel-objects", 1
PAGE, ENTRIES = 4096, 512
PRESENT, WRITABLE, USER, ACCESSED, DIRTY, HUGE, NO_EXEC = 1, 2, 4, 1 << 5, 1 << 6, 1 << 7, 1 << 63
FRAME = 0x000F_FFFF_FFFF_F000
LEVELS = {4: ("pgd", "pud", "pmd", "pte"), 5: ("pgd", "p4d", "pud", "pmd", "pte")}
COUNTED = ("pud", "pmd", "pte")  # mm_inc_nr_puds() and the like, include/linux/mm.h: neither pgd nor p4d
SPECIAL = 1 << 9  # _PAGE_SPECIAL: vm_normal_page() finds no page there, so that no RSS counter has it (mm/memory.c)
UNCOUNTED = "special"  # such entries that lead to no zero page: the vvar pages
KINDS = {"a": "anon", "f": "file", "s": "shmem", "z": "zero", "k": "ksm", "d": "other", "w": "absent"}

# include/linux/mm.h
VM = {"read": 0x1, "write": 0x2, "exec": 0x4, "shared": 0x8, "mayshare": 0x80, "growsdown": 0x100, "locked": 0x2000,
      "dontcopy": 0x20000, "account": 0x100000, "noreserve": 0x200000, "hugetlb": 0x400000}  # fmt: skip


@dataclass(frozen=True)
class Item:
    """One object with the line that has it."""

    line: int
    fields: Mapping[str, Any]


@dataclass(frozen=True)
class Table:
    """A page table: physical address, non-zero entries by index, and what kind of page each leaf leads to."""

    line: int
    level: str
    phys: int
    base: int
    entries: Mapping[int, int]
    kinds: Mapping[int, str]  # "a", "A" …: capital where the leaf is huge


@dataclass(frozen=True)
class Frame:
    """A page frame, as far as its ``struct page`` tells."""

    line: int
    pfn: int
    kind: str
    refcount: int
    mapcount: int
    flags: int


@dataclass(frozen=True)
class Step:
    """One level of a walk: the entry that was looked up. ``value`` None: its table does not exist."""

    level: str
    index: int
    value: int | None
    line: int  # of the table; 0 without one


@dataclass(frozen=True)
class Walk:
    """The way of one address through the tables, from the top to the leaf or to the first level that is missing."""

    address: int
    steps: tuple[Step, ...]  # every level of this guest, or down to a huge leaf
    kind: str = ""  # of the page at its end: KINDS; "" if there is none

    @property
    def missing(self) -> str | None:
        """The first level whose entry is not present; None if the walk is complete."""
        return next((step.level for step in self.steps if not (step.value or 0) & PRESENT), None)

    @property
    def leaf(self) -> Step | None:
        """The entry that maps the page; None if the walk is not complete."""
        return None if self.missing else self.steps[-1]

    @property
    def size(self) -> int:
        """Bytes that the leaf maps: a page, 2 MiB or 1 GiB."""
        return {"pte": PAGE, "pmd": PAGE * ENTRIES, "pud": PAGE * ENTRIES**2}.get(self.steps[-1].level, 0)

    @property
    def frame(self) -> int | None:
        """The number of the page frame that the address lies in."""
        if self.leaf is None or self.leaf.value is None:
            return None
        first = (self.leaf.value & FRAME) // PAGE // (self.size // PAGE) * (self.size // PAGE)
        return first + self.address % self.size // PAGE


@dataclass(frozen=True)
class KernelObjects:
    """What one process was to the kernel at one checkpoint."""

    header: Mapping[str, Any]
    tasks: tuple[Item, ...] = ()
    mm: Item | None = None
    vmas: tuple[Item, ...] = ()
    tables: Mapping[tuple[str, int], Table] = field(default_factory=dict)  # by level and base
    frames: Mapping[int, Frame] = field(default_factory=dict)
    broken: Mapping[str, str] = field(default_factory=dict)  # part -> why it is not whole

    @property
    def levels(self) -> tuple[str, ...]:
        """The names of the levels, from the top: four of them, or five."""
        return LEVELS[self.header["levels"]]

    def vma_at(self, address: int) -> Item | None:
        """The VMA that an address lies in."""
        return next((v for v in self.vmas if v.fields["start"] <= address < v.fields["end"]), None)

    def walk(self, address: int) -> Walk:
        """The way of an address through the tables, as the processor would take it."""
        steps = []
        kind = ""
        missing = False
        for depth, level in enumerate(self.levels):
            covers = PAGE * ENTRIES ** (len(self.levels) - 1 - depth)
            base = address // (covers * ENTRIES) * (covers * ENTRIES) if depth else 0
            table = None if missing else self.tables.get((level, base))
            index = address // covers % ENTRIES
            value = table.entries.get(index, 0) if table else None
            steps.append(Step(level, index, value, table.line if table else 0))
            if not (value or 0) & PRESENT:
                missing = True
            elif table and (level == "pte" or (level in ("pud", "pmd") and (value or 0) & HUGE)):
                kind = KINDS.get(table.kinds.get(index, "").lower(), "")
                break
        return Walk(address, tuple(steps), kind)

    def counts(self) -> Mapping[str, int]:
        """How many pages of 4 KiB are mapped, by kind (KINDS, UNCOUNTED), over the whole address space."""
        found: Counter[str] = Counter()
        for table in self.tables.values():
            pages = {"pte": 1, "pmd": ENTRIES, "pud": ENTRIES**2}.get(table.level, 0)
            for index, kind in table.kinds.items():
                name = KINDS.get(kind.lower(), "other")
                if name == "other" and table.entries[index] & SPECIAL:
                    name = UNCOUNTED
                if kind not in "-w":
                    found[name] += pages
        return found


def parse(document: Document) -> KernelObjects:
    """The file's objects. Raises EvidenceError for a line that is none, or a file that was cut off."""
    records = list(_records(document))
    if not records or records[-1][1].get("is") != "end" or records[-1][1].get("lines") != len(document.lines):
        raise document.garbled(len(document.lines), "the end of a file of kernel objects: it was cut off")
    header = records[0][1]
    if (header.get("is"), header.get("name"), header.get("version")) != ("format", FORMAT, VERSION):
        raise document.garbled(1, f"kernel objects in version {VERSION}")
    if not isinstance(header.get("levels"), int) or header["levels"] not in LEVELS:
        raise document.garbled(1, "4 or 5 levels of page tables")
    by_kind: dict[str, list[Item]] = {name: [] for name in ("task", "mm", "vma", "table", "frames", "broken")}
    for line, record in records[1:-1]:
        if not isinstance(record.get("is"), str) or record["is"] not in by_kind:
            raise document.garbled(line, "an object that this version of the lab knows")
        by_kind[record["is"]].append(Item(line, record))
    try:
        return KernelObjects(
            header, tuple(by_kind["task"]), next(iter(by_kind["mm"]), None), tuple(by_kind["vma"]),
            {(t.level, t.base): t for t in map(_table, by_kind["table"])},
            {f.pfn: f for item in by_kind["frames"] for f in _frames(item)},
            {str(i.fields["what"]): str(i.fields["why"]) for i in by_kind["broken"]},
        )  # fmt: skip
    except (KeyError, TypeError, ValueError, ArithmeticError) as error:
        raise document.garbled(0, f"kernel objects ({type(error).__name__}: {error})") from None


def _records(document: Document) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(document.lines, 1):
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            raise document.garbled(number, "JSON") from None
        if not isinstance(record, dict):
            raise document.garbled(number, "a JSON object")
        yield number, record


def _table(item: Item) -> Table:
    fields = item.fields
    entries = {int(index): int(value) for index, value in fields["entries"]}
    kinds = dict(zip(entries, fields.get("kinds", ""), strict=False))
    return Table(item.line, str(fields["level"]), int(fields["phys"]), int(fields["base"]), entries, kinds)


def _frames(item: Item) -> Iterator[Frame]:
    for pfn, kind, refcount, mapcount, flags in item.fields["rows"]:
        yield Frame(item.line, int(pfn), str(kind), int(refcount), int(mapcount), int(flags))
