"""What windows of a program cost in instructions: the notes ``cost.WINDOW`` of a run whose instructions were counted.

Pure. A window is named by guest/lab.h's lab_cost_end() or lab_cost_note(); its name up to the first dot is its group.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

from orchestrator.errors import LabError
from orchestrator.inspection.moment import Run
from orchestrator.model import Checkpoint
from orchestrator.observed import ObservationError
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
    checkpoint: Checkpoint
    file: str
    line: int

    @property
    def group(self) -> str:
        """What it belongs to: "fault"."""
        return self.name.partition(".")[0]


Noted = tuple[Checkpoint, Iterable[tuple[int, str, str]]]  # with line, key and value of what was noted before it


def costs(record: RunRecord, noted: Iterable[Noted]) -> list[Cost]:
    """In the order in which they were noted; none where nothing was counted."""
    if not record.deterministic:
        return []
    every = (
        Cost(key.removeprefix(PREFIX), int(value), checkpoint, f"{checkpoint.directory}/notes", line)
        for checkpoint, notes in noted for line, key, value in notes
        if key.startswith(PREFIX) and value.isascii() and value.isdigit() and len(value) <= MAX_DIGITS
    )  # fmt: skip
    return list(itertools.islice(every, MAX_COSTS))


def of_run(run: Run) -> list[Cost]:
    """Those of a run; of notes that can't be read there are none."""
    return costs(run.record, ((checkpoint, _notes(run, checkpoint)) for checkpoint in run.record.checkpoints))


def _notes(run: Run, checkpoint: Checkpoint) -> list[tuple[int, str, str]]:
    try:
        return [(note.line, note.key, note.value) for note in run.observed.all_notes(run.label(checkpoint))]
    except (LabError, ObservationError):
        return []


def count(number: int) -> str:
    """A number for people: "1 093 016", without breaks."""
    return f"{number:,}".replace(",", "\u00a0")
