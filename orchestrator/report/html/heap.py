"""The picture of glibc's heap: chunks in address order, and the lists that hold them, at each checkpoint. Pure.

``data()`` is what assets/heap.js draws: the values of heap/PID.jsonl, read by collect/heap.py and not interpreted
again, with what inspection/heap_changes.py says of the checkpoint before. Addresses are texts ("0x…"), sizes numbers
of bytes. Everything is bounded: a process whose chunks the page can't hold is drawn as stretches of memory (``whole``
is false then), and ``more`` counts what was left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice, repeat
from typing import Any

from orchestrator.collect.heap_values import HEADER, STATES, Arena, Bin, Chunk, Heap, HeapEvidence, Tcache
from orchestrator.collect.lines import Document
from orchestrator.inspection.heap_changes import CHANGES, SAME, Changed, Gone, changed
from orchestrator.inspection.moment import Moment, Run
from orchestrator.report.html.heap_code import Codebook, Kind, members
from orchestrator.report.html.heap_stretches import stretches
from orchestrator.report.text import clean

MAX_MOMENTS = 200  # processes at checkpoints
MAX_CHUNKS = 200_000  # of one of them that are drawn one by one
MAX_TOGETHER = 500_000  # of all of them: some 1.5 MB
MAX_STRETCHES = 16_384  # of all that are drawn so
MAX_SPAN = 1 << 47  # bytes of user addresses: a longer walk is none
MAX_TEXT = 300
MAX_CITED = 300  # lines of evidence that the page shall have, as many as it takes of one picture
MAX_NUMBERS = 64  # fields of one structure
EXACT = 1 << 53  # numbers above it are not exact in JavaScript

Json = dict[str, Any]


@dataclass(frozen=True)
class Limits:
    """How much of one process at one checkpoint is there."""

    arenas: int
    heaps: int  # of all arenas
    threads: int
    lists: int
    mapped: int
    strangers: int  # chunks of a list that no walk has
    flaws: int


WHOLE = Limits(256, 256, 1000, 6000, 2000, 64, 100)
ROUGH = Limits(16, 32, 32, 100, 50, 16, 20)


@dataclass(frozen=True)
class _Look:
    """The heap of one process at one checkpoint; ``before``: the place of the same process's look before, if any;
    ``whole``: every chunk is drawn; ``changes``: held against the look before, where both are whole."""

    moment: Moment
    document: Document
    found: HeapEvidence
    before: int | None
    whole: bool = True
    changes: Changed | None = field(default=None, repr=False)

    @property
    def limits(self) -> Limits:
        """How much of it the page has."""
        return WHOLE if self.whole else ROUGH

    @property
    def size(self) -> int:
        """How many chunks the page has to hold, with what else takes as much room."""
        found = self.found
        lists = len(found.tcaches) + sum(len(arena.bins) for arena in found.arenas)
        others = len(found.arenas) + len(found.threads) + sum(len(arena.heaps) for arena in found.arenas)
        return sum(map(len, found.walks)) + 20 * (len(found.mapped) + lists) + 50 * others


def data(run: Run) -> Json | None:
    """The picture of a run; None if the lab has looked at no heap in it, for which ``run.record.left_out`` may have
    the reason."""
    asked = [(checkpoint, pid) for checkpoint in run.record.checkpoints for pid in run.pids(checkpoint, "heap")]
    if not asked:
        return None
    moments = [run.at(checkpoint, pid) for checkpoint, pid in asked[:MAX_MOMENTS]]
    looks = _compared(_bounded(_looks(moments)))
    book = Codebook(_kinds(looks))
    rough = sum(look is not None and not look.whole for look in looks)
    return {
        "states": {letter: [state.short, state.means] for letter, state in STATES.items()},
        "changes": CHANGES, "header": HEADER, "overhead": Chunk.overhead,
        "kinds": [[_amount(word), state, change] for word, state, change in book.kinds],
        "moments": [
            _unread(moment) if look is None else _moment(look, book, MAX_STRETCHES // max(rough, 1))
            for moment, look in zip(moments, looks, strict=True)
        ],
        "texts": book.texts,
        "left_out": len(asked) - len(moments),
        "evidence": list(islice(_cited(looks), MAX_CITED)),
    }  # fmt: skip


def _looks(moments: Sequence[Moment]) -> list[_Look | None]:
    """What is known at each moment; None where the evidence can't be read."""
    last: dict[int, int] = {}
    looks: list[_Look | None] = []
    for place, moment in enumerate(moments):
        read = moment.heap
        looks.append(None if read is None else _Look(moment, *read, last.get(moment.pid)))
        if read is not None:
            last[moment.pid] = place
    return looks


