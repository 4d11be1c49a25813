"""glibc's heap and threads of one process at one checkpoint as values that a repeat has too. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from orchestrator.collect.heap_values import Flaw, HeapEvidence
from orchestrator.digest import left_out
from orchestrator.digest.names import Names
from orchestrator.digest.subject import Process, Subject

_OF_RACES = ("mmaps", "mem", "threshold", "pad")  # of malloc's parameters: what allocations move


def parts(subject: Subject, one: Process) -> Iterator[tuple[str, Any]]:
    """Kind of evidence and value."""
    if one.moment.heap is None:
        return
    _, found = one.moment.heap
    names = subject.names(one.moment.checkpoint.index, one.moment.pid)
    subject.leave(left_out.RANDOM)
    several = len(found.threads) > 1 or len(found.arenas) > 1 or one.shared
    if several:
        subject.leave(left_out.RACES)
    yield "threads", _threads(subject, found)
    yield "heap", _ruled(found) if several else _whole(found, names)


def _ruled(found: HeapEvidence) -> Any:
    """What scheduling has no part in. Which invariants there are to look at depends on which lists hold something."""
    return {"mp": {name: value for name, value in found.parameters.items()
                   if not name.endswith(_OF_RACES) and name != "sbrk_base"}, "checks": _checks(found)[1:]}  # fmt: skip


def _whole(found: HeapEvidence, names: Names) -> Any:
    number = names.number
    return {
        "mp": _numbers(found.parameters, names),
        "variables": _numbers(left_out.RANDOM.without(found.variables), names),
        "arenas": [{**_numbers(arena.numbers, names), "binmap": list(arena.binmap), "broken": _why(arena.broken)}
                   for arena in found.arenas],
        "heaps": [[number(walk.start), number(walk.first), walk.end - walk.start, walk.tail, walk.guessed,
                   _why(walk.broken), walk.states, list(walk.words)] for walk in found.walks],
        "bins": [[one.kind, one.index, list(map(number, one.chunks)), _why(one.broken)]
                 for arena in found.arenas for one in arena.bins],
        "tcaches": [[one.index, one.size, one.largest, one.count, list(map(number, one.chunks)), _why(one.broken)]
                    for one in found.tcaches],
        "mapped": [[number(one.chunk), one.prev_size, one.word, one.end - one.start] for one in found.mapped],
        "checks": _checks(found),
    }  # fmt: skip


def _checks(found: HeapEvidence) -> Any:
    """Which invariants were looked at, which do not hold, and what could not be read."""
    return [sorted({one.what for one in found.checks}), sorted(one.what for one in found.failed()),
            sorted(one.what for one in found.broken)]  # fmt: skip


_THREAD = ("stackblock_size", "guardsize", "reported_guardsize")


def _threads(subject: Subject, found: HeapEvidence) -> Any:
    """In the order in which they were made. The main thread's block is none: its size is an address."""
    rows = [[place, one.tcache_state, bool(one.numbers.get("user_stack")), one.broken,
             *(one.numbers.get(name) if place else None for name in _THREAD)]
            for place, one in enumerate(found.threads)]  # fmt: skip
    kept = sorted([one.numbers.get(name, 0) for name in _THREAD] for one in found.stacks)
    return [rows, kept]


def _numbers(values: Mapping[str, int], names: Names) -> dict[str, Any]:
    return {name: names.number(value) for name, value in values.items()}


def _why(flaw: Flaw | None) -> str | None:
    return flaw.why if flaw else None
