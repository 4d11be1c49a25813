"""A comparison as frozen data. Imports nothing that works. Sizes in ``values`` are text, made for people."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from orchestrator.model import Evidence

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"  # the sides' names in a table; more sides than letters are refused

NOT_THERE = "not there"  # among the values of repeats that do not agree; "" where no run of a side has it
VALUE_OF = "value of "  # before an operand, where a spot is one


class Topic(StrEnum):
    """What a difference is one of, in the order in which they are shown."""

    ENDING = "how the run ended"
    FINDING = "finding"
    VALUE = "value in a finding"
    COST = "cost"
    CHECKPOINT = "checkpoint"
    MAPPING = "mapping"
    RESIDENT = "resident memory"
    COUNTER = "counter"
    KERNEL = "kernel object"
    HEAP = "heap"
    THREAD = "thread"
    TRACE = "trace"
    LOG = "kernel log"


@dataclass(frozen=True)
class Seen:
    """One observation of a run, made comparable. ``value``: text without addresses and process ids.

    ``steady``: in repeats of a case it is the same, as far as is known; what is not steady (a resident size, a
    random gap) is only compared where repeats show that it does not vary. ``word``: what an operand must
    name to speak of this and not of another thing in the same line of evidence.
    """

    topic: Topic
    what: str
    at: str  # the checkpoint's label; "" for the whole run
    value: str
    steady: bool = True
    evidence: Evidence | None = None
    last: int = 0  # the last line of the evidence, where that is several
    word: str = ""


@dataclass(frozen=True)
class Member:
    """One run of a side."""

    path: Path
    scenario: str
    kernel: str  # as chosen: "6.1", a path
    userland: str
    release: str  # as measured
    glibc: str
    identity: str  # of program, settings and pieces: runs with the same one are repeats
    settings: tuple[str, ...] = ()  # "glibc.malloc.tcache_count=0"


@dataclass(frozen=True)
class Side:
    """One of the things that are compared. ``name`` says what it has that others have not."""

    letter: str
    name: str
    place: str  # the directory as given
    members: tuple[Member, ...]
    settings: tuple[str, ...] = ()  # what a user had set on it, in words, where sides differ in that


@dataclass(frozen=True)
class Reason:
    """Why a side is as it is: a mechanism that an expectation names, and its source."""

    sides: tuple[str, ...]  # letters
    because: str
    source: str
    when: str = ""


@dataclass(frozen=True)
class Spot:
    """One place at which something differs: what each side has there, in their order. "" is not there; several
    different values of repeats are joined by " / ". ``at`` is a checkpoint; for a value in a finding the operand; for
    a trace the window; behind VALUE_OF an operand of a finding that does not come out alike."""

    at: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Difference:
    """One thing that differs, at all places where it does. No ``reasons``: unexplained."""

    topic: Topic
    what: str
    spots: tuple[Spot, ...]
    claim: str = ""  # "" where no finding speaks of it
    finding: str = ""  # the id of the expectation, for a finding or a value in one
    also: tuple[str, ...] = ()  # further claims whose findings speak of it
    reasons: tuple[Reason, ...] = ()
    evidence: tuple[tuple[str, Evidence], ...] = ()  # a line for each side that has one: its letter, the line

    @property
    def unexplained(self) -> bool:
        """Whether a reason is missing. A cost is what was asked for: the work that each side does."""
        return not self.reasons and self.topic is not Topic.COST


@dataclass(frozen=True)
class Matched:
    """The runs of one case on each side, and what differs between them."""

    name: str  # "malloc", "malloc with bookworm"
    scenario: str
    runs: tuple[tuple[Member, ...], ...]  # by side; more than one are repeats
    differences: tuple[Difference, ...] = ()
    compared: int = 0  # findings and observations that were
    noise: int = 0  # that vary between repeats, and are left out for it
    chance: int = 0  # that only repeats could tell from chance, and there are too few
    derived: int = 0  # sums of what is listed, which are not listed again
    broken: tuple[str, ...] = ()  # evidence that could not be read
    digest: str = ""  # the digest that all its runs have; "" where they differ, or one has none
    apart: tuple[str, ...] = ()  # the parts in which the digests of repeats differ


@dataclass(frozen=True)
class Comparison:
    """All of it. ``rule``: how cases were matched, in words."""

    sides: tuple[Side, ...]
    rule: str
    cases: tuple[Matched, ...]
    alone: tuple[tuple[str, str], ...] = ()  # (letters of the sides that have it, case) that others lack
    left_out: tuple[tuple[str, str], ...] = ()  # (run directory, why)
    lab: str = ""
    statements: dict[str, str] = field(default_factory=dict)  # of the claims that are named, where known

    @property
    def differences(self) -> int:
        """How many there are."""
        return sum(len(case.differences) for case in self.cases)

    @property
    def exit_code(self) -> int:
        """0: the same; 1: something differs, or a case has no counterpart; 3: it is the same as far as it could be
        read, and some evidence could not be."""
        if self.differences or self.alone:
            return 1
        return 3 if any(case.broken for case in self.cases) else 0
