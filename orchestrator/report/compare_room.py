"""What of a comparison a report of bounded size has: the weightiest differences, and how many are left out. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from orchestrator.comparison.model import Comparison, Difference, Topic
from orchestrator.report import compare_words as words

MISFITS = 20  # things that are too large for the room that is left, before it counts as full


@dataclass(frozen=True)
class Kept:
    """``cases``: whose names are there, by number; ``own``: the differences of each case that are there; ``left``: how
    many of each are not; ``common``, ``common_left``: the same of what several cases share."""

    cases: tuple[int, ...]
    own: tuple[tuple[Difference, ...], ...]
    left: tuple[int, ...]
    common: tuple[words.Shared, ...]
    common_left: int


def fitting(count: int, size: Callable[[int], int], room: int, order: Sequence[int] = (),
            then: Callable[[int], object] = lambda _: None) -> tuple[tuple[int, ...], int]:
    """(the numbers of the things that have room, ascending; how much of it they take). Those first in ``order`` are
    taken first; ``then`` hears of each that is. What does not fit is passed over, but no more than a few times: little
    is measured in vain."""
    found, used, misfits = [], 0, 0
    for number in order or range(count):
        need = size(number)
        if used + need <= room:
            found.append(number)
            used += need
            then(number)
        elif (misfits := misfits + 1) == MISFITS:
            break
    return tuple(sorted(found)), used


def kept(comparison: Comparison, common: Sequence[words.Shared], room: int,
         frame: Callable[[int], int], size: Callable[[Difference, words.Shared | None], int],
         head: Callable[[str], int]) -> Kept:
    """What has room. ``frame``: the size of a case without its differences, ``size``: of a difference, ``head``: of
    what stands above those of one claim. The cases take at most half of it, those with differences first; then come
    the differences, those without a reason first."""
    cases, own = comparison.cases, words.own(comparison, common)
    named, used = fitting(len(cases), frame, room // 2, sorted(range(len(cases)), key=lambda at: not (
        cases[at].differences or cases[at].broken)))  # fmt: skip
    every: list[tuple[int, Difference, words.Shared | None]] = [
        *((at, one, None) for at in named for one in own[at]), *((-1, one.difference, one) for one in common)]
    order = sorted(range(len(every)), key=lambda place: _weight(every[place][1]))
    begun: set[tuple[int, str]] = set()

    def need(place: int) -> int:
        at, one, shared = every[place]
        begins = shared is None and (at, one.claim) not in begun
        return size(one, shared) + (head(one.claim) if begins else 0)

    places, _ = fitting(len(every), need, room - used, order,
                        lambda place: begun.add((every[place][0], every[place][1].claim)))  # fmt: skip
    there: list[list[Difference]] = [[] for _ in cases]
    for place in places:
        if every[place][0] >= 0:
            there[every[place][0]].append(every[place][1])
    shared = tuple(found for place in places if (found := every[place][2]))
    return Kept(named, tuple(map(tuple, there)), tuple(len(all_) - len(some) for all_, some in
                                                       zip(own, there, strict=True)),
                shared, len(common) - len(shared))  # fmt: skip


def _weight(one: Difference) -> tuple[bool, bool]:
    """What is unexplained first, as a finding is that does not hold."""
    return not one.unexplained, one.topic not in (Topic.ENDING, Topic.FINDING)
