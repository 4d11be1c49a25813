"""heap/PID.jsonl: glibc's heap and threads of one stopped process. Pure.

What the lines mean is said in collect/ptmalloc/records.py, which writes them. A file that was cut off, or that has
a line of another shape, is an EvidenceError: a chunk that was overlooked would be a wrong statement about the heap.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, islice
from typing import Any

from orchestrator.collect.heap_values import (
    SIZE_BITS,
    STATES,
    Arena,
    Bin,
    Broken,
    Check,
    Flaw,
    Heap,
    HeapEvidence,
    HeapInfo,
    Mapped,
    Stack,
    Tcache,
    Thread,
)
from orchestrator.collect.lines import Document, EvidenceError

VERSION = 1
Line = dict[str, Any]


def parse(document: Document) -> HeapEvidence:
    """The evidence of one file. Raises EvidenceError where it is cut off or garbled."""
    reading = _Reading(document)
    for number, line in enumerate(document.lines, 1):
        try:
            reading.take(number, json.loads(line))
        except (ValueError, KeyError, TypeError, IndexError, OverflowError, AttributeError, RecursionError):
            raise document.garbled(number, "a line of heap evidence") from None
    return reading.finish()


class _Reading:
    """The lines so far."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.single: dict[str, tuple[int, Line]] = {}
        self.arenas: list[tuple[int, Line]] = []
        self.infos: list[HeapInfo] = []
        self.heaps: list[_Walk] = []
        self.bins: list[_List] = []
        self.tcaches: list[_List] = []
        self.mapped: list[Mapped] = []
        self.threads: list[Thread] = []
        self.stacks: list[Stack] = []
        self.checks: list[Check] = []
        self.broken: list[Broken] = []
        self.ended = 0
        self._takers: dict[str, Callable[[int, Line], None]] = {
            "format": self._format, "mp": self._single, "variables": self._single, "end": self._end,
            "arena": lambda n, line: self.arenas.append((n, line)), "heap_info": self._info, "heap": self._heap,
            "chunks": self._chunks, "bin": self._bin, "back": self._back, "tcache": self._tcache,
            "mmapped": self._mapped, "thread": self._thread, "stack": self._stack, "check": self._check,
            "broken": lambda n, line: self.broken.append(Broken(str(line["what"]), str(line["why"]), n)),
        }  # fmt: skip

    def take(self, number: int, line: Line) -> None:
        """One line. Raises what a line of another shape makes of it."""
        if self.ended or (number == 1) != (line["is"] == "format"):
            raise ValueError("not in its place")
        self._takers[line["is"]](number, line)

    def _format(self, number: int, line: Line) -> None:
        if line["name"] != "ptmalloc" or line["version"] != VERSION:
            raise EvidenceError(f"{self.document.file}:{number}: not heap evidence of version {VERSION}",
                                "it was written by another version of the lab")
        self._single(number, line)

    def _single(self, number: int, line: Line) -> None:
        if line["is"] in self.single:
            raise ValueError("twice")
        if line["is"] != "format":
            _numbers(line, "is")
        self.single[line["is"]] = number, line

    def _end(self, number: int, line: Line) -> None:
        if line["lines"] != number:
            raise ValueError("lines are missing")
        self.ended = number

    def _info(self, number: int, line: Line) -> None:
        names = ("arena", "address", "ar_ptr", "prev", "size", "mprotect_size")
        self.infos.append(HeapInfo(**{name: _int(line[name]) for name in names}, line=number))

    def _heap(self, number: int, line: Line) -> None:
        self.heaps.append(_Walk(number, line))

    def _chunks(self, number: int, line: Line) -> None:
        self.heaps[-1].take(number, line)

    def _bin(self, number: int, line: Line) -> None:
        key = _int(line["arena"]), str(line["kind"]), _int(line["index"])
        _take_list(self.bins, key, number, line)

    def _tcache(self, number: int, line: Line) -> None:
        key = _int(line["tid"]), _int(line["address"]), _int(line["index"])
        _take_list(self.tcaches, key, number, line)

    def _back(self, _number: int, line: Line) -> None:
        last = self.bins[-1]
        if last.key != (line["arena"], line["kind"], line["index"]) or line["from"] != len(last.back):
            raise ValueError("not behind its bin")
        last.back.extend(map(_int, line["chunks"]))

    def _mapped(self, number: int, line: Line) -> None:
        chunk, prev_size, size, start, end = (_int(line[name]) for name in (
            "chunk", "prev_size", "size", "start", "end"))
        self.mapped.append(Mapped(chunk, prev_size, size, start, end, number))

    def _thread(self, number: int, line: Line) -> None:
        numbers = _numbers(line, "is", "broken", "cached", "tcache_state", "tid", "pthread", "arena", "tcache")
        self.threads.append(Thread(
            _int(line["tid"]), _int(line["pthread"]), _int(line["arena"]), _int(line["tcache"]),
            str(line["tcache_state"]), numbers, line["broken"] or "", number))  # fmt: skip

    def _stack(self, number: int, line: Line) -> None:
        numbers = _numbers(line, "is", "broken", "pthread")
        self.stacks.append(Stack(_int(line["pthread"]), numbers, line["broken"] or "", number))

    def _check(self, number: int, line: Line) -> None:
        arena = None if line["arena"] is None else _int(line["arena"])
        self.checks.append(Check(str(line["what"]), line["ok"] is True, str(line["detail"]), str(line["glibc"]),
                                 arena, _int(line["at"]), number))  # fmt: skip

    def finish(self) -> HeapEvidence:
        """The whole. Raises EvidenceError if it has no end."""
        document, last = self.document, len(self.document.lines)
        if not self.ended:
            raise EvidenceError(f"{document.file}: the heap evidence was cut off after {last} lines",
                                "the run ended while it was written; repeat it")
        try:
            header = {key: value for key, value in self.single["format"][1].items() if key != "is"}
            parameters, variables = ({key: value for key, value in self.single.get(name, (0, {}))[1].items()
                                      if key != "is"} for name in ("mp", "variables"))  # fmt: skip
            heaps = [walk.finish() for walk in self.heaps]
            bins = [_bin_of(found) for found in self.bins]
            arenas = tuple(_arena(number, line, self.infos, heaps, bins) for number, line in self.arenas)
            tcaches = tuple(_tcache_of(found) for found in self.tcaches)
        except (ValueError, KeyError, TypeError, OverflowError, AttributeError) as error:
            raise EvidenceError(f"{document.file}: not heap evidence: {error}") from None
        return HeapEvidence(
            document.file, header, parameters, variables, arenas, tcaches, tuple(self.mapped), tuple(self.threads),
            tuple(self.stacks), tuple(self.checks), tuple(self.broken),
            {name: number for name, (number, _line) in self.single.items()},
        )  # fmt: skip


