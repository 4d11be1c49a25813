"""What windows of a program cost in instructions: the notes ``cost.WINDOW`` of a run whose instructions were counted.

Pure. A window is named by guest/lab.h's lab_cost_end() or lab_cost_note(); its name up to the first dot is its group.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from orchestrator.model import Checkpoint
from orchestrator.rundir import RunRecord

PREFIX = "cost."
MAX_COSTS = 500  # of one run
MAX_DIGITS = 20
NOT_MODELLED = (
    "Instructions of the guest, the kernel's included: work, not time. An emulator has no caches, no TLB misses, no "
    "branch prediction and no memory that is slow. A string instruction counts once for each of its steps, and a "
    "window of more than 500,000 instructions has ticks of the timer in it (at 250 Hz)."
)  # fmt: skip


@dataclass(frozen=True)
class Cost:
    """One window. ``file`` and ``line`` are its note's, relative to the run directory."""

    name: str  # "fault.write"
    instructions: int
    checkpoint: int  # the index
    file: str
    line: int

    @property
    def group(self) -> str:
        """What it belongs to: "fault"."""
        return self.name.partition(".")[0]


class Noted(Protocol):
    """A checkpoint with what the program reported before it, key and value of each line."""

    @property
    def checkpoint(self) -> Checkpoint:
        """The checkpoint."""

    @property
    def notes(self) -> Sequence[tuple[str, str]]:
        """The lines of its file notes."""


def costs(record: RunRecord, found: Iterable[Noted]) -> list[Cost]:
    """In the order in which they were noted; none where nothing was counted."""
    if not record.deterministic:
        return []
    every = (
        Cost(key.removeprefix(PREFIX), int(value), moment.checkpoint.index, f"{moment.checkpoint.directory}/notes",
             line)
        for moment in found for line, (key, value) in enumerate(moment.notes, 1)
        if key.startswith(PREFIX) and value.isascii() and value.isdigit() and len(value) <= MAX_DIGITS
    )  # fmt: skip
    return [one for _, one in zip(range(MAX_COSTS), every, strict=False)]


def count(number: int) -> str:
    """A number for people: "1 093 016", without breaks."""
    return f"{number:,}".replace(",", "\u00a0")
