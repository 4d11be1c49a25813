"""Kernel objects as evidence and as observations: captures of the oldest and the newest kernel, walks, damage."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from orchestrator import kernel_objects
from orchestrator.collect import objects
from orchestrator.collect.lines import Document, EvidenceError
from orchestrator.collect.objects import KernelObjects, Table, Walk
from orchestrator.model import Checkpoint
from orchestrator.observations import Observations
from orchestrator.observed import LeftOut, ObservationError, Observed
from orchestrator.rundir import RunDirectory, RunRecord

DATA = Path(__file__).parents[1] / "data/kernel"
KERNELS = ("5.10", "7.x")
P, W, U, A, D, PS = 1, 2, 4, 0x20, 0x40, 0x80


def document(kernel: str) -> Document:
    return Document.of(f"{kernel}.jsonl", (DATA / f"{kernel}.jsonl").read_bytes())


@pytest.fixture(params=KERNELS)
def found(request: pytest.FixtureRequest) -> KernelObjects:
    return objects.parse(document(request.param))


def test_the_captures_are_whole(found: KernelObjects) -> None:
    assert found.mm is not None and len(found.tasks) == 1
    assert found.tasks[0].fields["mm"] == found.mm.fields["address"]
    assert len(found.vmas) == found.mm.fields["map_count"] and not found.broken
    assert all(a.fields["end"] <= b.fields["start"] for a, b in zip(found.vmas, found.vmas[1:], strict=False))
    assert sum(v.fields["end"] - v.fields["start"] for v in found.vmas) // 4096 == found.mm.fields["total_vm"]


def test_the_counters_are_what_the_tables_map(found: KernelObjects) -> None:
    assert found.mm is not None
    counts, mm = found.counts(), found.mm.fields
    assert (counts["anon"], counts["shmem"]) == (mm["rss_anon"], mm["rss_shmem"])
    assert counts["file"] + counts["other"] == mm["rss_file"]  # the vDSO's: not anonymous, so a file's (mm_counter())
    tables = sum(level in objects.COUNTED for level, _ in found.tables)
    assert tables * 4096 == mm["pgtables_bytes"]


def test_every_mapped_page_lies_in_a_vma_and_has_its_frame(found: KernelObjects) -> None:
    pages = [(table, index) for table in found.tables.values() if table.level == "pte" for index in table.entries]
    assert len(pages) > 100
    for table, index in pages:
        walk = found.walk(table.base + index * 4096 + 5)
        assert walk.missing is None and walk.frame is not None and found.vma_at(walk.address)
        assert walk.frame in found.frames
        assert objects.KINDS[found.frames[walk.frame].kind] == walk.kind


def test_a_walk_ends_at_the_first_missing_level(found: KernelObjects) -> None:
    assert found.walk(0x1000).missing in found.levels
    assert found.walk(1 << 46).missing in found.levels
    vma = found.vmas[-1].fields
    assert found.walk(vma["end"] + (1 << 21)).missing is not None


def made(*tables: Table, levels: int = 4) -> KernelObjects:
    return KernelObjects({"levels": levels}, tables={(t.level, t.base): t for t in tables})


def huge(address: int) -> Walk:
    """A huge page at 1 GiB: frames 0x200 to 0x3ff; bit 12 of such an entry is no part of the address."""
    return made(
        Table(2, "pgd", 0x1000, 0, {0: 0x2000 | P | W | U}, {}),
        Table(3, "pud", 0x2000, 0, {1: 0x3000 | P | W | U}, {}),
        Table(4, "pmd", 0x3000, 1 << 30, {0: 0x200000 | 1 << 12 | P | U | A | PS}, {0: "A"}),
    ).walk(address)  # fmt: skip


def test_a_huge_page() -> None:
    walk = huge((1 << 30) + 0x5123)
    assert (walk.missing, walk.frame, walk.size, walk.kind) == (None, 0x205, 2 << 20, "anon")
    assert [step.level for step in walk.steps] == ["pgd", "pud", "pmd"]
    assert made(Table(4, "pmd", 0, 0, {0: P | PS}, {0: "A"})).counts() == {"anon": 512}


def test_a_right_holds_if_every_level_grants_it() -> None:
    view = kernel_objects.WalkView(huge(1 << 30), made(), Document("x", ("",) * 9))
    said = {name: view.attribute(name).value for name in ("writable", "user", "accessed", "dirty", "noexec", "huge")}
    assert said == {"writable": False, "user": True, "accessed": True, "dirty": False, "noexec": False, "huge": True}
    assert [e.line for e in view.attribute("pud").evidence] == [3]
    gone = kernel_objects.WalkView(made().walk(0), made(), Document("x", ()))
    assert gone.attribute("writable").value is None and gone.attribute("missing").value == "pgd"


# -- damage ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: lines[:-1], "cut off"),
        (lambda lines: lines[:-2] + lines[-1:], "cut off"),
        (lambda lines: [], "cut off"),
        (lambda lines: [lines[0].replace('"version":1', '"version":2'), *lines[1:]], "version 1"),
        (lambda lines: [lines[0].replace('"levels":', '"levels":1'), *lines[1:]], "4 or 5 levels"),
        (lambda lines: [*lines[:3], '{"is":"new"}', *lines[4:]], "knows"),
        (lambda lines: [*lines[:3], '{"is":["vma"]}', *lines[4:]], "knows"),
        (lambda lines: [lines[0].replace('"levels":5', '"levels":[5]'), *lines[1:]], "4 or 5 levels"),
        (lambda lines: [*lines[:3], "[" * 9000, *lines[4:]], "JSON"),
        (lambda lines: [*lines[:3], "7", *lines[4:]], "JSON object"),
        (lambda lines: [*lines[:3], '{"is":"table","entries":3}', *lines[4:]], "kernel objects"),
    ],
)
def test_damage_is_an_error(change: Any, message: str) -> None:
    lines = list(document("7.x").lines)
    with pytest.raises(EvidenceError, match=message):
        objects.parse(Document("x", tuple(change(lines))))


def test_damage_at_random_is_an_error_or_other_values() -> None:
    text = (DATA / "5.10.jsonl").read_bytes()
    chance = random.Random(1)
    for _ in range(300):
        raw = bytearray(text)
        raw[chance.randrange(len(raw))] = chance.randrange(256)
        try:
            found = objects.parse(Document.of("x", bytes(raw)))
            found.walk(chance.randrange(1 << 47))
            found.counts()
        except EvidenceError:
            pass


# -- as observations -------------------------------------------------------------------------------


def observations(tmp_path: Path, kernel: str, edit: Any = None) -> Observations:
    directory = RunDirectory.create(tmp_path / "run")
    records = [json.loads(line) for line in document(kernel).lines]
    if edit:
        records = edit(records)
        records[-1]["lines"] = len(records)
    pid = records[0]["pid"]
    text = "".join(json.dumps(record) + "\n" for record in records)
    directory.write(f"evidence/00-start/kernel/{pid}.jsonl", text.encode())
    record = RunRecord(checkpoints=[
        Checkpoint(0, "start", "named", pid, "evidence/00-start", 0.1),
        Checkpoint(1, "bare", "named", pid, "evidence/01-bare", 0.2),
        Checkpoint(2, "exit", "exit", 0, "evidence/02-exit", 0.3),
    ])  # fmt: skip
    return Observations(directory, record)


def attribute(observed: Observed, name: str) -> object:
    value: Any = observed.value
    return value.attribute(name).value


@pytest.mark.parametrize("kernel", KERNELS)
def test_observations(tmp_path: Path, kernel: str) -> None:
    run = observations(tmp_path, kernel)
    areas = run.vm_areas("start")
    assert attribute(areas, "end")
    stack = run.vm_area("[stack]", "start")
    assert attribute(stack, "growsdown") is True and attribute(stack, "perms") == "rw-p"
    top = attribute(run.mm("start"), "start_stack")
    assert attribute(run.vm_area(top, "start"), "start") == attribute(stack, "start")
    assert stack.evidence[0].line > 1
    libc = run.vm_area("busybox", "start")
    assert str(attribute(libc, "file")).endswith("/busybox") and attribute(libc, "device") in ("00:02", "00:03")
    assert run.vm_area(0x1000, "start").value is None and run.vm_area("nothing", "start").value is None
    walk = run.walk(top, "start")
    assert attribute(walk, "present") is True and attribute(walk, "kind") == "anon" and attribute(walk, "mapcount") == 1
    assert attribute(walk, "levels") == list(objects.LEVELS[4 if kernel == "5.10" else 5])
    assert len(walk.evidence) == (4 if kernel == "5.10" else 5)
    assert attribute(run.pages("start"), "anon") == attribute(run.mm("start"), "rss_anon")
    assert attribute(run.tables("start"), "bytes") == attribute(run.mm("start"), "pgtables_bytes")
    assert attribute(run.tasks("start"), "comm") == ["sleep"]
    assert attribute(run.tasks("start", pid=run.record.checkpoints[0].pid), "comm") == ["sleep"]


def test_what_is_not_there(tmp_path: Path) -> None:
    run = observations(tmp_path, "7.x")
    with pytest.raises(ObservationError, match="did not look inside at 'bare'"):
        run.mm("bare")
    with pytest.raises(ObservationError, match="the program is gone"):
        run.mm("exit")
    with pytest.raises(ObservationError, match="no process 7"):
        run.mm("start", pid=7)
    with pytest.raises(ObservationError, match="number of a process"):
        run.mm("start", pid="7")
    for wrong in (True, 1.5, None):
        with pytest.raises(ObservationError, match="address"):
            run.walk(wrong, "start")
    with pytest.raises(ObservationError, match="did you mean missing"):
        attribute(run.walk(0, "start"), "misssing")
    run.record.left_out["kernel"] = "there are no symbols of 6.1"
    with pytest.raises(LeftOut, match=r"no symbols of 6\.1"):
        run.mm("bare")


def test_a_part_that_could_not_be_followed(tmp_path: Path) -> None:
    def edit(records: list[dict[str, object]]) -> list[dict[str, object]]:
        return [*records[:-1], {"is": "broken", "what": "vmas", "why": "cannot read 0x10"}, records[-1]]

    run = observations(tmp_path, "7.x", edit)
    assert attribute(run.mm("start"), "users") == 1
    with pytest.raises(ObservationError, match="vmas: cannot read 0x10"):
        run.vm_areas("start")