def _bounded(looks: Sequence[_Look | None]) -> list[_Look | None]:
    """The same, small heaps whole as long as there is room, the others roughly."""
    room = MAX_TOGETHER
    bounded = list(looks)
    for size, place in sorted((look.size, place) for place, look in enumerate(looks) if look is not None):
        look = looks[place]
        if look is not None and (size > room or sum(map(len, look.found.walks)) > MAX_CHUNKS):
            bounded[place] = replace(look, whole=False)
        else:
            room -= size
    return bounded


def _compared(looks: Sequence[_Look | None]) -> list[_Look | None]:
    """The same, with what changed: where this one and the one before are whole."""
    return [
        replace(look, changes=changed(look.found, before.found))
        if look and look.whole and look.before is not None and (before := looks[look.before]) and before.whole
        else look
        for look in looks
    ]


def _kinds(looks: Sequence[_Look | None]) -> Counter[Kind]:
    kinds: Counter[Kind] = Counter()
    for look in looks:
        if look is not None and look.whole:
            for place, (_arena, heap) in enumerate(_walks(look)):
                kinds.update(_chunk_kinds(look, place, heap))
    return kinds


def _walks(look: _Look) -> Iterator[tuple[int, Heap]]:
    """The walks that are drawn, with the place of their arena; in the order that Changed has them."""
    count = 0
    for place, arena in enumerate(look.found.arenas[: look.limits.arenas]):
        for heap in arena.heaps:
            if count == look.limits.heaps:
                return
            yield place, heap
            count += 1


def _chunk_kinds(look: _Look, place: int, heap: Heap) -> Iterator[Kind]:
    if heap.covered - heap.first > MAX_SPAN:
        return iter(())
    marks = repeat(SAME) if look.changes is None else look.changes.walks[place]
    return zip(heap.words, heap.states, marks, strict=False)


def _cited(looks: Sequence[_Look | None]) -> Iterator[tuple[str, int]]:
    """The lines that say what does not hold: (file, line)."""
    for look in looks:
        if look is not None:
            for flaw in islice(_flaws(look.found), look.limits.flaws):
                yield look.document.file, flaw["line"]


def _unread(moment: Moment) -> Json:
    return {"step": moment.checkpoint.index, "pid": moment.pid,
            "trouble": clean("; ".join(moment.troubles) or "it can't be read", MAX_TEXT)}  # fmt: skip


def _moment(look: _Look, book: Codebook, most: int) -> Json:
    found, limits = look.found, look.limits
    flaws = list(_flaws(found))
    lists: list[Bin | Tcache] = [*found.tcaches, *(one for arena in found.arenas for one in arena.bins)]
    ordinals = _ordinals(look) if look.whole else {}
    return {
        "step": look.moment.checkpoint.index, "pid": look.moment.pid, "main": look.moment.checkpoint.pid,
        "file": look.document.file, "whole": look.whole, "before": look.before if look.changes else None,
        "changes": _change_counts(look.changes), "gone": _gone(look.changes, limits),
        "malloc": _malloc(found), "totals": _totals(found),
        "arenas": [_arena(arena) for arena in found.arenas[: limits.arenas]],
        "threads": [_thread(look, place) for place in range(min(len(found.threads), limits.threads))],
        "regions": _regions(look, book, most),
        "mapped": _mapped(look),
        "lists": [_list(one, found, ordinals, limits) for one in lists[: limits.lists]],
        "checked": len(found.checks), "flaws": flaws[: limits.flaws],
        "more": _more(look, len(lists), len(flaws)),
    }  # fmt: skip


