"""An index: types and objects of one binary, as a value and as bytes. Pure; knows nothing of drgn.

The bytes are two lines of JSON: what it is of and the hash of the other; the types and objects.

A type is referred to by a number: its place in ``types`` × 16 + qualifiers (drgn's Qualifiers: const 1,
volatile 2, restrict 4, atomic 8). A record begins with a letter:

    ["v"] void · ["i", name, bytes, signed] · ["b", name, bytes] bool · ["f", name, bytes] floating point
    ["p", type, bytes] pointer · ["a", type, length or null] array · ["F"] function, whatever it takes
    ["t", name, type] typedef · ["e", tag, type, name, value, name, value …] enumeration
    ["s" | "u" | "c", tag, bytes, name, bit offset, type, bit field size or 0, …] structure, union, class
    ["s" | "u" | "c" | "e", tag] one that is only declared
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

FORMAT = 1
VARIABLE, FUNCTION, CONSTANT = "variable", "function", "constant"

Record = Sequence[Any]


class Damaged(Exception):
    """Why these bytes are no index that can be used."""


class Entry(NamedTuple):
    """One object. ``value``: a variable's or function's address as in the file, a constant's value; None if the
    compiler left it out, bytes (as hexadecimal) for a constant that is no integer."""

    kind: str
    type: int
    value: int | str | None


class Place(NamedTuple):
    """Where a symbol table says that something lies."""

    address: int  # as in the file, so the offset from where a library is loaded; see is_tls
    size: int  # bytes
    is_tls: bool  # then the address is the offset in the binary's thread-local block


@dataclass(frozen=True)
class Index:
    """All of one binary that the roots lead to. Keys are as in `roots`; with a source file's name after a tab where
    one was asked for."""

    build_id: str
    drgn: str  # version that made it
    start: int  # the addresses between these two move with the binary, others (per-CPU offsets) do not
    end: int
    roots: frozenset[str]
    types: Sequence[Record]
    names: Mapping[str, int]
    objects: Mapping[str, Sequence[Entry]]
    places: Mapping[str, Sequence[Place]]  # of those objects that the symbol table names; static ones share names
    tls_size: int = 0  # bytes of the binary's thread-local block
    tls_align: int = 1
    banner: str = ""  # a kernel's linux_banner

    def moves(self, address: int) -> bool:
        """Whether an address as in the file is one that moves with the binary."""
        return self.start <= address < self.end


def encode(index: Index) -> bytes:
    """The bytes of an index, the same for the same index."""
    fields = {**vars(index), "roots": sorted(index.roots)}
    head = {"is": "symbol index", "format": FORMAT, "build_id": fields.pop("build_id"), "drgn": fields.pop("drgn")}
    content = _json(fields)
    return _json({**head, "sha256": _sum(head, content)}) + b"\n" + content


def decode(data: bytes, build_id: str, drgn: str) -> Index:
    """The index in these bytes. Raises Damaged if it is broken, or of something else."""
    try:
        first, content = data.split(b"\n", 1)
        head = json.loads(first)
        if head.pop("sha256") != _sum(head, content):
            raise Damaged("its bytes have changed")
        if (head["format"], head["build_id"], head["drgn"]) != (FORMAT, build_id, drgn):
            raise Damaged("it is of another binary or version")
        fields = json.loads(content)
        fields["roots"] = frozenset(fields["roots"])
        fields["objects"] = {key: [Entry(*entry) for entry in found] for key, found in fields["objects"].items()}
        fields["places"] = {name: [Place(*place) for place in found] for name, found in fields["places"].items()}
        return Index(build_id=build_id, drgn=drgn, **fields)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Damaged(f"it can't be read: {error}") from error


def _sum(head: Mapping[str, Any], content: bytes) -> str:
    return hashlib.sha256(_json(head) + b"\n" + content).hexdigest()


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()
