"""The page tables and the page frame of an address, as facts."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.collect import objects
from orchestrator.collect.objects import PRESENT, Step, Walk
from orchestrator.inspection import bits
from orchestrator.inspection.facts import Fact
from orchestrator.inspection.moment import Moment


def facts(moment: Moment, address: int) -> Iterator[Fact]:
    """Each level down to the page or to the first that is missing, then the frame."""
    walk = moment.kernel.walk(address)
    for step in walk.steps:
        yield _level(moment, walk, step)
        if not (step.value or 0) & PRESENT:
            return
    if walk.frame is not None:
        yield _frame(moment, walk, walk.frame)


def _level(moment: Moment, walk: Walk, step: Step) -> Fact:
    """One entry: its value, its bits, and what it leads to: the next table, or the page frame."""
    evidence = (moment.document.at(step.line),) if step.line else ()
    value = step.value or 0
    if not value & PRESENT:
        return Fact(step.level, {"index": step.index, "entry": value, "present": False, "bits": []}, evidence)
    leaf = step is walk.steps[-1]
    values = {"index": step.index, "entry": value, "present": True, "bits": bits.entry(value, step.level, leaf)}
    to = {"frame": walk.frame, "size": walk.size} if leaf else {"table": value & objects.FRAME}
    return Fact(step.level, {**values, **to}, evidence)


def _frame(moment: Moment, walk: Walk, number: int) -> Fact:
    """The frame; its counts only where its ``struct page`` was kept."""
    head = number // (walk.size // objects.PAGE) * (walk.size // objects.PAGE)  # that of a huge page has the counts
    found = moment.kernel.frames.get(number) or moment.kernel.frames.get(head)
    values: dict[str, object] = {"frame": number, "kind": walk.kind or "other"}
    if found is None:
        return Fact("frame", values, ())
    counts = {"mapcount": found.mapcount, "refcount": found.refcount, "flags": found.flags}
    return Fact("frame", values | counts, (moment.document.at(found.line),))
