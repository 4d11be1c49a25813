"""Where an ELF file lies in memory, and its thread-local block; who it is says orchestrator.elf."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from orchestrator import elf
from orchestrator.errors import PieceError

_HEADER = struct.Struct("<16xHHIQQQIHHHHHH")  # Elf64_Ehdr after e_ident's first bytes
_SEGMENT = struct.Struct("<IIQQQQQQ")  # Elf64_Phdr
_LOAD, _TLS = 1, 7  # PT_
_EXECUTABLE = 2  # ET_EXEC


@dataclass(frozen=True)
class Identity:
    """One ELF file. ``start`` and ``end`` are addresses as in the file, before it is moved (KASLR, PIE)."""

    build_id: str  # hexadecimal, "" if it has none
    start: int
    end: int
    tls_size: int  # bytes of the file's thread-local block, 0 if it has none
    tls_align: int


def identify(path: Path) -> Identity:
    """Reads headers and notes only, of a 64-bit little-endian file with or without its debugging information."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _identity(data, elf.build_id(path))
    except (OSError, ValueError, struct.error) as error:
        raise PieceError(f"{path} can't be read as an ELF file: {error}") from error


def content(path: Path, address: int, limit: int) -> bytes:
    """Up to ``limit`` bytes that lie at an address, as in the file; none if no segment has it there."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        for kind, offset, in_file, start, _, _ in _segments(data):
            if kind == _LOAD and start <= address < start + in_file:
                place = offset + address - start
                return data[place : min(place + limit, offset + in_file)]
    return b""


def _identity(data: mmap.mmap, build_id: str) -> Identity:
    if data[:6] != b"\x7fELF\x02\x01":
        raise ValueError("not a 64-bit little-endian ELF file")
    segments = list(_segments(data))
    loads = [(address, address + size) for kind, _, _, address, size, _ in segments if kind == _LOAD]
    tls = [(size, align) for kind, _, _, _, size, align in segments if kind == _TLS]
    start, end = _span(loads, is_kernel=_HEADER.unpack_from(data)[0] == _EXECUTABLE)
    size, align = tls[0] if tls else (0, 1)
    return Identity(build_id, start, end, size, align)


def _span(loads: list[tuple[int, int]], is_kernel: bool) -> tuple[int, int]:
    """First and last address. A vmlinux (ET_EXEC) before 6.15 has a segment of per-CPU data at address 0 in between,
    whose addresses are offsets: as in drgn (libdrgn/elf_file.c, drgn_elf_file_address_range), the order of the
    segments decides there."""
    if not loads:
        return 0, 0
    if is_kernel:
        return loads[0][0], loads[-1][1]
    return min(start for start, _ in loads), max(end for _, end in loads)


def _segments(data: mmap.mmap) -> Iterator[tuple[int, int, int, int, int, int]]:
    """Kind, offset and size in the file, address and size in memory, alignment."""
    header = _HEADER.unpack_from(data)
    offset, size, count = header[4], header[8], header[9]
    for index in range(count):
        kind, _, start, address, _, in_file, in_memory, align = _SEGMENT.unpack_from(data, offset + index * size)
        yield kind, start, in_file, address, in_memory, align
