"""The memory of a stopped process as 64-bit words: read in blocks, each once, within bounds.

Nothing is asked of the reader that the process has not mapped readable. What can't be read is an Unreadable,
and too much of it an OutOfBudget, which ends the collection: a guest's memory may say anything.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from orchestrator.collect.ptmalloc.spans import Spans

WORD = 8
PAGE = 4096
BLOCK = 1 << 18  # bytes read at a time, aligned to itself
MAX_BYTES = 3 << 30  # of one process in one collection
MAX_EVIDENCE = 54 << 20  # characters of what is found; what no budget counts is far from the 10 MiB left to 64
# What one of these has in the evidence at most, with a flaw and with its checks
OF_ARENA, OF_HEAP, OF_WALK, OF_CHAIN, OF_LINK, OF_THREAD, OF_MAPPED = 6144, 256, 512, 384, 21, 1024, 160
VM_READ, VM_WRITE = 1, 2  # include/linux/mm.h
ADDRESS_END = 1 << 57  # of the user half, with 5-level page tables


class Unreadable(Exception):
    """There is no such memory, or it can't be read."""

    def __init__(self, address: int, why: str) -> None:
        super().__init__(f"{address:#x} {why}")
        self.address = address


class OutOfBudget(Exception):
    """The collection took too long, or read too much."""


class Reader(Protocol):
    """Bytes of the process. ``read`` raises OSError where it has none. A reader may also have
    ``present(start, end) -> Iterable[tuple[int, int]]``: the parts of [start, end) that have any page, in their
    order; what lies between reads as zeros."""

    def read(self, address: int, size: int, /) -> bytes:
        """``size`` bytes from ``address`` on."""


@dataclass(frozen=True, order=True)
class Mapping:
    """One mapping: [start, end), vm_flags, offset in the file in pages, the file's name ("" if there is none)."""

    start: int
    end: int
    flags: int
    pgoff: int = 0
    file: str = ""

    @property
    def is_private_data(self) -> bool:
        """Whether malloc may have it: no file, readable and writable."""
        return not self.file and self.flags & (VM_READ | VM_WRITE) == VM_READ | VM_WRITE


@dataclass(frozen=True)
class Block:
    """``words`` from ``start`` on, up to ``end``."""

    start: int
    end: int
    words: memoryview


