"""Debugging information → index: everything that the roots lead to, walked once with drgn.

A kernel's DWARF has thousands of copies of a common type, one for each source file that includes it. Here types are
one when they have the same kind, name, size and member names at the same places (without a name: when all of it is
the same). A type that is looked up by its name is the one that drgn finds by that name.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import drgn
from drgn import FindObjectFlags, TypeKind

from orchestrator.errors import PieceError
from orchestrator.symbols import roots
from orchestrator.symbols.elf import content, identify
from orchestrator.symbols.index import CONSTANT, FUNCTION, VARIABLE, Entry, Index, Place

_COMPOUND = {
    TypeKind.STRUCT: ("s", roots.STRUCT),
    TypeKind.UNION: ("u", roots.UNION),
    TypeKind.CLASS: ("c", roots.CLASS),
}
_FLAGS = {
    CONSTANT: FindObjectFlags.CONSTANT,
    FUNCTION: FindObjectFlags.FUNCTION,
    VARIABLE: FindObjectFlags.VARIABLE,
}
_NO_PLACE = (drgn.SymbolKind.FILE, drgn.SymbolKind.SECTION)
_BANNER_LIMIT = 1024  # bytes


def build(path: Path, wanted: frozenset[str]) -> Index:
    """The index of the ELF file with debugging information at ``path``, from these roots."""
    identity = identify(path)
    program = drgn.Program(drgn.Platform(drgn.Architecture.X86_64))
    module = program.extra_module(str(path), create=True)
    if identity.start < identity.end:
        module.address_range = (identity.start, identity.end)  # addresses stay as they are in the file
    with _quiet():
        module.try_file(path, force=True)
        if module.debug_file_status is not drgn.ModuleFileStatus.HAVE:
            raise PieceError(f"{path} has no debugging information, or only a part of it", "Take an unstripped one.")
        walk = _Walk(program)
        walk.follow(wanted)
        places = _places(program, wanted)
    return Index(
        build_id=identity.build_id,
        drgn=drgn.__version__,
        start=identity.start,
        end=identity.end,
        roots=wanted,
        types=walk.types,
        names=walk.names,
        objects=walk.objects,
        places=places,
        tls_size=identity.tls_size,
        tls_align=identity.tls_align,
        banner=_banner(path, walk.objects),
    )


class _Walk:
    """A walk over one program's types. What is still to be done is kept in a list: types go deep."""

    def __init__(self, program: drgn.Program) -> None:
        self.types: list[list[Any]] = []
        self.names: dict[str, int] = {}
        self.objects: dict[str, tuple[Entry, ...]] = {}
        self._program = program
        self._known: dict[tuple[Any, ...], int] = {}
        self._todo: list[Callable[[], None]] = []
        self._named: set[str] = set()

    def follow(self, wanted: frozenset[str]) -> None:
        """Everything that these lead to."""
        for key in sorted(wanted):
            kind, rest = key.split(" ", 1)
            if kind == roots.OBJECT:
                self._object(key, rest)
            else:
                self._name(key)
            while self._todo:
                self._todo.pop()()

    def _name(self, key: str) -> None:
        """What drgn finds by a name is what the index gives for it."""
        if key in self._named:
            return
        self._named.add(key)
        with contextlib.suppress(LookupError):
            self.names[key] = self._reference(find_type(self._program, key))

    def _object(self, key: str, rest: str) -> None:
        if key in self.objects:
            return
        name, _, filename = rest.partition("\t")
        found = []
        for kind, flags in _FLAGS.items():
            with contextlib.suppress(LookupError):
                value = self._program.object(name, flags, filename or None)
                found.append(Entry(kind, self._reference(value.type_), _value(kind, value)))
        if found:
            self.objects[key] = tuple(found)

    def _reference(self, type_: drgn.Type) -> int:
        place = self._place(type_)
        qualifiers: int = type_.qualifiers.value
        return place << 4 | qualifiers

    def _place(self, type_: drgn.Type) -> int:
        kind = type_.kind
        if kind in _COMPOUND:
            return self._compound(type_)
        if kind is TypeKind.ENUM:
            return self._enumeration(type_)
        if kind is TypeKind.TYPEDEF:
            return self._add(("t", type_.name, self._reference(type_.type)), f"{roots.TYPEDEF} {type_.name}")
        if kind is TypeKind.POINTER:
            return self._add(("p", self._reference(type_.type), type_.size))
        if kind is TypeKind.ARRAY:
            return self._add(("a", self._reference(type_.type), type_.length))
        if kind is TypeKind.FUNCTION:
            return self._add(("F",))
        if kind is TypeKind.VOID:
            return self._add(("v",))
        return self._base(type_)

    def _base(self, type_: drgn.Type) -> int:
        if type_.kind is TypeKind.INT:
            place = self._add(("i", type_.name, type_.size, type_.is_signed))
        else:
            place = self._add(("b" if type_.kind is TypeKind.BOOL else "f", type_.name, type_.size))
        self.names.setdefault(f"{roots.BASE} {type_.name}", place << 4)
        return place

    def _compound(self, type_: drgn.Type) -> int:
        letter, kind = _COMPOUND[type_.kind]
        if not type_.is_complete():
            return self._add((letter, type_.tag))
        members = type_.members
        assert members is not None
        if type_.tag is None:  # it can't lead to itself: nothing can name it
            return self._add((letter, None, type_.size, *self._members(members)))
        identity = (letter, type_.tag, type_.size, tuple([(member.name, member.bit_offset) for member in members]))
        place = self._known.get(identity)
        if place is None:
            record = [letter, type_.tag, type_.size]
            place = self._known[identity] = len(self.types)
            self.types.append(record)
            self._todo.append(lambda: record.extend(self._members(members)))
            self._todo.append(lambda: self._name(f"{kind} {type_.tag}"))
        return place

    def _members(self, members: Any) -> Iterator[Any]:
        for member in members:
            yield from (member.name, member.bit_offset, self._reference(member.type), member.bit_field_size or 0)

    def _enumeration(self, type_: drgn.Type) -> int:
        if not type_.is_complete():
            return self._add(("e", type_.tag))
        enumerators = type_.enumerators
        assert enumerators is not None
        flat = [part for enumerator in enumerators for part in (enumerator.name, enumerator.value)]
        key = f"{roots.ENUM} {type_.tag}" if type_.tag else ""
        return self._add(("e", type_.tag, self._reference(type_.type), *flat), key)

    def _add(self, record: tuple[Any, ...], key: str = "") -> int:
        place = self._known.get(record)
        if place is None:
            place = self._known[record] = len(self.types)
            self.types.append(list(record))
            if key:
                self._todo.append(lambda: self._name(key))
            if record[0] == "e":
                self._todo.append(lambda: self._constants(record[3::2]))
        return place

    def _constants(self, names: tuple[str, ...]) -> None:
        for name in names:
            self._object(f"{roots.OBJECT} {name}", name)


