"""The invariants of a whole process: caches, mapped chunks, arenas together, threads and their stacks."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.collect.ptmalloc import rules
from orchestrator.collect.ptmalloc.checks import SIZE, check_arena
from orchestrator.collect.ptmalloc.model import Cache, Check
from orchestrator.collect.ptmalloc.process import Libc
from orchestrator.collect.ptmalloc.snapshot import Snapshot
from orchestrator.collect.ptmalloc.states import Placement
from orchestrator.collect.ptmalloc.threads import key_of


def check_all(libc: Libc, found: Snapshot, placement: Placement) -> Iterator[Check]:
    """Every check, the arenas' first."""
    for arena in found.arenas:
        yield from check_arena(found, arena, placement)
    yield from _arenas(found)
    if any(cache.state == "live" for cache in found.caches):
        yield from _caches(libc, found, placement)
    yield from _mapped(libc, found)
    yield from _threads(found)
    yield from _stacks(found)


def _check(what: str, glibc: str, at: int, detail: str) -> Check:
    return Check(what, not detail, detail, glibc, None, at if detail else 0)


def _arenas(found: Snapshot) -> Iterator[Check]:
    ring = found.ring
    yield _check("arena-ring", "", ring.at if ring else 0, ring.why if ring else "")
    if "narenas" in found.variables:
        count = found.variables["narenas"]
        detail = "" if count == len(found.arenas) else f"narenas is {count}, the ring has {len(found.arenas)}"
        yield _check("narenas", "arena_get2()", 0, detail)
    if "free_list" in found.variables:
        yield _check("arena-free-list", "get_free_list(): attached_threads == 0", *_free_list(found))


def _free_list(found: Snapshot) -> tuple[int, str]:
    arenas = {arena.address: arena for arena in found.arenas}
    address, seen = found.variables["free_list"], set[int]()
    while address:
        if address not in arenas:
            return address, "the free list leads to what is no arena of the ring"
        if address in seen:
            return address, "the free list is a circle"
        if arenas[address].numbers["attached_threads"]:
            return address, "it is in the free list, and threads are attached to it"
        seen.add(address)
        address = arenas[address].numbers["next_free"]
    return 0, ""


# -- caches --------------------------------------------------------------------------------------


def _caches(libc: Libc, found: Snapshot, placement: Placement) -> Iterator[Check]:
    live = [cache for cache in found.caches if cache.state == "live"]
    yield _check("tcache-links", "malloc(): unaligned tcache chunk detected", *_cache_links(live))
    yield _check("tcache-count", "free(): too many chunks detected in tcache", *_cache_counts(live))
    yield _check("tcache-index", "", *_cache_sizes(live))
    yield _check("tcache-key", "free(): double free detected in tcache 2", *_cache_keys(libc, live))
    for what, pairs, why in (
        ("tcache-in-heap", placement.strange, "no chunk of a heap begins there"),
        ("tcache-in-one-list", placement.twice, "it is in another list as well"),
        ("tcache-prev-inuse", placement.claimed, "PREV_INUSE of the next chunk says that it is free"),
    ):
        bad = next(((chunk, chain) for chunk, chain in pairs if chain.kind == "tcache"), None)
        detail = f"{why}: thread {bad[1].arena}, bin {bad[1].index}" if bad else ""
        yield _check(what, "", bad[0] if bad else 0, detail)


def _cache_links(caches: list[Cache]) -> tuple[int, str]:
    for cache in caches:
        for chain in cache.chains:
            if chain.flaw is not None:
                return chain.flaw.at, f"thread {cache.tid}, bin {chain.index}: {chain.flaw.why}"
    return 0, ""


def _cache_counts(caches: list[Cache]) -> tuple[int, str]:
    for cache in caches:
        for chain in cache.chains:
            if chain.flaw is None and chain.count != len(chain.chunks):
                return cache.address, (f"thread {cache.tid}, bin {chain.index}: {len(chain.chunks)} chunks, "
                                       f"{chain.count} by the counter")  # fmt: skip
    return 0, ""


