"""What was found in a heap, before it is written down: lists, walks, arenas."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, islice

from orchestrator.collect.ptmalloc.rules import PREV_INUSE, SIZE_BITS

_USED = bytes(b"?u"[flags & PREV_INUSE] for flags in range(256))


@dataclass(frozen=True)
class Flaw:
    """Where something can't be followed any further: the first bad address, and why."""

    at: int
    why: str


@dataclass
class Walk:
    """The chunks of one stretch of memory in their order. ``states``: one letter each, see
    collect/heap_values.py."""

    arena: int  # its arena's address
    info: int  # its heap_info; 0 in main_arena
    start: int
    end: int
    reserved_end: int
    first: int
    guessed: bool = False  # nothing says that a chunk begins at ``first`` but that the walk from there arrives
    sizes: array[int] = field(default_factory=lambda: array("Q"))  # size words, with flags
    addresses: array[int] = field(default_factory=lambda: array("Q"))
    flags: bytes = b""  # of each size word
    states: bytearray = field(default_factory=bytearray)
    flaw: Flaw | None = None
    feet: list[int] = field(default_factory=list)  # chunks behind a free one, whose prev_size is not its size
    fences: list[int] = field(default_factory=list)  # places of fenceposts
    tail: str = ""  # how it ended: top, fence, or "" where it is broken

    def finish(self) -> None:
        """Fills in the addresses and the states by PREV_INUSE of the next chunk."""
        lengths = (size & ~SIZE_BITS for size in self.sizes)
        # without the end of the last one, which may be beyond all addresses
        self.addresses = array("Q", islice(accumulate(lengths, initial=self.first), len(self.sizes)))
        self.flags = bytes([size & SIZE_BITS for size in self.sizes])
        self.states = bytearray(self.flags[1:].translate(_USED))
        if self.sizes:
            self.states.append(ord("u"))

    def drop(self) -> None:
        """Takes the last chunk away."""
        self.sizes.pop()
        self.addresses.pop()
        self.states.pop()
        self.flags = self.flags[:-1]


@dataclass
class Chain:
    """A list of free chunks in glibc's order."""

    arena: int  # the arena's address; of a cache: the thread's id
    kind: str  # tcache, fastbin, unsorted, small, large
    index: int
    chunks: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)  # size words
    flaw: Flaw | None = None
    back: list[int] = field(default_factory=list)  # of a broken one: what can be reached from its other end
    jumps: list[tuple[int, int]] = field(default_factory=list)  # large: fd_nextsize and bk_nextsize
    keys: list[int] = field(default_factory=list)  # tcache
    bitmap: bool = True  # the bin's bit in binmap
    count: int = 0  # tcache: how many there are by glibc's own counter


@dataclass
class Cache:
    """One thread's tcache."""

    tid: int
    address: int
    state: str  # none, inactive, disabled, live
    chains: list[Chain] = field(default_factory=list)


@dataclass
class Arena:
    """One arena: the numbers of its malloc_state, its walks, its lists."""

    address: int
    index: int
    numbers: Mapping[str, int]
    binmap: Sequence[int] = ()
    walks: list[Walk] = field(default_factory=list)
    chains: list[Chain] = field(default_factory=list)
    heaps: list[Heap] = field(default_factory=list)
    flaw: Flaw | None = None

    @property
    def is_main(self) -> bool:
        """Whether it is main_arena, which the ring begins with."""
        return self.index == 0


@dataclass(frozen=True)
class Heap:
    """A heap_info."""

    info: int
    arena: int  # ar_ptr
    prev: int
    size: int
    mprotect_size: int


@dataclass(frozen=True)
class Mapped:
    """A chunk with a mapping of its own, [start, end)."""

    chunk: int
    prev_size: int
    size: int  # the size word
    start: int
    end: int


@dataclass(frozen=True)
class Check:
    """One invariant and its outcome. ``glibc``: the function or the message of glibc's own check."""

    what: str
    ok: bool
    detail: str
    glibc: str = ""
    arena: int | None = None  # index
    at: int = 0  # the first bad address