def _ordinals(look: _Look) -> dict[int, int]:
    """The place of each drawn chunk by its address: walk by walk, then those with mappings of their own."""
    addresses: list[int] = []
    for _arena, heap in _walks(look):
        if heap.covered - heap.first <= MAX_SPAN:
            addresses += heap.addresses
    addresses += [one.chunk for one in look.found.mapped[: look.limits.mapped]]
    return {address: place for place, address in enumerate(addresses)}


def _regions(look: _Look, book: Codebook, most: int) -> list[Json]:
    walks = list(_walks(look))
    return [_region(look, place, arena, heap, book, max(most // len(walks), 8))
            for place, (arena, heap) in enumerate(walks)]  # fmt: skip


def _region(look: _Look, place: int, arena: int, heap: Heap, book: Codebook, most: int) -> Json:
    span = heap.covered - heap.first
    region: Json = {
        "arena": arena, "info": _at(heap.info), "start": _at(heap.start), "first": _at(heap.first),
        "end": _at(heap.end), "reserved_end": _at(heap.reserved_end), "lead": _within(heap.first - heap.start),
        "rest": _within(heap.end - heap.covered), "span": _amount(span), "chunks": len(heap), "tail": clean(heap.tail),
        "guessed": heap.guessed, "line": heap.line, "lines": [list(part) for part in heap.lines],
    }  # fmt: skip
    if span > MAX_SPAN:
        return {**region, "chunks": 0, "trouble": "its chunks reach further than any address space does"}
    if look.whole:
        return {**region, "text": book.chunks(_chunk_kinds(look, place, heap))}
    if not heap.words:
        return region
    length, rows = stretches(heap, most)
    return {**region, "lines": [], "stretch": length, "stretches": rows}


def _within(size: int) -> int:
    """Memory before or behind the chunks that is drawn; none if it is unlike any."""
    return size if 0 <= size <= 1 << 30 else 0


def _mapped(look: _Look) -> list[list[Any]]:
    """[chunk, size word, start, end, change, line, usable bytes] of each chunk with a mapping of its own."""
    marks = look.changes.mapped if look.changes else repeat(SAME)
    return [[_at(one.chunk), _amount(one.word), _at(one.start), _at(one.end), mark, one.line,
             _amount(one.as_chunk().usable)]
            for one, mark in zip(look.found.mapped[: look.limits.mapped], marks, strict=False)]  # fmt: skip


def _list(one: Bin | Tcache, found: HeapEvidence, ordinals: dict[int, int], limits: Limits) -> list[Any]:
    """[kind, arena's index or thread, index, length, chunks, line], of a tcache bin with [smallest size, largest size,
    glibc's own count] behind it, and at the end what else there is by name: strangers, broken."""
    text, strangers = members(one.chunks, ordinals, limits.strangers)
    rest = [_amount(one.index), len(one.chunks), text, one.line]
    if isinstance(one, Tcache):
        sizes = map(_amount, (one.size, one.largest, one.count))
        row: list[Any] = ["tcache", _amount(one.tid), *rest, *sizes]
    else:
        row = [clean(one.kind, 20), _index(found.arena(one.arena)), *rest]
    more: Json = {"strangers": list(map(_at, strangers))} if strangers else {}
    if one.broken:
        back = one.back[: limits.strangers] if isinstance(one, Bin) else ()
        more["broken"] = {"at": _at(one.broken.at), "why": clean(one.broken.why, MAX_TEXT),
                          "back": list(map(_at, back))}  # fmt: skip
    return [*row, more] if more else row


def _arena(arena: Arena) -> Json:
    return {"address": _at(arena.address), "index": _index(arena), "main": arena.main, "line": arena.line,
            "top": _at(arena.numbers.get("top", 0)), "numbers": _numbers(arena.numbers)}  # fmt: skip


def _thread(look: _Look, place: int) -> Json:
    thread = look.found.threads[place]
    arena = look.found.arena(thread.arena)
    return {"tid": _amount(thread.tid), "arena": _index(arena), "tcache": _at(thread.tcache),
            "state": clean(thread.tcache_state, 20), "line": thread.line}  # fmt: skip


def _malloc(found: HeapEvidence) -> Json:
    return {
        "glibc": clean(str(found.header.get("glibc", "")), 40), "protected": found.header.get("safe_linking") is True,
        "parameters": _numbers(found.parameters), "variables": _numbers(found.variables),
        "lines": {name: found.lines[name] for name in ("format", "mp", "variables") if name in found.lines},
    }  # fmt: skip


def _totals(found: HeapEvidence) -> list[list[Any]]:
    """[state, chunks, bytes] of each state that there is, whether its chunks are drawn or not."""
    chunks: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    for (state, size), count in found.sums().items():
        chunks[state] += count
        sizes[state] += count * size
    return [[state, chunks[state], _amount(sizes[state])] for state in STATES if chunks[state]]


def _change_counts(changes: Changed | None) -> dict[str, int]:
    if changes is None:
        return {}
    counts = Counter(changes.mapped)
    for walk in changes.walks:
        counts.update(walk)
    return {letter: counts[letter] for letter in CHANGES if counts[letter]}


def _gone(changes: Changed | None, limits: Limits) -> list[list[Any]]:
    """[address, bytes, chunks, whether it was a chunk with a mapping of its own] of what is no heap any more."""
    gone: Sequence[Gone] = changes.gone if changes else ()
    return [[_at(one.address), _amount(one.size), one.chunks, one.mapped] for one in gone[: limits.mapped]]


def _flaws(found: HeapEvidence) -> Iterator[Json]:
    """The invariants that do not hold; what could not be followed, where no invariant says so; what was not read."""
    told = {check.at for check in found.failed() if check.at}
    for check in found.failed():
        index = None if check.arena is None else _amount(check.arena)
        yield {"what": clean(check.what, 60), "why": clean(check.detail, MAX_TEXT), "arena": index,
               "glibc": clean(check.glibc, MAX_TEXT), "at": _at(check.at), "line": check.line}  # fmt: skip
    for arena in found.arenas:
        name = "main_arena" if arena.main else f"arena {arena.index}"
        parts = [(name, arena.broken, arena.line)]
        parts += [(f"walk of {name}", heap.broken, heap.line) for heap in arena.heaps]
        parts += [(f"{one.kind} {one.index} of {name}", one.broken, one.line) for one in arena.bins]
        for what, flaw, line in parts:
            if flaw and flaw.at not in told:
                yield _flaw(what, flaw.why, flaw.at, line)
    for cache in found.tcaches:
        if cache.broken and cache.broken.at not in told:
            yield _flaw(f"tcache {cache.index} of thread {cache.tid}", cache.broken.why, cache.broken.at, cache.line)
    for part in found.broken:
        yield _flaw(part.what, part.why, 0, part.line)


def _flaw(what: str, why: str, at: int, line: int) -> Json:
    return {"what": clean(what, 60), "why": clean(why, MAX_TEXT), "arena": None, "glibc": "", "at": _at(at),
            "line": line}  # fmt: skip


def _more(look: _Look, lists: int, flaws: int) -> dict[str, int]:
    """How many there are beside those that are there."""
    found, limits = look.found, look.limits
    heaps = sum(len(arena.heaps) for arena in found.arenas)
    gone = len(look.changes.gone) if look.changes else 0
    left = {
        "arenas": len(found.arenas) - limits.arenas, "heaps": heaps - len(list(_walks(look))),
        "threads": len(found.threads) - limits.threads, "lists": lists - limits.lists,
        "mapped": len(found.mapped) - limits.mapped, "flaws": flaws - limits.flaws, "gone": gone - limits.mapped,
    }  # fmt: skip
    return {name: count for name, count in left.items() if count > 0}


def _index(arena: Arena | None) -> int | str | None:
    return None if arena is None else _amount(arena.index)


def _numbers(numbers: Mapping[str, int]) -> dict[str, int | str]:
    return {clean(name, 40): _amount(numbers[name]) for name in list(numbers)[:MAX_NUMBERS]}


def _at(address: int) -> str:
    """An address as text; "" for 0 and for what can't be one."""
    return f"{address:#x}" if 0 < address < 1 << 64 else ""


def _amount(value: int) -> int | str:
    """A number, as text where JavaScript would not keep it."""
    return value if -EXACT < value < EXACT else f"{value:#x}"[:40]
