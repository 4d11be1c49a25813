"""The digest of a run: what changes it, what does not, where it differs, and that it is listed what is left out."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import heap_samples
import inspect_samples
import pytest
from compare_samples import compared, edited, make, moved, operand, stat
from synthetic_run import GREW, HEAP, LIBC, PID, STACK, Builder, Map, smaps

from orchestrator import judgement
from orchestrator.digest import canonical, checked, left_out, take
from orchestrator.inspection.moment import Run
from orchestrator.model import Digest, Ending, Evidence, Finding, Operand, Outcome
from orchestrator.report import compare_json, compare_terminal, terminal
from orchestrator.rundir import RunDirectory

DOCS = Path(__file__).parents[2] / "docs"


def digest(path: Path) -> Digest:
    found = take.digest(Run.open(path))
    assert found is not None
    return found


def apart(one: Path, other: Path) -> list[str]:
    """The parts in which the digests of two runs differ; and that the whole says the same."""
    first, second = digest(one), digest(other)
    found = take.differences(first, second)
    assert (first.sha256 == second.sha256) is (not found)
    return found


def run(path: Path, *maps: Map, by: int = 0, pid: int = PID, notes: str = "", seconds: float = 0.001,
        findings: tuple[Finding, ...] = (GREW,), minflt: int = 90, trace: str = "", output: str = "") -> Path:
    """A run with one checkpoint, "grown"; ``by``: what ASLR adds to all addresses, those of ``maps`` too."""
    made = Builder(path)
    made.record.seconds, made.record.findings = seconds, list(findings)
    made.at("grown", kind="named", notes=notes, pid=pid)
    folder = f"evidence/00-grown/proc/{pid}"
    added = [replace(one, start=one.start + by) for one in maps]
    made.directory.write(f"{folder}/smaps", smaps(*moved(by), *added).encode())
    made.directory.write(f"{folder}/stat", stat(minflt).replace("214 ", f"{pid} ", 1).encode())
    made.directory.write(f"{folder}/status", f"Name:\tprogram\nPid:\t{pid}\nThreads:\t1\nVmLck:\t0 kB\n".encode())
    made.directory.write("evidence/output", output.encode())
    if trace:
        made.directory.write("evidence/00-grown/trace/events", trace.encode())
        made.directory.write("evidence/00-grown/trace/stats", b"cpu0 entries=9 overrun=0 commit_overrun=0 dropped=0\n")
    made.directory.save(made.record)
    return path


def heap(kib: int = 4, perms: str = "rw-p", rss: int = 0) -> Map:
    return Map(HEAP, kib, perms, "[heap]", rss)


# -- what does not change it ---------------------------------------------------------------------


def test_addresses_ids_and_times_do_not_change_it(tmp_path: Path) -> None:
    notes = "break={:#x}\npid={}\nplace={}\n"
    one = run(tmp_path / "one", heap(), notes=notes.format(HEAP, 214, HEAP + 16), output=f"at {HEAP:#x}\n")
    by = 0x1234_5000
    other = run(tmp_path / "other", heap(), by=by, pid=3711, seconds=9.5, minflt=97,
                notes=notes.format(HEAP + by, 3711, HEAP + by + 16), output=f"at {HEAP + by:#x}\n")  # fmt: skip
    assert apart(one, other) == []


def test_numbers_in_output_do_not_change_it(tmp_path: Path) -> None:
    """A process id can't be told from any other number; the words around it count."""
    one, other = (run(tmp_path / str(pid), output=f"I am {pid}, after 0.{pid} s\n") for pid in (124, 3711))
    assert apart(one, other) == []
    assert apart(one, run(tmp_path / "words", output="I was 124, after 0.124 s\n")) == ["output"]


def test_the_parts_move_apart_as_aslr_moves_them(tmp_path: Path) -> None:
    """The heap is at a random distance from the program, and the stack from mmap's area."""
    assert apart(run(tmp_path / "one", heap()), run(tmp_path / "other", replace(heap(), start=HEAP + 0x5000))) == []


