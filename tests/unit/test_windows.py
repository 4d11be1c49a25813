"""The kernel trace as observations: captures of the oldest and the newest kernel, and what goes wrong with traces."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.collect import ftrace
from orchestrator.collect.lines import Document, EvidenceError
from orchestrator.model import Checkpoint, Ended
from orchestrator.observations import Observations
from orchestrator.observed import ObservationError, Rows
from orchestrator.rundir import RunDirectory, RunRecord
from orchestrator.trace_rows import ATTRIBUTES

DATA = Path(__file__).parents[1] / "data/trace"
KERNELS = ("5.10", "7.x")
PAGE = {"5.10": 0x7F00E55D7000, "7.x": 0x7F4DFB1EC000}
NO_LOSS = "cpu0 entries=9 overrun=0 commit_overrun=0 dropped=0\n"
SYMBOLS = {
    "5.10": "__handle_mm_fault absent\nalloc_nothing absent\ndo_anonymous_page absent\nexc_page_fault present T\n"
    "find_vma present T\nhandle_mm_fault present T\nlock_vma_under_rcu absent\npte_alloc_one present T\n",
    "7.x": "__handle_mm_fault present t\nalloc_nothing absent\ndo_anonymous_page present t\nexc_page_fault present T\n"
    "find_vma present T\nhandle_mm_fault present T\nlock_vma_under_rcu present T\npte_alloc_one present T\n",
}


class Run:
    """A run directory with two checkpoints, made of captures; files can be changed before it is read."""

    def __init__(self, path: Path, kernel: str) -> None:
        self.directory = RunDirectory.create(path)
        self.write("evidence/environment/trace", (DATA / f"setup-{kernel}").read_text())
        self.write("evidence/environment/symbols", SYMBOLS[kernel])
        for place, name in (("00-touched", "touch"), ("01-exit", "more")):
            self.write(f"evidence/{place}/trace/events", (DATA / f"{name}-{kernel}").read_text())
            self.write(f"evidence/{place}/trace/stats", NO_LOSS)

    def write(self, file: str, text: str) -> None:
        self.directory.write(file, text.encode())

    def read(self, ended: Ended | None = None, *more: Checkpoint) -> Observations:
        points = [Checkpoint(0, "touched", "named", 7, "evidence/00-touched", 0.1),
                  Checkpoint(1, "exit", "exit", 0, "evidence/01-exit", 0.2)]  # fmt: skip
        return Observations(self.directory, RunRecord(checkpoints=[*points, *more], ended=ended))


@pytest.fixture(params=KERNELS)
def kernel(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def run(kernel: str, tmp_path: Path) -> Run:
    return Run(tmp_path / "run", kernel)


def column(rows: object, name: str) -> object:
    assert isinstance(rows, Rows)
    return rows.attribute(name).value


def test_a_fault_is_one_row_with_its_error_code(run: Run, kernel: str) -> None:
    seen = run.read().faults("touch")
    rows = seen.value
    assert isinstance(rows, Rows)
    assert len(rows) == 1
    assert column(rows, "address") == [PAGE[kernel]]
    assert [column(rows, name) for name in ("code", "write", "user", "present", "instruction")] == [
        [6], [True], [True], [False], [False]]  # fmt: skip
    assert seen.evidence[0].file == "evidence/00-touched/trace/events"
    assert "page_fault_user" in seen.evidence[0].text


def test_the_arguments_of_handle_mm_fault(run: Run, kernel: str) -> None:
    rows = run.read().handled("touch", page=PAGE[kernel] + 5).value
    assert column(rows, "vma_start") == [PAGE[kernel]]
    assert column(rows, "write") == [True]
    assert column(rows, "user") == [True]
    assert column(rows, "vma_lock") == [kernel != "5.10"]
    assert len(rows) == 1  # type: ignore[arg-type]
    assert len(run.read().handled("touch", page=PAGE[kernel] + 4096).value) == 0  # type: ignore[arg-type]


def test_allocations_belong_to_the_fault_that_made_them(run: Run, kernel: str) -> None:
    run_ = run.read()
    table, page = run_.allocations("touch", page=PAGE[kernel]).value  # type: ignore[misc]
    assert [row.attribute("movable").value for row in (table, page)] == [False, True]
    assert [row.attribute("zero").value for row in (table, page)] == [True, True]
    assert isinstance(page.attribute("pfn").value, int)
    assert page.attribute("page").value == PAGE[kernel]
    assert page.attribute("chain").value[-1] == "asm_exc_page_fault"
    assert "trace_event_raw_event_mm_page_alloc" not in page.attribute("chain").value
    pages = column(run_.allocations("more").value, "page")
    assert isinstance(pages, list)
    assert PAGE[kernel] + 4096 in pages
    assert None in pages  # the new thread's kernel stack was no fault's


def test_a_system_call_has_arguments_and_a_result(run: Run) -> None:
    rows = run.read().syscalls("more", "mmap").value
    assert column(rows, "len") == [4096, 4096, 8392704]
    assert column(rows, "flags") == [0x22, 0x32, 0x20022]
    results = column(rows, "result")
    assert isinstance(results, list)
    assert results[1] == -22
    assert min(results[0], results[2]) > 0
    assert len(run.read().syscalls("more", "clone3").value) == 1  # type: ignore[arg-type]


def test_a_new_thread_has_its_clone_flags(run: Run) -> None:
    rows = run.read().clones("more").value
    assert column(rows, "flags") == [0x3D0F00]
    for flag in ("vm", "fs", "files", "sighand", "thread", "settls"):
        assert column(rows, flag) == [True]
    assert column(rows, "vfork") == [False]


def test_hits_have_their_callers_and_absent_functions_none(run: Run, kernel: str) -> None:
    function, other = ("find_vma", "lock_vma_under_rcu") if kernel == "5.10" else ("lock_vma_under_rcu", "find_vma")
    chains = column(run.read().hits("touch", function).value, "chain")
    assert chains == [[function, "do_user_addr_fault", "exc_page_fault", "asm_exc_page_fault"]]
    if kernel == "5.10":
        with pytest.raises(ObservationError, match="no function 'lock_vma_under_rcu'"):
            run.read().hits("touch", other)
    else:
        assert len(run.read().hits("touch", other).value) == 0  # type: ignore[arg-type]
    with pytest.raises(ObservationError, match="does not trace the function 'exc_page_fault': Invalid argument"):
        run.read().hits("touch", "exc_page_fault")
    with pytest.raises(ObservationError, match="add brk_it to trace: functions"):
        run.read().hits("touch", "brk_it")


def test_a_chain_leaves_out_what_the_kernel_inlined_and_says_so(run: Run, kernel: str) -> None:
    path = "exc_page_fault > handle_mm_fault > __handle_mm_fault > do_anonymous_page > alloc_nothing"
    seen = run.read().chain("touch", path, page=PAGE[kernel])
    assert seen.value is True
    absent = "alloc_nothing" if kernel == "7.x" else "__handle_mm_fault, do_anonymous_page, alloc_nothing"
    assert seen.remark.endswith(f": {absent}")
    assert run.read().chain("touch", "pte_alloc_one > handle_mm_fault").value is False
    with pytest.raises(ObservationError, match="does not trace the function 'exc_page_fault'"):
        run.read().chain("touch", "handle_mm_fault > exc_page_fault")  # it may have been called, unseen
    assert run.read().chain("touch", "handle_mm_fault > pte_alloc_one").value is True
    with pytest.raises(ObservationError, match="nothing to compare"):
        run.read().chain("touch", "handle_mm_fault > alloc_nothing")
    with pytest.raises(ObservationError, match="'unheard_of' was not looked up"):
        run.read().chain("touch", "handle_mm_fault > unheard_of")


def test_a_sequence_is_in_the_order_of_time(run: Run) -> None:
    assert run.read().sequence("more", "fault > mmap > munmap > clone3").value is True
    assert run.read().sequence("more", "munmap > mmap > munmap").value is False
    assert run.read().sequence("touch", "fault > allocation").value is True
    with pytest.raises(ObservationError, match="was not traced"):
        run.read().sequence("touch", "fault > pte_alloc_one")


def test_a_fault_of_the_kernels_own_is_no_user_fault(run: Run) -> None:
    file = run.directory.path / "evidence/00-touched/trace/events"
    assert run.read().sequence("touch", "fault > handle_mm_fault > allocation").value is True
    assert run.read().sequence("touch", "handle_mm_fault > handle_mm_fault").value is False  # it was called once
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(line for line in lines if "page_fault_user" not in line))
    assert run.read().sequence("touch", "fault > allocation").value is False
    assert run.read().sequence("touch", "handle_mm_fault > allocation").value is True


@pytest.mark.parametrize(
    ("gone", "ask"),
    [("event exceptions:page_fault_user", ("sequence", "fault > allocation", {})),
     ("event kmem:mm_page_alloc", ("sequence", "fault > allocation", {})),
     ("event kmem:mm_page_alloc", ("chain", "handle_mm_fault > pte_alloc_one", {})),
     ("probe handle_mm_fault", ("sequence", "fault > handle_mm_fault", {})),
     ("probe handle_mm_fault", ("chain", "handle_mm_fault > pte_alloc_one", {"page": 4096})),
     ("probe handle_mm_fault", ("allocations", None, {"page": 4096})),
     ("event syscalls:sys_enter_mmap", ("sequence", "mmap > munmap", {}))],
)  # fmt: skip
def test_what_the_kernel_refused_to_record_is_never_absent(
    run: Run, gone: str, ask: tuple[str, str | None, dict[str, object]]
) -> None:
    file = run.directory.path / "evidence/environment/trace"
    lines = [f"{gone} refused No such device" if line.startswith(f"{gone} ") else line
             for line in file.read_text().splitlines()]  # fmt: skip
    assert f"{gone} refused No such device" in lines
    file.write_text("\n".join(lines) + "\n")
    name, path, keys = ask
    with pytest.raises(ObservationError, match="No such device"):
        getattr(run.read(), name)("more", *([path] if path else []), **keys)


def test_a_new_task_cannot_forge_its_flags(run: Run) -> None:
    file = run.directory.path / "evidence/01-exit/trace/events"
    forged = file.read_text().replace("comm=program clone_flags", "comm=a clone_flags=1 b=1 pid=7 clone_flags")
    file.write_text(forged)
    assert column(run.read().clones("more").value, "flags") == [0x3D0F00]
    file.write_text(forged.replace("oom_score_adj", "oom"))
    with pytest.raises(EvidenceError, match="not a new task"):
        run.read().clones("more")


def test_any_event_has_its_own_fields(run: Run, kernel: str) -> None:
    rows = run.read().events("more", "kmem:rss_stat").value
    sizes = column(rows, "size")
    assert isinstance(sizes, list)
    assert sizes
    assert all(size % 4096 == 0 for size in sizes)
    with pytest.raises(ObservationError, match=r"no 'sise'.*did you mean size"):
        column(rows, "sise")


def test_the_attributes_are_those_that_are_documented(run: Run) -> None:
    seen = run.read()
    for name, arguments in (("faults", ("more",)), ("handled", ("more",)), ("allocations", ("more",)),
                            ("clones", ("more",)), ("syscalls", ("more", "munmap"))):
        (first, *_) = getattr(seen, name)(*arguments).value
        extra = {"addr", "len"} if name == "syscalls" else set()
        assert set(first.fields) == {*ATTRIBUTES[name], *extra}, name


# -- what goes wrong -----------------------------------------------------------------------------


def test_no_window_is_no_empty_window(run: Run) -> None:
    with pytest.raises(ObservationError, match=r"no window 'tuch'.*did you mean touch"):
        run.read().faults("tuch")
    with pytest.raises(ObservationError, match="there is no #2"):
        run.read().faults("touch#2")
    assert column(run.read().syscalls("touch", "mmap").value, "len") == []  # none was called: a fact
    with pytest.raises(ObservationError, match="clones has no 'thred'; did you mean thread"):
        column(run.read().clones("touch").value, "thred")
    with pytest.raises(ObservationError, match=r"there are 1 records \(faults\), no \[3\]"):
        run.read().faults("touch").value[3]  # type: ignore[index]


def test_a_run_without_a_trace_says_so(run: Run) -> None:
    (run.directory.path / "evidence/environment/trace").unlink()
    with pytest.raises(ObservationError, match="no kernel trace"):
        run.read().faults("touch")


@pytest.mark.parametrize("loss", ["overrun=3 commit_overrun=0 dropped=0", "overrun=0 commit_overrun=0 dropped=3",
                                  "overrun=0 commit_overrun=3 dropped=0"])  # fmt: skip
def test_an_overflow_is_never_silent(run: Run, loss: str) -> None:
    run.write("evidence/00-touched/trace/stats", f"cpu0 entries=9 {loss}\n")
    with pytest.raises(ObservationError, match="overflowed, 3 records were lost"):
        run.read().faults("touch")
    with pytest.raises(ObservationError, match=r"no window 'later'.*overflowed: 3 records"):
        run.read().faults("later")


@pytest.mark.parametrize("stats", ["", "cpu0 entries=9\n", "cpu0 entries=x overrun=0 commit_overrun=0 dropped=0\n"])
def test_statistics_that_cannot_be_read_are_an_error(run: Run, stats: str) -> None:
    run.write("evidence/00-touched/trace/stats", stats)
    with pytest.raises(EvidenceError):
        run.read().faults("touch")
    (run.directory.path / "evidence/00-touched/trace/stats").unlink()
    with pytest.raises(ObservationError, match="no evidence"):
        run.read().faults("touch")


def test_a_trace_that_was_cut_off_is_not_used(run: Run) -> None:
    run.write("evidence/00-touched/trace/events.truncated", "")
    with pytest.raises(ObservationError, match="cut off"):
        run.read().faults("touch")


@pytest.mark.parametrize(
    ("function", "damage"),
    [("faults", ("address=0x", "address=")), ("faults", ("error_code=0x6", "error_code=zz")),
     ("faults", ("page_fault_user: ", "page_fault_user ")), ("faults", ("[000]", "[zero]")),
     ("faults", (" ip=", " pi=")), ("faults", ("page_fault_user: address", "page_fault_user(address")),
     ("handled", ("vma_start=0x", "vma_start=x")), ("allocations", ("order=0", "order=")),
     ("allocations", ("gfp_flags=", "gfp=")), ("allocations", (" => pte_alloc_one", "pte_alloc_one"))],
)  # fmt: skip
def test_garbled_records_are_errors_with_their_line(run: Run, function: str, damage: tuple[str, str]) -> None:
    file = run.directory.path / "evidence/00-touched/trace/events"
    text = file.read_text()
    assert damage[0] in text
    file.write_text(text.replace(*damage))
    with pytest.raises(EvidenceError, match=r"evidence/00-touched/trace/events:\d+: not "):
        getattr(run.read(), function)("touch")


def test_a_window_that_is_open_at_a_checkpoint_comes_again(run: Run) -> None:
    text = (DATA / "touch-5.10").read_text().splitlines(keepends=True)
    run.write("evidence/00-touched/trace/events", "".join(text[:-1]))
    run.write("evidence/01-exit/trace/events", "".join(text))
    place = run.read()._window("touch")
    assert place.window.closed
    assert place.document.file == "evidence/01-exit/trace/events"
    run.write("evidence/01-exit/trace/events", "# nothing\n")
    with pytest.raises(ObservationError, match="the window 'touch' has no end, and its program did not die"):
        run.read().faults("touch")
    assert len(run.read(Ended(signal=11)).faults("touch").value) == 1  # type: ignore[arg-type]
    assert len(run.read(Ended(killed_by_lab="step limit")).faults("touch").value) == 1  # type: ignore[arg-type]
    with pytest.raises(ObservationError, match="has no end"):
        run.read(Ended(code=0)).faults("touch")


def test_a_child_that_died_in_its_window_leaves_it_open(run: Run) -> None:
    text = (DATA / "touch-5.10").read_text().splitlines(keepends=True)
    run.write("evidence/00-touched/trace/events", "".join(text[:-1]))
    died = Checkpoint(2, "signal-SEGV", "signal", 74, "evidence/02-signal-SEGV", 0.3, 11)
    assert len(run.read(Ended(code=0), died).faults("touch").value) == 1  # type: ignore[arg-type]
    with pytest.raises(ObservationError, match="has no end"):
        run.read(Ended(code=0), replace(died, pid=75)).faults("touch")  # another process


def test_windows_that_nest_are_not_used(run: Run) -> None:
    """The end of the inner one stops the recording for both."""
    text = (DATA / "touch-5.10").read_text()
    begin = next(line for line in text.splitlines() if "lab: begin touch" in line)
    end = next(line for line in text.splitlines() if "lab: end touch" in line)
    inner = [line.replace("touch", "inner") for line in (begin, end)]
    run.write("evidence/00-touched/trace/events", text.replace(end, "\n".join((*inner, end))))
    with pytest.raises(ObservationError, match="the end of the window 'inner' stopped the recording in it; windows do"):
        run.read().faults("touch")
    assert len(run.read().faults("inner").value) == 0  # type: ignore[arg-type]
    again = begin.replace("2.659488", "2.659999")
    run.write("evidence/00-touched/trace/events", text.replace(end, "\n".join((again, end))))
    with pytest.raises(ObservationError, match="it began again before its end"):
        run.read().faults("touch#1")


def test_a_window_that_comes_twice_has_to_be_numbered(run: Run) -> None:
    text = (DATA / "touch-5.10").read_text()
    run.write("evidence/01-exit/trace/events", text.replace("     2.", "     9."))
    with pytest.raises(ObservationError, match='recorded 2 times; say which: "touch#1"'):
        run.read().faults("touch")
    assert len(run.read().faults("touch#2").value) == 1  # type: ignore[arg-type]


# -- the text ------------------------------------------------------------------------------------

HEAD = "         a b-c-74      [000] d..1.     2.659511: "


def parse(*lines: str) -> ftrace.Trace:
    return ftrace.parse_trace(Document("x", lines))


def test_a_task_may_have_any_name() -> None:
    (record,) = parse(HEAD + "page_fault_user: address=0x1 ip=0x2 error_code=0x4").records
    assert (record.pid, record.name, record.seconds) == (74, "page_fault_user", 2.659511)
    (record,) = parse("     [000] x: -7  [001] ..... 1.5: sys_exit(error_code: 0)").records
    assert (record.pid, record.name) == (7, "sys_exit")
    forged = "a-1 [0] . 1.0: x"
    (record,) = parse(f"{forged}-8  [001] ..... 1.5: rss_stat: a=b-1 [0] . 2.0: page_fault_user: address=0x1").records
    assert (record.pid, record.name, record.seconds) == (8, "rss_stat", 1.5)


def test_a_chain_loses_what_compilers_and_the_trace_add() -> None:
    chain = (" => trace_event_raw_event_mm_page_alloc", " => __alloc_pages.constprop.0", " => f.isra.2", " => g.part.3")
    trace = parse(HEAD + "mm_page_alloc: pfn=1", HEAD + "<stack trace>", *chain, HEAD + "rss_stat: curr=1")
    assert trace.records[0].chain == ("__alloc_pages", "f", "g")
    assert trace.records[1].chain == ()


def test_a_chain_of_another_task_is_not_ours() -> None:
    other = HEAD.replace("-74 ", "-25 ")
    theirs = (other + "<stack trace>", " => g")
    trace = parse(*theirs, HEAD + "mm_page_alloc: pfn=1", HEAD + "<stack trace>", " => f", *theirs,
                  HEAD + "rss_stat: curr=1", *theirs)  # fmt: skip
    assert [record.chain for record in trace.records] == [("f",), ()]


def test_a_chain_without_a_record_is_garbled() -> None:
    with pytest.raises(EvidenceError, match="a call chain after its record"):
        parse(" => f", "")


def test_marks_of_others_are_none_of_ours() -> None:
    mark = "tracing_mark_write: "
    trace = parse(HEAD + mark + "hello", HEAD + mark + "lab: end a", HEAD + mark + "lab: begin a",
                  HEAD + "x: y=1", HEAD + mark + "lab: end a", HEAD + mark + "lab: begin b")  # fmt: skip
    assert [(w.name, w.first, w.last, w.closed) for w in trace.windows] == [("a", 0, 1, True), ("b", 1, 1, False)]


def test_system_calls_of_old_and_new_kernels() -> None:
    texts = ("sys_mmap(addr: 0, len: 1000, fd: ffffffff)", "sys_mmap -> 0xfffffffffffffff4",
             'sys_openat(dfd: 0xffffff9c, filename: 0x7f01 "a, b", flags: 0x80000)')  # fmt: skip
    document = Document("x", tuple(HEAD + text for text in texts))
    first, second, third = (ftrace.parse_syscall(r, document) for r in ftrace.parse_trace(document).records)
    assert (first.name, first.arguments) == ("mmap", {"addr": 0, "len": 0x1000, "fd": 0xFFFFFFFF})
    assert (second.name, second.result) == ("mmap", -12)
    assert third.arguments == {"dfd": 0xFFFFFF9C, "filename": 0x7F01, "flags": 0x80000}


@pytest.mark.parametrize("text", ["a, flags: 0", 'a" , flags: 0, x: "', '", flags: 0', 'b, flags: 0"'])
def test_a_users_text_in_a_system_call_forges_no_argument(text: str) -> None:
    line = HEAD + f'sys_openat(dfd: 3, filename: 0x7f01 "{text}", flags: 0x80000)'
    document = Document("x", (line,))
    (record,) = ftrace.parse_trace(document).records
    try:
        assert ftrace.parse_syscall(record, document).arguments["flags"] == 0x80000
    except EvidenceError as error:
        assert "with each argument once" in str(error)


def test_fields_that_the_kernel_prints_in_hexadecimal_without_a_sign_of_it() -> None:
    line = HEAD + "task_newtask: pid=75 comm=x clone_flags=100 oom_score_adj=0"
    document = Document("x", (line,))
    assert ftrace.fields(ftrace.parse_trace(document).records[0], document)["clone_flags"] == 0x100


def test_hits_that_a_probe_missed_are_lost_records() -> None:
    buffers = "cpu0 entries=9 overrun=0 commit_overrun=0 dropped=1"
    assert ftrace.lost(Document("x", (buffers, "probe lab_fault hits=7 missed=2"))) == 3
    with pytest.raises(EvidenceError, match="no statistics"):
        ftrace.lost(Document("x", ("probe lab_fault hits=7 missed=2",)))


def test_labruns_report_of_what_it_traces() -> None:
    lines = ("function f ok f.isra.0", "function g absent", "event a:b refused No such")
    setup = ftrace.parse_setup(Document("x", lines))
    assert setup["function", "f"] == ftrace.Setup("ok", "f.isra.0", 1)
    assert setup["event", "a:b"].state == "refused"
    with pytest.raises(EvidenceError):
        ftrace.parse_setup(Document("x", ("what is this",)))


def test_a_trace_that_other_tasks_may_be_in(run: Run) -> None:
    file = run.directory.path / "evidence/environment/trace"
    text = re.sub(r"filter set_event_pid ok \d+", "filter set_event_pid refused Invalid argument", file.read_text())
    file.write_text(text)
    with pytest.raises(ObservationError, match=r"not limited to the program .*Invalid argument"):
        run.read().faults("touch")
