"""Pictures of the kernel's side, as data: page-table walks, the way of a fault, stacks of threads."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from inspect_samples import FRAME, PAGE, PID, RW, TRACE, ZERO, checkpoint, heap, kernel, made, table_frame, write
from synthetic_run import Builder, brk
from thread_samples import BLOCK, SIZE, kept, thread, threaded

from orchestrator.collect.graph import parse_graph
from orchestrator.collect.lines import Document, EvidenceError
from orchestrator.inspection import bits
from orchestrator.inspection.moment import Run
from orchestrator.model import Finding, Outcome
from orchestrator.report.html import call_tree, embed, fault_path, page_tables, thread_stacks
from orchestrator.report.html.call_tree import Node

GRAPH = """\
 0)  program-214   |               |  /* lab: begin touch */
 0)  program-214   | + 45.651 us   |  copy_from_user_nofault();
 0)  program-214   |               |  handle_mm_fault() {
 0)  program-214   |               |    __handle_mm_fault() {
 0)  program-214   |               |      do_anonymous_page() {
 0)  program-214   |   7.000 us    |        __alloc_pages();
 0)  program-214   |   9.000 us    |        __alloc_pages();
 ------------------------------------------
 0)  program-214   | + 40.000 us   |      }
 0)  program-214   | + 50.000 us   |    }
 0)  program-214   | ! 100.000 us  |  } /* handle_mm_fault */
 0)  program-214   |               |  /* lab: end touch */
"""


@pytest.fixture
def run(tmp_path: Path) -> Builder:
    return made(tmp_path / "run")


def opened(run: Builder) -> Run:
    run.directory.save(run.record)
    return Run.open(run.directory.path)


def walk(found: dict[str, Any], step: int, address: int) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
    """The entries, and the frame, of an address at a checkpoint."""
    at = [one["address"] for one in found["addresses"]].index(f"{address:#x}")
    place = next(one for one in found["places"] if one["step"] == step)
    frame, *steps = found["walks"][place["walks"][at]]
    return [found["entries"][one] for one in steps[::2]], None if frame is None else found["frames"][frame]


def lines(nodes: list[dict[str, Any]], depth: int = 0) -> list[str]:
    """A tree as indented names."""
    found = []
    for node in nodes:
        found += [f"{' ' * depth}{node['n']}", *lines(node.get("c", []), depth + 1)]
    return found


def node(nodes: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """The first node of that name, from top to bottom."""
    for one in nodes:
        if one.get("n") == name:
            return one
        try:
            return node(one.get("c", []), name)
        except LookupError:
            continue
    raise LookupError(name)


# -- page tables -------------------------------------------------------------------------------------


def test_a_page_before_and_after_the_write(run: Builder) -> None:
    found = page_tables.data(opened(run))
    assert found is not None
    before, zero = walk(found, 0, PAGE)
    after, frame = walk(found, 1, PAGE)
    assert [entry["level"] for entry in after] == ["pgd", "pud", "pmd", "pte"]
    assert "writable" not in before[-1]["bits"] and after[-1]["bits"][:3] == ["present", "writable", "user"]
    assert before[:-1] == after[:-1]
    assert zero is not None and (zero["frame"], zero["kind"]) == (f"{ZERO:#x}", "zero")
    assert frame is not None and (frame["frame"], frame["kind"], frame["mapcount"]) == (f"{FRAME:#x}", "anon", 1)
    assert after[-1]["address"] == f"{table_frame('pte', PAGE) * 4096 + 8 * after[-1]['index']:#x}"
    assert [place["before"] for place in found["places"]] == [None, 0, 1]
    assert found["addresses"][0] == {"address": f"{PAGE:#x}", "kind": "note", "names": ["page"], "at": "start"}


def test_levels_that_are_missing(run: Builder) -> None:
    """The second page of the mapping has a table and no entry; the stack's first page has no table at all."""
    found = page_tables.data(opened(run))
    assert found is not None
    low = next(int(one["address"], 16) for one in found["addresses"] if "[stack]" in one["names"][0])
    records = kernel({PAGE: (FRAME, RW, "a")}, [])
    write(run_at(run, "late", f"second={PAGE + 0x1000:#x}\n"), "late", "kernel", records)
    again = page_tables.data(opened(run))
    assert again is not None
    entries, frame = walk(again, 4, PAGE + 0x1000)
    assert ([entry["state"] for entry in entries], frame) == (["present"] * 3 + ["empty"], None)
    entries, frame = walk(again, 4, low)
    assert ([entry["state"] for entry in entries], frame) == (["empty", "no table", "no table", "no table"], None)
    assert "value" not in entries[-1] and "address" not in entries[-1]