def test_pages_of_files_and_the_stack_do_not_change_it(tmp_path: Path) -> None:
    libc = Map(0x7F2713C74000, 1368, "r-xp", LIBC, 784, 0x26000, 77)
    one, other = run(tmp_path / "one"), run(tmp_path / "other")
    file = other / "evidence/00-grown/proc/214/smaps"
    text = file.read_text()
    old, new = libc.smaps().replace("784 kB", "720 kB"), libc.smaps()
    assert old in text
    file.write_text(text.replace(old, new))
    assert apart(one, other) == []


def test_where_it_was_run_and_when_does_not_change_it(tmp_path: Path) -> None:
    one = run(tmp_path / "one")
    other = edited(run(tmp_path / "other"), started="2031-01-01T00:00:00+00:00", host={"cpus": 64}, lab="9.9",
                   timings={"boot": 77.0}, boots=[], messages=["the guest was booted twice"],
                   restored={"made": "2031-01-01T00:00:00Z"})  # fmt: skip
    data = json.loads((other / "run.json").read_text())
    data["case"]["source"] = "/elsewhere/scenario.yaml"
    data["emulator"]["reason"] = "another one"
    (other / "run.json").write_text(json.dumps(data))
    assert apart(one, other) == []


def test_evidence_of_what_is_left_out_does_not_change_it(tmp_path: Path) -> None:
    one, other = run(tmp_path / "one"), run(tmp_path / "other")
    for name in ("clock", "meminfo", "cpuinfo", "modules", "vmcoreinfo"):
        (other / "evidence/environment").mkdir(exist_ok=True)
        (other / "evidence/environment" / name).write_text("anything\n")
    for place, uuid in ((one, "aaa"), (other, "bbb")):
        (place / "evidence/environment").mkdir(exist_ok=True)
        (place / "evidence/environment/sysctl").write_text(f"kernel.random.uuid = {uuid}\nvm.overcommit_memory = 0\n")
    assert apart(one, other) == []


# -- what changes it -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "parts"),
    [
        (heap(perms="r--p"), ["grown: mappings"]),
        (heap(kib=8), ["grown: mappings"]),
        (heap(rss=4), ["grown: memory"]),
    ],
)  # fmt: skip
def test_a_mapping_changes_it(tmp_path: Path, changed: Map, parts: list[str]) -> None:
    assert apart(run(tmp_path / "one", heap()), run(tmp_path / "other", changed)) == parts


def test_a_mapping_more_or_another_flag_changes_it(tmp_path: Path) -> None:
    one = run(tmp_path / "one", heap())
    assert apart(one, run(tmp_path / "none")) == ["grown: mappings", "grown: memory"]
    flagged = run(tmp_path / "flagged", heap())
    file = flagged / "evidence/00-grown/proc/214/smaps"
    file.write_text(file.read_text().replace("VmFlags: rd wr mr mw me ac", "VmFlags: rd wr mr mw me ac lo", 1))
    assert apart(one, flagged) == ["grown: mappings"]


def test_the_distance_of_neighbours_changes_it(tmp_path: Path) -> None:
    near, far = (Map(0x7F2713000000 + gap, 4, "rw-p", "") for gap in (0, 0x1000))
    before = Map(0x7F2712FFF000, 4, "r--p", "")
    assert apart(run(tmp_path / "one", before, near), run(tmp_path / "other", before, far)) == ["grown: mappings"]


def test_a_large_mapping_makes_distances_chance(tmp_path: Path) -> None:
    """It is aligned to what ASLR knows nothing of; size and permissions still count."""
    large = Map(0x7F2700000000, 4096, "rw-p", "")
    one = run(tmp_path / "one", large)
    assert apart(one, run(tmp_path / "other", replace(large, start=large.start + (1 << 21)))) == []
    assert apart(one, run(tmp_path / "smaller", replace(large, kib=2048))) != []
    assert left_out.PLACES.what in digest(one).left_out
    assert left_out.PLACES.what not in digest(run(tmp_path / "small", heap())).left_out


