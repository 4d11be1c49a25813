"""A drgn program for the guest's kernel, over a reader of its physical memory."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Protocol

import drgn

from orchestrator.errors import GuestError

MAX_NOTE = 1 << 16  # bytes; the kernel's own is a page (VMCOREINFO_BYTES, include/linux/vmcore_info.h)


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


def attach(memory: Memory, vmcoreinfo: str, load: Callable[[drgn.Program], None]) -> drgn.Program:
    """The program. ``vmcoreinfo`` is what /sys/kernel/vmcoreinfo says in the guest ("ADDRESS SIZE", hexadecimal);
    ``load`` gives the program its types and symbols. Raises GuestError if that is no note of the kernel's."""
    program = drgn.Program(drgn.Platform(drgn.Architecture.X86_64))

    def read(address: int, count: int, offset: int, physical: bool) -> bytes:
        try:
            return memory.read(address, count)
        except ValueError as error:
            raise drgn.FaultError(str(error), address) from None

    for region in memory.regions:
        program.add_memory_segment(region.start, region.size, read, True)
    program.set_linux_kernel_custom(_note(memory, vmcoreinfo), True)
    load(program)
    _map_directly(program, memory)
    return program


def _map_directly(program: drgn.Program, memory: Memory) -> None:
    """The kernel's direct map of all memory without a walk of its page tables, which would cost five reads for one
    (Documentation/arch/x86/x86_64/mm.rst; ``page_offset_base``, as it is random with KASLR)."""
    try:
        base = program["page_offset_base"].value_()
    except LookupError:
        return

    def read(address: int, count: int, offset: int, physical: bool) -> bytes:
        try:
            return memory.read(address - base, count)
        except ValueError as error:
            raise drgn.FaultError(str(error), address) from None

    for region in memory.regions:
        program.add_memory_segment(base + region.start, region.size, read, False)


def _note(memory: Memory, where: str) -> bytes:
    """The text of the kernel's VMCOREINFO note (kernel/vmcore_info.c; kernel/crash_core.c before 6.9)."""
    try:
        address, size = (int(word, 16) for word in where.split())
        if not 12 < size <= MAX_NOTE:
            raise ValueError(f"{size} bytes")
        raw = memory.read(address, size)
        name, length, _ = struct.unpack_from("<III", raw)
        begin = 12 + (name + 3 & ~3)
        if raw[12:12 + name].rstrip(b"\0") != b"VMCOREINFO" or begin + length > size:
            raise ValueError(f"it reads {raw[:24]!r}")
    except ValueError as error:
        raise GuestError(f"the guest's vmcoreinfo ({where.strip()[:60]!r}) is none: {error}") from None
    return raw[begin:begin + length].rstrip(b"\0")
