"""A search for the place in an ordered row of candidates at which good turns to bad, as `git bisect` does it. Pure.

The first candidate is the good end, the last one the bad end; both are tried before anything between them. A search
never changes: `told` gives the one that knows more, so that whoever is interrupted has all that was found.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum


class Mark(StrEnum):
    """What a candidate was found to be; `git bisect` has the same three words."""

    GOOD = "good"
    BAD = "bad"
    SKIP = "skip"  # it could not be judged


class State(StrEnum):
    """What is known of the whole row."""

    OPEN = "open"  # there is something left to try
    FOUND = "found"  # good turns to bad, or with ``every`` also bad to good
    GOOD = "good"  # no boundary: both ends are good
    BAD = "bad"  # no boundary: both ends are bad
    REVERSED = "reversed"  # the good end is bad, and the bad end good
    UNJUDGED = "unjudged"  # an end could not be judged


@dataclass(frozen=True)
class Flip:
    """Two candidates with different answers, and those between them, of which there is no answer."""

    before: int
    after: int
    between: tuple[int, ...] = ()


@dataclass(frozen=True)
class Search:
    """A row of ``count`` candidates, and what those that were tried are. ``every``: try them all, as only that shows
    an answer that changes more than once."""

    count: int
    marks: Mapping[int, Mark] = field(default_factory=dict)
    every: bool = False

    def __post_init__(self) -> None:
        if self.count < 2:
            raise ValueError("a search needs two ends")

    def told(self, index: int, mark: Mark) -> Search:
        """The search that knows what one more candidate is."""
        if not 0 <= index < self.count:
            raise IndexError(index)
        return replace(self, marks={**self.marks, index: mark})

    @property
    def left(self) -> tuple[int, ...]:
        """What may still be tried: both ends first; then all between the boundary's sides, if the ends are as they
        should be."""
        ends = tuple(end for end in (0, self.count - 1) if end not in self.marks)
        if self.every:
            return (*ends, *(index for index in range(1, self.count - 1) if index not in self.marks))
        if ends or self._ends != (Mark.GOOD, Mark.BAD):
            return ends
        low = max(index for index, mark in self.marks.items() if mark is Mark.GOOD)
        high = min(index for index, mark in self.marks.items() if mark is Mark.BAD)
        return tuple(index for index in range(low + 1, high) if index not in self.marks)

    @property
    def next(self) -> int | None:
        """What to try next: an end; else what is nearest to the middle, the earlier of two. None: all is known."""
        left = self.left
        if not left or self.every or {0, self.count - 1} & set(left):
            return left[0] if left else None
        (flip,) = self.flips
        return min(left, key=lambda index: (abs(2 * index - flip.before - flip.after), index))

    @property
    def steps(self) -> int:
        """How many more candidates will be tried, if all can be judged: at most that many."""
        left = self.left
        if self.every:
            return len(left)
        ends = len({0, self.count - 1} & set(left))
        return ends + (self.count - 2 if ends else len(left)).bit_length()

    @property
    def flips(self) -> tuple[Flip, ...]:
        """Where the answer changes, as far as is known."""
        return tuple(self._flips())

    def _flips(self) -> Iterator[Flip]:
        judged = [index for index in sorted(self.marks) if self.marks[index] is not Mark.SKIP]
        for before, after in itertools.pairwise(judged):
            if self.marks[before] is not self.marks[after]:
                yield Flip(before, after, tuple(range(before + 1, after)))

    @property
    def state(self) -> State:
        """What is known of the row now."""
        if self.left:
            return State.OPEN
        if self._ends == (Mark.GOOD, Mark.BAD) or (self.every and self.flips):
            return State.FOUND
        if Mark.SKIP in self._ends:
            return State.UNJUDGED
        first, last = self._ends
        if first is not last:
            return State.REVERSED
        return State.GOOD if first is Mark.GOOD else State.BAD

    @property
    def _ends(self) -> tuple[Mark | None, Mark | None]:
        return self.marks.get(0), self.marks.get(self.count - 1)