def test_the_size_of_a_large_heap_and_a_grown_stack_is_chance(tmp_path: Path) -> None:
    for name, start, steady in (("[heap]", HEAP, (2044, 2048)), ("[stack]", STACK - (1 << 24), (128, 132))):
        sizes = [*steady, 4096, 4100]
        runs = [run(tmp_path / f"{name[1:-1]}-{kib}", Map(start, kib, "rw-p", name)) for kib in sizes]
        assert "grown: mappings" in apart(runs[0], runs[1])
        assert apart(runs[2], runs[3]) == []


def test_a_counter_a_limit_and_a_log_change_it(tmp_path: Path) -> None:
    one = run(tmp_path / "one")
    for name, old, new, part in (
        ("evidence/00-grown/proc/214/status", "VmLck:\t0", "VmLck:\t4", "grown: counters"),
        ("evidence/output", "", "more", "output"),
    ):
        other = run(tmp_path / part)
        file = other / name
        file.write_text(file.read_text().replace(old, new) if old else new)
        assert apart(one, other) == [part]
    other = run(tmp_path / "log")
    (other / "kernel.log").write_text("4,1,5,-;program[214]: segfault at 0 ip 0 sp 0 error 4\n")
    assert apart(one, other) == ["kernel log"]


def test_another_case_changes_it(tmp_path: Path) -> None:
    one = run(tmp_path / "one")
    for part, edit in (
        ("case: scenario", {"case": {"fingerprint": "other"}}), ("case: kernel", {"case": {"kernel": "6.12"}}),
        ("case: settings", {"case": {"settings": {"append": ["nokaslr"]}}}),
        ("case: emulator", {"emulator": {"accelerator": "kvm"}}), ("case: program", {"program": {"sha256": "0"}}),
        ("case: machine", {"emulator": {"command": "qemu -m 1024M -smp 1"}}),
        ("guest", {"environment": {"release": "6.1.0-51-cloud-amd64"}}),
    ):  # fmt: skip
        other = run(tmp_path / part.replace(": ", "-"))
        data = json.loads((other / "run.json").read_text())
        for key, values in edit.items():
            data[key].update(values)
        (other / "run.json").write_text(json.dumps(data))
        assert apart(one, other) == [part]


@pytest.mark.parametrize(
    "findings",
    [
        (),
        (replace(GREW, outcome=Outcome.FAIL, message="does not hold"),),
        (replace(GREW, check="vma('[heap]').size == 2 * page"),),
        (replace(GREW, when='kernel >= "6.4"'),),
        (GREW, replace(GREW, id="another")),
    ],
)  # fmt: skip
def test_a_finding_changes_it(tmp_path: Path, findings: tuple[Finding, ...]) -> None:
    assert apart(run(tmp_path / "one"), run(tmp_path / "other", findings=findings)) == ["findings"]


def test_how_it_ended_changes_it(tmp_path: Path) -> None:
    other = edited(run(tmp_path / "other"), ended={"code": 1, "signal": None, "killed_by_lab": ""})
    assert apart(run(tmp_path / "one"), other) == ["ending"]


# -- the program's words -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("minor=3", "minor=4", False),
        ("minor=3", "major=3", False),
        ("frame=0x3d28", "frame=0x3d24", True),  # a frame: it can't be told from other numbers
        ("key=0xd1e57a6b54321000", "key=0x11e57a6b54321000", True),
        ("place=0x7f2713e21008", "place=0x7f2713e21010", False),  # in libc's data
        ("ip=0x7f2713c74008", "ip=0x7f2713c74010", True),  # in its code
        ("sp=0x7ffc7e5a9f00", "sp=0x7ffc7e5a9000", True),  # in the main stack
        ("outside=0x7e0000000000", "outside=0x7d0000000000", True),
        ("word=yes", "word=no", False),
        ("error=-12", "error=-22", False),
    ],
)  # fmt: skip
def test_a_note(tmp_path: Path, one: str, other: str, same: bool) -> None:
    found = apart(run(tmp_path / "one", notes=one + "\n"), run(tmp_path / "other", notes=other + "\n"))
    assert found == ([] if same else ["grown: notes"])


