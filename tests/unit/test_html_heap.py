"""The data of the heap's picture, held against the evidence that it was made of."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from heap_image import load
from heap_samples import (
    AFTER,
    ARENA,
    BEFORE,
    HEAP,
    addresses,
    bin_of,
    check,
    format_line,
    main_arena,
    mapped,
    run_of,
    tcache,
    thread,
    thread_arena,
    two_moments,
    walk,
)
from inspect_samples import write
from synthetic_run import PID, Builder

from orchestrator.collect.heap_values import HeapEvidence
from orchestrator.inspection import heap_changes
from orchestrator.inspection.moment import Run
from orchestrator.report.html import heap, heap_code
from orchestrator.rundir import RunDirectory

Json = dict[str, Any]


def opened(run: Builder) -> Run:
    return Run(RunDirectory(run.directory.path), run.record)


def drawn(run: Builder) -> Json:
    """The picture, as the page will have it."""
    found = heap.data(opened(run))
    assert found is not None
    read: Json = json.loads(json.dumps(found, allow_nan=False))
    return read


def numbers(text: str) -> Iterator[int]:
    """What heap_model.js makes of a text: written anew here from the description in heap_code."""
    digits: list[int] = []
    for digit in map(heap_code.DIGITS.index, text):
        digits.append(digit % 32)
        if digit < 32:
            yield sum(part << 5 * place for place, part in enumerate(digits))
            digits.clear()


def chunks(picture: Json, moment: Json) -> list[list[tuple[int, int, str, str]]]:
    """The chunks (address, word, state, change) of each region."""
    regions = []
    for region in moment["regions"]:
        at, found = int(region["first"], 16), []
        for kind in numbers(picture["texts"][region["text"]]):
            word, state, change = picture["kinds"][kind]
            found.append((at, word, state, change))
            at += word & ~7
        regions.append(found)
    return regions


def members(picture: Json, moment: Json, row: list[Any]) -> list[int]:
    """The chunks of a list."""
    every = [chunk[0] for region in chunks(picture, moment) for chunk in region]
    every += [int(one[0], 16) for one in moment["mapped"]]
    strangers = iter(row[-1].get("strangers", ()) if isinstance(row[-1], dict) else ())
    found, place = [], 0
    for code in numbers(row[4]):
        if code == 0:
            found.append(int(next(strangers), 16))
            continue
        place += -((code - 1) >> 1) if (code - 1) & 1 else (code - 1) >> 1
        found.append(every[place])
    return found


def leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        value = [*value, *value.values()]
    if isinstance(value, list):
        for inner in value:
            yield from leaves(inner)
    else:
        yield value


@pytest.mark.parametrize("version", ["2.31", "2.36", "2.41", "2.43"])
def test_every_chunk_and_every_list_is_that_of_the_evidence(tmp_path: Path, version: str) -> None:
    image = load(version)
    run = Builder(tmp_path / "run")
    run.at("known", pid=7)
    folder = run.record.checkpoints[0].directory
    run.directory.write(f"{folder}/heap/7.jsonl", "\n".join(image.lines()).encode() + b"\n")
    evidence, picture = image.evidence(), drawn(run)
    (moment,) = picture["moments"]
    walks = [one for arena in evidence.arenas for one in arena.heaps]
    assert len(walks) > 2 and len(evidence.mapped) > 1
    assert chunks(picture, moment) == [
        [(*parts, "=") for parts in zip(one.addresses, one.words, one.states, strict=True)] for one in walks
    ]
    assert [(int(one[0], 16), one[1], one[6]) for one in moment["mapped"]] == [
        (one.chunk, one.word, one.as_chunk().usable) for one in evidence.mapped
    ]
    lists = [*evidence.tcaches, *(one for arena in evidence.arenas for one in arena.bins)]
    assert [members(picture, moment, row) for row in moment["lists"]] == [list(one.chunks) for one in lists]
    assert sum(count for _state, count, _bytes in moment["totals"]) == len(list(evidence.chunks()))
    assert moment["flaws"] == [] and moment["checked"] == len(evidence.checks) and moment["more"] == {}


def test_what_changed_is_marked(tmp_path: Path) -> None:
    picture = drawn(run_of(tmp_path / "run", *two_moments()))
    one, two = picture["moments"]
    assert {change for region in chunks(picture, one) for *_, change in region} == {"="} and one["before"] is None
    (region,) = chunks(picture, two)
    assert [change for *_, change in region] == ["=", "f", "a", "m", "s", "s", "n", "t"]
    assert two["before"] == 0 and two["mapped"][0][4] == "n"
    assert two["changes"] == {"a": 1, "f": 1, "m": 1, "s": 2, "n": 2, "t": 1}
    assert set(picture["changes"]) == set(heap_changes.CHANGES)


def test_lists_and_mappings_that_changed(tmp_path: Path) -> None:
    sizes = [(656, "u"), (48, "n"), (48, "f"), (96, "n"), (96, "u"), (160, "T")]
    at = addresses(sizes)
    then = [(656, "u"), (48, "s"), (48, "f"), (64, "u"), (144, "u"), (144, "T")]
    other = 0x7F1100000030
    before = [format_line(), main_arena(), *walk(sizes), bin_of("fastbin", 1, [at[2]]),
              bin_of("unsorted", 1, [at[1], at[3]]), mapped(0x7F0000000000, 0x2000), mapped(0x7F0000100000, 0x2000),
              thread_arena(other, 1), *walk([(64, "u"), (64, "T")], other + 0x8D0, other)]  # fmt: skip
    after = [format_line(), main_arena(), *walk(then), bin_of("fastbin", 2, [at[2]]), bin_of("small", 3, [at[1]]),
             mapped(0x7F0000000000, 0x3000)]  # fmt: skip
    picture = drawn(run_of(tmp_path / "run", before, after))
    two = picture["moments"][1]
    assert [change for *_, change in chunks(picture, two)[0]] == ["=", "l", "l", "s", "c", "t"]
    assert two["mapped"][0][4] == "r"
    assert two["gone"] == [["0x7f1100000900", 128, 2, False], ["0x7f0000100000", 0x2000, 1, True]]


def test_nothing_to_show(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", [], [])
    run.record.left_out["heap"] = "no debug file"
    assert heap.data(opened(run)) is None


def test_evidence_that_cannot_be_read_is_said_in_its_place(tmp_path: Path) -> None:
    first, second = two_moments()
    run = run_of(tmp_path / "run", first, second, first)
    run.directory.write(f"{run.record.checkpoints[1].directory}/heap/{PID}.jsonl", b'{"is":"<script>"}\n')
    picture = drawn(run)
    assert "not a line of heap evidence" in picture["moments"][1]["trouble"]
    assert picture["moments"][2]["before"] == 0 and picture["moments"][2]["changes"] == {}


def test_a_damaged_heap(tmp_path: Path) -> None:
    at = addresses(BEFORE)
    stray = 0x4141414141414140
    broken = {"at": stray, "why": "is not mapped"}
    records = [format_line(), main_arena(broken={"at": 0, "why": "its ring is open"}),
               *walk(BEFORE[:3], tail="", broken={"at": at[3], "why": "its size is 0x0"}),
               bin_of("unsorted", 1, [at[2], stray], broken=broken), thread(),
               check("walk-ends-at-top", ok=False, detail="its size is 0x0", glibc="corrupted top size", at=at[3]),
               check("narenas", ok=False, detail="2, and the ring has 1"), check("sizes"),
               {"is": "broken", "what": "threads", "why": "no TLS"}]  # fmt: skip
    picture = drawn(run_of(tmp_path / "run", records))
    (moment,) = picture["moments"]
    assert [(flaw["what"], flaw["at"]) for flaw in moment["flaws"]] == [
        ("walk-ends-at-top", hex(at[3])), ("narenas", ""), ("main_arena", ""),
        ("unsorted 1 of main_arena", hex(stray)), ("threads", ""),
    ]  # fmt: skip
    (row,) = moment["lists"]
    assert members(picture, moment, row) == [at[2], stray] and row[-1]["broken"]["at"] == hex(stray)
    cited = [json.loads((tmp_path / "run" / file).read_text().splitlines()[line - 1])
             for file, line in picture["evidence"]]  # fmt: skip
    assert [one["is"] for one in cited] == ["check", "check", "arena", "bin", "broken"]


MANY = 100_000


def many(count: int, seed: int) -> list[Json]:
    """A heap of that many chunks, of many sizes, a third of them in caches and bins."""
    dice = random.Random(seed)
    sizes = [(16 * dice.randint(2, 80), dice.choice("uuuutns")) for _ in range(count - 1)] + [(4096, "T")]
    at = addresses(sizes)
    listed = {letter: [one for one, (_, state) in zip(at, sizes, strict=True) if state == letter] for letter in "tns"}
    for chosen in listed.values():
        dice.shuffle(chosen)
    bins = [bin_of("small", index, listed["s"][index::62][:500]) for index in range(2, 64)]
    caches = [record for index in range(60) for record in tcache(index, listed["t"][index::60])]
    return [format_line(), main_arena(top=at[-1]), *walk(sizes), *bins, *caches, thread(), check("sizes")]


def test_a_heap_of_100_000_chunks_is_small_and_looked_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: Counter[str] = Counter()

    def counted(module: Any, name: str) -> None:
        real = getattr(module, name)

        def call(*arguments: Any) -> Any:
            calls[name] += 1
            return real(*arguments)

        monkeypatch.setattr(module, name, call)

    counted(heap_changes, "bisect_right")
    counted(heap_code, "number")
    counted(HeapEvidence, "chunk")
    run = run_of(tmp_path / "run", many(MANY, 1))
    assert len(json.dumps(drawn(run), separators=(",", ":"))) < 1_000_000
    twice = run_of(tmp_path / "twice", many(MANY, 1), many(MANY, 2))
    calls.clear()
    picture = drawn(twice)
    assert [moment["whole"] for moment in picture["moments"]] == [True, True]
    assert sum(map(len, chunks(picture, picture["moments"][1]))) == MANY
    assert calls["bisect_right"] <= 2 * (MANY + 10)  # once for each kind, once for each chunk
    assert calls["number"] <= 2 * MANY + len(picture["kinds"])  # at most once for each chunk of a list
    assert calls["chunk"] == 0


def test_more_chunks_than_a_page_can_hold_are_stretches(tmp_path: Path) -> None:
    picture = drawn(run_of(tmp_path / "run", many(heap.MAX_CHUNKS + 1, 3)))
    (moment,) = picture["moments"]
    (region,) = moment["regions"]
    assert moment["whole"] is False and picture["texts"] == [] and "text" not in region
    assert len(json.dumps(picture)) < 1_500_000 and len(region["stretches"]) <= heap.MAX_STRETCHES
    assert sum(row[0] for row in region["stretches"]) == region["chunks"] == heap.MAX_CHUNKS + 1
    sums: Counter[str] = Counter()
    for _, *parts in region["stretches"]:
        assert sum(parts[1::2]) <= region["stretch"]
        sums.update(dict(zip(parts[::2], parts[1::2], strict=True)))
    assert sums == {state: size for state, _, size in moment["totals"]}


def test_small_heaps_are_whole_beside_one_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heap, "MAX_TOGETHER", 1000)
    monkeypatch.setattr(heap, "MAX_MOMENTS", 3)
    first, second = two_moments()
    picture = drawn(run_of(tmp_path / "run", first, many(2000, 4), second, first))
    assert [moment["whole"] for moment in picture["moments"]] == [True, False, True]
    assert [moment["before"] for moment in picture["moments"]] == [None, None, None] and picture["left_out"] == 1


def test_limits_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heap, "WHOLE", heap.Limits(2, 2, 1, 1, 1, 1, 1))
    places = [0x7F1000000000 + (index << 26) for index in range(3)]
    arenas = [record for index, place in enumerate(places, 1) for record in (
        thread_arena(place, index), *walk([(64, "u"), (64, "T")], place + 0x900, place))]  # fmt: skip
    records = [format_line(), main_arena(), *walk(AFTER), *arenas, *tcache(1, [1 << 40, 1 << 41]), *tcache(2, []),
               mapped(0x7E0000000000, 0x2000), mapped(0x7E0000100000, 0x2000), thread(), thread(PID + 1),
               check("one", ok=False), check("two", ok=False)]  # fmt: skip
    (moment,) = drawn(run_of(tmp_path / "run", records))["moments"]
    assert moment["more"] == {"arenas": 2, "heaps": 2, "threads": 1, "lists": 1, "mapped": 1, "flaws": 1}
    assert moment["lists"][0][3] == 2 and moment["lists"][0][-1] == {"strangers": ["0x10000000000"]}


EVIL = "</script><img src=x onerror=alert(1)>\u202e\x1b[2J"


def test_hostile_values_are_bounded(tmp_path: Path) -> None:
    """Any value replaced by any other: the picture is made, and has nothing that JavaScript would not keep exactly."""
    first, second = two_moments()
    values = (None, -1, EVIL, EVIL * 900, [], {}, True, 1 << 52, 1 << 63, 1 << 64, 10**300, -(10**300), [1 << 70])
    dice = random.Random(5)
    for number in range(150):
        records = [dict(record) for record in dice.choice((first, second))]
        record = dice.choice(records[1:])
        record[dice.choice([name for name in record if name != "is"])] = dice.choice(values)
        picture = drawn(run_of(tmp_path / str(number), first, records))
        for leaf in leaves(picture):
            if isinstance(leaf, str):
                assert "\x1b" not in leaf and "\u202e" not in leaf and len(leaf) < 600
            else:
                assert leaf is None or isinstance(leaf, bool) or (type(leaf) is int and abs(leaf) < 1 << 53), leaf
        for moment in picture["moments"]:
            for region in moment.get("regions", ()):
                assert region["first"] == "" or 0 < int(region["first"], 16) < 1 << 64


def test_a_walk_that_no_address_space_holds_is_not_drawn(tmp_path: Path) -> None:
    records = [format_line(), main_arena(), *walk([(64, "u"), (1 << 60, "T")])]
    (moment,) = drawn(run_of(tmp_path / "run", records))["moments"]
    (region,) = moment["regions"]
    assert region["chunks"] == 0 and "further than any address space" in region["trouble"]
    assert moment["totals"] == [["u", 1, 64], ["T", 1, hex(1 << 60)]]


def test_processes_are_apart(tmp_path: Path) -> None:
    first, second = two_moments()
    run = run_of(tmp_path / "run", first, second)
    write(run, "two", "heap", first, pid=PID + 1)
    picture = drawn(run)
    assert [(one["pid"], one["main"], one["before"]) for one in picture["moments"]] == [
        (PID, PID, None), (PID, PID, 0), (PID + 1, PID, None),
    ]  # fmt: skip
    assert picture["moments"][2]["arenas"][0]["address"] == hex(ARENA)
    assert picture["moments"][2]["regions"][0]["first"] == hex(HEAP)
