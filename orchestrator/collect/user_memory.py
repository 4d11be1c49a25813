"""The memory of one process, read through its page tables (as evidence has them) from the guest's physical memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from errno import EFAULT
from typing import Protocol

from orchestrator.collect.objects import FRAME, HUGE, PAGE, PRESENT, Table

MAX_READ = 1 << 30  # bytes in one read
_HUGE_SIZES = {"pmd": 512, "pud": 512 * 512}  # pages


class Physical(Protocol):
    """Guest-physical memory while the guest is paused."""

    def read(self, address: int, size: int, /) -> bytes:
        """Raises ValueError where there is no memory."""


class UserMemory:
    """Reads virtual addresses of a stopped process.

    A page that the process has not touched yet reads as what it would see: zeros in anonymous memory. Pages of files
    that are not mapped yet can't be read; nor can what lies outside of every mapping (``areas``: start, end, and
    whether it is a file's).
    """

    def __init__(self, memory: Physical, tables: Iterable[Table], areas: Sequence[tuple[int, int, bool]]) -> None:
        self._memory = memory
        self._areas = sorted(areas)
        self._pages: dict[int, int] = {}  # page number -> physical address
        self._huge: dict[tuple[int, int], int] = {}  # size in pages, number of the huge page -> physical address
        self._away: set[int] = set()  # pages with an entry that is not present: swapped, in migration, a guard
        for table in tables:
            self._take(table)

    def _take(self, table: Table) -> None:
        first = table.base // PAGE
        if table.level == "pte":
            self._away.update(first + index for index, value in table.entries.items() if not value & PRESENT)
            self._pages.update((first + index, value & FRAME) for index, value in table.entries.items()
                               if value & PRESENT)  # fmt: skip
        elif size := _HUGE_SIZES.get(table.level):
            for index, value in table.entries.items():
                if value & PRESENT and value & HUGE:
                    self._huge[size, first // size + index] = (value & FRAME) & -(size * PAGE)

    def read(self, address: int, size: int) -> bytes:
        """``size`` bytes. Raises OSError for an address that the process can't read."""
        if not 0 <= size <= MAX_READ or address < 0:
            raise OSError(EFAULT, f"{size} bytes at {address:#x}")
        parts = []
        while size:
            length = min(size, PAGE - address % PAGE)
            parts.append(self._within_page(address, length))
            address, size = address + length, size - length
        return b"".join(parts)

    def _within_page(self, address: int, size: int) -> bytes:
        number = address // PAGE
        physical = self._pages.get(number)
        if physical is None:
            physical = self._huge_page(number)
        if physical is None:
            return self._untouched(address, size)
        try:
            return self._memory.read(physical + address % PAGE, size)
        except ValueError as error:
            raise OSError(EFAULT, str(error)) from None

    def present(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """The ranges from ``start`` to ``end`` in which a page was ever touched, by address; others read as zeros."""
        pages = {(number * PAGE, (number + 1) * PAGE) for number in (*self._pages, *self._away)}
        pages |= {(number * size * PAGE, (number + 1) * size * PAGE) for size, number in self._huge}
        last: tuple[int, int] | None = None
        for low, high in sorted((max(start, low), min(end, high)) for low, high in pages if low < end and high > start):
            if last is not None and low <= last[1]:
                last = (last[0], max(last[1], high))
                continue
            if last is not None:
                yield last
            last = (low, high)
        if last is not None:
            yield last

    def _untouched(self, address: int, size: int) -> bytes:
        if address // PAGE in self._away:
            raise OSError(EFAULT, f"the page at {address:#x} is not in memory (swap, migration, or a guard)")
        for start, end, is_file in self._areas:
            if start <= address < end:
                if is_file:
                    raise OSError(EFAULT, f"the page of a file at {address:#x} is not mapped yet")
                return bytes(size)
        raise OSError(EFAULT, f"nothing is mapped at {address:#x}")

    def _huge_page(self, number: int) -> int | None:
        for size in _HUGE_SIZES.values():
            if (found := self._huge.get((size, number // size))) is not None:
                return found + number % size * PAGE
        return None
