"""Addresses relative to what they lie in, so that those of two runs can be compared. Pure."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from heapq import heappop, heappush
from typing import Protocol

from orchestrator.collect.heap_values import HeapEvidence
from orchestrator.model import Vma

KERNEL = 0xFFFF_8000_0000_0000  # from here on addresses are the kernel's; [vsyscall] is the only user of them
LARGE = 2 << 20  # bytes that a page table maps: a program may cut its heap at such a boundary
LOWEST = 1 << 32  # what is below is taken for a number
_VERSIONED = re.compile(r"-[0-9][0-9.]*(\.so)$|\.so\.[0-9.]+$")


def exact(count: int) -> str:
    """Bytes without rounding, so that what differs looks so: "8204 KiB", "8 MiB"."""
    if count % 1024 or not count:
        return f"{count} B" if count else "0"
    return f"{count >> 20} MiB" if count % (1 << 20) == 0 else f"{count >> 10} KiB"


def mapping_name(name: str) -> str:
    """A mapping's name without what differs between builds: "libc.so" for /usr/lib/…/libc.so.6 and libc-2.31.so."""
    base = name.rpartition("/")[2] if name.startswith("/") else name
    base = re.sub(r"^ld(-linux-x86-64)?([-.].*)?\.so(\.\d+)?$", "ld.so", base)
    return _VERSIONED.sub(".so", base)


def named(vmas: Sequence[Vma]) -> Iterator[tuple[str, Vma]]:
    """Each mapping with a name that another run has too. What follows a file's data without a name is its bss; all
    other mappings without a name are "anonymous"."""
    before: Vma | None = None
    for vma in vmas:
        name = mapping_name(vma.name)
        if not name:
            follows = before is not None and before.end == vma.start and before.inode and before.perms[1::2] == "wp"
            name = f"{mapping_name(before.name)} bss" if before is not None and follows and \
                vma.perms == "rw-p" else "anonymous"  # fmt: skip
        yield name, vma
        before = vma


def stacks(heap: tuple[object, HeapEvidence] | None) -> list[tuple[int, int]]:
    """The blocks of threads' stacks, in the order of the threads: start and end."""
    threads = heap[1].threads if heap else ()
    blocks = ((one.numbers.get("stackblock", 0), one.numbers.get("stackblock_size", 0)) for one in threads)
    return [(start, start + length) for start, length in blocks if start and length < 1 << 46]


class _Ranges:
    """Ranges of addresses, which may overlap: the first of them that holds an address, without asking each."""

    def __init__(self, ranges: Sequence[tuple[int, int]]) -> None:
        self._points = sorted({point for one in ranges for point in one})
        self._first: list[int | None] = []  # from each point to the next
        coming = sorted(((start, end, number) for number, (start, end) in enumerate(ranges)), reverse=True)
        open_: list[tuple[int, int]] = []  # number and end of the ranges begun, the first one on top
        for point in self._points:
            while coming and coming[-1][0] <= point:
                _, end, number = coming.pop()
                heappush(open_, (number, end))
            while open_ and open_[0][1] <= point:
                heappop(open_)
            self._first.append(open_[0][0] if open_ else None)

    def first(self, address: int) -> int | None:
        """The number of the first range that holds the address."""
        at = bisect_right(self._points, address) - 1
        return self._first[at] if at >= 0 else None


class Places(Protocol):
    """What can say where an address lies."""

    def place(self, address: int) -> str | None:
        """In words; None: nowhere that it knows."""


class Regions:
    """The mappings of one process at one checkpoint, to say where an address lies."""

    def __init__(self, vmas: Iterable[Vma], stacks: Iterable[tuple[int, int]] = (), exact: bool = True) -> None:
        """Without ``exact`` nothing is told that repeats do not have in common: where in code, or in a large heap, an
        address lies; and in a file's mapping it is told by the offset in the file, as that may be mapped twice."""
        self._exact = exact
        self._named = list(named(tuple(vmas)))
        self._starts = [vma.start for _, vma in self._named]
        self._stacks = tuple(stacks)
        self._blocks = _Ranges(self._stacks)
        self._bases: dict[str, int] = {}
        for name, vma in self._named:
            self._bases.setdefault(name, vma.start)

    def place(self, address: int) -> str | None:
        """"[heap]+0x2a0", "libc.so+0x1f", "stack block 1 - 0x40", "anonymous 8 KiB+0x10"; None: it lies in none."""
        block = self._blocks.first(address)
        if block is not None:
            return f"stack block {block + 1} - {self._stacks[block][1] - address:#x}"
        at = bisect_right(self._starts, address) - 1
        if at < 0:
            return None
        name, vma = self._named[at]
        if not self._exact and name == "[heap]" and vma.size > LARGE and address <= vma.end:
            return name
        if address >= vma.end:
            return f"end of {self._name(name, vma)}" if address == vma.end else None
        if name == "[stack]":
            return "[stack]"  # its top is random by less than a page, and what lies below moves with it
        if not self._exact and vma.perms[2] == "x":
            return f"{name} code"
        if not self._exact and vma.inode:
            return f"{name}+{vma.offset + address - vma.start:#x}"
        base = vma.start if name == "anonymous" else self._bases[name]
        offset = address - base
        return f"{self._name(name, vma)}+{offset:#x}" if offset else self._name(name, vma)

    def ranges(self) -> Iterator[tuple[int, int]]:
        """All that ``place`` has a word for, each from its start to before its end."""
        yield from self._stacks
        yield from ((vma.start, vma.end + 1) for _, vma in self._named)  # "end of" a mapping is a word, too

    def _name(self, name: str, vma: Vma) -> str:
        return f"{name} ({vma.size >> 10} KiB)" if name == "anonymous" else name


class Everywhere:
    """Several address spaces, of which the first that has an address says where it lies."""

    def __init__(self, spaces: Sequence[Regions]) -> None:
        first: dict[tuple[int, int], Regions] = {}  # most checkpoints have most ranges in common
        for space in spaces:
            for one in space.ranges():
                first.setdefault(one, space)
        self._spaces = list(first.values())
        self._ranges = _Ranges(list(first))

    def place(self, address: int) -> str | None:
        """As the first of the address spaces that has it says."""
        number = self._ranges.first(address)
        return None if number is None else self._spaces[number].place(address)


_HEX = re.compile(r"(?<![\w.])0x[0-9a-f]{9,16}\b")
_RANGE = re.compile(r"(?<![\w.])([0-9a-f]{8,16})-([0-9a-f]{8,16})(?= )")
_PIDS = re.compile(r"((?:heap|kernel|proc)/)\d+")
_LINE = re.compile(r"\.jsonl:\d+")


def relative(text: str, spaces: Sequence[Places]) -> str:
    """A value's text with every address in it made relative: by the first of the address spaces that has it."""

    def place(address: int) -> str:
        if address >= KERNEL:
            return "a kernel address"
        found = next((found for space in spaces if (found := space.place(address))), None)
        return found or "an address outside all mappings"

    if "-" in text:  # most values are numbers, in which there is nothing to look for
        text = _RANGE.sub(lambda match: place(int(match[1], 16)), text)
    if "0x" in text:
        text = _HEX.sub(lambda match: place(number) if (number := int(match[0], 16)) >= LOWEST else match[0], text)
    if "/" in text:
        text = _LINE.sub(".jsonl", _PIDS.sub(r"\1PID", text))
    return text
