"""Members of a structure read in one go: where they lie comes from the kernel's own debugging information."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import drgn

_WORD = {1: "B", 2: "H", 4: "I", 8: "Q"}


class Layout:
    """The offsets of some members of one structure type. Members may be nested ("thread.fsbase")."""

    def __init__(self, program: drgn.Program, type_name: str, members: Sequence[str]) -> None:
        """Raises LookupError for a member that this kernel's structure does not have."""
        kind = program.type(type_name)
        self.size = kind.size or 0
        self._members = {name: (drgn.offsetof(kind, name), _size(kind, name)) for name in members}
        self._end = max(offset + size for offset, size in self._members.values())

    def read(self, program: drgn.Program, address: int) -> dict[str, int]:
        """The members' values, unsigned. Raises drgn.FaultError where there is no memory."""
        raw = program.read(address, self._end)
        return {name: int.from_bytes(raw[offset:offset + size], "little")
                for name, (offset, size) in self._members.items()}  # fmt: skip


def _size(kind: drgn.Type, name: str) -> int:
    for part in name.split("."):
        kind = _plain(_plain(kind).member(part).type)
    return int(drgn.sizeof(kind))


def _plain(kind: drgn.Type) -> drgn.Type:
    while kind.kind is drgn.TypeKind.TYPEDEF:
        kind = kind.type
    return kind


def layout(program: drgn.Program, type_name: str, *members: str) -> Layout:
    """The same layout is looked up once for a program."""
    key = ("layout", type_name, members)
    if key not in program.cache:
        program.cache[key] = Layout(program, type_name, members)
    found = program.cache[key]
    assert isinstance(found, Layout)
    return found


def has_member(program: drgn.Program, type_name: str, member: str) -> bool:
    """Whether this kernel's structure has that member."""
    return bool(program.type(type_name).has_member(member))


signed = functools.partial(int.from_bytes, byteorder="little", signed=True)
