"""glibc's heap and threads of one stopped process as values. Pure; collect/heap.py reads them from evidence.

Addresses and sizes are bytes.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

SIZE_BITS, PREV_INUSE, IS_MMAPPED, NON_MAIN_ARENA = 7, 1, 2, 4  # malloc/malloc.c
HEADER = 16  # what malloc returns lies this far into the chunk


@dataclass(frozen=True)
class State:
    """What a chunk is, in words."""

    name: str  # that scenarios write
    short: str  # in a table
    means: str  # in a sentence: "the chunk is …"


STATES = {  # by the letter in evidence; "m" is of a line of its own, all others are of a walk
    "u": State("used", "in use", "in use"),
    "t": State("tcache", "tcache", "in a thread's cache"),
    "f": State("fastbin", "fastbin", "in a fastbin"),
    "n": State("unsorted", "unsorted", "in the unsorted bin"),
    "s": State("small", "small bin", "in a small bin"),
    "l": State("large", "large bin", "in a large bin"),
    "T": State("top", "top", "the top chunk"),
    "p": State("fence", "fencepost", "a fencepost"),
    "?": State("lost", "free, in no list", "free, but in no list"),
    "m": State("mmapped", "mapped", "in use, with a mapping of its own"),
}


@dataclass(frozen=True)
class Flaw:
    """Where something could not be followed any further, and why."""

    at: int
    why: str


@dataclass(frozen=True)
class Chunk:
    """One chunk. ``word`` is its size word; ``state`` one of STATES; ``arena`` the arena's address, 0 of a chunk with
    a mapping of its own; ``line`` the evidence's; ``overhead`` what of its size the program can't use."""

    address: int
    word: int
    state: str
    arena: int
    line: int
    overhead: int = 8  # the header, less the next chunk's prev_size, which a chunk in use may use

    @property
    def size(self) -> int:
        """Its size without the flags."""
        return self.word & ~SIZE_BITS

    @property
    def memory(self) -> int:
        """What malloc returned for it."""
        return self.address + HEADER

    @property
    def usable(self) -> int:
        """malloc_usable_size()."""
        return max(self.size - self.overhead, 0)


@dataclass(frozen=True)
class Heap:
    """One walk: the chunks from ``first`` on, in memory that begins at ``start``. ``guessed``: nothing but the walk
    itself says that a chunk begins at ``first``. ``tail``: "top", "fence" or "" (broken) is where it ended."""

    arena: int
    info: int
    start: int
    end: int
    reserved_end: int
    first: int
    guessed: bool
    tail: str
    broken: Flaw | None
    line: int
    words: array[int]
    addresses: array[int]
    states: str
    lines: tuple[tuple[int, ...], tuple[int, ...]]  # places at which lines of evidence begin, and their numbers

    def __len__(self) -> int:
        return len(self.words)

    def chunk(self, place: int) -> Chunk:
        """The chunk at a place of the walk."""
        begins, numbers = self.lines
        line = numbers[bisect_right(begins, place) - 1]
        return Chunk(self.addresses[place], self.words[place], self.states[place], self.arena, line)

    def chunks(self) -> Iterator[Chunk]:
        """All its chunks, in the order of memory."""
        return (self.chunk(place) for place in range(len(self.words)))

    def places(self, state: str) -> Iterator[int]:
        """The places of the chunks in that state."""
        place = self.states.find(state)
        while place >= 0:
            yield place
            place = self.states.find(state, place + 1)

    @property
    def covered(self) -> int:
        """Where its last chunk ends."""
        return self.addresses[-1] + (self.words[-1] & ~SIZE_BITS) if self.words else self.first


@dataclass(frozen=True)
class HeapInfo:
    """glibc's heap_info of a heap of a thread's arena."""

    arena: int
    address: int
    ar_ptr: int
    prev: int
    size: int
    mprotect_size: int
    line: int


@dataclass(frozen=True)
class Bin:
    """A fastbin, the unsorted bin, a small or a large bin that holds something: chunk addresses in list order.
    ``back``: of a broken one, what its other end leads to."""

    arena: int
    kind: str
    index: int
    chunks: tuple[int, ...]
    broken: Flaw | None
    back: tuple[int, ...]
    line: int


@dataclass(frozen=True)
class Tcache:
    """A bin of a thread's cache: chunk addresses, the one that malloc takes next first. ``size`` to ``largest`` are
    the chunk sizes that belong there; ``count`` is glibc's own."""

    tid: int
    address: int
    index: int
    size: int
    largest: int
    count: int
    chunks: tuple[int, ...]
    broken: Flaw | None
    line: int


@dataclass(frozen=True)
class Arena:
    """An arena; ``numbers`` are the fields of its malloc_state by name."""

    address: int
    index: int
    main: bool
    numbers: Mapping[str, int]
    binmap: tuple[int, ...]
    broken: Flaw | None
    line: int
    infos: tuple[HeapInfo, ...] = ()
    heaps: tuple[Heap, ...] = ()
    bins: tuple[Bin, ...] = ()

    def bin(self, kind: str, index: int) -> Bin | None:
        """One of its lists; None: it is empty."""
        return next((found for found in self.bins if (found.kind, found.index) == (kind, index)), None)


@dataclass(frozen=True)
class Mapped:
    """A chunk with a mapping of its own, [start, end)."""

    chunk: int
    prev_size: int
    word: int
    start: int
    end: int
    line: int

    def as_chunk(self) -> Chunk:
        """It as a chunk. From 2.43 on (614cfd0f8a28) 16 bytes behind it are not counted in its size."""
        counted = self.chunk + (self.word & ~SIZE_BITS) == self.end
        return Chunk(self.chunk, self.word, "m", 0, self.line, HEADER if counted else 8)