def run_at(run: Builder, name: str, notes: str) -> Builder:
    checkpoint(run, name, notes, 4)
    return run


def test_a_huge_page_of_five_levels(tmp_path: Path) -> None:
    run = run_at(Builder(tmp_path / "run"), "huge", f"inside={PAGE + 0x1234:#x}\n")
    base = PAGE >> 21 << 21
    head = 0x5400
    made_tables = [{"is": "table", "level": "pgd", "phys": 0x1000, "base": 0, "entries": [[0, 0x2067]], "kinds": "-"}]
    for level, above, phys in (("p4d", 48, 0x2000), ("pud", 39, 0x3000), ("pmd", 30, 0x4000)):
        at, covers = PAGE >> above << above, above - 9
        value = phys + 0x1067 if level != "pmd" else 0x80000000000008E7 | head << 12
        made_tables.append({"is": "table", "level": level, "phys": phys, "base": at,
                            "entries": [[(PAGE >> covers) % 512, value]], "kinds": "A" if level == "pmd" else "-"})
    records = [one for one in kernel({}, [[head, "a", 1, 0, 0]]) if one["is"] != "table"]
    records[0]["levels"] = 5
    write(run, "huge", "kernel", [*records[:-1], *made_tables, records[-1]])
    found = page_tables.data(opened(run))
    assert found is not None
    entries, frame = walk(found, 0, PAGE + 0x1234)
    assert [entry["level"] for entry in entries] == ["pgd", "p4d", "pud", "pmd"]
    assert "huge" in entries[-1]["bits"] and entries[-1]["leaf"]
    assert frame is not None
    assert (frame["size"], frame["of"], frame["refcount"]) == (2 << 20, f"{head:#x}", 1)
    assert int(frame["frame"], 16) == head + (PAGE + 0x1234 - base) // 4096


def test_a_guard_marker_is_named() -> None:
    assert bits.marker(0xFFFFFFFFFFFFF600) == ["guard"]
    assert bits.marker(0x800000000AD73067) == [] and bits.marker(0) == [] and bits.marker(0xC0000000000000) == []


def test_no_kernel_objects_is_no_walk(tmp_path: Path) -> None:
    assert page_tables.data(opened(brk(tmp_path / "run"))) is None


def test_damaged_kernel_objects_are_told(run: Builder) -> None:
    run.directory.write("evidence/01-touched/kernel/214.jsonl", b'{"is":"format"}\n')
    found = page_tables.data(opened(run))
    assert found is not None
    assert [place["step"] for place in found["places"]] == [0, 2]
    assert "01-touched/kernel/214.jsonl" in found["troubles"][0]
    for name in ("00-start", "02-freed"):
        run.directory.write(f"evidence/{name}/kernel/214.jsonl", b"")
    with pytest.raises(EvidenceError, match=r"00-start/kernel/214\.jsonl"):
        page_tables.data(opened(run))


def test_a_damaged_heap_is_the_reason_for_no_blocks(tmp_path: Path) -> None:
    run = threaded(tmp_path / "run")
    file = f"{run.record.checkpoints[0].directory}/heap/{PID}.jsonl"
    run.directory.write(file, b"nonsense\n")
    found = thread_stacks.data(opened(run))
    assert found is not None and file in found["places"][0]["remark"]