class Memory:
    """``word(address)`` and friends. ``seconds`` is how long all of the collection may take."""

    def __init__(self, reader: Reader, mappings: Sequence[Mapping], seconds: float = 60.0) -> None:
        self.mappings = sorted(mappings)
        self._reader = reader
        self._starts = [mapping.start for mapping in self.mappings]
        self._last = Block(0, 0, memoryview(b"").cast("Q"))
        self._blocks: dict[int, Block] = {}
        self._pages: dict[int, Block] = {}
        self._pages_there: Spans | None = None
        self._left = MAX_BYTES
        self._room = MAX_EVIDENCE
        self._deadline = time.monotonic() + seconds

    def check_time(self) -> None:
        """Raises OutOfBudget when the time is over."""
        if time.monotonic() > self._deadline:
            raise OutOfBudget("the collection took too long")

    def charge(self, characters: int) -> None:
        """Counts what will be written of what was found: one account for all walks and lists of the process.
        Raises OutOfBudget when it, or the time, is used up."""
        self._room -= characters
        if self._room < 0:
            raise OutOfBudget(f"more than {MAX_EVIDENCE >> 20} MiB of evidence were to be written")
        self.check_time()

    def mapping(self, address: int) -> Mapping | None:
        """The mapping around an address."""
        place = bisect_right(self._starts, address) - 1
        if place < 0 or address >= self.mappings[place].end:
            return None
        return self.mappings[place]

    def run_end(self, address: int) -> int:
        """The end of the unbroken row of private data mappings that ``address`` is in; 0: it is in none."""
        place = bisect_right(self._starts, address) - 1
        end = 0
        for mapping in self.mappings[max(place, 0) :]:
            if not mapping.is_private_data or not mapping.start <= (end or address) < mapping.end:
                break
            end = mapping.end
        return end

    def block(self, address: int, narrow: bool = False) -> Block:
        """The block with that address, which is a multiple of 8. ``narrow``: if it is to be read, then its page
        only, because what lies around it is hardly wanted. Raises Unreadable."""
        found = self._blocks.get(address & -BLOCK)
        if found is not None and found.start <= address < found.end:
            return found
        found = self._pages.get(address & -PAGE)
        return found if found is not None else self._fetch(address, narrow)

    def scan(self, start: int, end: int) -> Iterator[Block]:
        """Blocks with all of [start, end), from page to page, that is there and can be read. They are not kept."""
        for low, high in self._present(start & -PAGE, end + PAGE - 1 & -PAGE):
            while low < high:
                self.check_time()
                stop = min(high, (low & -BLOCK) + BLOCK)
                yield from self._pass(low, stop)
                low = stop

    def _present(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """The parts of [start, end) that are mapped readable and, if the reader knows, have a page."""
        present = self._touched()
        for mapping in self.mappings[max(bisect_right(self._starts, start) - 1, 0) :]:
            if mapping.start >= end:
                break
            low, high = max(start, mapping.start), min(end, mapping.end)
            if low >= high or not mapping.flags & VM_READ:
                continue
            for first, last in [(low, high)] if present is None else present.within(low, high):
                if max(first & -PAGE, low) < min(last, high):
                    yield max(first & -PAGE, low), min(last + PAGE - 1 & -PAGE, high)

    def _touched(self) -> Spans | None:
        """All that has a page; None if the reader does not know. It is asked once: an answer may cost it a look at
        every page."""
        ask = getattr(self._reader, "present", None)
        if self._pages_there is None and ask is not None and self.mappings:
            self._pages_there = Spans(ask(self.mappings[0].start, max(mapping.end for mapping in self.mappings)))
        return self._pages_there

    def _pass(self, start: int, end: int) -> Iterator[Block]:
        """[start, end) of one window, page by page where it can't be read at once."""
        known = self._blocks.get(start & -BLOCK)
        if known is not None and known.start <= start and end <= known.end:
            yield Block(start, end, known.words[start - known.start >> 3 : end - known.start >> 3])
            return
        try:
            yield self._read(start, end)
        except OSError:
            for page in range(start, end, PAGE) if end - start > PAGE else ():
                yield from self._pass(page, page + PAGE)

    def _fetch(self, address: int, narrow: bool) -> Block:
        self.check_time()
        mapping = self.mapping(address)
        if mapping is None or not mapping.flags & VM_READ:
            raise Unreadable(address, "is not mapped" if mapping is None else "is not readable")
        page, window = address & -PAGE, address & -BLOCK
        start, end = max(mapping.start, window), min(mapping.end, window + BLOCK)
        if narrow or window in self._blocks:  # another mapping has the window
            return self._pages.setdefault(page, self._read_page(page))
        try:
            return self._blocks.setdefault(window, self._read(start, end))
        except OSError:  # a page of it is not there: in a file mapping that is so until it is touched
            return self._pages.setdefault(page, self._read_page(page))

    def _read_page(self, page: int) -> Block:
        try:
            return self._read(page, page + PAGE)
        except OSError as error:
            raise Unreadable(page, f"can't be read: {error}") from None

    def _read(self, start: int, end: int) -> Block:
        self._left -= end - start
        if self._left < 0:
            raise OutOfBudget(f"more than {MAX_BYTES >> 20} MiB of the process were to be read")
        data = self._reader.read(start, end - start)
        if len(data) != end - start:
            raise OSError(f"{len(data)} bytes of {end - start}")
        return Block(start, end, memoryview(data).cast("Q"))

    def word(self, address: int) -> int:
        """The 64-bit word at an address."""
        if address & 7:
            raise Unreadable(address, "is not aligned")
        block = self.block(address)
        return block.words[(address - block.start) >> 3]

    def words(self, address: int, count: int, narrow: bool = False) -> Sequence[int]:
        """``count`` words from an address on."""
        if address & 7:
            raise Unreadable(address, "is not aligned")
        block = self._last
        if not block.start <= address < block.end:
            block = self._last = self.block(address, narrow)
        first = (address - block.start) >> 3
        if address + count * WORD <= block.end:
            return block.words[first : first + count]
        return [self.word(address + WORD * index) for index in range(count)]

    def number(self, address: int, size: int, signed: bool = False) -> int:
        """An integer of 1, 2, 4 or 8 bytes."""
        return int.from_bytes(self.bytes(address, size), "little", signed=signed)

    def bytes(self, address: int, size: int) -> bytes:
        """``size`` bytes; for small things."""
        first = address & -WORD
        count = (address + size - first + WORD - 1) // WORD
        content = b"".join(word.to_bytes(WORD, "little") for word in self.words(first, count))
        return content[address - first : address - first + size]
