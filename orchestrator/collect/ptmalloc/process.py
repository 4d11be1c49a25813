"""A stopped process as the collection of its heap sees it: what the kernel says, and where its libraries are."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from orchestrator.collect.ptmalloc import memory as mem
from orchestrator.collect.ptmalloc.layout import Layout, NotInLayout, Struct
from orchestrator.collect.ptmalloc.memory import Memory, Unreadable

MAX_LINKS = 4096  # loaded objects in a link map
NAMES = {  # up to 2.33 the files had the version in their names (the sonames were links): 2.34's NEWS
    "libc": re.compile(r"libc(-[0-9.]+)?\.so(\.6)?"),
    "ld": re.compile(r"ld(-linux-x86-64|-[0-9.]+)\.so(\.2)?"),
    "libpthread": re.compile(r"libpthread(-[0-9.]+)?\.so(\.0)?"),
}
UNALLOCATED = (1 << 64) - 1  # TLS_DTV_UNALLOCATED
_KEPT = re.compile(r" \(deleted\)$")


@dataclass(frozen=True)
class Thread:
    """A thread by the kernel: its id, and the fs register's base, which is its struct pthread."""

    tid: int
    fsbase: int


@dataclass(frozen=True)
class Process:
    """All that is known of the process from elsewhere."""

    pid: int
    mappings: Sequence[mem.Mapping]
    threads: Sequence[Thread]  # the leader first


class Broken(Exception):
    """Something of glibc's own bookkeeping can't be followed: ``what``, and why."""

    def __init__(self, what: str, why: str) -> None:
        super().__init__(f"{what}: {why}")
        self.what, self.why = what, why


@dataclass(frozen=True)
class Library:
    """A mapped library: the address that its addresses count from, and its file."""

    base: int
    file: str


def find_library(mappings: Sequence[mem.Mapping], kind: str) -> Library | None:
    """The first mapping of libc, ld or libpthread (from the start of its file)."""
    for mapping in sorted(mappings):
        name = PurePosixPath(_KEPT.sub("", mapping.file)).name
        if mapping.pgoff == 0 and NAMES[kind].fullmatch(name):
            return Library(mapping.start, mapping.file)
    return None


class Numbers(dict[str, int]):
    """Fields of a structure by name; one that this glibc does not have is NotInLayout."""

    def __missing__(self, name: str) -> int:
        raise NotInLayout(f"the debug files know no field {name}")


@dataclass
class Libc:
    """The process's glibc: its layout, its libraries, its memory."""

    layout: Layout
    memory: Memory
    libraries: Mapping[str, Library]
    tls_module: int = 0  # libc's l_tls_modid; 0: not known
    tls_offset: int = 0  # libc's l_tls_offset, where its block lies below the thread pointer; 0: not known
    trouble: list[Broken] = field(default_factory=list)

    def address(self, name: str, library: str = "libc") -> int:
        """A symbol's address in the process. Raises NotInLayout if this glibc has none."""
        symbol = self.layout.symbol(name, library)
        if symbol is None or library not in self.libraries:
            raise NotInLayout(f"{library} has no {name}")
        return self.libraries[library].base + symbol.offset

    def variable(self, name: str, library: str = "libc") -> int | None:
        """The value of a variable of 1 to 8 bytes; None where this glibc has none, or it can't be read."""
        symbol = self.layout.symbol(name, library)
        if symbol is None or symbol.size not in (1, 2, 4, 8) or library not in self.libraries:
            return None
        try:
            return self.memory.number(self.address(name, library), symbol.size)
        except Unreadable:
            return None

    def numbers(self, struct: Struct, address: int) -> dict[str, int]:
        """All fields of a structure that are one number, by name. Raises Unreadable."""
        content = self.memory.bytes(address, struct.size)
        return Numbers({
            name: int.from_bytes(content[place.offset : place.offset + place.size], "little", signed=place.signed)
            for name, place in struct.fields.items()
            if place.is_number
        })

    def get(self, struct: Struct, name: str, address: int) -> int:
        """One field of the structure at an address. Raises Unreadable."""
        place = struct[name]
        return self.memory.number(address + place.offset, place.size, place.signed)


