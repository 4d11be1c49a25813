"""`lab inspect`: stories and views of a synthetic run against golden text, names, cross-checks, damaged evidence."""

from __future__ import annotations

import json
import random
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from inspect_samples import ARENA, FRAME, HEAP, PAGE, PID, PROGRAM, PTHREAD, TRACE, made

from orchestrator import schema
from orchestrator.errors import LabError, UsageError
from orchestrator.inspection import VIEWS, Run, bits, contents, names, story_of
from orchestrator.inspection.facts import Check, Fact, Story, Verdict, differing
from orchestrator.model import Evidence, Note
from orchestrator.report import inspect_json, inspect_terminal, inspect_view

Golden = Callable[[str, str], None]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("inspect") / "run").directory.path


def story(path: Path, asked: str, at: str | None = "touched") -> Story:
    run = Run.open(path)
    return story_of(run, run.moment(at, None), asked)


def text(path: Path, answer: Story) -> str:
    return inspect_terminal.render(answer).replace(str(path), "RUN")


def fact(answer: Story, topic: str) -> Fact:
    return next(one for one in answer.facts if one.topic == topic)


def verdicts(answer: Story) -> dict[str, Verdict]:
    return {check.what: check.verdict for check in answer.checks}


# -- what is shown ---------------------------------------------------------------------------------


def test_a_page(path: Path, golden: Golden) -> None:
    shown = text(path, story(path, "page"))
    golden("inspect-page.txt", shown)
    assert max(map(len, shown.splitlines())) <= 80


def test_a_block(path: Path, golden: Golden) -> None:
    golden("inspect-block.txt", text(path, story(path, "block", "freed")))


def test_nothing_is_there(path: Path, golden: Golden) -> None:
    golden("inspect-nothing.txt", text(path, story(path, "0x1000")))


@pytest.mark.parametrize("kind", VIEWS)
def test_views(path: Path, kind: str, golden: Golden) -> None:
    run = Run.open(path)
    shown = inspect_view.render(VIEWS[kind](run.moment("freed", None), False)).replace(str(path), "RUN")
    golden(f"inspect-{kind}.txt", shown)
    assert max(map(len, shown.splitlines())) <= 80


def test_contents(path: Path, golden: Golden) -> None:
    run = Run.open(path)
    golden("inspect-contents.txt", inspect_view.render(contents(run, run.moment(None, None), False)).replace(
        str(path), "RUN"))