def test_a_note_that_a_check_only_bounds_may_vary(tmp_path: Path) -> None:
    bounding = (replace(GREW, check='note("order") > 0'),)
    fixing = (replace(GREW, check='note("order") > 0 and note("order") == 1'),)
    for findings, expected in ((bounding, []), (fixing, ["grown: notes"])):
        runs = [run(tmp_path / f"{len(expected)}-{value}", notes=f"order={value}\n", findings=findings)
                for value in (1, 2)]  # fmt: skip
        assert apart(*runs) == expected


def test_a_note_that_a_check_takes_for_a_process_is_one(tmp_path: Path) -> None:
    findings = (replace(GREW, check='tasks(pid=note("made")).tgid == [note("made")]'),)
    runs = [run(tmp_path / str(pid), notes=f"made={pid}\n", findings=findings) for pid in (300, 301)]
    assert apart(*runs) == []


def test_the_guests_memory_in_a_note(tmp_path: Path) -> None:
    """Where the kernel was loaded decides by a page how much it counts."""
    runs = [run(tmp_path / str(kib), notes=f"memory={kib * 1024}\n") for kib in (732124, 732128)]
    assert apart(*runs) == ["grown: notes"]
    for place, kib in zip(runs, (732124, 732128), strict=True):
        (place / "evidence/environment").mkdir(exist_ok=True)
        (place / "evidence/environment/meminfo").write_text(f"MemTotal:         {kib} kB\n")
    assert apart(*runs) == []


# -- operands ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "one", "other", "same"),
    [
        ("vma('[heap]').size", "4096 (4 KiB)", "8192 (8 KiB)", False),
        ("vma('[heap]').size + 1", "4097", "8193", True),  # computed: its parts are there
        ("walk(note('x')).frame", "15648", "15644", True),
        ("walk(note('x')).present", "true", "false", False),
        ("rollup('Rss')", "4096 (4 KiB)", "8192 (8 KiB)", True),
        ("status('VmLck')", "0", "4096 (4 KiB)", False),
        ("mm().pgtables_bytes", "36864 (36 KiB)", "40960 (40 KiB)", True),
        ("note('break')", "0x56524d96e000", "0x56524d96e010", False),
        ("note('break')", "0x56524d96e000", "0x56524d96e000", True),
    ],
)  # fmt: skip
def test_an_operand(tmp_path: Path, text: str, one: str, other: str, same: bool) -> None:
    runs = [run(tmp_path / str(place), heap(), findings=(replace(GREW, check=f"{text} == 1",
            operands=(operand(text, value),)),)) for place, value in enumerate((one, other))]  # fmt: skip
    assert apart(*runs) == ([] if same else ["findings"])


def test_an_operand_that_is_a_frame_by_its_note(tmp_path: Path) -> None:
    def finding(value: int) -> Finding:
        line = Evidence("evidence/00-grown/notes", 1, f"frame={value:#x}")
        return replace(GREW, check="note('frame') == 1", operands=(Operand("note('frame')", str(value), (line,)),))

    runs = [run(tmp_path / str(value), findings=(finding(value),)) for value in (15656, 15652)]
    assert apart(*runs) == []


def test_what_a_check_fixes_and_what_it_only_bounds() -> None:
    assert checked.bounded("note('a') > 0 and note('b') == 1") == {"note('a')"}
    assert checked.bounded("note('a') > 0 or note('a') == 1") == set()
    assert checked.bounded("reached('x')") == set()
    assert checked.bounded("not (((") == set()
    assert checked.notes("note('a') != 3 and note('b') in [1, 2]") == ({"a", "b"}, {"b"})
    assert checked.is_observation("vma('[heap]').size")
    assert not checked.is_observation("vma('[heap]').size * 2")


