"""The parser of heap/PID.jsonl."""

from __future__ import annotations

import json
import random
import time
from array import array

import pytest
from heap_image import document, load, parsed

from orchestrator.collect.heap import parse
from orchestrator.collect.lines import Document, EvidenceError
from orchestrator.collect.ptmalloc import records
from orchestrator.collect.ptmalloc.model import Arena, Walk
from orchestrator.collect.ptmalloc.snapshot import Snapshot


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
