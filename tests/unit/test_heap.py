"""The parser of heap/PID.jsonl."""

from __future__ import annotations

import json
import random
import time
from array import array
from collections.abc import Callable
from typing import Any

import pytest
from heap_image import document, load, parsed

from orchestrator.collect import heap_values as values
from orchestrator.collect.heap import parse
from orchestrator.collect.heap_values import STATES, Heap, HeapEvidence
from orchestrator.collect.lines import Document, EvidenceError
from orchestrator.collect.ptmalloc import records
from orchestrator.collect.ptmalloc.model import Arena, Walk
from orchestrator.collect.ptmalloc.snapshot import Snapshot
from orchestrator.heap_objects import Heaps
from orchestrator.observed import Observed, Row


@pytest.fixture(scope="module")
def lines() -> list[str]:
    return load("2.36").lines()


def test_chunks_by_address(lines: list[str]) -> None:
    evidence = parsed(lines)
    seen = list(evidence.chunks())
    for chunk in random.Random(1).sample(seen, 200):
        inside = chunk.address + random.Random(chunk.address).randrange(max(chunk.size, 16))
        assert evidence.chunk(inside) == chunk
        assert evidence.block(chunk.memory) == chunk
        assert evidence.block(chunk.memory + 8) is None
    assert evidence.chunk(0) is None and evidence.chunk(1 << 63) is None and evidence.block(0) is None
    heap = evidence.arenas[0].heaps[0]
    assert evidence.heap(heap.first) == heap and evidence.heap(heap.first - 1) is None
    assert evidence.arena(evidence.arenas[1].address) == evidence.arenas[1] and evidence.arena(5) is None


def test_values_know_their_lines(lines: list[str]) -> None:
    evidence = parsed(lines)
    for chunk in list(evidence.chunks())[:: 50]:
        line = json.loads(lines[chunk.line - 1])
        assert line["is"] in ("chunks", "mmapped") and chunk.word in line.get("sizes", [line.get("size")])
    assert json.loads(lines[evidence.arenas[1].line - 1])["address"] == evidence.arenas[1].address
    assert json.loads(lines[evidence.threads[0].line - 1])["tid"] == evidence.threads[0].tid
    assert json.loads(lines[evidence.lines["mp"] - 1])["n_mmaps"] == evidence.parameters["n_mmaps"] == 5


def test_a_file_that_was_cut_off(lines: list[str]) -> None:
    for length in (0, 1, 5, len(lines) - 1):
        with pytest.raises(EvidenceError, match="cut off"):
            parse(document(lines[:length]) if length else Document("x", ()))
    with pytest.raises(EvidenceError):
        parse(document([*lines[:10], *lines[11:]]))  # a line is missing
    with pytest.raises(EvidenceError):
        parse(document([*lines, lines[-1]]))


def test_garbled_lines(lines: list[str]) -> None:
    for number in range(1, len(lines), 3):
        for text in ("", "{", "[]", "null", '{"is":"no"}', '{"is":"chunks"}', lines[number][:-9]):
            with pytest.raises(EvidenceError):
                parse(document([*lines[:number], text, *lines[number + 1 :]]))


def test_values_of_another_type(lines: list[str]) -> None:
    """Any value replaced by any other is read as such, or refused with a message."""
    dice = random.Random(3)
    for _ in range(300):
        number = dice.randrange(len(lines))
        line = json.loads(lines[number])
        line[dice.choice(list(line))] = dice.choice((None, -1, "x", [], {}, True, 1 << 70, [1 << 70], ["a"]))
        try:
            parse(document([*lines[:number], json.dumps(line), *lines[number + 1 :]]))
        except EvidenceError as error:
            assert error.message.startswith("evidence/01-known/heap/7.jsonl")


def test_another_version(lines: list[str]) -> None:
    line = json.loads(lines[0]) | {"version": 99}
    with pytest.raises(EvidenceError, match="version 1"):
        parse(document([json.dumps(line), *lines[1:]]))


class Cached(Heaps):
    """Observations of one heap, which is parsed once."""

    def __init__(self, evidence: HeapEvidence) -> None:
        self.cache: dict[tuple[str, str], Any] = {("parsed", evidence.file): evidence}
        self.file = evidence.file

    def inside(self, part: str, at: str, pid: object = None) -> Document:
        return Document.of(self.file, b"")

    def _once(self, kind: str, key: str, make: Callable[[], Any]) -> Any:
        if (kind, key) not in self.cache:
            self.cache[kind, key] = make()
        return self.cache[kind, key]


def fields(found: Observed) -> dict[str, Any]:
    assert isinstance(found.value, Row)
    return dict(found.value.fields)


@pytest.mark.parametrize(
    ("version", "name"), [("2.31", "known"), ("2.43", "known"), ("2.36", "torn"), ("2.36", "blocked")]
)
def test_sums_and_tops_are_those_of_the_chunks(version: str, name: str) -> None:
    evidence = load(version, name).evidence()
    one = Cached(evidence)
    sums = fields(one.heap_sums(""))
    every = list(evidence.chunks())
    assert (sums["chunks"], sums["bytes"]) == (len(every), sum(chunk.size for chunk in every))
    for letter, state in STATES.items():
        chosen = [chunk for chunk in every if chunk.state == letter]
        assert (sums[state.name], sums[f"{state.name}_bytes"]) == (len(chosen), sum(chunk.size for chunk in chosen))
        assert list(evidence.chunks_in(letter)) == chosen
    for arena in evidence.arenas:
        top = [c.size for heap in arena.heaps for c in heap.chunks() if c.state == "T"]
        assert fields(one.arena(arena.index, ""))["top_size"] == top[-1]


def test_observations_of_a_million_chunks_are_quick() -> None:
    count = 1_000_000
    words = array("Q", [33, 65, 49, 145] * (count // 4))
    addresses = array("Q", range(4096, 4096 + 16 * count, 16))
    walk = Heap(64, 0, 4096, 0, 0, 4096, False, "top", None, 5, words, addresses, "u" * (count - 1) + "T", ((0,), (6,)))
    arena = values.Arena(64, 0, True, {}, (), None, 4, heaps=(walk,))
    one = Cached(HeapEvidence("x", {}, {}, {}, (arena,), (), (), (), (), (), ()))
    begin = time.process_time()
    for _ in range(10):
        assert fields(one.arena(0, ""))["top_size"] == 144
        assert fields(one.heap_sums(""))["chunks"] == count
        assert len(one.chunks("top", "").value or ()) == 1  # type: ignore[arg-type]
    assert time.process_time() - begin < 1.5


def test_many_chunks() -> None:
    count = 200_000
    walk = Walk(64, 0, 4096, 0, 0, 4096, sizes=array("Q", [33, 65, 49, 145] * (count // 4)))
    walk.finish()
    numbers = {"system_mem": 0, "top": 0}
    found = Snapshot(arenas=[Arena(64, 0, numbers, walks=[walk])])
    begin = time.process_time()
    written = list(records.lines({"pid": 1}, found, ()))
    wrote = time.process_time()
    evidence = parse(document(written))
    read = time.process_time()
    assert max(map(len, written)) < 20_000
    assert len(evidence.arenas[0].heaps[0]) == count
    last = evidence.arenas[0].heaps[0].chunk(count - 1)
    assert evidence.chunk(last.address + 100) == last
    assert wrote - begin < 1 and read - wrote < 1  # seconds; a million in five