class _Walk:
    """A heap while its lines come."""

    def __init__(self, number: int, line: Line) -> None:
        self.number, self.line = number, line
        self.words: array[int] = array("Q")
        self.states: list[str] = []
        self.begins: list[int] = []
        self.numbers: list[int] = []
        self.firsts: list[int] = []

    def take(self, number: int, line: Line) -> None:
        """A line with chunks."""
        if len(line["sizes"]) != len(line["states"]) or not set(line["states"]) <= STATES.keys():
            raise ValueError("states")
        self.begins.append(len(self.words))
        self.numbers.append(number)
        self.firsts.append(_int(line["first"]))
        self.words.extend(line["sizes"])
        self.states.append(line["states"])

    def finish(self) -> Heap:
        """The heap. Raises ValueError if chunks are missing."""
        line, first = self.line, _int(self.line["first"])
        lengths = (word & ~SIZE_BITS for word in self.words)
        addresses = array("Q", islice(accumulate(lengths, initial=first), len(self.words)))
        if len(self.words) != line["chunks"] or any(
            addresses[place] != at for place, at in zip(self.begins, self.firsts, strict=True)
        ):
            raise ValueError(f"chunks of the heap at {first:#x} are missing")
        return Heap(
            _int(line["arena"]), _int(line["info"]), _int(line["start"]), _int(line["end"]),
            _int(line["reserved_end"]), first, line["guessed"] is True, str(line["tail"]), _flaw(line["broken"]),
            self.number, self.words, addresses, "".join(self.states), (tuple(self.begins), tuple(self.numbers)),
        )  # fmt: skip


@dataclass
class _List:
    """A list while its lines come."""

    key: tuple[Any, ...]
    number: int
    line: Line
    chunks: list[int] = field(default_factory=list)
    back: list[int] = field(default_factory=list)


def _take_list(lists: list[_List], key: tuple[Any, ...], number: int, line: Line) -> None:
    """A line of a list: its first one, or more of the last."""
    if line["from"] == 0:
        lists.append(_List(key, number, line))
    found = lists[-1]
    if found.key != key or len(found.chunks) != line["from"]:
        raise ValueError("a line of the list is missing")
    found.chunks.extend(map(_int, line["chunks"]))


def _bin_of(found: _List) -> Bin:
    arena, kind, index = found.key
    return Bin(arena, kind, index, _whole(found), _flaw(found.line["broken"]), tuple(found.back), found.number)


def _tcache_of(found: _List) -> Tcache:
    line, (tid, address, index) = found.line, found.key
    return Tcache(tid, address, index, _int(line["size"]), _int(line["largest"]), _int(line["count"]), _whole(found),
                  _flaw(line["broken"]), found.number)


def _whole(found: _List) -> tuple[int, ...]:
    if len(found.chunks) != found.line["length"]:
        raise ValueError(f"the list of line {found.number} has {len(found.chunks)} chunks of {found.line['length']}")
    return tuple(found.chunks)


def _arena(number: int, line: Line, infos: Sequence[HeapInfo], heaps: Sequence[Heap], bins: Sequence[Bin]) -> Arena:
    address = _int(line["address"])
    return Arena(
        address, _int(line["index"]), line["main"] is True,
        _numbers(line, "is", "address", "index", "main", "binmap", "broken"),
        tuple(map(_int, line["binmap"])), _flaw(line["broken"]), number,
        tuple(info for info in infos if info.arena == address),
        tuple(heap for heap in heaps if heap.arena == address),
        tuple(found for found in bins if found.arena == address),
    )  # fmt: skip


def _numbers(line: Line, *without: str) -> dict[str, int]:
    return {name: _int(value) for name, value in line.items() if name not in without}


def _int(value: object) -> int:
    if type(value) is not int:
        raise ValueError("not an integer")
    return value


def _flaw(value: Line | None) -> Flaw | None:
    return None if value is None else Flaw(_int(value["at"]), str(value["why"]))
