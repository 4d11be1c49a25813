"""The page faults that the kernel's trace has of an address, and the one that filled its page.

A fault is a page_fault_user record, what handle_mm_fault() was then called with, and the pages that the same thread
took from the allocator in it. A fault that the kernel itself takes has no page_fault_user.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from orchestrator.collect import ftrace
from orchestrator.collect.ftrace import Record
from orchestrator.collect.lines import Document
from orchestrator.collect.objects import FRAME, PAGE, PRESENT, Walk
from orchestrator.errors import LabError
from orchestrator.inspection import bits
from orchestrator.inspection.facts import Fact
from orchestrator.inspection.moment import Moment, Run
from orchestrator.inspection.names import symbol_at
from orchestrator.model import Checkpoint, Evidence
from orchestrator.observed import ObservationError
from orchestrator.rundir import safe

FAULT, HANDLED, ALLOCATION = "page_fault_user", "lab_fault", "mm_page_alloc"
AROUND = 64 << 10  # bytes: fault_around_bytes, mm/memory.c
MAX_ORDER = 20


@dataclass
class Fill:
    """One fault: ``page`` its address without the last 12 bits."""

    document: Document
    window: str
    page: int
    user: Record | None = None
    handled: Record | None = None
    allocations: list[Record] = field(default_factory=list)

    def took(self, frame: int) -> Record | None:
        """The allocation that has the frame."""
        for record in self.allocations:
            values = self.fields(record)
            first, order = values.get("pfn"), values.get("order")
            if isinstance(first, int) and isinstance(order, int) and 0 <= order <= MAX_ORDER \
                    and first <= frame < first + (1 << order):
                return record
        return None

    def fields(self, record: Record) -> dict[str, Any]:
        """A record's own fields."""
        return dict(ftrace.fields(record, self.document))

    def line(self, record: Record) -> Evidence:
        """Where it stands."""
        return self.document.at(record.line)

    @property
    def first(self) -> Record | None:
        """Its first record."""
        return self.user or self.handled


def of_run(moment: Moment) -> list[Fill]:
    """Every fault in every window up to the moment, in the order of time; troubles are told there."""
    found: list[Fill] = []
    for checkpoint in moment.run.record.checkpoints:
        if checkpoint.index <= moment.checkpoint.index:
            fills, troubles = moment.run.once(f"faults {checkpoint.index}", partial(_told, moment.run, checkpoint))
            found += fills
            moment.troubles += troubles
    return found


def _told(run: Run, checkpoint: Checkpoint) -> tuple[list[Fill], list[str]]:
    """The faults in one file of the trace, and what is wrong with it."""
    fills: list[Fill] = []
    troubles: list[str] = []
    try:
        fills.extend(_of_checkpoint(run, checkpoint, troubles))
    except LabError as error:
        troubles.append(error.message)
    except ObservationError as error:
        troubles.append(str(error))
    return fills, troubles


def _of_checkpoint(run: Run, checkpoint: Checkpoint, troubles: list[str]) -> Iterator[Fill]:
    folder = f"{checkpoint.directory}/trace"
    if not safe(folder) or not run.directory.file(f"{folder}/events").is_file():
        return
    document = run.observed.document(f"{folder}/events")
    trace = ftrace.parse_trace(document)
    if run.directory.file(f"{folder}/stats").is_file() and \
            (lost := ftrace.lost(run.observed.document(f"{folder}/stats"))):
        troubles.append(f"{document.file}: the trace buffer overflowed, {lost} records were lost")
    for window in trace.windows:
        if window.flaw:
            troubles.append(f"{document.file}: window {window.name!r}: {window.flaw}")
        yield from _in_window(document, window.name, trace.records[window.first:window.last])


def _in_window(document: Document, window: str, records: tuple[Record, ...]) -> Iterator[Fill]:
    current: dict[int, Fill] = {}  # by thread
    for record in records:
        if record.name in (FAULT, HANDLED):
            address = ftrace.fields(record, document).get("address")
            if not isinstance(address, int):
                raise document.garbled(record.line, "a fault with its address")
            fill = current.get(record.pid)
            page = address // PAGE * PAGE
            # a fault that is tried again calls handle_mm_fault() again, for the same page
            if record.name == FAULT or fill is None or fill.page != page:
                fill = current[record.pid] = Fill(document, window, page)
                yield fill
            if record.name == FAULT:
                fill.user = record
            else:
                fill.handled = record
        elif record.name == ALLOCATION and "handle_mm_fault" in record.chain and record.pid in current:
            current[record.pid].allocations.append(record)


@dataclass(frozen=True)
class Filled:
    """The fault of an address, and what ties it to it: "frame" (it took the frame that the page has), "page" (it was
    on the page), "earlier" (on the page, but for another VMA object), "around" (it was near, and maps what the page
    cache has)."""

    fill: Fill
    tie: str