# -- heap, kernel objects, trace -----------------------------------------------------------------

Records = list[dict[str, Any]]
CHUNKS = ((0x290, "u"), (0x20, "t"), (0x30, "u"), (0x20D00, "T"))


def heap_run(path: Path, chunks: tuple[tuple[int, str], ...] = CHUNKS, key: int = 1, threads: int = 1) -> Path:
    records: Records = [
        heap_samples.format_line(), {"is": "variables", "narenas": 1, "tcache_key": key}, heap_samples.main_arena(),
        *heap_samples.walk(chunks), *heap_samples.tcache(0, [HEAP + 0x2A0]),
        *(heap_samples.thread(PID + number) for number in range(threads)), heap_samples.check("prev-inuse"),
    ]  # fmt: skip
    made = heap_samples.run_of(path, records)
    made.directory.save(made.record)
    return path


def test_a_chunk_changes_it(tmp_path: Path) -> None:
    one = heap_run(tmp_path / "one")
    assert apart(one, heap_run(tmp_path / "key", key=2)) == []
    larger = ((0x290, "u"), (0x20, "t"), (0x40, "u"), (0x20CF0, "T"))
    assert apart(one, heap_run(tmp_path / "larger", larger)) == ["one: heap"]
    freed = ((0x290, "u"), (0x20, "t"), (0x30, "n"), (0x20D00, "T"))
    assert apart(one, heap_run(tmp_path / "freed", freed)) == ["one: heap"]


def test_the_heap_of_several_threads_is_left_out(tmp_path: Path) -> None:
    one, freed = ((0x290, "u"), (0x20, "t"), (0x30, "u"), (0x20D00, "T")), ((0x290, "u"), (0x20D50, "T"))
    runs = [heap_run(tmp_path / str(place), chunks, threads=2) for place, chunks in enumerate((one, freed))]
    assert apart(*runs) == []
    assert left_out.RACES.what in digest(runs[0]).left_out
    assert apart(runs[0], heap_run(tmp_path / "three", one, threads=3)) == ["one: threads"]


def test_kernel_objects(tmp_path: Path) -> None:
    def changed(name: str, change: Callable[[str], str]) -> Path:
        made = inspect_samples.made(tmp_path / name)
        made.directory.save(made.record)
        file = made.directory.path / made.record.checkpoints[0].directory / f"kernel/{PID}.jsonl"
        text = file.read_text()
        file.write_text(change(text))
        assert (file.read_text() != text) is (name != "one")
        return made.directory.path

    one = changed("one", lambda text: text)
    label = Run.open(one).record.checkpoints[0].name
    assert apart(one, changed("pgtables", lambda text: re.sub(r'"pgtables_bytes": ?\d+', '"pgtables_bytes": 4096',
                                                              text))) == []  # fmt: skip
    assert apart(one, changed("count", lambda text: re.sub(r'"map_count": ?\d+', '"map_count": 999', text))) == [
        f"{label}: kernel objects"]  # fmt: skip


def record(thread: int, name: str, details: str, chain: str = "", at: float = 1.5) -> str:
    head = f"         program-{thread}     [000] .....    {at:.6f}: {name}: {details}\n"
    if not chain:
        return head
    return head + f"         program-{thread}     [000] .....    {at:.6f}: <stack trace>\n" + \
        "".join(f" => {one}\n" for one in chain.split())  # fmt: skip


def window(*records: str, pid: int = PID) -> str:
    mark = f"         program-{pid}     [000] .....    1.000000: tracing_mark_write: lab: "
    return f"{mark}begin touch\n{''.join(records)}{mark}end touch\n"


