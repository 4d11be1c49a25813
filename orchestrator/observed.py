"""What an observation is: a value with the evidence lines it came from, or a reason why there is none."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, SupportsIndex, overload, runtime_checkable

from orchestrator.collect.lines import Document
from orchestrator.model import Evidence, Vma
from orchestrator.names import nearest

SHOWN_LINES = 20


class ObservationError(LookupError):
    """There is no such observation in this run; the message says what there is."""


class LeftOut(ObservationError):
    """The lab could not look there, and has said why before the run: no symbols for this kernel, say."""


@dataclass(frozen=True)
class Observed:
    """A value and the evidence lines it was read from. ``remark``: what its reader should know."""

    value: object
    evidence: tuple[Evidence, ...] = ()
    remark: str = ""


@runtime_checkable
class HasAttributes(Protocol):
    """What may be asked for an attribute in a check."""

    def attribute(self, name: str) -> Observed:
        """One attribute. Raises ObservationError with the nearest names if there is none."""


@dataclass(frozen=True)
class VmaView:
    """What ``vma(…)`` gives a check: the mapping's public attributes, each with its own line."""

    vma: Vma
    document: Document

    def names(self) -> tuple[str, ...]:
        """The attributes that this mapping has: smaps' fields differ between kernels."""
        return (*_PUBLIC, *(name.lower() for name, _ in self.vma.fields))

    def attribute(self, name: str) -> Observed:
        """One attribute. Raises ObservationError with the nearest names if there is none."""
        if name in _PUBLIC:
            return Observed(getattr(self.vma, name), (self.document.at(self.vma.line),))
        for index, (field, value) in enumerate(self.vma.fields):
            if field.lower() == name:
                return Observed(value, (self.document.at(self.vma.line + 1 + index),))
        raise ObservationError(f"a mapping has no {name!r} here{nearest(name, self.names())}")

    def __str__(self) -> str:
        vma = self.vma
        return f"{vma.start:x}-{vma.end:x} {vma.perms} {vma.name or '(anonymous)'}"


_PUBLIC = ("start", "end", "size", "perms", "offset", "device", "inode", "name", "flags")


@dataclass(frozen=True)
class Row:
    """One record of a kernel trace, with its fields."""

    kind: str  # "fault", "mmap"
    fields: dict[str, object]
    evidence: Evidence

    def attribute(self, name: str) -> Observed:
        """One field. Raises ObservationError with the nearest names if there is none."""
        if name not in self.fields:
            raise ObservationError(
                f"{self.kind} has no {name!r} here{nearest(name, self.fields)}; it has {', '.join(sorted(self.fields))}"
            )
        return Observed(self.fields[name], (self.evidence,))

    def __str__(self) -> str:
        return f"{self.kind} {self.evidence.file}:{self.evidence.line}"


class Rows(Sequence[HasAttributes]):
    """Records by time, mappings by address. An attribute of the rows is the list of that attribute of each."""

    def __init__(self, kind: str, rows: Iterable[HasAttributes], names: Iterable[str]) -> None:
        self.kind = kind
        self._rows = tuple(rows)
        self._names = tuple(names)  # that every row has, so that an empty list knows a wrong name; () = any

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[HasAttributes]:
        return iter(self._rows)

    @overload
    def __getitem__(self, index: SupportsIndex) -> HasAttributes: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[HasAttributes, ...]: ...
    def __getitem__(self, index: SupportsIndex | slice) -> HasAttributes | tuple[HasAttributes, ...]:
        try:
            return self._rows[index]
        except IndexError:
            raise ObservationError(f"there are {len(self._rows)} records ({self.kind}), no [{index}]") from None

    def attribute(self, name: str) -> Observed:
        """That attribute of every row, in order. Raises ObservationError if they have none of that name."""
        if not self._rows and self._names and name not in self._names:
            raise ObservationError(f"{self.kind} has no {name!r}{nearest(name, self._names)}")
        found = [row.attribute(name) for row in self._rows]
        return Observed([one.value for one in found], tuple(e for one in found[:SHOWN_LINES] for e in one.evidence))

    def __str__(self) -> str:
        return f"{len(self._rows)} records ({self.kind})"
