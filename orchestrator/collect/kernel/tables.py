"""The page tables of an address space, level by level, as they lie in memory.

drgn translates addresses, but keeps what it saw on the way to itself; here every table of the user half is read,
so that the walk of any address can be followed later. The bits are the processor's (Intel SDM vol. 3A, 4.5;
arch/x86/include/asm/pgtable_types.h).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import drgn
from drgn.helpers.linux.mm import virt_to_phys

from orchestrator.collect.objects import ENTRIES, FRAME, HUGE, LEVELS, PAGE, PRESENT

MAX_TABLES = 16384  # 32 GiB of pages, fully mapped


@dataclass(frozen=True)
class Table:
    """One table: its physical address, the first virtual address that it covers, its non-zero entries."""

    level: str
    phys: int
    base: int
    entries: tuple[tuple[int, int], ...]


def levels(program: drgn.Program) -> int:
    """4 or 5, as the running kernel has chosen at boot (``__pgtable_l5_enabled``, arch/x86/mm/init or head64.c)."""
    try:
        return 5 if program["__pgtable_l5_enabled"].value_() else 4
    except LookupError:  # a kernel without CONFIG_X86_5LEVEL
        return 4


def tables(mm: drgn.Object) -> Iterator[Table]:
    """Every table of the user half, in the order of addresses, each before those below it.

    Raises drgn.FaultError where an entry points to no memory, OverflowError after MAX_TABLES.
    """
    program = mm.prog_
    names = LEVELS[levels(program)]
    top = virt_to_phys(program, mm.pgd).value_()
    seen = 0
    waiting = [(0, top, 0)]
    while waiting:
        depth, phys, base = waiting.pop()
        seen += 1
        if seen > MAX_TABLES:
            raise OverflowError(f"more than {MAX_TABLES} page tables")
        table = _table(program, names[depth], phys, base, covered(len(names), depth), user=depth == 0)
        yield table
        if depth + 1 < len(names):
            waiting += reversed([
                (depth + 1, value & FRAME, base + index * covered(len(names), depth))
                for index, value in table.entries if value & PRESENT and not value & HUGE
            ])  # fmt: skip


def covered(count: int, depth: int) -> int:
    """Bytes of virtual addresses that one entry covers; ``depth`` counts from the top, 0."""
    return int(PAGE * ENTRIES ** (count - 1 - depth))


def _table(program: drgn.Program, level: str, phys: int, base: int, size: int, user: bool) -> Table:
    words = memoryview(program.read(phys, PAGE, True)).cast("Q")
    if user:  # the upper half is the kernel's
        words = words[:ENTRIES // 2]
    return Table(level, phys, base, tuple((index, value) for index, value in enumerate(words) if value))