def test_many_mappings_and_notes_are_bounded(run: Builder) -> None:
    records = kernel({PAGE: (FRAME, RW, "a")}, [])
    area = next(one for one in records if one["is"] == "vma")
    many = [{**area, "start": 0x10000000 + n * 0x2000, "end": 0x10001000 + n * 0x2000} for n in range(5000)]
    notes = "".join(f"n{n}={PAGE + n % 8192:#x}\n" for n in range(20_000))
    write(run_at(run, "many", notes), "many", "kernel", [*records, *many])
    found = page_tables.data(opened(run))
    assert found is not None
    assert len(found["addresses"]) <= page_tables.MAX_NOTES + page_tables.MAX_AREAS and found["more"] > 0
    assert len(str(embed.data(found))) < 400_000


# -- the way of a fault --------------------------------------------------------------------------------


def test_a_fault_by_its_stacks(run: Builder) -> None:
    found = fault_path.data(opened(run))
    assert found is not None
    window = found["windows"][0]
    assert (window["step"], window["name"], window["closed"], window["graph"]) == (1, "touch", True, False)
    assert lines(window["nodes"]) == [
        "page fault", " asm_exc_page_fault", "  exc_page_fault", "   do_user_addr_fault", "    handle_mm_fault",
        "     __handle_mm_fault", "      do_anonymous_page", "       __pte_alloc", "        pte_alloc_one",
        "         __alloc_pages", "          page", "       __alloc_pages", "        page",
    ]  # fmt: skip
    assert window["nodes"][0]["f"] == ["not present", "write", "user"]
    assert window["nodes"][0]["e"][0]["address"] == f"{PAGE + 0x10:#x}"
    table, page = window["pages"]
    assert (table["is"], page["is"]) == ("pte", "frame")
    assert page["now"] == page["frame"] == f"{FRAME:#x}"


def test_the_graph_takes_the_place_of_stacks(run: Builder) -> None:
    run.directory.write("evidence/01-touched/trace/graph", GRAPH.encode())
    found = fault_path.data(opened(run))
    assert found is not None and found["emulated"]
    window = found["windows"][0]
    handled = node(window["nodes"], "handle_mm_fault")
    assert (window["graph"], handled["t"]) == (True, 100.0)
    assert "user" in handled["f"]
    # the chain that took the table has the same innermost function: each page stands below its own call
    assert lines([handled]) == ["handle_mm_fault", " __handle_mm_fault", "  do_anonymous_page", "   __alloc_pages",
                                "    page", "   __alloc_pages", "    page"]  # fmt: skip


def test_a_graph_that_is_cut_is_not_shown_as_whole(run: Builder, monkeypatch: pytest.MonkeyPatch) -> None:
    run.directory.write("evidence/01-touched/trace/graph", GRAPH.encode())

    def remark() -> str:
        found = fault_path.data(opened(run))
        assert found is not None
        return str(found["windows"][0]["remark"])

    assert "it is cut" not in remark()
    monkeypatch.setattr("orchestrator.collect.graph.MAX_CALLS", 1)
    assert remark().endswith("it is cut.")


def test_a_graph_with_another_number_of_calls_stands_beside(run: Builder) -> None:
    twice = GRAPH.replace(" 0)  program-214   |               |  /* lab: end touch */\n", "")
    twice += "".join(GRAPH.splitlines(keepends=True)[2:])
    run.directory.write("evidence/01-touched/trace/graph", twice.encode())
    found = fault_path.data(opened(run))
    assert found is not None
    window = found["windows"][0]
    assert "not the same number" in window["remark"]
    assert [one["n"] for one in window["nodes"]] == ["page fault", "handle_mm_fault", "handle_mm_fault"]


def test_functions_without_a_symbol_are_named_where_a_check_places_them(run: Builder) -> None:
    run.directory.write("evidence/environment/symbols", b"handle_pte_fault absent\nhandle_mm_fault present T\n"
                        b"do_anonymous_page present t\nfault absent\nallocation absent\n__handle_mm_fault present t\n")
    check = 'sequence("touch", "fault > __handle_mm_fault > handle_pte_fault > do_anonymous_page > allocation")'
    run.record.findings.append(Finding("way", "pf.way", "touched", check, "", "", Outcome.PASS))
    found = fault_path.data(opened(run))
    assert found is not None
    assert found["absent"] == ["handle_pte_fault"]
    assert node(found["windows"][0]["nodes"], "__handle_mm_fault")["i"] == ["handle_pte_fault"]
    assert "i" not in node(found["windows"][0]["nodes"], "handle_mm_fault")