FAULT, ALLOCATION = "page_fault_user", "mm_page_alloc"
HEAP_FAULT = record(PID, FAULT, f"address={HEAP:#x} ip=0x565231986010 error_code=0x6")
USER = "page=0 pfn={:#x} order=0 migratetype=1 gfp_flags=GFP_HIGHUSER_MOVABLE|__GFP_ZERO"
TABLE = "page=0 pfn=0x1 order=0 migratetype=0 gfp_flags=GFP_PGTABLE_USER"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ((HEAP_FAULT,), (), False),
        ((HEAP_FAULT,), (HEAP_FAULT, HEAP_FAULT), False),
        ((HEAP_FAULT,), (HEAP_FAULT.replace("0x6", "0x4"),), False),
        ((HEAP_FAULT,), (HEAP_FAULT.replace("1.5", "7.5").replace("ip=0x565231986010", "ip=0x565231986014"),), True),
        # on the main stack, and in libc's code
        ((HEAP_FAULT,), (HEAP_FAULT, record(PID, FAULT, "address=0x7ffc7e5a9f00 ip=0 error_code=0x6")), True),
        ((HEAP_FAULT,), (HEAP_FAULT, record(PID, FAULT, "address=0x7f2713c74008 ip=0 error_code=0x14")), True),
        # a frame, a table, another thread
        ((record(PID, ALLOCATION, USER.format(7)),), (record(PID, ALLOCATION, USER.format(9)),), True),
        ((record(PID, ALLOCATION, USER.format(7)),), (), False),
        ((record(PID, ALLOCATION, TABLE),), (), True),
        ((HEAP_FAULT,), (HEAP_FAULT, record(PID + 1, FAULT, f"address={HEAP:#x} ip=0 error_code=0x6")), True),
        # through which functions
        ((record(PID, "lab_f", "(f+0x4/0x8)", "f g"),), (record(PID, "lab_f", "(f+0x4/0x8)", "f h"),), False),
        # system calls: all numbers are hexadecimal
        ((f"         program-{PID}     [000] .....    1.5: sys_brk(brk: {HEAP:x})\n",),
         (f"         program-{PID}     [000] .....    1.5: sys_brk(brk: {HEAP + 4096:x})\n",), False),
        ((f"         program-{PID}     [000] .....    1.5: sys_brk -> {HEAP:#x}\n",),
         (f"         program-{PID}     [000] .....    1.5: sys_brk -> 0x0\n",), False),
    ],
)  # fmt: skip
def test_a_window_of_the_trace(tmp_path: Path, one: tuple[str, ...], other: tuple[str, ...], same: bool) -> None:
    runs = [run(tmp_path / str(place), heap(8), trace=window(*records)) for place, records in enumerate((one, other))]
    assert apart(*runs) == ([] if same else ["grown: trace"])


GRAPH = """\
 0)  program-214   |               |  /* lab: begin touch */
 0)  program-214   |               |  handle_mm_fault() {
 0)  program-214   |               |    __handle_mm_fault() {
{more} 0)  program-214   |   4.514 us    |      do_anonymous_page();
 0)  program-214   | ! 134.642 us  |    }
 0)  program-214   | ! 143.550 us  |  }
 0)  program-214   |               |  /* lab: end touch */
"""


@pytest.mark.parametrize(
    ("more", "same"),
    [
        (" 0)  program-214   |   4.514 us    |      do_wp_page();\n", False),
        (" 0)  program-214   |   4.514 us    |      alloc_pages_noprof();\n", True),  # a table that was missing
        (" 0)  program-214   |   4.514 us    |      default_wake_function();\n", True),  # an interrupt
    ],
)  # fmt: skip
def test_a_call_tree(tmp_path: Path, more: str, same: bool) -> None:
    runs = [graph_run(tmp_path / str(place), GRAPH.replace("{more}", text)) for place, text in enumerate(("", more))]
    assert apart(*runs) == ([] if same else ["grown: call trees"])


