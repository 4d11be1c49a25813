"""The answer of `lab inspect` as data: facts with their evidence, cross-checks, what was otherwise before and after.

Addresses and sizes are bytes. Nothing here has been made ready to be shown: texts may be a guest's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from orchestrator.model import Evidence

ORDER = ("chunk", "bin", "arena", "vma", "pgd", "p4d", "pud", "pmd", "pte", "frame")  # from the program to the frame


class Verdict(StrEnum):
    """What a comparison of two sources came to."""

    AGREE = "agree"
    DIFFER = "differ"
    UNKNOWN = "unknown"  # one of the sources does not say


@dataclass(frozen=True)
class Fact:
    """One thing that the evidence says. ``topic`` says which ``values`` there are (schema/inspect.schema.json)."""

    topic: str
    values: Mapping[str, Any]
    evidence: tuple[Evidence, ...] = ()


@dataclass(frozen=True)
class Check:
    """Two sources of the same, compared; ``says`` in words."""

    what: str
    verdict: Verdict
    says: str
    evidence: tuple[Evidence, ...] = ()


@dataclass(frozen=True)
class Neighbour:
    """The checkpoint before or after: the facts that were otherwise there; a fact without values was not there.
    ``remark``: why nothing can be compared, or what must be known to do so."""

    which: str  # "before", "after"
    at: str
    facts: tuple[Fact, ...] = ()
    remark: str = ""


@dataclass(frozen=True)
class Where:
    """What every answer is about."""

    run: str  # the run directory
    scenario: str
    kernel: str
    glibc: str
    at: str  # a checkpoint, "name#2" where there are several of that name
    pid: int


@dataclass(frozen=True)
class Story:
    """All of one address."""

    where: Where
    asked: str
    address: int
    facts: tuple[Fact, ...]
    checks: tuple[Check, ...] = ()
    neighbours: tuple[Neighbour, ...] = ()
    troubles: tuple[str, ...] = ()  # evidence that could not be read, each with file and line


@dataclass(frozen=True)
class Section:
    """Facts that belong together; ``more``: how many there are beside them."""

    title: str
    facts: tuple[Fact, ...]
    more: int = 0


@dataclass(frozen=True)
class View:
    """A whole: an mm, a heap, the threads, or (``where.at`` empty) what a run has to inspect."""

    kind: str
    where: Where
    sections: tuple[Section, ...]
    checks: tuple[Check, ...] = ()
    troubles: tuple[str, ...] = field(default=())


def differing(here: Iterable[Fact], there: Iterable[Fact]) -> tuple[Fact, ...]:
    """The facts of ``there`` that are not those of ``here``; without values what is only here."""
    mine = {fact.topic: fact for fact in here}
    others = {fact.topic: fact for fact in there}
    found = [fact for topic, fact in others.items() if topic not in mine or mine[topic].values != fact.values]
    gone = [Fact(topic, {}) for topic in mine if topic not in others]
    return tuple(sorted([*found, *gone], key=lambda fact: ORDER.index(fact.topic)))
