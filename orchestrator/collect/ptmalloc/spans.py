"""Stretches of memory that have been seen to."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator


class Spans:
    """Stretches [start, end) that do not overlap, in their order."""

    def __init__(self, spans: Iterable[tuple[int, int]] = ()) -> None:
        self._spans: list[tuple[int, int]] = []
        for start, end in sorted(spans):
            self.add(start, end)

    def add(self, start: int, end: int) -> None:
        """One more, joined with those that it meets."""
        if start >= end:
            return
        low = bisect_left(self._spans, (start, start))
        if low and self._spans[low - 1][1] >= start:
            low -= 1
        high = low
        while high < len(self._spans) and self._spans[high][0] <= end:
            start, end = min(start, self._spans[high][0]), max(end, self._spans[high][1])
            high += 1
        self._spans[low:high] = [(start, end)]

    def meet(self, start: int, end: int) -> bool:
        """Whether one of them has memory of [start, end)."""
        return next(self.within(start, end), None) is not None

    def within(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Those that have memory of [start, end)."""
        place = bisect_left(self._spans, (start, start))
        if place and self._spans[place - 1][1] > start:
            place -= 1
        while place < len(self._spans) and self._spans[place][0] < end:
            yield self._spans[place]
            place += 1
