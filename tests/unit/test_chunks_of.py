"""chunks_of(): the chunk of each of many blocks, to be compared with a list that the program noted."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from orchestrator.collect.lines import Document
from orchestrator.heap_objects import Heaps
from orchestrator.observed import ObservationError, Observed, Rows

HEAP = 0x555500000000
ARENA = {"is": "arena", "address": 0x7F0000001000, "index": 0, "main": True, "top": HEAP + 0x80, "system_mem": 0x1000,
         "max_system_mem": 0x1000, "attached_threads": 1, "binmap": [0, 0, 0, 0], "broken": None}  # fmt: skip
LINES: tuple[dict[str, Any], ...] = (
    {"is": "format", "name": "ptmalloc", "version": 1, "pid": 7, "glibc": "2.41", "libc": "/libc.so.6", "base": 1 << 40,
     "build_id": "00", "safe_linking": True},
    {"is": "mp", "mmap_threshold": 131072},
    {"is": "variables", "narenas": 1},
    ARENA,
    {"is": "heap", "arena": ARENA["address"], "info": 0, "start": HEAP, "end": HEAP + 0x1000,
     "reserved_end": HEAP + 0x1000, "first": HEAP, "chunks": 4, "guessed": False, "tail": "top", "broken": None},
    {"is": "chunks", "first": HEAP, "sizes": [0x21, 0x31, 0x30, 0xF81], "states": "usuT"},
    {"is": "bin", "arena": ARENA["address"], "kind": "small", "index": 3, "from": 0, "chunks": [HEAP + 0x20],
     "length": 1, "broken": None},
    {"is": "check", "what": "binmap", "ok": True, "detail": "", "glibc": "", "arena": 0, "at": 0},
)  # fmt: skip


class One(Heaps):
    """A run that looked inside once."""

    def __init__(self, *broken: str) -> None:
        self.broken = [{"is": "broken", "what": what, "why": "it was lost"} for what in broken]

    def inside(self, part: str, at: str, pid: object = None) -> Document:
        lines = [*LINES, *self.broken, {"is": "end", "lines": len(LINES) + len(self.broken) + 1}]
        return Document.of("7.jsonl", b"".join(json.dumps(line).encode() + b"\n" for line in lines))

    def _once(self, kind: str, key: str, make: Callable[[], Any]) -> Any:
        return make()


def of(addresses: object) -> Rows:
    found: Observed = One().chunks_of(addresses, "here")
    assert isinstance(found.value, Rows)
    return found.value


def test_every_block_has_its_chunk_in_the_order_of_the_list() -> None:
    rows = of([HEAP + 0x30, HEAP + 0x10, HEAP + 0x60])
    assert rows.attribute("state").value == ["small", "used", "used"]
    assert rows.attribute("index").value == [3, None, None]
    assert rows.attribute("size").value == [48, 32, 48]
    assert rows.attribute("prev_inuse").value == [True, True, False]


def test_what_is_no_chunk_has_no_attributes_and_is_no_error() -> None:
    rows = of([0, HEAP + 0x10, 1 << 46])
    assert rows.attribute("address").value == [None, HEAP, None]
    assert rows.attribute("state").value == [None, "used", None]


def test_an_address_inside_a_block_has_the_chunk_that_it_lies_in() -> None:
    assert of([HEAP + 0x38]).attribute("memory").value == [HEAP + 0x30]


def test_an_empty_list_gives_empty_lists() -> None:
    assert of([]).attribute("index").value == []


@pytest.mark.parametrize("wrong", [HEAP, "a", None, ["a"], [None], [True]])
def test_what_is_no_list_of_addresses_is_an_error(wrong: object) -> None:
    with pytest.raises(ObservationError, match="chunks_of"):
        of(wrong)


# -- parts that were not read to their end ---------------------------------------------------------


def test_what_needs_a_part_that_is_broken_is_an_error() -> None:
    for part, calls in {
        "arenas": (lambda one: one.arenas(""), lambda one: one.chunk(HEAP, ""), lambda one: one.heap_sums("")),
        "threads": (lambda one: one.threads(""), lambda one: one.chunks("used", ""), lambda one: one.bins("small", "")),
        "stacks": (lambda one: one.stacks(""),),
        "mmapped": (lambda one: one.chunks("mmapped", ""), lambda one: one.heap_sums(""), lambda one: one.chunk(8, "")),
    }.items():
        for call in calls:
            with pytest.raises(ObservationError, match=f"{part}: it was lost"):
                call(One(part))
    whole = One("mmapped", "stacks")
    assert whole.chunk(HEAP + 0x10, "").value and whole.arenas("").value
    assert isinstance(flaws := whole.heap_flaws("").value, Rows) and len(flaws) == 2
