"""A heap as sections of facts: small ones whole, big ones summed up by size and state."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from orchestrator.collect.heap_values import SIZE_BITS, STATES, Arena, Heap, HeapEvidence
from orchestrator.collect.lines import Document
from orchestrator.inspection import bits
from orchestrator.inspection.facts import Fact, Section

FIRST = 24  # chunks of a heap that are shown
SIZES = 24  # rows of a histogram
LISTS = 40  # bins, cached lists, mapped chunks
PARAMETERS = ("sbrk_base", "trim_threshold", "top_pad", "mmap_threshold", "n_mmaps", "mmapped_mem", "max_mmapped_mem",
              "no_dyn_threshold", "tcache_bins", "tcache_count", "tcache_max_bytes")  # fmt: skip


def heap_sections(document: Document, found: HeapEvidence, every: bool) -> tuple[Section, ...]:
    """All of it; ``every``: each chunk, each list."""
    return tuple(section for section in _sections(document, found, every) if section.facts)


def _sections(document: Document, found: HeapEvidence, every: bool) -> Iterator[Section]:
    values = {name: found.header.get(name) for name in ("glibc", "libc", "base", "safe_linking")}
    values |= {name: found.parameters[name] for name in PARAMETERS if name in found.parameters}
    lines = tuple(document.at(found.lines[name]) for name in ("format", "mp") if name in found.lines)
    yield Section("malloc", (Fact("malloc", values, lines),))
    for arena in found.arenas:
        yield from _arena(document, found, arena, every)
    caches = [
        Fact("list", {"list": "tcache", "thread": one.tid, "index": one.index, "size": one.size, "count": one.count,
                      "chunks": list(one.chunks[:8]), "length": len(one.chunks),
                      "broken": one.broken.why if one.broken else ""}, (document.at(one.line),))
        for one in found.tcaches
    ]  # fmt: skip
    yield _cut("caches of threads", caches, None if every else LISTS)
    mapped = [Fact("chunk", _chunk_values(one.chunk, one.word, "m"), (document.at(one.line),)) for one in found.mapped]
    yield _cut("chunks with mappings of their own", mapped, None if every else LISTS)


def _cut(title: str, facts: list[Fact], limit: int | None) -> Section:
    shown = facts if limit is None else facts[:limit]
    return Section(title, tuple(shown), len(facts) - len(shown))


def _arena(document: Document, found: HeapEvidence, arena: Arena, every: bool) -> Iterator[Section]:
    name = "main_arena" if arena.main else f"arena-{arena.index}"
    threads = [thread.tid for thread in found.threads if thread.arena == arena.address]
    values = {"name": name, "address": arena.address, "threads": threads, "heaps": len(arena.heaps), **{
        key: arena.numbers[key] for key in ("top", "last_remainder", "system_mem", "max_system_mem", "next")
        if key in arena.numbers}}  # fmt: skip
    yield Section(name, (Fact("whole-arena", values, (document.at(arena.line),)),))
    for heap in arena.heaps:
        yield Section(f"{name}: heap", (_heap(document, heap),))
        yield _histogram(f"{name}: sizes", document, heap, every)
        yield _chunks(f"{name}: chunks", document, heap, every)
    lists = [
        Fact("list", {"list": one.kind, "index": one.index, "chunks": list(one.chunks[:8]), "length": len(one.chunks),
                      "broken": one.broken.why if one.broken else ""}, (document.at(one.line),))
        for one in arena.bins
    ]  # fmt: skip
    yield _cut(f"{name}: bins", lists, None if every else LISTS)


def _heap(document: Document, heap: Heap) -> Fact:
    sizes: Counter[str] = Counter()
    for word, state in zip(heap.words, heap.states, strict=True):
        sizes[state] += word & ~SIZE_BITS
    counts = Counter(heap.states)
    values = {
        "start": heap.start, "end": heap.end, "reserved_end": heap.reserved_end, "first": heap.first,
        "chunks": len(heap), "covered": heap.covered, "tail": heap.tail,
        "states": {state: [counts[state], sizes[state]] for state in STATES if counts[state]},
        "broken": f"{heap.broken.at:#x}: {heap.broken.why}" if heap.broken else "",
    }  # fmt: skip
    return Fact("heap", values, (document.at(heap.line),))


def _histogram(title: str, document: Document, heap: Heap, every: bool) -> Section:
    """How many chunks of each size, in use and free: where there are more than can be shown one by one."""
    if len(heap) <= FIRST:
        return Section(title, ())
    used: Counter[int] = Counter()
    free: Counter[int] = Counter()
    for word, state in zip(heap.words, heap.states, strict=True):
        if state not in "Tp":
            (used if state == "u" else free)[word & ~SIZE_BITS] += 1
    sizes = sorted({*used, *free})
    if not every and len(sizes) > SIZES:  # those with the most chunks
        sizes = sorted(sorted(sizes, key=lambda size: -(used[size] + free[size]))[:SIZES])
    facts = tuple(Fact("size", {"size": size, "used": used[size], "free": free[size]}, (document.at(heap.line),))
                  for size in sizes)  # fmt: skip
    return Section(title, facts, len({*used, *free}) - len(sizes))


def _chunks(title: str, document: Document, heap: Heap, every: bool) -> Section:
    places = range(len(heap) if every else min(len(heap), FIRST))
    facts = []
    for place in places:
        chunk = heap.chunk(place)
        facts.append(Fact("chunk", _chunk_values(chunk.address, chunk.word, chunk.state), (document.at(chunk.line),)))
    return Section(title, tuple(facts), len(heap) - len(facts))


def _chunk_values(address: int, word: int, state: str) -> dict[str, object]:
    return {"address": address, "size": word & ~SIZE_BITS, "word": word, "flags": bits.chunk_flags(word),
            "state": state, "means": STATES[state].means}  # fmt: skip
