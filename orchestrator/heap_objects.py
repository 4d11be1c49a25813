"""glibc's heap and threads as part of the observations: arenas, chunks, bins, caches, struct pthread (level H)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, TypeVar

from orchestrator.collect import heap
from orchestrator.collect.heap_values import (
    IS_MMAPPED,
    NON_MAIN_ARENA,
    PREV_INUSE,
    SIZE_BITS,
    STATES,
    Arena,
    Bin,
    Chunk,
    Heap,
    HeapEvidence,
    Tcache,
)
from orchestrator.collect.lines import Document
from orchestrator.names import nearest
from orchestrator.observed import ObservationError, Observed, Row, Rows

if TYPE_CHECKING:
    from orchestrator.model import Evidence

T = TypeVar("T")

MAX_CHUNKS = 100_000  # that one observation lists
WALKED = ("arenas", "lists", "threads")  # parts of the evidence that give chunks their states
BINS = ("tcache", "fastbin", "unsorted", "small", "large")

# Attributes as scenarios/README.md lists them; arena, thread and malloc_par also have glibc's own fields by name.
ATTRIBUTES = {
    "arena": ("address", "index", "main", "top", "top_size", "system_mem", "max_system_mem", "attached_threads",
              "heaps", "walked", "broken"),
    "heap": ("arena", "info", "start", "end", "reserved_end", "first", "size", "chunks", "walked", "tail", "broken"),
    "chunk": ("address", "memory", "size", "usable", "state", "prev_inuse", "mmapped", "non_main", "arena", "index",
              "position"),
    "bin": ("kind", "arena", "tid", "index", "count", "chunks", "blocks", "broken"),
    "thread": ("tid", "pthread", "arena", "tcache", "tcache_state", "pthread_tid", "stackblock", "stackblock_size",
               "guardsize", "broken"),
    "stack": ("pthread", "tid", "stackblock", "stackblock_size", "guardsize", "broken"),
    "flaw": ("what", "detail", "arena", "at"),
    "sums": (*(state.name for state in STATES.values()), *(f"{state.name}_bytes" for state in STATES.values()),
             "chunks", "bytes"),
}  # fmt: skip


class Heaps:
    """The part of Observations that reads heap evidence."""

    def inside(self, part: str, at: str, pid: object = None) -> Document:
        """The evidence of that part at a checkpoint."""
        raise NotImplementedError

    def _once(self, kind: str, key: str, make: Callable[[], T]) -> T:
        raise NotImplementedError

    def _heap(self, at: str, pid: object, *parts: str) -> tuple[Document, HeapEvidence]:
        """The heap, of which these ``parts`` must be whole."""
        document = self.inside("heap", at, pid)
        found = self._once("parsed", document.file, lambda: heap.parse(document))
        for part in found.broken:
            if part.what in ("libc", "heap", "layout", *parts):
                raise ObservationError(f"{document.file}: {part.what}: {part.why}")
        return document, found

    def malloc_par(self, at: str, pid: object = None) -> Observed:
        """glibc's ``mp_``: thresholds and limits."""
        document, found = self._heap(at, pid)
        line = document.at(found.lines.get("mp", 0))
        return Observed(Row("malloc_par", dict(found.parameters), line), (line,))

    def arenas(self, at: str, pid: object = None) -> Observed:
        """Every arena, the main one first."""
        document, found = self._heap(at, pid, "arenas")
        rows = [_arena(arena, document) for arena in found.arenas]
        return Observed(Rows("arena", rows, ATTRIBUTES["arena"]), tuple(row.evidence for row in rows[:12]))

    def arena(self, which: object, at: str, pid: object = None) -> Observed:
        """The arena of that number (0 is the main one), of that address, or that a block belongs to; or None."""
        document, found = self._heap(at, pid, *WALKED)
        number = _number("arena", which)
        arena = found.arena(number) or next((one for one in found.arenas if one.index == number), None)
        if arena is None and (chunk := found.chunk(number)):
            arena = found.arena(chunk.arena)
        if arena is None:
            return Observed(None, (document.at(0),))
        row = _arena(arena, document)
        return Observed(row, (row.evidence,))

    def heaps(self, at: str, pid: object = None) -> Observed:
        """Every walk of a heap: the pieces of the main arena's, and each heap of the others."""
        document, found = self._heap(at, pid, "arenas")
        rows = [_walk(one, arena, document) for arena in found.arenas for one in arena.heaps]
        return Observed(Rows("heap", rows, ATTRIBUTES["heap"]), tuple(row.evidence for row in rows[:12]))

    def chunk(self, address: object, at: str, pid: object = None) -> Observed:
        """The chunk that malloc returned as that address, or that the address lies in; None if there is none."""
        document, found = self._heap(at, pid, *WALKED)
        number = _number("chunk", address)
        chunk = _find(number, found, document)
        if chunk is None:
            return Observed(None, (document.at(0),))
        row = _chunk(chunk, found, document)
        return Observed(row, (row.evidence,))

    def chunks_of(self, addresses: object, at: str, pid: object = None) -> Observed:
        """The chunk of each of these blocks, in their order. Of what is no chunk every attribute is None."""
        document, found = self._heap(at, pid, *WALKED)
        if not isinstance(addresses, list | tuple):
            raise ObservationError(f"chunks_of() takes a list of addresses, not {addresses!r}")
        nothing = Row("chunk", dict.fromkeys(ATTRIBUTES["chunk"]), document.at(0))
        rows = []
        for address in addresses:
            number = _number("chunks_of", address)
            chunk = _find(number, found, document)
            rows.append(nothing if chunk is None else _chunk(chunk, found, document))
        return Observed(Rows("chunk", rows, ATTRIBUTES["chunk"]), tuple(row.evidence for row in rows[:12]))

    def chunks(self, state: object, at: str, pid: object = None) -> Observed:
        """Every chunk in that state, in the order of memory."""
        document, found = self._heap(at, pid, *WALKED, "mmapped")
        letters = {known.name: letter for letter, known in STATES.items()}
        if not isinstance(state, str) or state not in letters:
            raise ObservationError(f"chunks() knows no state {state!r}{nearest(str(state), letters)}; "
                                   f"it knows {', '.join(letters)}")  # fmt: skip
        rows: list[Row] = []
        for chunk in found.chunks_in(letters[state]):
            if len(rows) >= MAX_CHUNKS:
                raise ObservationError(f"there are more than {MAX_CHUNKS} chunks: heap_sums() counts them")
            rows.append(_chunk(chunk, found, document))
        return Observed(Rows("chunk", rows, ATTRIBUTES["chunk"]), tuple(row.evidence for row in rows[:3]))

    def bins(self, kind: object, at: str, pid: object = None) -> Observed:
        """Every list of that kind that holds something."""
        document, found = self._heap(at, pid, *WALKED)
        if kind not in BINS:
            raise ObservationError(f"bins() knows no {kind!r}{nearest(str(kind), BINS)}; it knows {', '.join(BINS)}")
        lists: Iterable[Bin | Tcache] = found.tcaches if kind == "tcache" else (
            one for arena in found.arenas for one in arena.bins if one.kind == kind)  # fmt: skip
        rows = [_bin(one, found, document) for one in lists]
        return Observed(Rows("bin", rows, ATTRIBUTES["bin"]), tuple(row.evidence for row in rows[:12]))

    def bin(self, address: object, at: str, pid: object = None) -> Observed:
        """The list that holds the chunk of that block; None if it is in none."""
        document, found = self._heap(at, pid, *WALKED)
        number = _number("bin", address)
        chunk = _find(number, found, document)
        place = found.place(chunk.address) if chunk else None
        if place is None:
            return Observed(None, (document.at(0),))
        row = _bin(place.of, found, document)
        return Observed(row, (row.evidence,))

    def threads(self, at: str, pid: object = None) -> Observed:
        """``struct pthread`` of every thread, the first thread first."""
        document, found = self._heap(at, pid, "threads")
        rows = [_thread(one.tid, one.line, {"pthread": one.pthread, "arena": one.arena, "tcache": one.tcache,
                                            "tcache_state": one.tcache_state, "broken": one.broken, **one.numbers},
                        document) for one in found.threads]  # fmt: skip
        return Observed(Rows("thread", rows, ATTRIBUTES["thread"]), tuple(row.evidence for row in rows[:12]))

    def thread(self, tid: object, at: str, pid: object = None) -> Observed:
        """``struct pthread`` of the thread with that id (gettid()); None if there is none."""
        rows = self.threads(at, pid).value
        assert isinstance(rows, Rows)
        number = _number("thread", tid)
        row = next((row for row in rows if isinstance(row, Row) and row.fields["tid"] == number), None)
        document = self.inside("heap", at, pid)
        return Observed(row, (row.evidence if row else document.at(0),))

    def stacks(self, at: str, pid: object = None) -> Observed:
        """The stacks of threads that have ended, which glibc keeps for later ones."""
        document, found = self._heap(at, pid, "stacks")
        rows = [Row("stack", {"tid": 0, **one.numbers, "pthread": one.pthread, "broken": one.broken},
                    document.at(one.line)) for one in found.stacks]  # fmt: skip
        return Observed(Rows("stack", rows, ATTRIBUTES["stack"]), tuple(row.evidence for row in rows[:12]))

    def heap_flaws(self, at: str, pid: object = None) -> Observed:
        """The invariants of ptmalloc that do not hold; none in a sound heap."""
        document, found = self._heap(at, pid)
        rows = [Row("flaw", {"what": one.what, "detail": one.detail, "arena": one.arena, "at": one.at},
                    document.at(one.line)) for one in found.failed()]  # fmt: skip
        rows += [Row("flaw", {"what": one.what, "detail": one.why, "arena": None, "at": 0}, document.at(one.line))
                 for one in found.broken]  # fmt: skip
        if not found.checks:
            raise ObservationError(f"{document.file}: no invariant was checked")
        return Observed(Rows("flaw", rows, ATTRIBUTES["flaw"]), tuple(row.evidence for row in rows[:12]))

    def heap_sums(self, at: str, pid: object = None) -> Observed:
        """How many chunks there are in each state, and their bytes, over all arenas."""
        document, found = self._heap(at, pid, *WALKED, "mmapped")
        fields: dict[str, int] = dict.fromkeys(ATTRIBUTES["sums"], 0)
        for (letter, size), count in self._once("sums", document.file, found.sums).items():
            state, total = STATES[letter].name, size * count
            for name, value in ((state, count), ("chunks", count), (f"{state}_bytes", total), ("bytes", total)):
                fields[name] += value
        return Observed(Row("sums", dict(fields), document.at(0)), (document.at(0),))