def graph_run(path: Path, graph: str, faults: tuple[int, ...] = (HEAP,), dropped: int = 0) -> Path:
    records = [record(PID, "lab_fault", f"(f+0x4/0x8) vma=0 address={address:#x} flags=0x1254") for address in faults]
    made = run(path, heap(), trace=window(*records))
    (made / "evidence/00-grown/trace/graph").write_text(graph)
    (made / "evidence/00-grown/trace/graph-stats").write_text(f"cpu0 entries=9 overrun=0 commit_overrun=0 "
                                                              f"dropped={dropped}\n")  # fmt: skip
    return made


def test_a_call_tree_of_a_fault_on_the_stack_is_left_out(tmp_path: Path) -> None:
    once = GRAPH.replace("{more}", "")
    tree = "".join(once.splitlines(keepends=True)[1:-1])
    twice = once.replace(tree, tree + tree)
    stack = 0x7FFC7E5A9F00
    assert apart(graph_run(tmp_path / "one", once), graph_run(tmp_path / "two", twice, (stack, HEAP))) == []
    heap_twice = graph_run(tmp_path / "three", twice, (HEAP, HEAP))
    assert apart(graph_run(tmp_path / "four", once), heap_twice) == ["grown: trace", "grown: call trees"]


def test_a_graph_that_overflowed_is_left_out(tmp_path: Path) -> None:
    once, more = (GRAPH.replace("{more}", text) for text in ("", " 0)  program-214   |  1 us |      do_wp_page();\n"))
    runs = [graph_run(tmp_path / str(place), graph, dropped=1) for place, graph in enumerate((once, more))]
    assert apart(*runs) == []


# -- the record ----------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", sorted(take.NO_DIGEST))
def test_a_run_that_was_cut_short_has_none(tmp_path: Path, ending: Ending) -> None:
    found = Run.open(edited(run(tmp_path / "one"), ending=ending.value))
    assert take.digest(found) is None


def test_garbled_evidence_is_another_digest_and_no_failure(tmp_path: Path) -> None:
    one, other = run(tmp_path / "one"), run(tmp_path / "other")
    (other / "evidence/00-grown/proc/214/smaps").write_text("nonsense\n")
    (other / "evidence/00-grown/proc/214/status").write_text("nonsense\n")
    assert set(apart(one, other)) == {"grown: mappings", "grown: memory", "grown: counters"}


def test_a_record_keeps_it_and_an_older_one_has_none(tmp_path: Path) -> None:
    path = run(tmp_path / "one")
    directory = RunDirectory.open(path)
    kept = directory.load()
    assert kept.digest is None
    kept.digest = digest(path)
    directory.save(kept)
    assert directory.load().digest == kept.digest
    data = json.loads((path / "run.json").read_text())
    del data["digest"]
    (path / "run.json").write_text(json.dumps(data))
    assert directory.load().digest is None


@pytest.mark.parametrize("damage", [{"parts": []}, {"parts": {"a": 1}}, {"sha256": None}, {"scheme": "1"}, {"more": 1}])
def test_a_record_with_a_damaged_one_is_refused(tmp_path: Path, damage: dict[str, object]) -> None:
    path = run(tmp_path / "one")
    made = digest(path)
    whole = {"scheme": 1, "sha256": made.sha256, "parts": made.parts, "left_out": made.left_out}
    edited(path, digest={**whole, **damage})
    with pytest.raises(Exception, match="not a run record"):
        RunDirectory.open(path).load()


def test_check_makes_it_again_and_says_where_it_differs(tmp_path: Path) -> None:
    path = run(tmp_path / "one", heap())
    edited(path, case={**json.loads((path / "run.json").read_text())["case"], "plain": True, "source": "x.c"})
    first, directory = judgement.check(path, None)
    assert first.digest and not first.messages
    directory.save(first)
    assert judgement.check(path, None)[0].messages == []
    file = path / "evidence/00-grown/proc/214/smaps"
    file.write_text(file.read_text().replace("rw-p 00000000 00:00 0".ljust(40), "r--p 00000000 00:00 0".ljust(40), 1))
    again = judgement.check(path, None)[0]
    assert again.digest and again.digest.sha256 != first.digest.sha256
    assert len(again.messages) == 1
    assert first.digest.sha256[:16] in again.messages[0]
    assert "grown: mappings" in again.messages[0]


