"""Everything of one process at one moment, as the lines of ``kernel/PID.jsonl``."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import drgn
from drgn.helpers.linux.pid import find_task

from orchestrator.collect.kernel import mm, tables, tasks, vmas
from orchestrator.collect.kernel.frames import Frame, Frames
from orchestrator.collect.kernel.tables import FRAME, HUGE, PRESENT, Table
from orchestrator.collect.kernel.tasks import Record

FORMAT, VERSION = "kernel-objects", 1
_BROKEN = (drgn.FaultError, drgn.ObjectAbsentError, LookupError, ValueError, OverflowError, TypeError)
HUGE_LEVELS = ("pmd", "pud")
ROWS = 128  # frames in a line


@dataclass
class Budget:
    """How much may be collected: records of one kind, frames, seconds of wall time for one process."""

    records: int = 200_000
    frames: int = 4096
    seconds: float = 30.0
    _until: float = field(default=0.0, init=False)

    def start(self) -> None:
        self._until = time.monotonic() + self.seconds

    def bounded(self, records: Iterable[Record]) -> Iterator[Record]:
        """Raises OverflowError where there are more, or it takes longer."""
        for number, record in enumerate(records):
            if number >= self.records:
                raise OverflowError(f"more than {self.records} of them")
            if time.monotonic() > self._until:
                raise OverflowError(f"it took longer than {self.seconds:.0f} s")
            yield record


def lines(program: drgn.Program, pid: int, release: str, build_id: str,
          budget: Budget | None = None) -> Iterator[bytes]:
    """The file, line by line. What can't be followed is a line of its own; nothing of the guest's raises."""
    count = 0
    for record in _records(program, pid, release, build_id, budget or Budget()):
        count += 1
        yield json.dumps(record, separators=(",", ":"), ensure_ascii=True).encode() + b"\n"
    yield b'{"is":"end","lines":%d}\n' % (count + 1)


def processes(program: drgn.Program, pid: int, most: int) -> list[int]:
    """The process, then its relatives within the program, at most so many; nothing of the guest's raises."""
    found = [pid]
    with contextlib.suppress(*_BROKEN):
        found += (other for other in tasks.family(find_task(program, pid).read_(), most) if other != pid)
    return found


def changing(program: drgn.Program, pids: Iterable[int]) -> bool:
    """Whether somebody is in the middle of changing one of these address spaces: the kernel itself may be, with all
    tasks stopped (khugepaged takes a whole page table out while it collapses it; mm/khugepaged.c)."""
    with contextlib.suppress(*_BROKEN):
        return any(mm.is_locked(find_task(program, pid).read_()) for pid in pids)
    return False


def _records(program: drgn.Program, pid: int, release: str, build_id: str, budget: Budget) -> Iterator[Record]:
    budget.start()
    yield {"is": "format", "name": FORMAT, "version": VERSION, "release": release, "build_id": build_id, "pid": pid,
           "levels": tables.levels(program), "page_size": tables.PAGE}  # fmt: skip
    try:
        leader = find_task(program, pid).read_()
    except _BROKEN as error:
        yield _broken("task", error)
        return
    if not leader:
        yield _broken("task", LookupError("the kernel has no task of that id"))
        return
    yield from _part("tasks", lambda: budget.bounded(map(tasks.record, tasks.threads(leader))))
    owner = _with_mm(leader)
    if owner is None:
        yield _broken("mm", LookupError("no thread has an address space any more"))
        return
    yield from _part("mm", lambda: iter([mm.record(owner)]))
    yield from _part("vmas", lambda: budget.bounded(vmas.records(owner.mm)))
    kept: dict[int, Frame] = {}
    yield from _part("tables", lambda: budget.bounded(_tables(program, owner.mm, kept)))
    yield from _frames(kept.values(), budget.frames)


def _with_mm(leader: drgn.Object) -> drgn.Object | None:
    """The leader, or another thread where that has ended (it keeps no mm then)."""
    try:
        return next((task for task in tasks.threads(leader) if task.mm), None)
    except _BROKEN:
        return leader if leader.mm else None


def _part(what: str, make: Callable[[], Iterator[Record]]) -> Iterator[Record]:
    try:
        yield from make()
    except _BROKEN as error:
        yield _broken(what, error)


def _broken(what: str, error: Exception) -> Record:
    return {"is": "broken", "what": what, "why": f"{error or type(error).__name__}"[:300]}


def _tables(program: drgn.Program, owner: drgn.Object, kept: dict[int, Frame]) -> Iterator[Record]:
    """``kept`` is filled with the frames that the tables lead to."""
    frames = Frames(program)
    for table in tables.tables(owner):
        record: Record = {"is": "table", "level": table.level, "phys": table.phys, "base": table.base,
                          "entries": [list(entry) for entry in table.entries]}  # fmt: skip
        kinds = "".join(_kind(table, value, frames, kept) for _, value in table.entries)
        if kinds.strip("-"):
            record["kinds"] = kinds
        yield record


def _kind(table: Table, value: int, frames: Frames, kept: dict[int, Frame]) -> str:
    """One character for an entry, as scenarios/README.md lists them."""
    if not value & PRESENT:
        return "w"  # swap, migration, marker: told apart by their type, which differs by kernel
    leaf = table.level == "pte" or (table.level in HUGE_LEVELS and value & HUGE)
    if not leaf:
        return "-"
    pfn = (value & FRAME) >> 12
    if table.level != "pte":
        pfn &= ~0x1FF  # bit 12 of a huge entry is PAT
    try:
        frame = frames.at(pfn)
    except (drgn.FaultError, ValueError):
        return "d"
    kept[pfn] = frame
    return frame.kind if table.level == "pte" else frame.kind.upper()


def _frames(found: Iterable[Frame], wanted: int) -> Iterator[Record]:
    """ROWS frames a line, the process's own memory before that of files."""
    order = sorted(found, key=lambda frame: (frame.kind not in "azk", frame.pfn))[:wanted]
    for first in range(0, len(order), ROWS):
        rows = [[f.pfn, f.kind, f.refcount, f.mapcount, f.flags] for f in order[first:first + ROWS]]
        yield {"is": "frames", "rows": rows}