def open_libc(process: Process, layout: Layout, memory: Memory) -> Libc:
    """Finds libc and its TLS module. Raises Broken for a process without a libc of its own."""
    found = {kind: find_library(process.mappings, kind) for kind in NAMES}
    libraries = {kind: library for kind, library in found.items() if library is not None}
    if "libc" not in libraries:
        raise Broken("libc", "the process has no libc mapped: a static program, or another C library")
    libc = Libc(layout, memory, libraries)
    for name in ("main_arena", "mp_"):
        if layout.symbol(name) is None:
            raise Broken("libc", f"its debug file knows no {name}")
    found_id = build_id(memory, libraries["libc"].base)
    if found_id and layout.build_id and found_id != layout.build_id:
        raise Broken("libc", f"the process's libc has build id {found_id}, the debug file {layout.build_id}")
    try:
        _find_tls(libc)
    except (Broken, Unreadable, NotInLayout) as error:
        why = error.why if isinstance(error, Broken) else str(error)
        libc.trouble.append(Broken("tls", f"libc's TLS module is not known: {why}"))
    return libc


def _find_tls(libc: Libc) -> None:
    """libc's module number and offset, from its entry in the dynamic linker's list."""
    link_map, base = libc.layout.struct("link_map"), libc.libraries["libc"].base
    address, seen = _first_link(libc), set[int]()
    while address:
        if address in seen or len(seen) >= MAX_LINKS:
            raise Broken("link_map", f"the list does not end: {address:#x} comes again")
        seen.add(address)
        if libc.get(link_map, "l_addr", address) == base:
            libc.tls_module = libc.get(link_map, "l_tls_modid", address)
            offset = libc.get(link_map, "l_tls_offset", address)
            # NO_TLS_OFFSET is 0, FORCED_DYNAMIC_TLS_OFFSET -1: no block in the static area (include/link.h)
            libc.tls_offset = offset if 0 < offset < UNALLOCATED else 0
            return
        address = libc.get(link_map, "l_next", address)
    raise Broken("link_map", f"none of its {len(seen)} entries has libc's base {base:#x}")


def _first_link(libc: Libc) -> int:
    """The first entry of the main namespace: from _rtld_global, else as a debugger finds it."""
    layout = libc.layout
    try:
        place = layout.struct("rtld_global")["_dl_ns"].offset + layout.struct("link_namespaces").at("_ns_loaded")
        return libc.memory.word(libc.address("_rtld_global", "ld") + place)
    except NotInLayout:
        return libc.get(layout.struct("r_debug"), "r_map", libc.address("_r_debug", "ld"))


def tls_block(libc: Libc, fsbase: int) -> int:
    """Where a thread has libc's thread variables, by its DTV (__tls_get_addr()); 0 if they are not allocated yet.
    Raises Unreadable, or Broken where a DTV can't be right."""
    if not libc.tls_module:
        raise Broken("tls", "libc's TLS module is not known")
    pthread, dtv = libc.layout.struct("pthread"), libc.layout.struct("dtv")
    vector = libc.get(pthread, "header.dtv", fsbase)
    # dtv[-1].counter is the number of entries: elf/dl-tls.c, allocate_dtv()
    length = libc.get(dtv, "counter", vector - dtv.size)
    if libc.tls_module > length:
        return fsbase - libc.tls_offset if libc.tls_offset else 0
    block = libc.get(dtv, "pointer.val", vector + libc.tls_module * dtv.size)
    if block in (0, UNALLOCATED):  # not resized, or not used yet: the static area has it all the same
        return fsbase - libc.tls_offset if libc.tls_offset else 0
    return block


def build_id(memory: Memory, base: int) -> str:
    """The build id of the ELF file mapped at ``base``, in hex; "" where its headers can't be read."""
    try:
        header = memory.bytes(base, 64)
        if header[:4] != b"\x7fELF":
            return ""
        offset, size, count = (int.from_bytes(header[i : i + n], "little") for i, n in ((32, 8), (54, 2), (56, 2)))
        for index in range(min(count, 64)):
            entry = memory.bytes(base + offset + index * size, 56)
            if int.from_bytes(entry[:4], "little") == 4:  # PT_NOTE
                place, length = (int.from_bytes(entry[i : i + 8], "little") for i in (16, 32))
                if found := _note(memory.bytes(base + place, min(length, 4096))):
                    return found
    except Unreadable:
        pass
    return ""


def _note(notes: bytes) -> str:
    """The build id among the notes of one segment (NT_GNU_BUILD_ID, elf.h)."""
    place = 0
    while place + 12 <= len(notes):
        name, length, kind = (int.from_bytes(notes[place + i : place + i + 4], "little") for i in (0, 4, 8))
        start = place + 12 + (name + 3 & ~3)
        if kind == 3 and notes[place + 12 : place + 16] == b"GNU\0":
            return notes[start : start + length].hex()
        place = start + (length + 3 & ~3)
    return ""