def filled(moment: Moment, address: int) -> Filled | None:
    """The fault that filled the page; None if the trace has none."""
    walk = moment.kernel.walk(address)
    size = walk.size if walk.leaf else PAGE
    fills = of_run(moment)
    on_page = [fill for fill in fills if fill.page // size == address // size]
    if walk.frame is not None:
        # a large folio is taken at one fault for several pages
        taking = [fill for fill in fills if fill.took(walk.frame)]
        if taking and (taking[-1] in on_page or _is_near(moment, taking[-1], address)):
            return Filled(taking[-1], "frame")
    own = [fill for fill in fills if _is_own(moment, fill)]
    here = [fill for fill in own if fill in on_page]
    if here:
        return Filled(here[-1], "page" if _is_for(moment, here[-1], address) else "earlier")
    if walk.kind in ("file", "shmem"):
        near = [fill for fill in own if fill.page // AROUND == address // AROUND and _is_near(moment, fill, address)]
        if near:
            return Filled(near[-1], "around")
    return None


def _is_own(moment: Moment, fill: Fill) -> bool:
    """Whether it was surely of this process: by one of its threads, or for a VMA object that it has."""
    tasks = moment.kernel.tasks
    if fill.first is not None and fill.first.pid in {moment.pid, *(task.fields["tid"] for task in tasks)}:
        return True
    vma = fill.fields(fill.handled).get("vma") if fill.handled is not None else None
    return vma is not None and any(item.fields["address"] == vma for item in moment.kernel.vmas)


def _is_for(moment: Moment, fill: Fill, address: int) -> bool:
    """Whether it was handled for the VMA object that the address lies in, as far as it says."""
    item = moment.kernel.vma_at(address)
    vma = fill.fields(fill.handled).get("vma") if fill.handled is not None else None
    return item is None or vma is None or item.fields["address"] == vma


def _is_near(moment: Moment, fill: Fill, address: int) -> bool:
    """Whether it was in the VMA that the address lies in."""
    item = moment.kernel.vma_at(address)
    return item is not None and item.fields["start"] <= fill.page < item.fields["end"]


def facts(moment: Moment, address: int) -> Iterator[Fact]:
    """The traced fault: the processor's view, the kernel's, and the pages that it took."""
    found = filled(moment, address)
    if found is None:
        return
    fill, walk = found.fill, moment.kernel.walk(address)
    first = fill.first
    if first is None:
        return
    common = {"window": fill.window, "tie": found.tie, "thread": first.pid, "seconds": first.seconds}
    if fill.user is not None:
        yield _user(moment, fill, fill.user, common)
    if fill.handled is not None:
        yield _handled(fill, fill.handled, common)
    for record in fill.allocations:
        yield _allocation(fill, record, walk)


def _user(moment: Moment, fill: Fill, record: Record, common: dict[str, object]) -> Fact:
    values = fill.fields(record)
    code, ip = values.get("error_code"), values.get("ip")
    named = symbol_at(moment, ip) if isinstance(ip, int) else None
    return Fact("fault", {
        **common, "address": values.get("address"), "code": code, "ip": ip,
        "bits": bits.error_code(code) if isinstance(code, int) else [],
        "symbol": named[0] if named else None, "symbol_offset": named[1] if named else None,
    }, (fill.line(record),))  # fmt: skip


def _handled(fill: Fill, record: Record, common: dict[str, object]) -> Fact:
    values = fill.fields(record)
    flags = values.get("flags")
    return Fact("handled", {
        **common, **{name: values.get(name) for name in ("address", "vma", "vma_start", "vma_end")}, "flags": flags,
        "bits": bits.fault_flags(flags) if isinstance(flags, int) else [], "by_kernel": fill.user is None,
    }, (fill.line(record),))  # fmt: skip


def _allocation(fill: Fill, record: Record, walk: Walk) -> Fact:
    values = fill.fields(record)
    pfn = values.get("pfn")
    return Fact("allocation", {
        "thread": record.pid, "pfn": pfn, "order": values.get("order"), "gfp": str(values.get("gfp_flags", "")),
        "is": role(fill, record, pfn, walk), "chain": list(reversed(record.chain)),
    }, (fill.line(record),))  # fmt: skip


def role(fill: Fill, record: Record, pfn: object, walk: Walk) -> str:
    """What a page that was taken in a fault has become: "frame", a table ("pte"), or "" (not on the way)."""
    if walk.frame is not None and fill.took(walk.frame) is record:
        return "frame"
    for above, step in zip(walk.steps, walk.steps[1:], strict=False):
        if (above.value or 0) & PRESENT and ((above.value or 0) & FRAME) // PAGE == pfn:
            return step.level
    return ""
