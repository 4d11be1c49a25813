"""The whole story of one address at one checkpoint."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.errors import LabError
from orchestrator.inspection import crosscheck, facts, fills, heaps, names, vmas, walks
from orchestrator.inspection.facts import Fact, Neighbour, Story
from orchestrator.inspection.moment import Moment, Run


def story_of(run: Run, moment: Moment, asked: str) -> Story:
    """What ``asked`` is at the moment. Raises UsageError for what nothing is called, EvidenceError for kernel objects
    that can't be read; other evidence that can't be read is told in the story."""
    address = names.find(moment, asked)
    found = (*names.facts(moment, address), *_state(moment, address), *fills.facts(moment, address))
    checks = tuple(crosscheck.checks(moment, address))
    neighbours = tuple(
        _neighbour(which, moment, run.near(moment, step), address) for which, step in (("before", -1), ("after", 1))
    )
    return Story(moment.where, asked, address, found, checks, neighbours, tuple(dict.fromkeys(moment.troubles)))


def _state(moment: Moment, address: int) -> tuple[Fact, ...]:
    """What is compared with other checkpoints: chunk, list, arena, VMA, levels, frame."""
    return tuple(_parts(moment, address))


def _parts(moment: Moment, address: int) -> Iterator[Fact]:
    yield from heaps.facts(moment, address)
    if not {"mm", "vmas"} & moment.kernel.broken.keys() or moment.kernel.vmas:
        yield from vmas.facts(moment, address)
    if moment.kernel.tables:
        yield from walks.facts(moment, address)


def _neighbour(which: str, here: Moment, there: Moment | None, address: int) -> Neighbour:
    if there is None:
        words = "first" if which == "before" else "last"
        return Neighbour(which, "", (), f"this is the {words} checkpoint at which the lab looked inside this process")
    try:
        mine, theirs = here.kernel.mm, there.kernel.mm
        if mine and theirs and mine.fields["address"] != theirs.fields["address"]:
            return Neighbour(which, there.at, (), "the process had another address space: execve() makes a new one")
        remark = "" if (here.heap is None) == (there.heap is None) else \
            f"the lab looked at the heap only {'here' if here.heap else 'there'}"
        other = _state(there, address)
        if remark:
            other = tuple(fact for fact in other if fact.topic not in ("chunk", "bin", "arena"))
        mine_facts = [f for f in _state(here, address) if not remark or f.topic not in ("chunk", "bin", "arena")]
        return Neighbour(which, there.at, facts.differing(mine_facts, other), remark)
    except LabError as error:
        return Neighbour(which, there.at, (), error.message)