@dataclass(frozen=True)
class Thread:
    """A thread: its struct pthread and that one's fields by name ("pthread_tid" is its own idea of its id)."""

    tid: int
    pthread: int
    arena: int
    tcache: int
    tcache_state: str  # none, inactive, disabled, live
    numbers: Mapping[str, int]
    broken: str
    line: int


@dataclass(frozen=True)
class Stack:
    """A stack that glibc keeps for a later thread."""

    pthread: int
    numbers: Mapping[str, int]
    broken: str
    line: int


@dataclass(frozen=True)
class Check:
    """An invariant and its outcome. ``glibc``: glibc's own check; ``arena``: its index, None for the whole process."""

    what: str
    ok: bool
    detail: str
    glibc: str
    arena: int | None
    at: int
    line: int


@dataclass(frozen=True)
class Broken:
    """What could not be read at all."""

    what: str
    why: str
    line: int


@dataclass(frozen=True)
class Place:
    """The list that a chunk is in, and its place there from 0."""

    of: Bin | Tcache
    position: int


@dataclass(frozen=True)
class HeapEvidence:
    """Everything of one process at one checkpoint."""

    file: str
    header: Mapping[str, Any]  # pid, glibc, libc, base, build_id, safe_linking
    parameters: Mapping[str, int]  # struct malloc_par
    variables: Mapping[str, int]  # narenas and the like, those that this glibc has
    arenas: tuple[Arena, ...]
    tcaches: tuple[Tcache, ...]
    mapped: tuple[Mapped, ...]
    threads: tuple[Thread, ...]
    stacks: tuple[Stack, ...]
    checks: tuple[Check, ...]
    broken: tuple[Broken, ...]
    lines: Mapping[str, int] = field(default_factory=dict)  # of the header ("format"), "mp" and "variables"

    @cached_property
    def _walks(self) -> tuple[list[int], list[Heap]]:
        heaps = sorted((heap for arena in self.arenas for heap in arena.heaps if heap.words), key=lambda h: h.first)
        return [heap.first for heap in heaps], heaps

    @property
    def walks(self) -> list[Heap]:
        """The walks that have chunks, in the order of memory."""
        return self._walks[1]

    @cached_property
    def _places(self) -> dict[int, Place]:
        lists: list[Bin | Tcache] = [*self.tcaches, *(found for arena in self.arenas for found in arena.bins)]
        return {chunk: Place(found, position) for found in reversed(lists)
                for position, chunk in enumerate(found.chunks)}  # fmt: skip

    def chunk(self, address: int) -> Chunk | None:
        """The chunk that an address is in, its header included; None: it is in no heap that was walked."""
        starts, heaps = self._walks
        at = bisect_right(starts, address) - 1
        if at >= 0:
            heap = heaps[at]
            place = bisect_right(heap.addresses, address) - 1
            # the last fencepost of a heap has size 0, and is the 16 bytes that are left
            if address < heap.addresses[place] + max(heap.words[place] & ~SIZE_BITS, HEADER):
                return heap.chunk(place)
        for found in self.mapped:
            if found.chunk <= address < found.end:
                return found.as_chunk()
        return None

    def block(self, memory: int) -> Chunk | None:
        """The chunk that malloc returned as ``memory``; None if that is no chunk's."""
        found = self.chunk(memory - HEADER)
        return found if found is not None and found.memory == memory else None

    def chunks_in(self, state: str) -> Iterator[Chunk]:
        """Every chunk in one of STATES, in the same order."""
        for heap in self._walks[1]:
            yield from map(heap.chunk, heap.places(state))
        for found in self.mapped if state == "m" else ():
            yield found.as_chunk()

    def sums(self) -> Counter[tuple[str, int]]:
        """How many chunks there are of each state and size."""
        found: Counter[tuple[str, int]] = Counter()
        for heap in self._walks[1]:
            for (state, word), count in Counter(zip(heap.states, heap.words, strict=True)).items():
                found[state, word & ~SIZE_BITS] += count
        found.update(("m", one.word & ~SIZE_BITS) for one in self.mapped)
        return found

    def chunks(self) -> Iterator[Chunk]:
        """Every chunk, heap by heap in the order of memory, then those with mappings of their own."""
        for heap in self._walks[1]:
            yield from heap.chunks()
        for found in self.mapped:
            yield found.as_chunk()

    def heap(self, address: int) -> Heap | None:
        """The walk that an address is in."""
        starts, heaps = self._walks
        at = bisect_right(starts, address) - 1
        return heaps[at] if at >= 0 and address < heaps[at].covered else None

    def place(self, chunk: int) -> Place | None:
        """The list that the chunk at an address is in; None: in none."""
        return self._places.get(chunk)

    def arena(self, address: int) -> Arena | None:
        """An arena by its address."""
        return next((arena for arena in self.arenas if arena.address == address), None)

    def thread(self, tid: int) -> Thread | None:
        """A thread by its id."""
        return next((thread for thread in self.threads if thread.tid == tid), None)

    def tcache(self, tid: int, index: int) -> Tcache | None:
        """A bin of a thread's cache; None: it is empty, or there is no cache."""
        return next((found for found in self.tcaches if (found.tid, found.index) == (tid, index)), None)

    def failed(self) -> tuple[Check, ...]:
        """The invariants that do not hold."""
        return tuple(check for check in self.checks if not check.ok)
