"""The invariants of a heap, each named after glibc's own check where it has one.

A program that is stopped within malloc may break some of them for a moment; then its arena's mutex is locked,
and the detail says so. What is broken on purpose stays broken, and is said with the first bad address.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from orchestrator.collect.ptmalloc import rules
from orchestrator.collect.ptmalloc.memory import PAGE
from orchestrator.collect.ptmalloc.model import Arena, Chain, Check
from orchestrator.collect.ptmalloc.snapshot import Snapshot
from orchestrator.collect.ptmalloc.states import Placement

Bad = tuple[int, str]  # the first bad address, and what is wrong there
SIZE = ~rules.SIZE_BITS
_UNMERGED = re.compile(rb"[nsl?][nsl?T]")  # states in which a chunk is merged with its neighbours
_ARENA_FLAG = bytes(flags & rules.NON_MAIN_ARENA for flags in range(256))


def check_arena(found: Snapshot, arena: Arena, placement: Placement) -> Iterator[Check]:
    """All that must hold within one arena."""
    locked = " (the arena was locked: a thread was stopped within malloc)" if arena.numbers.get("mutex") else ""
    for what, glibc, rule in ARENA:
        bad = rule(found, arena, placement)
        if bad is not None:
            at, detail = bad
            yield Check(what, not detail, detail + locked if detail else "", glibc, arena.index, at)


Rule = Callable[[Snapshot, Arena, Placement], Bad | None]  # None: it says nothing here; (0, "") is fine
FINE: Bad = (0, "")


# -- the walks -----------------------------------------------------------------------------------


def _walk_ends(_found: Snapshot, arena: Arena, _placement: Placement) -> Bad | None:
    if arena.flaw is not None:
        return arena.flaw.at, arena.flaw.why
    for walk in arena.walks:
        if walk.flaw is not None:
            return walk.flaw.at, walk.flaw.why
        if walk.tail == "top" and walk.addresses[-1] + (walk.sizes[-1] & SIZE) != walk.end:
            return walk.addresses[-1], f"the top chunk does not end at {walk.end:#x}"
    if arena.walks and not any(walk.tail == "top" for walk in arena.walks):
        return arena.numbers["top"], "no walk arrives at the top chunk"
    return FINE if arena.walks else None


def _prev_size(_found: Snapshot, arena: Arena, _placement: Placement) -> Bad | None:
    for walk in arena.walks:
        if walk.feet:
            return walk.feet[0], "its prev_size is not the size of the free chunk before it"
    return FINE if arena.walks else None


def _no_lost(_found: Snapshot, arena: Arena, _placement: Placement) -> Bad | None:
    for walk in arena.walks:
        place = walk.states.find(b"?")
        if place >= 0:
            return walk.addresses[place], "the flags say that it is free, but it is in no list"
    return FINE if arena.walks else None


def _merged(_found: Snapshot, arena: Arena, _placement: Placement) -> Bad | None:
    """The top chunk takes in a free one before it."""
    for walk in arena.walks:
        if pair := _UNMERGED.search(walk.states):
            return walk.addresses[pair.start() + 1], "both it and the chunk before it are free, and were not merged"
    return FINE if arena.walks else None


def _flags(_found: Snapshot, arena: Arena, _placement: Placement) -> Bad | None:
    """A chunk that is handed out has the flag in all arenas but main_arena; malloc takes it from those in bins."""
    wanted = 0 if arena.is_main else rules.NON_MAIN_ARENA
    table = bytes(wanted if state in b"utf" else 0 for state in range(256))
    for walk in arena.walks:
        expected, flags = walk.states.translate(table), walk.flags.translate(_ARENA_FLAG)
        if expected != flags:
            place = next(i for i, pair in enumerate(zip(expected, flags, strict=True)) if pair[0] != pair[1])
            return walk.addresses[place], f"its NON_MAIN_ARENA flag is wrong: {walk.sizes[place]:#x}"
    return FINE if arena.walks else None


def _sizes(_found: Snapshot, arena: Arena, _placement: Placement) -> Bad | None:
    most = arena.numbers["system_mem"]  # what one chunk may have: a top chunk that is all there is
    for walk in arena.walks:
        if max(walk.sizes, default=0) & SIZE > most:
            place = next(i for i, size in enumerate(walk.sizes) if size & SIZE > most)
            return walk.addresses[place], f"its size {walk.sizes[place] & SIZE:#x} is more than system_mem, {most:#x}"
    return FINE if arena.walks else None


# -- lists against walks -------------------------------------------------------------------------


def _of(pairs: list[tuple[int, Chain]], arena: Arena, why: str) -> Bad:
    for chunk, chain in pairs:
        if chain.arena == arena.address:
            return chunk, f"{why}: {chain.kind} {chain.index}"
    return FINE


def _in_heap(_found: Snapshot, arena: Arena, placement: Placement) -> Bad | None:
    return _of(placement.strange, arena, "no chunk of a heap begins there, but it is in a list")


def _in_one_list(_found: Snapshot, arena: Arena, placement: Placement) -> Bad | None:
    return _of(placement.twice, arena, "it is in another list as well")


def _prev_inuse(_found: Snapshot, arena: Arena, placement: Placement) -> Bad | None:
    return _of(placement.claimed, arena, "PREV_INUSE of the next chunk does not agree with its list")


def _own_lists(_found: Snapshot, arena: Arena, placement: Placement) -> Bad | None:
    return _of(placement.foreign, arena, "it is in another arena's memory than its list")


# -- the lists -----------------------------------------------------------------------------------


def _links(_found: Snapshot, arena: Arena, _placement: Placement) -> Bad | None:
    for chain in arena.chains:
        if chain.flaw is not None and chain.kind != "fastbin":
            return chain.flaw.at, f"{chain.kind} {chain.index}: {chain.flaw.why}"
    return FINE


def _fastbin_links(_found: Snapshot, arena: Arena, _placement: Placement) -> Bad | None:
    for chain in arena.chains:
        if chain.flaw is not None and chain.kind == "fastbin":
            return chain.flaw.at, f"fastbin {chain.index}: {chain.flaw.why}"
    return FINE if any(chain.kind == "fastbin" for chain in arena.chains) else None


def _fastbin_index(_found: Snapshot, arena: Arena, _placement: Placement) -> Bad | None:
    chains = [chain for chain in arena.chains if chain.kind == "fastbin"]
    return _index(chains, rules.fastbin_index) if chains else None


def _bin_index(_found: Snapshot, arena: Arena, _placement: Placement) -> Bad | None:
    return _index([chain for chain in arena.chains if chain.kind in ("small", "large")], rules.bin_index)


def _index(chains: list[Chain], formula: Callable[[int], int]) -> Bad:
    for chain in chains:
        if all(formula(size & SIZE) == chain.index for size in set(chain.sizes)):
            continue
        for chunk, size in zip(chain.chunks, chain.sizes, strict=True):
            if formula(size & SIZE) != chain.index:
                return chunk, f"size {size & SIZE:#x} belongs into bin {formula(size & SIZE)}, not {chain.index}"
    return FINE


def _sorted(_found: Snapshot, arena: Arena, _placement: Placement) -> Bad | None:
    chains = [chain for chain in arena.chains if chain.kind == "large"]
    for chain in chains:
        for place in range(1, len(chain.sizes)):
            if chain.sizes[place] & SIZE > chain.sizes[place - 1] & SIZE:
                return chain.chunks[place], f"bin {chain.index}: it is larger than the chunk before it"
    return FINE if chains else None


def _nextsize(_found: Snapshot, arena: Arena, _placement: Placement) -> Bad | None:
    """The first chunk of each size in a large bin is in a ring of its own, by size; no other chunk is."""
    chains = [chain for chain in arena.chains if chain.kind == "large" and chain.flaw is None]
    for chain in chains:
        heads = [place for place, size in enumerate(chain.sizes)
                 if place == 0 or size & SIZE != chain.sizes[place - 1] & SIZE]  # fmt: skip
        ring = [chain.chunks[place] for place in heads]
        following = {chunk: (ring[(i + 1) % len(ring)], ring[i - 1]) for i, chunk in enumerate(ring)}
        for chunk, jumps in zip(chain.chunks, chain.jumps, strict=True):
            wanted = following.get(chunk)
            if (wanted is not None and jumps != wanted) or (wanted is None and jumps[0]):
                return chunk, f"bin {chain.index}: fd_nextsize and bk_nextsize are {jumps[0]:#x} and {jumps[1]:#x}"
    return FINE if chains else None


def _unsorted_nextsize(_found: Snapshot, arena: Arena, _placement: Placement) -> Bad | None:
    chains = [chain for chain in arena.chains if chain.kind == "unsorted"]
    for chain in chains:
        for chunk, jumps in zip(chain.chunks, chain.jumps, strict=True):
            if any(jumps):
                return chunk, f"it is unsorted, but fd_nextsize is {jumps[0]:#x} and bk_nextsize {jumps[1]:#x}"
    return FINE if chains else None


def _binmap(_found: Snapshot, arena: Arena, _placement: Placement) -> Bad | None:
    for chain in arena.chains:
        if chain.kind in ("small", "large") and chain.chunks and not chain.bitmap:
            return chain.chunks[0], f"bin {chain.index} holds chunks, and its bit in binmap is not set"
    return FINE


# -- the accounts --------------------------------------------------------------------------------


def _system_mem(found: Snapshot, arena: Arena, _placement: Placement) -> Bad | None:
    counted = arena.numbers["system_mem"]
    if not arena.walks:
        return None
    if not arena.is_main:
        total, what = sum(heap.size for heap in arena.heaps), "its heaps are"
    elif arena.numbers["flags"] & rules.NONCONTIGUOUS:
        total, what = sum(walk.end - walk.start for walk in arena.walks if not _resumed(arena, walk.start, walk.first)
                          ), "its stretches that were found are"  # fmt: skip
    else:
        total, what = arena.walks[-1].end - found.parameters["sbrk_base"], "sbrk_base is as far from the top's end as"
    return (0, "") if counted == total else (arena.address, f"system_mem is {counted:#x}, but {what} {total:#x}")


def _resumed(arena: Arena, start: int, first: int) -> bool:
    """Whether a walk goes on in memory that an earlier one began."""
    return first != start and any(walk.start == start and walk.first < first for walk in arena.walks)


def _max_system_mem(_found: Snapshot, arena: Arena, _placement: Placement) -> Bad | None:
    now, most = arena.numbers["system_mem"], arena.numbers["max_system_mem"]
    return FINE if now <= most else (arena.address, f"system_mem {now:#x} is more than max_system_mem {most:#x}")


def _heap_arena(_found: Snapshot, arena: Arena, _placement: Placement) -> Bad | None:
    if arena.is_main:
        return None
    for heap in arena.heaps:
        if heap.arena != arena.address:
            return heap.info, f"its ar_ptr is {heap.arena:#x}"
    return FINE


def _heap_size(_found: Snapshot, arena: Arena, _placement: Placement) -> Bad | None:
    if arena.is_main:
        return None
    for heap in arena.heaps:
        if not 0 < heap.size <= heap.mprotect_size or heap.size & PAGE - 1:
            return heap.info, f"its size is {heap.size:#x}, mprotect_size {heap.mprotect_size:#x}"
    return FINE


def _attached(found: Snapshot, arena: Arena, _placement: Placement) -> Bad | None:
    if not arena.numbers["top"]:
        return None  # before ptmalloc_init() main_arena counts its thread already
    counted = arena.numbers["attached_threads"]
    attached = sum(thread.arena == arena.address for thread in found.threads)
    if counted == attached:
        return FINE
    return arena.address, f"attached_threads is {counted}, and {attached} threads have it as theirs"


ARENA: tuple[tuple[str, str, Rule], ...] = (
    ("walk-ends-at-top", "sysmalloc(): corrupted top size", _walk_ends),
    ("chunk-size", "malloc(): invalid size (unsorted)", _sizes),
    ("prev-size", "corrupted size vs. prev_size", _prev_size),
    ("prev-inuse", "do_check_free_chunk(), do_check_inuse_chunk()", _prev_inuse),
    ("free-is-listed", "do_check_free_chunk()", _no_lost),
    ("free-is-merged", "do_check_free_chunk(): fully consolidated", _merged),
    ("arena-flag", "do_check_malloced_chunk()", _flags),
    ("list-in-heap", "", _in_heap),
    ("list-of-arena", "do_check_malloced_chunk(): arena_for_chunk()", _own_lists),
    ("in-one-list", "double free or corruption", _in_one_list),
    ("bin-links", "corrupted double-linked list", _links),
    ("bin-index", "do_check_malloc_state(): chunk belongs in bin", _bin_index),
    ("bin-sorted", "do_check_malloc_state(): lists are sorted", _sorted),
    ("bin-nextsize", "corrupted double-linked list (not small)", _nextsize),
    ("unsorted-nextsize", "do_check_malloc_state()", _unsorted_nextsize),
    ("binmap", "do_check_malloc_state(): binmap is accurate", _binmap),
    ("fastbin-links", "malloc(): unaligned fastbin chunk detected", _fastbin_links),
    ("fastbin-index", "malloc(): memory corruption (fast)", _fastbin_index),
    ("system-mem", "do_check_malloc_state(): consistent with sbrk_base", _system_mem),
    ("max-system-mem", "", _max_system_mem),
    ("heap-arena", "arena_for_chunk()", _heap_arena),
    ("heap-size", "grow_heap(), shrink_heap()", _heap_size),
    ("attached-threads", "detach_arena()", _attached),
)