def test_contents_of_many_notes_and_mappings(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run.open(path)
    moment = run.moment("freed", None)
    vmas = moment.kernel.vmas
    page = next(item for item in vmas if item.fields["start"] == PAGE)
    more = [replace(page, fields={**page.fields, "start": low, "end": low + 4096, "name": ""})
            for low in range(0x10000000, 0x10000000 + 8192 * 20_000, 8192)]  # fmt: skip
    moment.__dict__["kernel"] = replace(moment.kernel, vmas=(*more, *vmas))
    address = [PAGE, PAGE + 0x2000, PAGE + 0x2001, 0x10000000, 0x10001000, 0x10001001]  # in, behind, farther behind
    noted = [(Note(f"n{index % 20_000}", hex(address[index % 6]), "freed", 1), Evidence("notes", 1))
             for index in range(30_000)]  # fmt: skip
    monkeypatch.setattr("orchestrator.inspection.views.all_notes", lambda _moment: iter(noted))
    begin = time.process_time()
    views = [contents(run, moment, every) for every in (False, True)]
    short, full = (next(section for section in view.sections if section.title == "notes") for view in views)
    assert time.process_time() - begin < 2
    first = dict[str, int]()
    for index in range(30_000):
        if index % 6 not in (2, 5):
            first.setdefault(f"n{index % 20_000}", address[index % 6])
    assert {one.values["name"]: one.values["address"] for one in full.facts} == first
    assert short.facts == full.facts[:60] and (short.more, full.more) == (len(first) - 60, 0)


def test_colour_changes_nothing_but_colour(path: Path) -> None:
    import re

    answer = story(path, "page")
    coloured = inspect_terminal.render(answer, colour=True)
    assert "\x1b[" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == inspect_terminal.render(answer)


def test_json_is_what_the_schema_says(path: Path) -> None:
    run = Run.open(path)
    moment = run.moment("freed", None)
    shape = schema.load("inspect")
    jsonschema.Draft202012Validator.check_schema(shape)
    answers = [story(path, "page"), story(path, "block", "freed"), story(path, "0x1000"),
               contents(run, moment, True), *(view(moment, True) for view in VIEWS.values())]  # fmt: skip
    for answer in answers:
        data = json.loads(inspect_json.render(answer))
        jsonschema.Draft202012Validator(shape).validate(data)
    assert json.loads(inspect_json.render(answers[0]))["address"] == PAGE


# -- what it rests on ------------------------------------------------------------------------------


def test_every_fact_names_its_evidence(path: Path) -> None:
    for asked in ("page", "block", "brk", "[stack]", "program"):
        for one in story(path, asked).facts:
            assert one.evidence, one
            for evidence in one.evidence:
                lines = (path / evidence.file).read_text(errors="replace").splitlines()
                assert evidence.line <= len(lines)


def test_the_fault_that_filled_the_page(path: Path) -> None:
    answer = story(path, "page")
    assert fact(answer, "fault").values["tie"] == "frame"
    assert fact(answer, "fault").values["bits"] == ["not present", "write", "user"]
    roles = [one.values["is"] for one in answer.facts if one.topic == "allocation"]
    assert roles == ["pte", "frame"]
    assert verdicts(answer) == {
        "vma and smaps": "agree", "vm_flags and VmFlags": "agree", "page tables and Rss": "agree",
        "rights of pte and vma": "agree", "anonymous page and anon_vma": "agree", "frame and traced pfn": "agree",
        "fault's vma and object": "agree",
    }  # fmt: skip


def test_a_later_fault_is_none_of_an_earlier_checkpoint(path: Path) -> None:
    assert not [one for one in story(path, "page", "start").facts if one.topic in ("fault", "allocation")]


def test_before_and_after_say_only_what_changed(path: Path) -> None:
    before, after = story(path, "page").neighbours
    assert (before.at, [one.topic for one in before.facts]) == ("start", ["vma", "pte", "frame"])
    assert (after.at, after.facts) == ("freed", ())
    before, after = story(path, "block", "freed").neighbours
    assert [one.topic for one in before.facts] == ["chunk", "bin"] and before.facts[1].values == {}
    assert "last" in after.remark
    assert differing([Fact("pte", {"a": 1})], [Fact("pte", {"a": 1})]) == ()


@pytest.mark.parametrize(
    ("file", "old", "new", "what"),
    [
        ("proc/214/smaps", f"{PAGE:08x}-{PAGE + 0x2000:08x} rw-p", f"{PAGE:08x}-{PAGE + 0x2000:08x} r--p",
         "vma and smaps"),
        ("trace/events", f"pfn={FRAME:#x}", "pfn=0xad99", "frame and traced pfn"),
        ("kernel/214.jsonl", f'"anon_vma":{0xFFFF888003D20070}', '"anon_vma":0', "anonymous page and anon_vma"),
        ("trace/events", "vma=0xffff888003c10180", "vma=0xffff888003c10240", "fault's vma and object"),
        ("kernel/214.jsonl", f'"flags":{0x8100073},"pgoff":{PAGE >> 12}', f'"flags":{0x8100071},"pgoff":{PAGE >> 12}',
         "rights of pte and vma"),
    ],
)  # fmt: skip
def test_sources_that_differ(path: Path, tmp_path: Path, file: str, old: str, new: str, what: str) -> None:
    other = shutil.copytree(path, tmp_path / "run")
    target = other / "evidence/01-touched" / file
    before = target.read_text()
    assert old in before
    target.write_text(before.replace(old, new))
    answer = story(other, "page")
    assert verdicts(answer)[what] is Verdict.DIFFER
    assert f"differ    {what}" in text(other, answer)


HEAP_VMA = f'"start":{HEAP},"end":{HEAP + 0x21000}'
OTHER_MEM = {"is": "check", "what": "system-mem", "ok": False, "detail": "system_mem is 0x1000", "glibc": "",
             "arena": 0, "at": ARENA}  # fmt: skip


def heap_check(path: Path, run: Path, vma: str, edit: Callable[[list[dict[str, Any]]], None]) -> Check:
    """The cross-check of the heap with its VMA, after both were changed."""
    shutil.copytree(path, run)
    kernel, heap = (run / f"evidence/02-freed/{part}/214.jsonl" for part in ("kernel", "heap"))
    before = kernel.read_text()
    assert HEAP_VMA in before
    kernel.write_text(before.replace(HEAP_VMA, vma))
    lines = [json.loads(line) for line in heap.read_text().splitlines()][:-1]
    edit(lines)
    heap.write_text("".join(json.dumps(line) + "\n" for line in [*lines, {"is": "end", "lines": len(lines) + 1}]))
    return next(check for check in story(run, "block", "freed").checks if check.what == "chunks and vma")


def ends_with_fenceposts(lines: list[dict[str, Any]]) -> None:
    walk, chunks = lines[3:5]
    chunks["sizes"][-1:] = [chunks["sizes"][-1] - 32, 17, 17]
    chunks["states"] = chunks["states"][:-1] + "upp"
    walk.update(tail="fence", chunks=7)


def whole(_lines: list[dict[str, Any]]) -> None:
    pass


@pytest.mark.parametrize(
    ("end", "edit", "verdict", "says"),
    [
        (0x21000, whole, Verdict.AGREE, "just the end of the VMA"),
        (0x42000, whole, Verdict.UNKNOWN, "neighbours were merged"),
        (0x42000, lambda lines: lines.append({**OTHER_MEM, "ok": True}), Verdict.UNKNOWN, "system_mem agrees"),
        (0x42000, ends_with_fenceposts, Verdict.UNKNOWN, "fenceposts are the last"),
        (0x20000, whole, Verdict.DIFFER, f"to {HEAP + 0x21000:#x}; the VMA is"),
        (0x21000, lambda lines: lines.append(OTHER_MEM), Verdict.DIFFER, "system_mem is 0x1000"),
        (0x42000, lambda lines: (ends_with_fenceposts(lines), lines.append(OTHER_MEM)), Verdict.UNKNOWN, "fenceposts"),
        (0x21000, lambda lines: lines[3].update(broken={"at": 1, "why": "odd"}), Verdict.UNKNOWN, "at 0x1: odd"),
    ],
)  # fmt: skip
def test_chunks_and_their_vma(path: Path, tmp_path: Path, end: int, edit: Callable[[list[dict[str, Any]]], None],
                              verdict: Verdict, says: str) -> None:
    check = heap_check(path, tmp_path / "run", f'"start":{HEAP},"end":{HEAP + end}', edit)
    assert check.verdict is verdict and says in check.says


def test_chunks_in_vmas_that_adjoin(path: Path, tmp_path: Path) -> None:
    """mprotect() or mlock() of a part of a heap makes three of one VMA."""
    run = tmp_path / "run"
    target = shutil.copytree(path, run) / "evidence/02-freed/kernel/214.jsonl"
    lines = target.read_text().splitlines()
    place = next(i for i, line in enumerate(lines) if HEAP_VMA in line)
    area = json.loads(lines[place])
    middle = HEAP + 0x5000
    lines[place : place + 1] = [json.dumps({**area, "end": middle}), json.dumps({**area, "start": middle})]
    lines[-1] = json.dumps({"is": "end", "lines": len(lines)})
    target.write_text("\n".join(lines) + "\n")
    check = next(check for check in story(run, "block", "freed").checks if check.what == "chunks and vma")
    assert check.verdict is Verdict.UNKNOWN and "adjoin" in check.says


# -- names -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "address"),
    [
        (f"{PAGE:#x}", PAGE), (str(PAGE), PAGE), ("page+0x10", PAGE + 16), ("note:page", PAGE), ("brk", HEAP + 0x21000),
        ("[heap]", HEAP), ("[heap]+4096", HEAP + 4096), ("program", PROGRAM), ("vma:program", PROGRAM),
        ("main_arena", ARENA), ("tcache", HEAP + 0x10), (f"tcache-{PID}", HEAP + 0x10), ("pthread", PTHREAD),
        ("top", HEAP + 0x700), ("mm:start_brk", HEAP),
    ],
)  # fmt: skip
def test_names(path: Path, asked: str, address: int) -> None:
    assert names.find(Run.open(path).moment("touched", None), asked) == address


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("paeg", "did you mean page"), ("words", "no address: 'hello'"), ("0x10000000000000000", "nothing is called"),
        ("99999999999999999999", "64 bits are too few"), ("page+0xffffffffffffffff", "64 bits are too few"),
        ("", "nothing is called"), ("\x1b[31m", "nothing is called"), ("mm:page", "nothing is called"),
    ],
)  # fmt: skip
def test_what_nothing_is_called(path: Path, asked: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        names.find(Run.open(path).moment("touched", None), asked)


def test_which_moment(path: Path, tmp_path: Path) -> None:
    run = Run.open(path)
    assert run.moment(None, None).at == "freed"
    assert run.moment("start#1", PID).at == "start"
    with pytest.raises(UsageError, match="did you mean touched"):
        run.moment("tuched", None)
    with pytest.raises(UsageError, match="did not look inside at 'exit'; it did at: start, touched, freed"):
        run.moment("exit", None)
    with pytest.raises(UsageError, match="no kernel objects of process 7 at 'freed'; there are of: 214"):
        run.moment(None, 7)
    other = shutil.copytree(path, tmp_path / "run")
    for folder in other.glob("evidence/*/kernel"):
        shutil.rmtree(folder)
    with pytest.raises(UsageError, match="did not look inside in this run") as caught:
        Run.open(other).moment(None, None)
    assert "--inspect" in caught.value.hint


def test_a_case_of_a_matrix(path: Path, tmp_path: Path) -> None:
    shutil.copytree(path, tmp_path / "a")
    (tmp_path / "matrix.json").write_text("{}")
    assert Run.open(tmp_path).directory.path == tmp_path / "a"
    shutil.copytree(path, tmp_path / "b")
    with pytest.raises(UsageError, match="matrix of 2 cases"):
        Run.open(tmp_path)


def test_the_command(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from orchestrator.cli.app import app

    def lab(*words: str) -> int:
        try:
            app(["inspect", str(path), *words], standalone_mode=False)
        except LabError as error:
            return error.exit_code
        return 0

    assert lab("page", "--at", "touched", "--json", str(tmp_path / "x.json")) == 0
    assert "this page's frame" in capsys.readouterr().out
    assert json.loads((tmp_path / "x.json").read_text())["is"] == "story"
    assert lab() == lab("mm") == lab("heap", "-v") == lab("threads", "--pid", str(PID)) == 0
    assert lab("nothing") == lab("page", "--at", "never") == lab("page", "-k", "6.1") == 2


# -- damage ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", ["heap/214.jsonl", "proc/214/smaps", "trace/events", "trace/stats", "notes"])
def test_other_evidence_that_is_garbled_is_told(path: Path, tmp_path: Path, file: str) -> None:
    other = shutil.copytree(path, tmp_path / "run")
    (other / "evidence/01-touched" / file).write_text("what is this\x1b[2J\n")
    answer = story(other, f"{PAGE:#x}")
    assert any(file in trouble for trouble in answer.troubles), answer.troubles
    shown = text(other, answer)
    assert "Could not be read" in shown and "\x1b" not in shown


def test_kernel_objects_that_are_garbled_are_an_error(path: Path, tmp_path: Path) -> None:
    other = shutil.copytree(path, tmp_path / "run")
    target = other / "evidence/01-touched/kernel/214.jsonl"
    for old, new in (('"start":', '"start":"x","begin":'), ('"levels":4', '"levels":[]'),
                     ('"is":"vma"', '"is":["vma"]'), ('"file":null', '"file":7'),
                     ('"brk":', '"brk":1.5,"x":')):  # fmt: skip
        target.write_text((path / "evidence/01-touched/kernel/214.jsonl").read_text().replace(old, new))
        with pytest.raises(LabError, match=r"01-touched/kernel/214\.jsonl:\d"):
            story(other, "page")


def test_damage_at_random_is_an_error_or_another_story(path: Path, tmp_path: Path) -> None:
    other = shutil.copytree(path, tmp_path / "run")
    chance = random.Random(1)
    files = [file for name in ("kernel", "heap", "trace", "proc") for file in (other / "evidence").rglob(f"{name}/**/*")
             if file.is_file()]  # fmt: skip
    for _ in range(250):
        target = chance.choice(files)
        before = target.read_bytes()
        raw = bytearray(before)
        for _ in range(3):
            raw[chance.randrange(len(raw))] = chance.choice(b'0129afx[]{}":,- \n\xff\x1b')
        target.write_bytes(raw)
        try:
            run = Run.open(other)
            moment = run.moment(chance.choice(("start", "touched", "freed")), None)
            answer = story_of(run, moment, chance.choice(("page", "block", "[heap]+0x2a0", "0x1000")))
            assert "\x1b" not in inspect_terminal.render(answer)
            assert "\x1b" not in inspect_view.render(chance.choice([*VIEWS.values()])(moment, True))
            inspect_json.render(answer)
        except LabError:
            pass
        target.write_bytes(before)


def test_bits() -> None:
    assert bits.vm_flags(0x8100173)[:2] == ["read", "write"] and "growsdown" in bits.vm_flags(0x173)
    assert bits.vm_flags(1 << 50) == [f"{1 << 50:#x}"]
    assert bits.entry(0x8000000000000067, "pte", True) == ["present", "writable", "user", "accessed", "dirty", "noexec"]
    assert bits.entry(0xE7, "pmd", True)[-1] == "huge" and bits.entry(0xE7, "pmd", False)[-1] == "accessed"
    assert bits.error_code(4) == ["not present", "user"] and bits.error_code(7)[0] == "protection"
    assert bits.chunk_flags(0x31) == ["prev_inuse"]
    assert "error_code=0x6" in TRACE
