"""The program's own symbols: its ELF symbol table, and where the process has it. Pure but for reading the file.

The file is the program as it was compiled for the run; a damaged one is told, and never followed out of its bounds.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import LabError

MAX_FILE = 256 << 20  # bytes
MAX_SYMBOLS = 1 << 20
_HEADER = struct.Struct("<16xHHIQQQIHHHHHH")  # Elf64_Ehdr
_SEGMENT = struct.Struct("<IIQQQQQQ")  # Elf64_Phdr
_SECTION = struct.Struct("<IIQQQQIIQQ")  # Elf64_Shdr
_SYMBOL = struct.Struct("<IBBHQQ")  # Elf64_Sym
_FIXED, _MOVED = 2, 3  # ET_EXEC, ET_DYN
_LOAD, _TLS = 1, 7  # PT_
_SYMTAB, _DYNSYM = 2, 11  # SHT_
_OBJECT, _FUNCTION, _THREAD, _NOTYPE = 1, 2, 6, 0  # STT_
_LOCAL = 0  # STB_
_ABSOLUTE = 0xFFF1  # SHN_ABS


@dataclass(frozen=True)
class Symbol:
    """A symbol. ``value``: its address as in the file; of a thread-local one (``tls``) its offset in the block."""

    name: str
    value: int
    size: int
    is_local: bool
    is_code: bool
    tls: bool


@dataclass(frozen=True)
class Program:
    """``fixed``: it lies where the file says (no PIE). ``first``: the file's first address, a page's start. ``tls``:
    size and alignment of the thread-local block."""

    fixed: bool
    first: int
    end: int
    tls: tuple[int, int]
    symbols: tuple[Symbol, ...]  # by value

    def named(self, name: str) -> list[Symbol]:
        """The symbols of that name, global ones only if there is one; each value once."""
        found = [symbol for symbol in self.symbols if symbol.name == name]
        found = [symbol for symbol in found if not symbol.is_local] or found
        return list({(symbol.value, symbol.tls): symbol for symbol in found}.values())

    def at(self, value: int) -> Symbol | None:
        """The symbol that an address of the file lies in: the innermost one, with a size."""
        low = bisect_right(self.symbols, value, key=lambda symbol: symbol.value)
        for symbol in reversed(self.symbols[max(low - 64, 0):low]):
            if not symbol.tls and symbol.value <= value < symbol.value + max(symbol.size, 1):
                return symbol
        return None


def read(path: Path) -> Program:
    """The program. Raises LabError if the file is not there, or no 64-bit little-endian ELF file."""
    try:
        if path.is_symlink() or path.stat().st_size > MAX_FILE:
            raise ValueError("it is a link, or too large")
        return parse(path.read_bytes())
    except OSError as error:
        raise LabError(f"the run's program can't be read: {error.strerror}") from None
    except (ValueError, struct.error, IndexError, OverflowError) as error:
        raise LabError(f"{path.name}: not an ELF program: {error}") from None


def parse(data: bytes) -> Program:
    """The program from its bytes. Raises ValueError, IndexError, OverflowError or struct.error for what is none."""
    if data[:6] != b"\x7fELF\x02\x01":
        raise ValueError("not a 64-bit little-endian ELF file")
    kind = _HEADER.unpack_from(data)[0]
    if kind not in (_FIXED, _MOVED):
        raise ValueError(f"its type is {kind}")
    segments = list(_segments(data))
    loads = [(address, address + size) for what, address, size, _ in segments if what == _LOAD]
    tls = next(((size, max(align, 1)) for what, _, size, align in segments if what == _TLS), (0, 1))
    symbols = sorted(_symbols(data), key=lambda symbol: (symbol.value, symbol.size))
    first = min((start for start, _ in loads), default=0)
    return Program(kind == _FIXED, first & ~0xFFF, max((end for _, end in loads), default=0), tls, tuple(symbols))


def _segments(data: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Kind, address, size in memory, alignment."""
    header = _HEADER.unpack_from(data)
    offset, size, count = header[4], header[8], header[9]
    for index in range(count):
        kind, _, _, address, _, _, in_memory, align = _SEGMENT.unpack_from(data, offset + index * size)
        yield kind, address, in_memory, align


def _symbols(data: bytes) -> Iterator[Symbol]:
    """Of the symbol table; of a stripped program those of the dynamic one."""
    sections = list(_sections(data))
    tables = [s for s in sections if s[1] == _SYMTAB] or [s for s in sections if s[1] == _DYNSYM]
    for _, _, _, _, offset, size, link, _, _, each in tables[:1]:
        names = sections[link]
        if each != _SYMBOL.size or offset + size > len(data) or size // each > MAX_SYMBOLS:
            raise ValueError("its symbol table is out of bounds")
        texts = data[names[4]:names[4] + names[5]]
        for name, info, _, section, value, length in _SYMBOL.iter_unpack(data[offset:offset + size // each * each]):
            what = info & 15
            if section in (0, _ABSOLUTE) or what not in (_OBJECT, _FUNCTION, _THREAD, _NOTYPE):
                continue
            text = texts[name:texts.find(b"\0", name)].decode("utf-8", "replace").partition("@")[0]
            if text:
                yield Symbol(text, value, length, info >> 4 == _LOCAL, what == _FUNCTION, what == _THREAD)


def _sections(data: bytes) -> Iterator[tuple[int, ...]]:
    header = _HEADER.unpack_from(data)
    table, size, count = header[5], header[10], header[11]
    for index in range(count if table else 0):
        yield _SECTION.unpack_from(data, table + index * size)


def bias(program: Program, areas: Sequence[Mapping[str, object]], file: str) -> int | None:
    """What is added to the file's addresses in a process with these VMAs; None if it does not have the file."""
    if program.fixed:
        return 0
    starts = [area["start"] for area in areas if area["file"] == file and area["pgoff"] == 0]
    return min(start for start in starts if isinstance(start, int)) - program.first if starts else None


def thread_local(program: Program, symbol: Symbol, fsbase: int) -> int | None:
    """Where a thread has a thread-local variable of the program: its block ends, aligned, at the thread pointer
    (TLS variant II; elf/dl-tls.c, _dl_determine_tlsoffset()). None where the alignment makes that doubtful."""
    size, align = program.tls
    if not size or align & (align - 1) or align > 4096 or not fsbase:
        return None
    return fsbase - -(-size // align) * align + symbol.value
