"""The chunk of malloc's that an address lies in, its list and its arena, as facts."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.collect.heap_values import STATES, Bin, Chunk, HeapEvidence, Place
from orchestrator.collect.lines import Document
from orchestrator.inspection import bits
from orchestrator.inspection.facts import Fact
from orchestrator.inspection.moment import Moment


def facts(moment: Moment, address: int) -> Iterator[Fact]:
    """Nothing where the lab did not look at the heap, or the address is in no chunk."""
    if moment.heap is None:
        return
    document, found = moment.heap
    chunk = found.chunk(address)
    if chunk is None:
        return
    yield _chunk(document, chunk, address)
    place = found.place(chunk.address)
    if place is not None:
        yield _bin(document, place)
    yield from _arena(document, found, chunk)


def _chunk(document: Document, chunk: Chunk, address: int) -> Fact:
    values = {
        "address": chunk.address, "size": chunk.size, "word": chunk.word, "flags": bits.chunk_flags(chunk.word),
        "state": chunk.state, "means": STATES[chunk.state].means, "memory": chunk.memory, "usable": chunk.usable,
        "offset": address - chunk.memory,
    }  # fmt: skip
    return Fact("chunk", values, (document.at(chunk.line),))


def _bin(document: Document, place: Place) -> Fact:
    of = place.of
    values: dict[str, object] = {"list": of.kind if isinstance(of, Bin) else "tcache", "index": of.index,
                                 "position": place.position, "length": len(of.chunks)}  # fmt: skip
    if not isinstance(of, Bin):
        values |= {"thread": of.tid, "size": of.size, "largest": of.largest}
    return Fact("bin", values, (document.at(of.line),))


def _arena(document: Document, found: HeapEvidence, chunk: Chunk) -> Iterator[Fact]:
    arena = found.arena(chunk.arena)
    if arena is None:
        return
    threads = [thread for thread in found.threads if thread.arena == arena.address]
    values: dict[str, object] = {"address": arena.address, "index": arena.index, "main": arena.main,
                                 "threads": [thread.tid for thread in threads]}  # fmt: skip
    evidence = [document.at(arena.line)]
    heap = found.heap(chunk.address)
    if heap is not None:
        values |= {"start": heap.start, "end": heap.end, "chunks": len(heap), "top": arena.numbers.get("top", 0)}
        evidence.append(document.at(heap.line))
    yield Fact("arena", values, tuple(evidence))