def test_other_schemes_are_not_compared() -> None:
    one = Digest(1, "a" * 64, {"x": "1"})
    assert take.words(one, one) == ""
    assert "can't be compared" in take.words(one, replace(one, scheme=2, sha256="b" * 64))
    other = replace(one, sha256="b" * 64, parts={"x": "2", "y": "1"})
    assert take.words(one, other) == "2 of 1 parts: x; y"


def test_the_report_shows_it(tmp_path: Path) -> None:
    path = run(tmp_path / "one")
    shown = RunDirectory.open(path).load()
    assert "digest" not in terminal.render(shown, path)
    shown.digest = digest(path)
    assert f"digest   {shown.digest.sha256[:16]} of " in terminal.render(shown, path)
    verbose = " ".join(terminal.render(shown, path, verbose=True).split())
    assert shown.digest.sha256 in verbose
    assert left_out.ADDRESSES.what in verbose


def test_compare_says_that_digests_are_equal_and_where_repeats_differ(tmp_path: Path) -> None:
    runs = [make(tmp_path / "one", by=0x1000), make(tmp_path / "other", started="2026-01-02T00:00:00+00:00")]
    for path in runs:
        kept = RunDirectory.open(path).load()
        kept.digest = digest(path)
        RunDirectory.open(path).save(kept)
    found = compared(*runs)
    assert found.cases[0].digest == digest(runs[0]).sha256
    assert "their findings and normalised evidence are equal" in " ".join(compare_terminal.render(found).split())
    assert json.loads(compare_json.render(found))["cases"][0]["digest"] == found.cases[0].digest
    made = digest(runs[1])
    other = {"scheme": 1, "sha256": "0" * 64, "parts": {**made.parts, "grown: mappings": "0" * 16}, "left_out": {}}
    found = compared(runs[0], edited(runs[1], digest=other))
    assert (found.cases[0].digest, found.cases[0].apart) == ("", ("grown: mappings",))
    assert "differ in 1 part: grown: mappings" in " ".join(compare_terminal.render(found).split())


# -- its form ------------------------------------------------------------------------------------


def test_the_text_is_canonical() -> None:
    assert canonical.text({"b": (1, None), "a": "ü\udc80"}) == '{"a":"\\u00fc\\udc80","b":[1,null]}'
    assert canonical.sha256({"a": 1, "b": 2}) == canonical.sha256({"b": 2, "a": 1})
    with pytest.raises(ValueError, match="Out of range"):
        canonical.text(float("nan"))


def test_the_scheme_goes_up_with_the_digest(tmp_path: Path) -> None:
    """If this fails, digests of before and after can't be compared: raise take.SCHEME, and put the new one here."""
    assert take.SCHEME == 1
    path = run(tmp_path / "one", heap(), notes="minor=3\n", trace=window(HEAP_FAULT))
    assert digest(path).sha256[:16] == "45cd6ca8f6e33876"


def test_the_document_has_the_table(golden: Callable[[str, str], None]) -> None:
    head = "| what | why | source |\n|---|---|---|\n"
    rows = [f"| {rule.what} | {rule.why} | {rule.source} |\n" for rule in left_out.RULES]
    before, table, rest = (DOCS / "digest.md").read_text(encoding="utf-8").partition(head)
    assert table
    after = re.sub(r"\A(?:\|.*\n)*", "", rest)
    shown = "".join(rows).replace("<", "&lt;").replace(">", "&gt;")
    golden("../../../docs/digest.md", before + head + shown + after)


def test_each_thing_is_left_out_by_one_rule_of_its_own() -> None:
    names = [rule.what for rule in left_out.RULES]
    assert len(set(names)) == len(names)
    assert all(rule.why.endswith(".") and rule.source for rule in left_out.RULES)