def _cache_sizes(caches: list[Cache]) -> tuple[int, str]:
    for cache in caches:
        for chain in cache.chains:
            low, high = rules.tcache_sizes(chain.index)
            for chunk, size in zip(chain.chunks, chain.sizes, strict=True):
                if not low <= size & SIZE <= high:
                    return chunk, f"thread {cache.tid}, bin {chain.index}: its size is {size & SIZE:#x}"
    return 0, ""


def _cache_keys(libc: Libc, caches: list[Cache]) -> tuple[int, str]:
    for cache in caches:
        key = key_of(libc, cache)
        for chain in cache.chains if key is not None else ():
            for chunk, mark in zip(chain.chunks, chain.keys, strict=True):
                if mark != key:
                    return chunk, f"thread {cache.tid}, bin {chain.index}: its key is {mark:#x}, not {key:#x}"
    return 0, ""


# -- mapped chunks -------------------------------------------------------------------------------


def _mapped(libc: Libc, found: Snapshot) -> Iterator[Check]:
    if not found.parameters or found.is_broken("mmapped"):
        return
    count, total = found.parameters["n_mmaps"], found.parameters["mmapped_mem"]
    have, size = len(found.mapped), sum(chunk.end - chunk.start for chunk in found.mapped)
    detail = "" if count == have else f"n_mmaps is {count}, {have} were found"
    yield _check("n-mmaps", "munmap_chunk()", 0, detail)
    detail = "" if total == size else f"mmapped_mem is {total:#x}, those found have {size:#x}"
    # mremap_chunk() of 2.43 takes the old size without the header behind it that 614cfd0f8a28 leaves there: each
    # time a mapped block is resized mmapped_mem grows by 16 too much, and that stays
    if detail and libc.layout.release >= (2, 43) and total > size and (total - size) % rules.HEADER == 0:
        yield Check("mmapped-mem", True, f"{detail}: {(total - size) // rules.HEADER} calls of mremap_chunk()",
                    "munmap_chunk()")
    else:
        yield _check("mmapped-mem", "munmap_chunk()", 0, detail)


# -- threads -------------------------------------------------------------------------------------


def _threads(found: Snapshot) -> Iterator[Check]:
    at, detail = 0, ""
    for thread in found.threads:
        if thread.flaw:
            at, detail = thread.address, f"thread {thread.tid}: {thread.flaw}"
        elif thread.numbers.get("self") != thread.address:
            at, detail = thread.address, f"thread {thread.tid}: header.self is {thread.numbers.get('self', 0):#x}"
        if detail:
            break
    yield _check("pthread-self", "THREAD_SELF", at, detail)
    at, detail = 0, ""
    for thread in found.threads:
        if thread.numbers and thread.numbers.get("tid") != thread.tid:
            at, detail = thread.address, f"its tid is {thread.numbers.get('tid')}, the kernel's is {thread.tid}"
            break
    yield _check("pthread-tid", "", at, detail)


def _stacks(found: Snapshot) -> Iterator[Check]:
    if found.is_broken("stacks"):
        return
    lists = {stacks.name: stacks for stacks in found.stacks}
    for name, stacks in lists.items():
        flaw = stacks.flaw
        yield _check(f"stack-list-{name}", "", flaw.at if flaw else 0, flaw.why if flaw else "")
    in_use = [thread for name in ("used", "user") if name in lists for thread in lists[name].threads]
    if in_use:
        live = {thread.address for thread in found.threads}
        odd = sorted(live.symmetric_difference(in_use))
        detail = "in one of: the kernel's threads, glibc's lists of stacks in use" if odd else ""
        yield _check("stacks-in-use", "", odd[0] if odd else 0, detail)
    if found.kept_bytes is not None and "cache" in lists:
        total = sum(kept.numbers.get("stackblock_size", 0) for kept in found.kept)
        detail = "" if total == found.kept_bytes else f"{found.kept_bytes} bytes by glibc, {total} in the list"
        yield _check("stack-cache-size", "queue_stack()", 0, detail)
