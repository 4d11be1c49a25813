"""What an ELF file says of itself: its build-id, whether it has DWARF, which debug file it names.

Only headers and the few sections wanted are read, so a vmlinux of 600 MB costs as little as a libc. x86-64's form
only (64 bits, little-endian). Layouts: elf(5); the notes' of objects with other alignment: the gABI's "Note Section".
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

_MAGIC = b"\x7fELF\x02\x01"
_X86_64 = 62
_BUILD_ID = 3  # NT_GNU_BUILD_ID, of the owner "GNU"
_PT_NOTE = 4
_SHT_NOTE = 7
_SHT_NOBITS = 8
_MOST = 1 << 20  # bytes: no table, note section or string table that matters is larger
_LONGEST_ID = 64  # bytes: SHA-1 has 20, ld takes any


class ElfError(ValueError):
    """The file is not ELF for x86-64, or it is damaged."""


@dataclass(frozen=True)
class Section:
    """One entry of the section header table; ``offset`` and ``size`` in bytes of the file."""

    name: str
    kind: int  # SHT_…
    offset: int
    size: int
    align: int

    @property
    def empty(self) -> bool:
        """Whether the file has none of its bytes (as .text in a debug file)."""
        return self.kind == _SHT_NOBITS or self.size == 0


def build_id(path: Path) -> str:
    """The GNU build-id, hexadecimal; "" if there is none. Also of bare notes, such as a copy of /sys/kernel/notes.

    Raises ElfError for an ELF file that is damaged or not for x86-64, and OSError.
    """
    with path.open("rb") as stream:
        if stream.read(4) != _MAGIC[:4]:
            stream.seek(0)
            return build_id_of_notes(stream.read(_MOST))
        for data, align in _notes(stream):
            if found := build_id_of_notes(data, align):
                return found
    return ""


def build_id_of_notes(data: bytes, align: int = 4) -> str:
    """The build-id among notes that lie one after the other; "" if there is none, or where they make no sense."""
    at = 0
    while at + 12 <= len(data):
        name_size, size, kind = struct.unpack_from("<III", data, at)
        start = _up(at + 12 + name_size, align)
        if start + size > len(data):
            return ""
        if kind == _BUILD_ID and data[at + 12 : at + 12 + name_size] == b"GNU\0" and 0 < size <= _LONGEST_ID:
            return data[start : start + size].hex()
        at = _up(start + size, align)
    return ""


def has_dwarf(path: Path) -> bool:
    """Whether the file holds debug information (.debug_info). Raises as build_id does."""
    with path.open("rb") as stream:
        wanted = (".debug_info", ".zdebug_info")
        return any(section.name in wanted and not section.empty for section in sections(stream))


def debug_link(path: Path) -> tuple[str, int] | None:
    """The name and the CRC-32 of the debug file that was split off (.gnu_debuglink); None if it names none."""
    with path.open("rb") as stream:
        for section in sections(stream):
            if section.name == ".gnu_debuglink" and not section.empty:
                data = _read(stream, section.offset, section.size)
                name = data.split(b"\0")[0]
                if len(data) == _up(len(name) + 1, 4) + 4:
                    return name.decode("utf-8", "replace"), int.from_bytes(data[-4:], "little")
                raise ElfError("a .gnu_debuglink that makes no sense")
    return None


def sections(stream: IO[bytes]) -> list[Section]:
    """The section header table; empty where the file has none. Raises ElfError."""
    header = _header(stream)
    (start,) = struct.unpack_from("<Q", header, 40)
    size, count, names = struct.unpack_from("<HHH", header, 58)
    if start == 0 or count == 0:
        return []
    raw = [struct.unpack("<IIQQQQIIQQ", one) for one in _table(stream, start, size, count, 64)]
    if names >= count:
        raise ElfError("section names in a section that is not there")
    text = _read(stream, raw[names][4], raw[names][5])
    return [Section(_name(text, one[0]), one[1], one[4], one[5], one[8]) for one in raw]


def imports(path: Path) -> frozenset[str]:
    """Names of the dynamic symbols that a file takes from others (elf(5): st_shndx is SHN_UNDEF); none of a static one.

    Raises ElfError and OSError.
    """
    with path.open("rb") as stream:
        found = {one.name: one for one in sections(stream) if one.name in (".dynsym", ".dynstr")}
        if len(found) < 2:
            return frozenset()
        text = _read(stream, found[".dynstr"].offset, found[".dynstr"].size)
        table = _read(stream, found[".dynsym"].offset, found[".dynsym"].size)
    symbols = struct.iter_unpack("<IBBHQQ", table[: len(table) // 24 * 24])
    return frozenset(_name(text, name) for name, _, _, section, _, _ in symbols if section == 0 and name)


def _notes(stream: IO[bytes]) -> Iterator[tuple[bytes, int]]:
    """Contents and alignment of the note sections; of the note segments where there are no sections.

    Sections first: a debug file keeps the program headers of the file that it was split off from, but not their bytes.
    """
    places = [(one.offset, one.size, one.align) for one in sections(stream) if one.kind == _SHT_NOTE]
    if not places:
        header = _header(stream)
        (start,) = struct.unpack_from("<Q", header, 32)
        size, count = struct.unpack_from("<HH", header, 54)
        segments = (struct.unpack("<IIQQQQQQ", one) for one in _table(stream, start, size, count, 56))
        places = [(one[2], one[5], one[7]) for one in segments if one[0] == _PT_NOTE]
    for offset, length, align in places:
        yield _read(stream, offset, length), 8 if align == 8 else 4


def _header(stream: IO[bytes]) -> bytes:
    stream.seek(0)
    header = stream.read(64)
    if not header.startswith(_MAGIC) or int.from_bytes(header[18:20], "little") != _X86_64:
        raise ElfError("not an ELF file for x86-64")
    if len(header) != 64:
        raise ElfError("it was cut off")
    return header


def _table(stream: IO[bytes], start: int, size: int, count: int, least: int) -> Iterator[bytes]:
    """The entries of a header table, ``least`` bytes of each."""
    if count and size < least:
        raise ElfError("a header table with entries that are too short")
    data = _read(stream, start, size * count)
    return (data[at : at + least] for at in range(0, len(data), size or 1))


def _read(stream: IO[bytes], offset: int, size: int) -> bytes:
    if size > _MOST or offset > os.fstat(stream.fileno()).st_size:
        raise ElfError("a table or a section that can't be")
    stream.seek(offset)
    data = stream.read(size)
    if len(data) != size:
        raise ElfError("it was cut off")
    return data


def _name(text: bytes, at: int) -> str:
    return text[at : text.find(b"\0", at)].decode("utf-8", "replace")


def _up(number: int, align: int) -> int:
    return (number + align - 1) & -align
