"""A drgn program for the guest's kernel, over a reader of its physical memory."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import drgn

from orchestrator.errors import LabError

MAX_NOTE = 1 << 16  # bytes; the kernel's own is a page (VMCOREINFO_BYTES, include/linux/vmcore_info.h)
MAX_READS = 200_000  # between two records: no list, tree or path that is one takes so many
_KEY = "lab: patience"


class Range(Protocol):
    """Guest-physical addresses that can be read; bytes."""

    @property
    def start(self) -> int: ...
    @property
    def size(self) -> int: ...


class Memory(Protocol):
    """Guest-physical memory while the guest is paused."""

    @property
    def regions(self) -> Sequence[Range]: ...

    def read(self, address: int, size: int) -> bytes:
        """Raises ValueError where there is no memory."""


class TooMuch(Exception):
    """What is followed has no end, or takes too long."""


class Patience:
    """How much is read before something must have come of it. A ring of pointers in the guest's memory would keep
    drgn's helpers going for ever; but each step of theirs reads."""

    def __init__(self) -> None:
        self.until = float("inf")  # time.monotonic()
        self._left = MAX_READS

    def refill(self) -> None:
        """Something has come of it."""
        self._left = MAX_READS

    def spend(self) -> None:
        """One read. Raises TooMuch."""
        self._left -= 1
        if self._left < 0:
            raise TooMuch(f"more than {MAX_READS} reads without an end: a ring of pointers?")
        if self._left % 256 == 0 and time.monotonic() > self.until:
            raise TooMuch("it took too long")


def patience(program: drgn.Program) -> Patience:
    """That of a program made by ``attach``."""
    found = program.cache.setdefault(_KEY, Patience())
    assert isinstance(found, Patience)
    return found


def attach(memory: Memory, address: int, size: int, load: Callable[[drgn.Program], None]) -> drgn.Program:
    """The program. ``address`` and ``size`` (bytes) are where the kernel's vmcoreinfo note lies, physically; ``load``
    gives the program its types and symbols. Raises LabError if that is no such note, and what drgn raises."""
    program = drgn.Program(drgn.Platform(drgn.Architecture.X86_64))
    limit = patience(program)

    def reader(base: int) -> Callable[[int, int, int, bool], bytes]:
        def read(address: int, count: int, offset: int, physical: bool) -> bytes:
            limit.spend()
            try:
                return memory.read(address - base, count)
            except ValueError as error:
                raise drgn.FaultError(str(error), address) from None

        return read

    for region in memory.regions:
        program.add_memory_segment(region.start, region.size, reader(0), True)
    program.set_linux_kernel_custom(_note(memory, address, size), True)
    load(program)
    base = _direct_map(program)
    for region in memory.regions if base else ():
        program.add_memory_segment(base + region.start, region.size, reader(base), False)
    limit.refill()
    return program


def _direct_map(program: drgn.Program) -> int:
    """Where the kernel has all memory mapped, to be read without a walk of its page tables, which would cost five
    reads for one (Documentation/arch/x86/x86_64/mm.rst; random with KASLR). 0: it does not say."""
    try:
        return int(program["page_offset_base"].value_())
    except LookupError:
        return 0


def _note(memory: Memory, address: int, size: int) -> bytes:
    """The text of the kernel's VMCOREINFO note (kernel/vmcore_info.c; kernel/crash_core.c before 6.9)."""
    try:
        if not 12 < size <= MAX_NOTE:
            raise ValueError(f"{size} bytes")
        raw = memory.read(address, size)
        name, length, _ = struct.unpack_from("<III", raw)
        begin = 12 + (name + 3 & ~3)
        if raw[12:12 + name].rstrip(b"\0") != b"VMCOREINFO" or begin + length > size:
            raise ValueError(f"it reads {raw[:24]!r}")
    except ValueError as error:
        raise LabError(f"the guest's vmcoreinfo at {address:#x} is none: {error}") from None
    return raw[begin:begin + length].rstrip(b"\0")
