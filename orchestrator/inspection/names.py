"""From a name to an address, and from an address to all that is called so."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from orchestrator.errors import LabError, UsageError
from orchestrator.inspection.facts import Fact
from orchestrator.inspection.moment import MM_ADDRESSES, Moment, all_notes, nearest_names
from orchestrator.inspection.program import Program, Symbol, thread_local
from orchestrator.model import Evidence

ADDRESS_END = 1 << 64
MAX_NAMES = 12  # of one address
_OFFSET = re.compile(r"(.+)\+(0x[0-9a-fA-F]{1,16}|[0-9]{1,20})")
_NUMBER = re.compile(r"0x[0-9a-fA-F]{1,16}|[0-9]{1,20}")
_PROGRAM = (Evidence("program"),)


@dataclass(frozen=True)
class Found:
    """An address with what it was found by."""

    address: int
    fact: Fact


def find(moment: Moment, asked: str) -> int:
    """The address that a user means. Raises UsageError with the nearest names."""
    if _NUMBER.fullmatch(asked):
        return _in_bounds(int(asked, 0) if asked.startswith("0x") else int(asked), asked)
    found = _named(moment, asked)
    if found is None and (split := _OFFSET.fullmatch(asked)):
        base = _named(moment, split[1])
        found = None if base is None else base + (int(split[2], 0) if split[2].startswith("0x") else int(split[2]))
    if found is None:
        word = asked.partition("+")[0].rpartition(":")[2]
        known = known_names(moment)
        hint = moment.run.program.message if isinstance(moment.run.program, LabError) else ""
        raise UsageError(f"nothing is called {asked!r} at {moment.at!r}{nearest_names(word, known)}",
                         hint or "an address is 0x… or decimal; `lab inspect RUN` lists the names that there are")
    return _in_bounds(found, asked)


def _in_bounds(address: int, asked: str) -> int:
    if not 0 <= address < ADDRESS_END:
        raise UsageError(f"{asked} is no address: 64 bits are too few for it")
    return address


def _named(moment: Moment, name: str) -> int | None:
    """In this order, or of the kind that is named with a colon: a note, what the kernel or glibc knows under a name of
    its own, a mapping, a symbol of the program."""
    kinds: dict[str, Callable[[Moment, str], int | None]] = {
        "note": _note, "mm": _mm, "glibc": _glibc, "vma": _vma, "symbol": _symbol}
    kind, colon, rest = name.partition(":")
    if colon and kind in kinds:
        return kinds[kind](moment, rest)
    for look in kinds.values():
        if (found := look(moment, name)) is not None:
            return found
    return None


def _note(moment: Moment, name: str) -> int | None:
    for note, evidence in all_notes(moment):
        if note.key == name:
            if (value := number(note.value)) is None:
                raise UsageError(f"the note {name!r} is no address: {note.value[:60]!r} "
                                 f"({evidence.file}:{evidence.line})")  # fmt: skip
            return value
    return None


def _mm(moment: Moment, name: str) -> int | None:
    mm = moment.kernel.mm
    return mm.fields[name] if mm is not None and name in MM_ADDRESSES else None


def _glibc(moment: Moment, name: str) -> int | None:
    return next((found.address for found in glibc_places(moment) if found.fact.values["name"] == name), None)


def glibc_places(moment: Moment) -> Iterator[Found]:
    """What glibc has under a name of its own: "main_arena", "top", "arena-1", "tcache" (the first thread's),
    "tcache-TID", "pthread-TID"."""
    if moment.heap is None:
        return
    document, found = moment.heap
    for arena in found.arenas:
        name = "main_arena" if arena.main else f"arena-{arena.index}"
        top = "top" if arena.main else f"top-{arena.index}"
        yield from _places("glibc", document.at(arena.line), (name, arena.address), (top, arena.numbers.get("top", 0)))
    for place, thread in enumerate(found.threads):
        line = document.at(thread.line)
        first = (("tcache", thread.tcache), ("pthread", thread.pthread)) if place == 0 else ()
        yield from _places("glibc", line, *first, (f"tcache-{thread.tid}", thread.tcache),
                           (f"pthread-{thread.tid}", thread.pthread))


def _places(kind: str, line: Evidence, *named: tuple[str, int]) -> Iterator[Found]:
    for name, address in named:
        if address:
            yield Found(address, Fact("name", {"kind": kind, "name": name, "offset": 0}, (line,)))


def _vma(moment: Moment, name: str) -> int | None:
    """The start of the first mapping with that name, or whose file's name ends so."""
    for item in moment.kernel.vmas:
        shown = item.fields["name"]
        if name and name in (shown, shown.rpartition("/")[2]):
            return int(item.fields["start"])
    return None


def _symbol(moment: Moment, name: str) -> int | None:
    program, bias = moment.run.program, moment.bias
    if isinstance(program, LabError) or bias is None:
        return None
    found = program.named(name)
    if len(found) > 1:
        places = ", ".join(f"{symbol.value + bias:#x}" for symbol in found[:8])
        raise UsageError(f"the program has {len(found)} symbols {name!r}: {places}", "give the address")
    if not found:
        return None
    if not found[0].tls:
        return found[0].value + bias
    return _of_thread(moment, program, found[0])


def _of_thread(moment: Moment, program: Program, symbol: Symbol) -> int:
    leader = next(iter(moment.kernel.tasks), None)
    address = thread_local(program, symbol, leader.fields["fsbase"]) if leader else None
    if address is None:
        raise UsageError(f"{symbol.name!r} is thread-local, and where a thread has it can't be told")
    return address


def number(text: str) -> int | None:
    """The number that a note is; None if it is text."""
    try:
        return int(text, 0) if len(text) <= 40 else None
    except ValueError:
        return None


def known_names(moment: Moment) -> list[str]:
    """Everything that may be asked for by name at a moment: notes first."""
    notes = [note.key for note, _ in all_notes(moment) if number(note.value) is not None]
    glibc = [str(found.fact.values["name"]) for found in glibc_places(moment)]
    areas = [str(item.fields["name"]).rpartition("/")[2] for item in moment.kernel.vmas]
    program = moment.run.program
    symbols = [] if isinstance(program, LabError) or moment.bias is None else [s.name for s in program.symbols]
    mm = MM_ADDRESSES if moment.kernel.mm else ()
    return [name for name in dict.fromkeys((*notes, *glibc, *mm, *areas, *symbols)) if name]


# -- the other way ---------------------------------------------------------------------------------


def facts(moment: Moment, address: int) -> tuple[Fact, ...]:
    """All that the address is called: by the program's notes, its symbols, the kernel, glibc."""
    found = [*_notes_of(moment, address), *_symbol_of(moment, address), *_mm_of(moment, address),
             *(place.fact for place in glibc_places(moment) if place.address == address),
             *_stack_of(moment, address), *_vma_of(moment, address)]  # fmt: skip
    return tuple(found[:MAX_NAMES])


def _notes_of(moment: Moment, address: int) -> Iterator[Fact]:
    """Notes with just that value; of each key the nearest in time."""
    seen = set()
    for note, evidence in all_notes(moment):
        if note.key not in seen:
            seen.add(note.key)
            if number(note.value) == address:
                yield Fact("name", {"kind": "note", "name": note.key, "offset": 0, "at": note.checkpoint}, (evidence,))


def symbol_at(moment: Moment, address: int) -> tuple[str, int] | None:
    """The program's symbol that an address lies in, and how far in it."""
    program, bias = moment.run.program, moment.bias
    if isinstance(program, LabError) or bias is None or not program.first <= address - bias < program.end:
        return None
    symbol = program.at(address - bias)
    return (symbol.name, address - bias - symbol.value) if symbol else None


def _symbol_of(moment: Moment, address: int) -> Iterable[Fact]:
    found = symbol_at(moment, address)
    return [Fact("name", {"kind": "symbol", "name": found[0], "offset": found[1]}, _PROGRAM)] if found else []


def _mm_of(moment: Moment, address: int) -> Iterator[Fact]:
    mm = moment.kernel.mm
    for name in MM_ADDRESSES if mm else ():
        if mm and mm.fields[name] == address:
            yield Fact("name", {"kind": "mm", "name": name, "offset": 0}, (moment.line(mm),))


def _stack_of(moment: Moment, address: int) -> Iterator[Fact]:
    """The stack of a thread that pthread_create() made: its block, which ends with its struct pthread."""
    if moment.heap is None:
        return
    document, found = moment.heap
    for thread in found.threads[1:]:
        start, size = thread.numbers.get("stackblock", 0), thread.numbers.get("stackblock_size", 0)
        if start <= address < start + size:
            values = {"kind": "stack", "name": str(thread.tid), "offset": address - start}
            yield Fact("name", values, (document.at(thread.line),))


def _vma_of(moment: Moment, address: int) -> Iterator[Fact]:
    item = moment.kernel.vma_at(address)
    if item is not None and item.fields["name"]:
        values = {"kind": "vma", "name": item.fields["name"], "offset": address - item.fields["start"]}
        yield Fact("name", values, (moment.line(item),))