def _number(function: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ObservationError(f"{function}() takes a number, not {value!r}")
    return value


def _find(address: int, found: HeapEvidence, document: Document) -> Chunk | None:
    """The chunk that malloc returned as that address, or that it lies in; None if there surely is none."""
    chunk = found.block(address) or found.chunk(address)
    for part in found.broken if chunk is None else ():
        if part.what == "mmapped":
            raise ObservationError(f"{document.file}: mmapped: {part.why}")
    return chunk


def _arena(arena: Arena, document: Document) -> Row:
    tops = [one.words[-1] & ~SIZE_BITS for one in arena.heaps if one.tail == "top" and one.words]
    fields: dict[str, object] = {
        **arena.numbers, "address": arena.address, "index": arena.index, "main": arena.main, "heaps": len(arena.heaps),
        "top_size": tops[-1] if tops else None, "walked": sum(one.covered - one.first for one in arena.heaps),
        "broken": arena.broken.why if arena.broken else None,
    }  # fmt: skip
    return Row("arena", fields, document.at(arena.line))


def _walk(walk: Heap, arena: Arena, document: Document) -> Row:
    fields: dict[str, object] = {
        "arena": arena.index, "info": walk.info, "start": walk.start, "end": walk.end,
        "reserved_end": walk.reserved_end, "first": walk.first, "size": walk.end - walk.start, "chunks": len(walk),
        "walked": walk.covered - walk.first, "tail": walk.tail, "broken": walk.broken.why if walk.broken else None,
    }  # fmt: skip
    return Row("heap", fields, document.at(walk.line))


def _chunk(chunk: Chunk, found: HeapEvidence, document: Document) -> Row:
    arena, place = found.arena(chunk.arena), found.place(chunk.address)
    fields: dict[str, object] = {
        "address": chunk.address, "memory": chunk.memory, "size": chunk.size, "usable": chunk.usable,
        "state": STATES[chunk.state].name, "prev_inuse": bool(chunk.word & PREV_INUSE),
        "mmapped": bool(chunk.word & IS_MMAPPED), "non_main": bool(chunk.word & NON_MAIN_ARENA),
        "arena": arena.index if arena else None, "index": place.of.index if place else None,
        "position": place.position if place else None,
    }  # fmt: skip
    return Row("chunk", fields, document.at(chunk.line))


def _bin(one: Bin | Tcache, found: HeapEvidence, document: Document) -> Row:
    arena = None if isinstance(one, Tcache) else found.arena(one.arena)
    blocks = [known.memory if (known := found.chunk(chunk)) else None for chunk in one.chunks]
    fields: dict[str, object] = {
        "kind": "tcache" if isinstance(one, Tcache) else one.kind, "index": one.index, "chunks": list(one.chunks),
        "blocks": blocks, "count": one.count if isinstance(one, Tcache) else len(one.chunks),
        "arena": arena.index if arena else None, "tid": one.tid if isinstance(one, Tcache) else None,
        "broken": one.broken.why if one.broken else None,
    }  # fmt: skip
    return Row("bin", fields, document.at(one.line))


def _thread(tid: int, line: int, fields: Mapping[str, object], document: Document) -> Row:
    at: Evidence = document.at(line)
    return Row("thread", {**fields, "tid": tid}, at)