def find_type(program: drgn.Program, key: str) -> drgn.Type:
    """The type that a program finds for a key of an index; raises LookupError."""
    kind, rest = key.split(" ", 1)
    name, _, filename = rest.partition("\t")
    found = program.type(name if kind == roots.TYPEDEF else f"{kind} {name}", filename or None)
    if found.kind.name.lower() != kind:
        raise LookupError(key)
    return found


def _value(kind: str, value: drgn.Object) -> int | str | None:
    if value.absent_:
        return None
    address: int | None = value.address_
    if kind != CONSTANT and address is not None:
        return address
    if value.type_.kind in (TypeKind.INT, TypeKind.ENUM):
        return int(value.value_())
    return bytes(value.to_bytes_()).hex()


def _places(program: drgn.Program, wanted: frozenset[str]) -> dict[str, list[Place]]:
    """All objects that were asked for as the symbol table has them: the only place of thread-local ones."""
    names = {key.split(" ", 1)[1] for key in wanted if key.startswith(f"{roots.OBJECT} ")}
    found: dict[str, list[Place]] = {}
    for symbol in program.symbols():
        if symbol.name in names and symbol.kind not in _NO_PLACE:
            place = Place(symbol.address, symbol.size, symbol.kind is drgn.SymbolKind.TLS)
            known = found.setdefault(symbol.name, [])
            if place not in known:
                known.append(place)
    return found


def _banner(path: Path, objects: dict[str, tuple[Entry, ...]]) -> str:
    """A kernel's own name for itself: version, compiler, time (init/version.c)."""
    for entry in objects.get(f"{roots.OBJECT} linux_banner", ()):
        if isinstance(entry.value, int):
            return content(path, entry.value, _BANNER_LIMIT).partition(b"\0")[0].decode(errors="replace")
    return ""


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """drgn warns of thread-local variables, whose place it can't say (we take that from the symbol table)."""
    logger = logging.getLogger("drgn")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)
