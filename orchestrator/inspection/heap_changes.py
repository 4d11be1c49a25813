"""What became of a heap between two checkpoints, chunk by chunk. Pure."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from orchestrator.collect.heap_values import SIZE_BITS, Heap, HeapEvidence, Place, Tcache

SAME = "="
CHANGES = {  # by letter, as of the chunk that is there now
    "a": "now in use",
    "f": "now free",
    "l": "in another list",
    "m": "merged: larger than the chunk that began here",
    "s": "split: a part of what was one chunk",
    "c": "cut anew: begins within what was one chunk, ends in another",
    "n": "new: taken from the top, or from memory that was no heap",
    "t": "the top begins or ends elsewhere",
    "r": "another size for the same mapping",
}
_USED = "um"


@dataclass(frozen=True)
class Gone:
    """What was there, and is no heap any more: a whole walk, or a chunk with a mapping of its own."""

    address: int
    size: int
    chunks: int
    mapped: bool


@dataclass(frozen=True)
class Changed:
    """A letter of CHANGES, or SAME, for each chunk: of each walk (arena by arena, in the evidence's order), and of the
    chunks with mappings of their own."""

    walks: tuple[str, ...]
    mapped: str
    gone: tuple[Gone, ...]


def changed(now: HeapEvidence, before: HeapEvidence) -> Changed:
    """The heap of one process now, held against the one before."""
    old = _Old(before)
    walks = tuple("".join(old.changes(now, heap)) for arena in now.arenas for heap in arena.heaps)
    words = {one.chunk: one.word for one in before.mapped}
    mapped = "".join(
        "n" if one.chunk not in words else SAME if words[one.chunk] == one.word else "r" for one in now.mapped
    )
    return Changed(walks, mapped, tuple(_gone(now, before)))


class _Old:
    """All walked chunks of a heap in the order of memory."""

    def __init__(self, found: HeapEvidence) -> None:
        self.found = found
        self.addresses: array[int] = array("Q")
        self.words: array[int] = array("Q")
        heaps = found.walks
        for heap in heaps:
            self.addresses += heap.addresses
            self.words += heap.words
        self.states = "".join(heap.states for heap in heaps)

    def changes(self, now: HeapEvidence, heap: Heap) -> Iterator[str]:
        """The letter of each chunk of a walk."""
        for address, word, state in zip(heap.addresses, heap.words, heap.states, strict=True):
            yield self._change(now, address, word & ~SIZE_BITS, state)

    def _change(self, now: HeapEvidence, address: int, size: int, state: str) -> str:
        place = bisect_right(self.addresses, address) - 1
        if place < 0:
            return "n"
        begin, length, was = self.addresses[place], self.words[place] & ~SIZE_BITS, self.states[place]
        if begin == address and length == size:
            return self._moved(now, address, state, was)
        if state == "T":
            return "t"
        if address >= begin + length or was == "T":
            return "n"
        if address + size <= begin + length:
            return "s"
        return "m" if begin == address else "c"

    def _moved(self, now: HeapEvidence, address: int, state: str, was: str) -> str:
        if state == was:
            return SAME if state in "uTp?m" or _list(now.place(address)) == _list(self.found.place(address)) else "l"
        if state in "Tp":
            return "t" if state == "T" else "n"
        if state in _USED or was in _USED:
            return "a" if state in _USED else "f"
        return "l"


def _list(place: Place | None) -> tuple[object, ...]:
    """Which list it is, whatever else is in it."""
    if place is None:
        return ()
    of = place.of
    return (of.tid, of.index) if isinstance(of, Tcache) else (of.arena, of.kind, of.index)


def _gone(now: HeapEvidence, before: HeapEvidence) -> Iterator[Gone]:
    walks = now.walks
    starts = [heap.first for heap in walks]
    for heap in before.walks:
        if not _meets(walks, starts, heap):
            yield Gone(heap.first, heap.covered - heap.first, len(heap), False)
    there = {one.chunk for one in now.mapped}
    for one in before.mapped:
        if one.chunk not in there:
            yield Gone(one.chunk, one.word & ~SIZE_BITS, 1, True)


def _meets(walks: Sequence[Heap], starts: Sequence[int], heap: Heap) -> bool:
    """Whether one of the walks, which are in the order of memory, has a byte of the heap."""
    at = bisect_right(starts, heap.first)
    behind = at < len(walks) and walks[at].first < heap.covered
    return behind or (at > 0 and walks[at - 1].covered > heap.first)
