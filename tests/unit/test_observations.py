"""Observations of a captured run: values, their evidence lines, and what is not there."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator import observations
from orchestrator.collect.lines import EvidenceError
from orchestrator.errors import UsageError
from orchestrator.model import Ended
from orchestrator.observations import ObservationError, Observations, VmaView
from orchestrator.observed import Rows
from orchestrator.rundir import RunDirectory

CAPTURE = Path(__file__).parents[1] / "data/brk"


@pytest.fixture
def run() -> Observations:
    return observations.load(CAPTURE)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(CAPTURE, tmp_path / "run"))


def test_notes(run: Observations) -> None:
    seen = run.note("sbrk", "grown")
    assert isinstance(seen.value, int)
    assert seen.evidence[0].file == "evidence/01-grown/notes"
    assert seen.evidence[0].line == 2
    assert seen.evidence[0].text == f"sbrk={seen.value:#x}"
    gaps = run.notes("gap-", "random")
    assert isinstance(gaps.value, list)
    assert (len(gaps.value), len(gaps.evidence)) == (8, 8)
    assert run.note("past", "limited").value == -12


def test_vma(run: Observations) -> None:
    heap = run.vma("[heap]", "touched").value
    assert isinstance(heap, VmaView)
    assert heap.attribute("rss").value == 4096
    assert heap.attribute("size").value == 4096
    (line,) = heap.attribute("rss").evidence
    assert line.text.startswith("Rss:")
    assert run.vma(heap.vma.start + 4095, "touched").value == heap
    assert run.vma(heap.vma.end, "touched").value is None
    assert run.vma("[heap]", "start").value is None
    everything = run.vmas("touched").value
    assert isinstance(everything, Rows)
    assert heap in everything
    assert heap.vma.start in everything.attribute("start").value  # type: ignore[operator]


def test_fields(run: Observations) -> None:
    heap = run.vma("[heap]", "grown").value
    assert isinstance(heap, VmaView)
    assert run.stat("start_brk", "grown").value == heap.vma.start
    assert run.status("VmPTE", "grown").value in range(4096, 1 << 20)
    assert run.limit("data", "start").value == math.inf
    assert run.limit("data", "limited").value == run.status("VmData", "limited").value
    assert run.rollup("Anonymous", "touched").value == int(str(run.rollup("Anonymous", "grown").value)) + 4096


def test_guest(run: Observations) -> None:
    assert run.kernel().value == "6.18.44"
    assert run.glibc().value == "2.36"
    assert run.page_size().value == 4096
    assert run.sysctl("kernel.randomize_va_space").value == 2
    assert run.kconfig("CONFIG_MMU").value == "y"
    assert run.kconfig("CONFIG_DEFAULT_HOSTNAME").value == "(none)"
    assert run.kconfig("CONFIG_COMPAT_BRK").value is None
    assert run.symbol("vma_find").value is True
    assert run.symbol("find_vma_links").value is False
    assert run.cmdline("quiet").value is True
    assert run.cmdline("stack_guard_gap").value == "512"
    assert run.cmdline("norandmaps").value is False
    assert run.tunable("glibc.malloc.tcache_count").value is None


def test_debians_kernel_says_its_stable_release(copy: Path) -> None:
    uname = (
        "sysname = Linux\nrelease = 6.1.0-50-cloud-amd64\n"
        "version = #1 SMP PREEMPT_DYNAMIC Debian 6.1.176-1 (2026-05-01)\nmachine = x86_64\n"
    )
    (copy / "evidence/environment/uname").write_text(uname)
    assert str(observations.load(copy).kernel().value) == "6.1.176"


def test_tunables_of_the_case(run: Observations) -> None:
    run.record.case["settings"]["tunables"] = [["glibc.malloc.tcache_count", "0"]]
    assert run.tunable("glibc.malloc.tcache_count").value == 0


def test_end_and_output(run: Observations) -> None:
    assert (run.exit_code().value, run.exit_signal().value) == (0, None)
    run.record.ended = Ended(signal=11)
    assert (run.exit_code().value, run.exit_signal().value) == (None, "SIGSEGV")
    assert run.output().value == "hello"
    assert observations.signal_name(99) == "signal 99"


def test_kernel_log_counts_records(run: Observations) -> None:
    found = run.kernel_log(r"segfault at \w+ ip")
    assert found.value == 1
    assert found.evidence[0].line == 3
    assert run.kernel_log("^Linux version").value == 1
    assert run.kernel_log("1883000").value == 0  # the prefix of a record is not its text


def test_reached(run: Observations) -> None:
    assert run.reached("random").value is True
    assert run.reached("exit").value is True
    assert run.reached("random#2").value is False
    assert run.reached("nowhere").value is False


def test_a_checkpoint_that_repeats_must_be_numbered(run: Observations) -> None:
    first, second = run.record.checkpoints[0], run.record.checkpoints[1]
    run.record.checkpoints[1] = replace(second, name="start")
    assert run.checkpoint("start#1") == first
    assert run.checkpoint("start#2").directory == second.directory
    assert run.reached("start#2").value is True
    with pytest.raises(ObservationError, match='"start#1"'):
        run.checkpoint("start")
    for bad in ("start#3", "start#0", "start#x", "start#", "start#²"):
        with pytest.raises(ObservationError, match="there is no"):
            run.checkpoint(bad)


MISSING: list[tuple[Callable[[Observations], object], str]] = [
    (lambda run: run.note("sbr", "grown"), "no note 'sbr'.*did you mean sbrk"),
    (lambda run: run.note("zzz", "grown"), "there are: brk, sbrk"),
    (lambda run: run.notes("zzz", "random"), "no note begins with 'zzz'"),
    (lambda run: run.note("brk", "gron"), "'gron' was not reached; did you mean grown"),
    (lambda run: run.vma("[heap]", "exit"), "the program is gone"),
    (lambda run: run.vma("/lab/case/program", "start"), r"\d mappings are named"),
    (lambda run: run.vma(None, "start"), "a name or an address"),
    (lambda run: run.status("VmRS", "start"), "did you mean VmRSS"),
    (lambda run: run.stat("start_bkr", "start"), "did you mean start_brk"),
    (lambda run: run.limit("dat", "start"), "did you mean data"),
    (lambda run: run.rollup("Rs", "start"), "did you mean Rss"),
    (lambda run: run.sysctl("kernel.randomise_va_space"), "did you mean kernel.randomize_va_space"),
    (lambda run: run.symbol("vma_fin"), "no looked-up symbol 'vma_fin'; did you mean vma_find"),
    (lambda run: run.document("evidence/nothing"), "no evidence evidence/nothing"),
    (lambda run: run.kernel_log("(a+)+"), "may not repeat a group"),
]


@pytest.mark.parametrize(("ask", "message"), MISSING, ids=[str(n) for n in range(len(MISSING))])
def test_what_is_not_there_says_what_is(run: Observations, ask: Callable[[Observations], object], message: str) -> None:
    with pytest.raises(ObservationError, match=message):
        ask(run)


def test_a_mapping_has_the_attributes_of_its_kernel(run: Observations) -> None:
    heap = run.vma("[heap]", "touched").value
    assert isinstance(heap, VmaView)
    with pytest.raises(ObservationError, match="did you mean rss"):
        heap.attribute("rsss")
    with pytest.raises(ObservationError):
        heap.attribute("__class__")


def test_a_note_told_twice(copy: Path) -> None:
    (copy / "evidence/01-grown/notes").write_text("brk=1\nbrk=2\n")
    run = observations.load(copy)
    with pytest.raises(ObservationError, match="noted 2 times"):
        run.note("brk", "grown")
    assert run.notes("brk", "grown").value == [1, 2]


def test_the_end_that_was_not_seen(run: Observations) -> None:
    run.record.ended = None
    with pytest.raises(ObservationError, match="was not seen"):
        run.exit_code()
    run.record.ended = Ended(signal=9, killed_by_lab="output limit")
    with pytest.raises(ObservationError, match="the lab ended the program: output limit"):
        run.exit_signal()


@pytest.mark.parametrize(
    ("file", "content", "ask"),
    [
        ("evidence/01-grown/notes", "brk=1\nnonsense\n", lambda run: run.note("brk", "grown")),
        ("evidence/01-grown/proc/77/smaps", "x\n", lambda run: run.vma("[heap]", "grown")),
        ("evidence/01-grown/proc/77/status", "\x00\n", lambda run: run.status("VmPTE", "grown")),
        (
            "evidence/environment/uname",
            "sysname = L\nrelease = x\nversion = y\nmachine = z",
            lambda run: run.kernel(),
        ),
        ("evidence/environment/uname", "Linux\n", lambda run: run.kernel()),
        ("evidence/environment/glibc", "musl\n", lambda run: run.glibc()),
        ("evidence/environment/pagesize", "4k\n", lambda run: run.page_size()),
        ("evidence/environment/sysctl", "a\n", lambda run: run.sysctl("a")),
        ("evidence/environment/config", "X=y\n", lambda run: run.kconfig("CONFIG_X")),
        ("evidence/environment/symbols", "a maybe\n", lambda run: run.symbol("a")),
    ],
)
def test_garbled_evidence_is_named(copy: Path, file: str, content: str, ask: Callable[[Observations], object]) -> None:
    (copy / file).write_text(content)
    with pytest.raises(EvidenceError, match=rf"^{file}:\d+: "):
        ask(observations.load(copy))


def test_a_file_that_was_cut_off_is_not_there(copy: Path) -> None:
    smaps = copy / "evidence/01-grown/proc/77/smaps"
    smaps.with_name("smaps.truncated").touch()
    with pytest.raises(ObservationError, match=r"no evidence .*maps"):
        observations.load(copy).vma("[heap]", "grown")
    smaps.with_name("maps").write_text("1000-2000 rw-p 00000000 00:00 0 [heap]\n")
    heap = observations.load(copy).vma("[heap]", "grown").value
    assert isinstance(heap, VmaView)
    with pytest.raises(ObservationError, match="no 'rss' here"):
        heap.attribute("rss")


def test_paths_of_a_hostile_record(run: Observations) -> None:
    run.record.checkpoints[0] = replace(run.record.checkpoints[0], directory="../../etc")
    with pytest.raises(EvidenceError, match="unsafe path"):
        run.vma("[heap]", "start")


def test_no_run_directory(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        observations.load(tmp_path)
    run = Observations(RunDirectory(tmp_path), observations.load(CAPTURE).record)
    with pytest.raises(ObservationError, match="no evidence"):
        run.kernel()