def test_hostile_names_stay_text(run: Builder) -> None:
    evil = "</script><img src=x onerror=alert(1)>\u202e" + "A" * 5000
    text = TRACE.replace("do_anonymous_page", evil)
    run.directory.write("evidence/01-touched/trace/events", text.encode())
    run.directory.write("evidence/01-touched/trace/graph", GRAPH.replace("do_anonymous_page", evil[:200]).encode())
    found = fault_path.data(opened(run))
    assert found is not None
    shown = str(embed.data(found))
    assert "<" not in shown and "\u202e" not in shown
    assert max(len(one) for one in lines(found["windows"][0]["nodes"])) < 2 * call_tree.LONG


def test_without_a_trace_there_is_no_way(tmp_path: Path) -> None:
    assert fault_path.data(opened(brk(tmp_path / "run"))) is None


def test_a_trace_that_lost_records_says_so(run: Builder) -> None:
    run.directory.write("evidence/01-touched/trace/stats", b"cpu0 entries=6 overrun=3 commit_overrun=0 dropped=0\n")
    found = fault_path.data(opened(run))
    assert found is not None and "3 records" in found["windows"][0]["problem"]


def test_a_trace_of_other_programs_too_says_so(run: Builder) -> None:
    run.directory.write("evidence/environment/trace", b"filter set_event_pid refused Invalid argument\n")
    found = fault_path.data(opened(run))
    assert found is not None and "not limited to the program" in found["troubles"][0]


def test_a_fault_of_another_process_is_not_held_against_these_page_tables(run: Builder) -> None:
    text = TRACE.replace("program-214", "program-999")
    run.directory.write("evidence/01-touched/trace/events", text.encode())
    found = fault_path.data(opened(run))
    assert found is not None and found["windows"][0]["pages"][1]["is"] == "frame"  # it is for a VMA object of 214's
    run.directory.write("evidence/01-touched/trace/events", re.sub("vma=0x[0-9a-f]+", "vma=0x1", text).encode())
    found = fault_path.data(opened(run))
    assert found is not None and "is" not in found["windows"][0]["pages"][1]


def test_a_garbled_trace_is_told(run: Builder) -> None:
    run.directory.write("evidence/01-touched/trace/events", b"nonsense\n")
    with pytest.raises(EvidenceError, match=r"01-touched/trace/events:1"):
        fault_path.data(opened(run))


def test_a_graph_without_end_is_bounded() -> None:
    deep = " 0)  program-214   |               |  /* lab: begin w */\n" + " 0)  a-1   |               |  f() {\n" * 3000
    (graph,) = parse_graph(Document.of("graph", deep))
    depth, calls = 0, graph.calls
    while calls:
        depth, calls = depth + 1, calls[0].calls
    assert graph.cut and depth == 50


def test_repeated_calls_are_one_line() -> None:
    found = call_tree.fold([Node("call", name, micros=1.0) for name in ["a", "b"] * 5 + ["c"] * 4 + ["d", "d"]])
    assert [(one.kind, one.name, one.times) for one in found] == [
        ("block", "", 5), ("call", "c", 4), ("call", "d", 1), ("call", "d", 1)]  # fmt: skip
    assert [one.micros for one in found[0].nodes] == [5.0, 5.0] and found[1].micros == 4.0


def test_a_large_tree_is_pruned_from_below() -> None:
    top = Node("call", "top", nodes=[Node("call", f"n{n}", nodes=[Node("call", "leaf")]) for n in range(20)])
    nodes = [top]
    assert call_tree.prune(nodes, 25) == 0
    assert len(list(top.walk())) <= 25
    assert sum(one.more for one in top.walk()) + len(list(top.walk())) == 41


# -- stacks of threads ---------------------------------------------------------------------------------

