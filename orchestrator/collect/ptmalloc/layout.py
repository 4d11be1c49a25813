"""Where glibc keeps what: sizes and offsets of its structures as the debug files give them, as plain numbers.

Once they are derived from DWARF nothing here needs drgn any more: the walks work on numbers, and a test on a
record of them. A structure or field that a release does not have is missing; who needs it looks (``in``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from drgn import Type

# Structures by the name that their tag or typedef has in glibc, with the fields that are read (empty: all).
# A field of a structure in a structure is "outer.inner", and goes by "inner" where the outer one has no name.
STRUCTURES: dict[str, tuple[str, ...]] = {
    "struct malloc_state": (),
    "struct malloc_par": (),
    "struct malloc_chunk": (),
    "struct _heap_info": (),
    "struct tcache_perthread_struct": (),
    "struct tcache_entry": (),
    "struct pthread": (
        "header.self", "header.dtv", "list", "tid", "stackblock", "stackblock_size", "guardsize", "reported_guardsize",
        "user_stack", "stack_mode", "start_routine", "arg", "result", "joinid", "joinstate", "cancelhandling",
    ),
    "struct link_map": ("l_addr", "l_name", "l_next", "l_prev", "l_tls_modid", "l_tls_offset"),
    "struct r_debug": ("r_version", "r_map"),
    "struct rtld_global": ("_dl_ns", "_dl_stack_cache", "_dl_stack_used", "_dl_stack_user", "_dl_stack_cache_actsize"),
    "struct link_namespaces": ("_ns_loaded", "_ns_nloaded"),
    "union dtv": ("counter", "pointer.val"),
    "list_t": ("next", "prev"),
}  # fmt: skip
# Symbols by the library that has them; a release has some of them.
SYMBOLS: dict[str, tuple[str, ...]] = {
    "libc": ("main_arena", "mp_", "tcache", "thread_arena", "narenas", "free_list", "global_max_fast", "tcache_key",
             "__tcache_dummy", "__nptl_nthreads", "__libc_version"),
    "ld": ("_rtld_global", "_r_debug"),
    # merged into libc in 2.34, where the lists moved to _rtld_global: 1daccf403b1b
    "libpthread": ("stack_cache", "stack_used", "__stack_user", "stack_cache_actsize", "__nptl_nthreads"),
}  # fmt: skip


class NotInLayout(LookupError):
    """This glibc has no such structure, field or symbol."""


@dataclass(frozen=True)
class Field:
    """A field: ``offset`` in its structure, ``size`` of one element, both in bytes; ``count`` > 1: an array."""

    offset: int
    size: int
    count: int = 1
    signed: bool = False
    scalar: bool = True  # an integer, a pointer, an enumeration; no structure

    @property
    def is_number(self) -> bool:
        """Whether it is one number."""
        return self.scalar and self.count == 1 and self.size in (1, 2, 4, 8)


@dataclass(frozen=True)
class Struct:
    """One structure of one glibc."""

    size: int
    fields: Mapping[str, Field]

    def __contains__(self, name: str) -> bool:
        return name in self.fields

    def __getitem__(self, name: str) -> Field:
        if name not in self.fields:
            raise NotInLayout(f"the debug files know no field {name}")
        return self.fields[name]

    def at(self, name: str) -> int:
        """The offset of a field. Raises NotInLayout where this glibc has none."""
        return self[name].offset


@dataclass(frozen=True)
class Symbol:
    """``offset`` from the library's base (of a thread variable: from the start of the module's TLS block)."""

    offset: int
    size: int


@dataclass(frozen=True)
class Layout:
    """What the debug files of one glibc say. ``version`` is glibc's ("2.36"), ``build_id`` libc's, in hex."""

    version: str
    build_id: str
    structs: Mapping[str, Struct]
    symbols: Mapping[str, Mapping[str, Symbol]] = field(default_factory=dict)

    def struct(self, name: str) -> Struct:
        """A structure by its name without "struct". Raises NotInLayout where this glibc has none."""
        for key in (f"struct {name}", f"union {name}", name):
            if key in self.structs:
                return self.structs[key]
        raise NotInLayout(f"the debug files know no {name}")

    def symbol(self, name: str, library: str = "libc") -> Symbol | None:
        """A symbol of one library; None if it has none of that name."""
        return self.symbols.get(library, {}).get(name)

    @property
    def release(self) -> tuple[int, int]:
        """The version as numbers; (0, 0) if it is not known."""
        parts = self.version.split(".")
        if len(parts) < 2 or not (parts[0].isdecimal() and parts[1].isdecimal()):
            return 0, 0
        return int(parts[0]), int(parts[1])

    def record(self) -> dict[str, Any]:
        """All of it as JSON has it."""
        return asdict(self)

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> Layout:
        """The layout that ``record`` was made of."""
        structs = {
            name: Struct(struct["size"], {key: Field(**value) for key, value in struct["fields"].items()})
            for name, struct in record["structs"].items()
        }
        symbols = {library: {name: Symbol(**value) for name, value in names.items()}
                   for library, names in record["symbols"].items()}  # fmt: skip
        return cls(record["version"], record["build_id"], structs, symbols)


@dataclass(frozen=True)
class ChunkWords:
    """struct malloc_chunk as 64-bit words: which one is which. ``header`` is the offset of what the program gets,
    in bytes (chunk2mem(): where fd is while the chunk is free)."""

    prev: int
    size: int
    fd: int
    bk: int
    fd_nextsize: int
    bk_nextsize: int

    @property
    def header(self) -> int:
        """CHUNK_HDR_SZ, in bytes."""
        return self.fd * 8

    @classmethod
    def of(cls, layout: Layout) -> ChunkWords:
        """From the debug file; the names have a prefix since 2.26 (e9c4fe93b3d4)."""
        struct = layout.struct("malloc_chunk")
        names = ("mchunk_prev_size", "mchunk_size", "fd", "bk", "fd_nextsize", "bk_nextsize")
        return cls(*(struct.at(name) // 8 for name in names))


class Types(Protocol):
    """Types by name: a drgn.Program with the debug files of libc, ld.so and, up to 2.33, libpthread."""

    def type(self, name: str, /) -> Type:
        """Raises LookupError if there is none."""


def derive(types: Types, symbol: Callable[[str, str], tuple[int, int] | None], version: str, build_id: str) -> Layout:
    """The layout, from DWARF and symbol tables. ``symbol(library, name)`` is offset and size, or None."""
    structs = {}
    for name, wanted in STRUCTURES.items():
        found = _find(types, name)
        if found is not None:
            fields = {key: value for key, value in _fields(found, 0, "") if not wanted or key in wanted}
            structs[name] = Struct(found.size or 0, fields)
    symbols: dict[str, dict[str, Symbol]] = {}
    for library, names in SYMBOLS.items():
        places = {name: symbol(library, name) for name in names}
        symbols[library] = {name: Symbol(*place) for name, place in places.items() if place is not None}
    return Layout(version, build_id, structs, symbols)


def _find(types: Types, name: str) -> Type | None:
    try:
        found = _stripped(types.type(name))
    except LookupError:
        return None
    return found if found.is_complete() else None


def _stripped(found: Type) -> Type:
    from drgn import TypeKind

    while found.kind == TypeKind.TYPEDEF:
        found = found.type
    return found


def _fields(struct: Type, base: int, prefix: str) -> Iterator[tuple[str, Field]]:
    """All fields with their place, those of structures in it as well; bit fields are left out."""
    from drgn import TypeKind

    compound = (TypeKind.STRUCT, TypeKind.UNION)
    for member in struct.members or ():
        if member.bit_field_size is not None:
            continue
        offset, kind = base + member.offset, _stripped(member.type)
        count = 1
        while kind.kind == TypeKind.ARRAY:
            count *= kind.length or 0
            kind = _stripped(kind.type)
        if kind.kind in compound and count == 1:
            yield from _fields(kind, offset, f"{prefix}{member.name}." if member.name else prefix)
        if member.name and getattr(kind, "size", None) is not None:
            signed = kind.kind == TypeKind.INT and kind.is_signed
            yield prefix + member.name, Field(offset, kind.size, count, signed, kind.kind not in compound)

