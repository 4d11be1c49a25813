"""Index → drgn: types, variables and constants for a Program, each made when it is first looked up.

drgn's own search is switched off, as its first question makes it read all of the debugging information (a second or
so). What an index has no answer for switches it on again, and `missed` is told, so that the next index knows the name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from drgn import FindObjectFlags, Object, Program, Qualifiers, Type, TypeEnumerator, TypeKind, TypeKindSet, TypeMember

from orchestrator.symbols import roots
from orchestrator.symbols.index import CONSTANT, FUNCTION, VARIABLE, Entry, Index

# In drgn's order (libdrgn/dwarf_info.c, drgn_debug_info_find_type)
_KINDS = (
    (TypeKind.STRUCT, roots.STRUCT),
    (TypeKind.UNION, roots.UNION),
    (TypeKind.CLASS, roots.CLASS),
    (TypeKind.ENUM, roots.ENUM),
    (TypeKind.TYPEDEF, roots.TYPEDEF),
)
_BASE_KINDS = (TypeKind.INT, TypeKind.BOOL, TypeKind.FLOAT)
_FLAGS = {
    CONSTANT: FindObjectFlags.CONSTANT,
    FUNCTION: FindObjectFlags.FUNCTION,
    VARIABLE: FindObjectFlags.VARIABLE,
}

_DWARF = "dwarf"  # drgn's own finder

Missed = Callable[[Sequence[str]], None]


@dataclass(frozen=True)
class Loaded:
    """An index and how far from the file's addresses the binary lies: KASLR's offset, a library's base."""

    index: Index
    bias: int


def register(program: Program, name: str, loaded: Sequence[Loaded], missed: Missed) -> None:
    """Answers from the indexes in place of the debugging information. ``missed`` gets the keys of what they do not
    know; if it calls `search_dwarf`, drgn goes on there."""
    sources = [_Source(program, one) for one in loaded]

    def find_type(program: Program, kinds: TypeKindSet, word: str, filename: str | None) -> Type | None:
        return _find_type(sources, missed, kinds, word, filename)

    def find_object(program: Program, word: str, flags: FindObjectFlags, filename: str | None) -> Object | None:
        return _find_object(sources, missed, word, flags, filename)

    types, objects = program.enabled_type_finders(), program.enabled_object_finders()
    program.register_type_finder(name, find_type)
    program.set_enabled_type_finders(_replaced(types, name))
    program.register_object_finder(name, find_object)
    program.set_enabled_object_finders(_replaced(objects, name))  # after "linux": PAGE_SIZE, vmemmap and the like


def search_dwarf(program: Program) -> None:
    """From now on drgn searches the debugging information too, last; also in the look-up that is under way."""
    if _DWARF not in program.enabled_type_finders():
        program.set_enabled_type_finders([*program.enabled_type_finders(), _DWARF])
        program.set_enabled_object_finders([*program.enabled_object_finders(), _DWARF])


def _replaced(finders: Sequence[str], name: str) -> list[str]:
    return [name if finder == _DWARF else finder for finder in finders]


def _find_type(
    sources: Sequence[_Source], missed: Missed, kinds: TypeKindSet, word: str, filename: str | None
) -> Type | None:
    place = f"\t{filename}" if filename else ""
    keys = [f"{kind} {word}{place}" for drgn_kind, kind in _KINDS if drgn_kind in kinds]
    if any(kind in kinds for kind in _BASE_KINDS):
        keys.insert(0, f"{roots.BASE} {word}")
    for source in sources:
        for key in keys:
            if (found := source.named(key)) is not None and found.kind in kinds:
                return found
    unknown = [key for key in keys if not key.startswith(roots.BASE) and _unknown(sources, key)]
    if unknown:  # of C's own types all that are used are there; drgn asks for each spelling of "long"
        missed(unknown)
    return None


def _find_object(
    sources: Sequence[_Source], missed: Missed, word: str, flags: FindObjectFlags, filename: str | None
) -> Object | None:
    key = f"{roots.OBJECT} {word}" + (f"\t{filename}" if filename else "")
    for source in sources:
        for entry in source.index.objects.get(key, ()):
            if _FLAGS[entry.kind] & flags:
                return source.object(entry)
    if _unknown(sources, key):
        missed([key])
    return None


def _unknown(sources: Sequence[_Source], key: str) -> bool:
    return any(key not in source.index.roots and key not in source.index.objects for source in sources)


class _Source:
    """The types of one index in one Program. Types refer to each other lazily, so a cycle of pointers ends."""

    def __init__(self, program: Program, loaded: Loaded) -> None:
        self.index = loaded.index
        self._bias = loaded.bias
        self._program = program
        self._types: dict[int, Type] = {}

    def named(self, key: str) -> Type | None:
        """The type of a key; None if the index has none."""
        reference = self.index.names.get(key)
        return None if reference is None else self.type(reference)

    def object(self, entry: Entry) -> Object:
        """A variable or function where it lies in this Program, or a constant."""
        type_ = self.type(entry.type)
        if entry.value is None:
            return Object(self._program, type_)
        if isinstance(entry.value, str):
            return Object.from_bytes_(self._program, type_, bytes.fromhex(entry.value))
        if entry.kind == CONSTANT:
            return Object(self._program, type_, entry.value)
        address = entry.value + self._bias if self.index.moves(entry.value) else entry.value
        return Object(self._program, type_, address=address)

    def type(self, reference: int) -> Type:
        """The type of a reference, made at the first use."""
        found = self._types.get(reference)
        if found is None:
            bits = reference & 15
            found = self.type(reference - bits).qualified(Qualifiers(bits)) if bits else self._made(reference >> 4)
            self._types[reference] = found
        return found

    def _made(self, place: int) -> Type:
        program = self._program
        letter, *fields = self.index.types[place]
        if letter in "suc":
            return self._compound(letter, *fields)
        if letter == "p":
            return program.pointer_type(self.type(fields[0]), fields[1])
        if letter == "t":
            return program.typedef_type(fields[0], self.type(fields[1]))
        if letter == "a":
            return program.array_type(self.type(fields[0]), fields[1])
        if letter == "e":
            return self._enumeration(*fields)
        if letter == "i":
            return program.int_type(*fields)
        if letter == "b":
            return program.bool_type(*fields)
        if letter == "f":
            return program.float_type(*fields)
        if letter == "F":
            return program.function_type(program.void_type(), [], True)
        return program.void_type()

    def _compound(self, letter: str, tag: str | None, size: int | None = None, *members: int | str | None) -> Type:
        program = self._program
        make = {"s": program.struct_type, "u": program.union_type, "c": program.class_type}[letter]
        if size is None:
            return make(tag)
        groups = zip(*[iter(members)] * 4, strict=True)
        return make(tag, size, [TypeMember(self._member(*group[2:]), group[0], group[1]) for group in groups])

    def _member(self, reference: int, bits: int) -> Callable[[], Object | Type]:
        if bits:
            return lambda: Object(self._program, self.type(reference), bit_field_size=bits)
        return lambda: self.type(reference)

    def _enumeration(self, tag: str | None, reference: int | None = None, *values: int | str) -> Type:
        if reference is None:
            return self._program.enum_type(tag)
        pairs = zip(*[iter(values)] * 2, strict=True)
        return self._program.enum_type(tag, self.type(reference), [TypeEnumerator(*pair) for pair in pairs])
