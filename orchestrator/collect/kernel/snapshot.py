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
from orchestrator.collect.kernel.program import Patience, patience
from orchestrator.collect.kernel.tables import Table
from orchestrator.collect.kernel.tasks import Record
from orchestrator.collect.objects import FRAME, HUGE, PAGE, PRESENT

FORMAT, VERSION = "kernel-objects", 1
MAX_LINE = 19_000  # bytes: evidence has no longer ones (collect.lines)
_PARTS = {"task": "tasks", "mm": "mm", "vma": "vmas", "table": "tables", "frames": "frames"}  # for `broken`
HUGE_LEVELS = ("pmd", "pud")
ROWS = 128  # frames in a line


@dataclass
class Budget:
    """How much may be collected: records of one kind, frames, seconds of wall time for one process."""

    records: int = 200_000
    frames: int = 4096
    seconds: float = 30.0
    _patience: Patience = field(default_factory=Patience, init=False)

    def start(self, program: drgn.Program) -> None:
        """The time begins now. Whatever reads for longer, or without an end, raises (``program.TooMuch``)."""
        self._patience = patience(program)
        self._patience.until = time.monotonic() + self.seconds
        self._patience.refill()

    def bounded(self, records: Iterable[Record]) -> Iterator[Record]:
        """Raises OverflowError where there are more."""
        for number, record in enumerate(records):
            if number >= self.records:
                raise OverflowError(f"more than {self.records} of them")
            self._patience.refill()
            yield record


def lines(program: drgn.Program, pid: int, build_id: str, budget: Budget) -> Iterator[bytes]:
    """The file, line by line. What can't be followed is a line of its own; nothing of the guest's raises."""
    count = 0
    for record in _records(program, pid, build_id, budget):
        count += 1
        line = _json(record)
        if len(line) > MAX_LINE:
            line = _json(_broken(_PARTS.get(str(record["is"]), "task"), ValueError(f"a record of {len(line)} bytes")))
        yield line + b"\n"
    yield b'{"is":"end","lines":%d}\n' % (count + 1)


def processes(program: drgn.Program, pid: int, most: int) -> list[int]:
    """The process, then its relatives within the program, at most so many; nothing of the guest's raises."""
    found = [pid]
    patience(program).refill()
    with contextlib.suppress(Exception):
        found += (other for other in tasks.family(find_task(program, pid).read_(), most) if other != pid)
    return found


def changing(program: drgn.Program, pids: Iterable[int]) -> bool:
    """Whether somebody is in the middle of changing one of these address spaces: the kernel itself may be, with all
    tasks stopped (khugepaged takes a whole page table out while it collapses it; mm/khugepaged.c)."""
    patience(program).refill()
    with contextlib.suppress(Exception):
        return any(mm.is_locked(find_task(program, pid).read_()) for pid in pids)
    return False


def _json(record: Record) -> bytes:
    return json.dumps(record, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")


def _records(program: drgn.Program, pid: int, build_id: str, budget: Budget) -> Iterator[Record]:
    budget.start(program)
    release = program["init_uts_ns"].name.release.string_().decode("utf-8", "replace")
    yield {"is": "format", "name": FORMAT, "version": VERSION, "release": release, "build_id": build_id, "pid": pid,
           "levels": tables.levels(program), "page_size": PAGE}  # fmt: skip
    try:
        leader = find_task(program, pid).read_()
    except Exception as error:
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
    except Exception:
        return None


def _part(what: str, make: Callable[[], Iterator[Record]]) -> Iterator[Record]:
    try:
        yield from make()
    except Exception as error:  # of damaged memory: drgn and its helpers raise many kinds
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