def test_a_block_and_its_later_thread(tmp_path: Path) -> None:
    found = thread_stacks.data(opened(threaded(tmp_path / "run")))
    assert found is not None
    (block,) = found["places"][0]["blocks"]
    assert (block["tid"], block["size"], block["top"], block["depth"]) == (301, SIZE, 0x940, 0x900)
    assert (block["guard"]["how"], block["guard"]["size"]) == ("mapping", 4096)
    assert block["touched"] == {"pages": 1, "runs": [[32, 1]]}
    assert found["blocks"] == [{"pid": PID, "start": f"{BLOCK:#x}", "size": SIZE,
                                "was": [[0, 301, None], [1, None, 0], [2, 302, None]]}]  # fmt: skip


@pytest.mark.parametrize(("entry", "how"), [
    ((0xFFFFFFFFFFFFF600 >> 12, 0x600, "w"), "region"), ((0x76, RW, "a"), "open"), (None, "open"),
])  # fmt: skip
def test_a_guard_is_what_the_evidence_says(tmp_path: Path, entry: tuple[int, int, str] | None, how: str) -> None:
    found = thread_stacks.data(opened(threaded(tmp_path / "run", "rw-p", entry)))
    assert found is not None
    assert found["places"][0]["blocks"][0]["guard"]["how"] == how


def test_threads_without_glibc_s_lists(tmp_path: Path) -> None:
    run = threaded(tmp_path / "run")
    for checkpoint_ in run.record.checkpoints:
        run.directory.file(f"{checkpoint_.directory}/heap/{PID}.jsonl").unlink()
        run.directory.file(f"{checkpoint_.directory}/kernel/{PID}.jsonl").unlink()
    found = thread_stacks.data(opened(run))
    assert found is not None
    place = found["places"][0]
    assert place["blocks"] == [] and "did not look at glibc's own lists" in place["remark"]
    second = next(one for one in place["threads"] if one["tid"] == 301)
    assert (second["mapping"]["start"], second["mapping"]["guard"]) == (f"{BLOCK + 0x1000:#x}", 4096)


def test_a_stack_pointer_in_the_guard(tmp_path: Path) -> None:
    run = threaded(tmp_path / "run")
    folder = run.record.checkpoints[0].directory
    run.directory.file(f"{folder}/heap/{PID}.jsonl").unlink()
    run.directory.write(f"{folder}/proc/{PID}/task/301/syscall", f"-1 {BLOCK + 0xF40:#x} 0x7f27130000aa\n".encode())
    found = thread_stacks.data(opened(run))
    assert found is not None
    second = next(one for one in found["places"][0]["threads"] if one["tid"] == 301)
    assert second["in_guard"] and second["mapping"]["start"] == f"{BLOCK + 0x1000:#x}"


def test_one_thread_is_no_picture(tmp_path: Path) -> None:
    assert thread_stacks.data(opened(brk(tmp_path / "run"))) is None


def test_hostile_stacks_are_left_out(tmp_path: Path) -> None:
    run = threaded(tmp_path / "run")
    folder = run.record.checkpoints[0].directory
    hostile = [{**thread(400 + n), "stackblock": start, "stackblock_size": size}
               for n, (start, size) in enumerate([(-1, 5), (1 << 63, 1 << 62), (BLOCK, -5), (BLOCK, 1 << 62)])]
    many = [{**kept(), "stackblock": BLOCK + n * SIZE, "pthread": BLOCK} for n in range(1, 500)]
    records = [*heap("uuuuT", []), *hostile, *many]
    text = "".join(json.dumps(one) + "\n" for one in [*records, {"is": "end", "lines": len(records) + 1}])
    run.directory.write(f"{folder}/heap/{PID}.jsonl", text.encode())
    run.directory.write(f"{folder}/proc/{PID}/task/301/syscall", b"202 " + b"0x1 " * 500)
    found = thread_stacks.data(opened(run))
    assert found is not None
    assert len(found["places"][0]["blocks"]) == thread_stacks.MAX_STACKS and found["places"][0]["more"] > 0


