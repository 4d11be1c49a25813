"""How much work a comparison is: twice as much to compare is twice the work. Counted in calls, which no clock knows."""

from __future__ import annotations

import random
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from compare_samples import compared
from synthetic_run import BASE, GREW, Builder, Map, smaps

from orchestrator.collect.lines import Document
from orchestrator.collect.procfs import parse_smaps
from orchestrator.comparison import sides
from orchestrator.comparison.gather import _cited
from orchestrator.comparison.model import Seen, Spot, Topic
from orchestrator.comparison.places import Everywhere, Regions
from orchestrator.comparison.reasons import Citations
from orchestrator.comparison.subject import Subject
from orchestrator.inspection.moment import Run
from orchestrator.model import Evidence, Finding, Operand
from orchestrator.report import compare_json, compare_markdown, compare_terminal


def side(path: Path, kernel: str, size: int, kib: int) -> Path:
    """A run with as many checkpoints, kinds of line in the kernel log, and costs; and thirty times as many findings,
    each with an address that lies nowhere and the cost of a window."""
    run = Builder(path)
    run.record.case |= {"kernel": kernel, "settings": {"append": []}}
    run.record.environment |= {"release": kernel}
    run.record.deterministic = {"clock": "icount"}
    for at in range(size):
        run.at(f"at{at}", Map(0x7000_0000_0000, kib, "rw-p", f"/file{at}"), notes=f"cost.w.{at}={at + kib}\n")
    run.record.findings = [_finding(number, number % size) for number in range(30 * size)]
    run.directory.write("kernel.log", "".join(f"4,1,2,-;{'ab'[kib > 4]}{'x' * at}: said\n"
                                              for at in range(size)).encode())  # fmt: skip
    run.directory.save(run.record)
    return path


def _finding(number: int, at: int) -> Finding:
    cited = (Evidence(f"evidence/{at:02d}-at{at}/notes", 1, ""),)
    operands = (Operand(f"note('x{number}')", f"{0x1234_5678_9000 + number:#x}"),
                Operand(f"cost('w.{at}')", "1", cited))  # fmt: skip
    return replace(GREW, id=f"f{number}", at=f"at{at}", check=f"cost('w.{at}') > {number}", operands=operands)


def work(folder: Path, size: int) -> tuple[int, int]:
    """(the calls that a comparison makes with all that is written of it, how many differences there are)."""
    places = side(folder / "a", "6.1", size, 4), side(folder / "b", "6.12", size, 8)
    calls = 0

    def count(_: object, event: str, __: object) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        found = compared(*places)
        for render in (compare_terminal.render, compare_markdown.render, compare_json.render):
            render(found)
    finally:
        sys.setprofile(None)
    return calls, found.differences


def test_twice_as_much_is_twice_the_work(tmp_path: Path) -> None:
    work(tmp_path / "once", 2)  # what is imported and made once
    (few, differing), (many, twice) = work(tmp_path / "few", 20), work(tmp_path / "many", 40)
    assert twice > 1.9 * differing > 100
    assert many < 2.2 * few


def test_an_address_is_asked_of_one_address_space(monkeypatch: pytest.MonkeyPatch) -> None:
    """And that is the first which has it, as if each had been asked in turn."""
    chance = random.Random(7)
    spaces = []
    for number in range(30):
        maps = [replace(one, start=one.start + chance.randrange(3) * 4096 * 5000) for one in BASE[4:12:3]]
        blocks = [(start, start + 9000) for start in (BASE[5].start + number * 4096, BASE[5].start + 5000)]
        spaces.append(Regions(parse_smaps(Document.of("smaps", smaps(*maps))), blocks))
    edges = [edge + by for space in spaces for one in space.ranges() for edge in one for by in (-1, 0, 1)]
    everywhere = Everywhere(spaces)
    in_turn = {edge: next((found for one in spaces if (found := one.place(edge))), None) for edge in edges}
    asked = []
    place = Regions.place
    monkeypatch.setattr(Regions, "place", lambda one, address: asked.append(address) or place(one, address))
    assert {edge: everywhere.place(edge) for edge in edges} == in_turn
    assert len(set(in_turn.values())) > 20 and None in in_turn.values()
    assert len(asked) < len(edges), "of what lies nowhere none was asked"


def test_findings_with_a_word_are_looked_for_where_its_parts_are(tmp_path: Path) -> None:
    path = side(tmp_path / "a", "6.1", 8, 4)
    citations = subject_of(path).citations
    looked: list[int] = []

    class Looked(list):  # type: ignore[type-arg]
        def __getitem__(self, number: object) -> object:
            looked.append(number)  # type: ignore[arg-type]
            return super().__getitem__(number)  # type: ignore[index]

    citations._checks = Looked(citations._checks)
    assert citations.of(Seen(Topic.COST, "w.3", "at3", "", evidence=Evidence("evidence/03-at3/notes", 1), word="w.3")) \
        == [f"f{number}" for number in range(3, 240, 8)]
    assert len(looked) < 60
    assert citations.of(Seen(Topic.COST, "…", "at3", "", evidence=Evidence("evidence/03-at3/notes", 1), word="…")) == []


def subject_of(path: Path) -> Subject:
    return Subject(sides.read([path, path])[0][0].members[0])


def test_what_findings_say_of_a_function_is_looked_for_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its windows of a trace have one line of evidence: the file."""
    subject = subject_of(side(tmp_path / "a", "6.1", 2, 4))
    asked: list[Seen] = []
    monkeypatch.setattr(Citations, "of", lambda _, seen: asked.append(seen) or ["f"])
    events = Evidence("evidence/00-at0/trace/events")
    windows = [(Spot(f"w{number}", ("once", "")), [Seen(Topic.TRACE, f"w{number}: do_brk_flags", "at0", "once", False,
                                                        events, word="do_brk_flags"), None]) for number in range(50)]
    assert list(_cited(windows, [[subject], [subject]])) == ["f"] and len(asked) == 1


def test_names_of_checkpoints_are_found_once(tmp_path: Path) -> None:
    run = Run.open(side(tmp_path / "a", "6.1", 3, 4))
    first, second, third = run.record.checkpoints
    run.record.checkpoints[:] = [first, replace(second, name=first.name), third]
    assert [run.label(one) for one in run.record.checkpoints] == ["at0#1", "at0#2", "at2"]
    run.record.checkpoints.clear()
    assert run.label(third) == "at2"
