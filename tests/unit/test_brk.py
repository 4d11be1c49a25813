"""The brk scenario against a captured run: it holds, each expectation can fail, each has its control."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from orchestrator import evaluate, observations, scenario
from orchestrator.model import Finding, Outcome
from orchestrator.rundir import RunDirectory

ROOT = Path(__file__).parents[2]
CAPTURE = ROOT / "tests/data/brk"
LAYERS = (ROOT / "tests/data/brk-trace", ROOT / "tests/data/brk-kernel")  # laid over it
BRK = scenario.load(ROOT / "scenarios/brk")

FAULT = (
    r"\g<0>\n\g<1>page_fault_user: address=0x559049f81000 ip=0x559049f70000 error_code=0x6\n"
    r"\g<1>lab_fault: (handle_mm_fault+0x0/0x300) vma=0x1 address=0x559049f81000 flags=0x1255 vma_start=0x1 vma_end=0x2"
)

# For each expectation: a file of the capture, and an edit after which the expectation must FAIL.
EDITS = {
    "empty": ("00-start/notes", r"^brk=.*", "brk=0x1000"),
    "read": ("01-grown/notes", r"^sbrk=.*", "sbrk=0x1000"),
    "read-behind": ("04-behind/notes", r"^sbrk=.*", "sbrk=0x1000"),
    "grow": ("01-grown/notes", r"^brk=.*", "brk=0x1000"),
    "grow-syscall": ("01-grown/trace/events", r"sys_brk -> .*", "sys_brk -> 0x1000"),
    "grow-alloc": ("01-grown/trace/events", r"lab_vm_area_alloc: .*", "lab_do_brk_flags: (do_brk_flags+0x0/0x330)"),
    "grow-untouched": ("01-grown/trace/events", r"(.* )sys_brk -> .*", FAULT),
    "grow-vma": ("01-grown/proc/77/smaps", r"rw-p(?=.*\[heap\])", "rwxp"),
    "empty-object": ("00-start/kernel/77.jsonl", r'"start_brk":\d+', '"start_brk":4096'),
    "read-memory": ("01-grown/kernel/77.jsonl", r'"brk":\d+', '"brk":4096'),
    "read-behind-memory": ("04-behind/notes", r"^sbrk=.*", "sbrk=0x559049f84000"),
    "grow-memory": ("01-grown/kernel/77.jsonl", r'"brk":\d+', '"brk":4096'),
    "grow-object": ("01-grown/kernel/77.jsonl", r'"map_count":\d+', '"map_count":1'),
    "grow-walk": ("01-grown/kernel/77.jsonl", r'"rss_anon":\d+', '"rss_anon":1'),
    "touch-walk": ("02-touched/kernel/77.jsonl", r'"rss_anon":\d+', '"rss_anon":1'),
    "merge-object": ("03-merged/kernel/77.jsonl", r'"vma","address":\d+', '"vma","address":1'),
    "merge-walk": ("02-touched/kernel/77.jsonl", r'"anon_vma":\d+', '"anon_vma":1'),
    "spread-walk": ("05-spread/proc/77/status", r"^VmPTE:.*", "VmPTE:\t4 kB"),
    "shrink-object": ("06-shrunk/kernel/77.jsonl", r'"map_count":\d+', '"map_count":1'),
    "shrink-rss-memory": ("06-shrunk/kernel/77.jsonl", r'"rss_anon":\d+', '"rss_anon":1'),
    "shrink-walk": ("05-spread/notes", r"^far=.*", "far=0x5590241ea000"),
    "shrink-freed": ("06-shrunk/kernel/77.jsonl", r'"pgtables_bytes":\d+', '"pgtables_bytes":4096'),
    "unaligned-memory": ("07-unaligned/kernel/77.jsonl", r'"brk":\d+', '"brk":4096'),
    "unaligned-object": ("07-unaligned/kernel/77.jsonl", r'"brk":\d+', '"brk":4096'),
    "grow-rss": ("01-grown/proc/77/smaps_rollup", r"^Anonymous: .*", "Anonymous: 1 kB"),
    "grow-touch": ("02-touched/proc/77/smaps_rollup", r"^Anonymous: .*", "Anonymous: 1 kB"),
    "merge": ("03-merged/notes", r"^brk=.*", "brk=0x1000"),
    "merge-alloc": ("03-merged/trace/events", r"lab_do_brk_flags: .*", "lab_vm_area_alloc: (vm_area_alloc+0x4/0xa0)"),
    "spread": ("05-spread/proc/77/status", r"^VmPTE:.*", "VmPTE:\t4 kB"),
    "shrink": ("06-shrunk/notes", r"^brk=.*", "brk=0x1000"),
    "shrink-rss": ("06-shrunk/proc/77/smaps_rollup", r"^Anonymous: .*", "Anonymous: 1 kB"),
    "shrink-tables": ("06-shrunk/proc/77/status", r"^VmPTE:.*", "VmPTE:\t4000 kB"),
    "shrink-unmap": ("06-shrunk/trace/events", r"lab_free_pgtables: .*", "lab_do_brk_flags: (do_brk_flags+0x0/0x330)"),
    "unaligned": ("07-unaligned/notes", r"^brk=.*", "brk=0x1000"),
    "unaligned-vma": ("00-start/notes", r"^brk=(0x.*)000", r"brk=\g<1>001"),
    "limit": ("09-limited/notes", r"^past=.*", "past=0"),
    "limit-counts": ("09-limited/proc/77/limits", r"^(Max data size +)\d+", r"\g<1>4096"),
    "limit-unchanged": ("09-limited/notes", r"^brk=.*", "brk=0x1000"),
    "limit-result": ("09-limited/notes", r"^raw=.*", "raw=0x1000"),
    "wall": ("10-walled/notes", r"^into=.*", "into=0"),
    "wall-gap": ("10-walled/notes", r"^adjoining=.*", "adjoining=0"),
    "random": ("08-random/notes", r"=.*", "=0x2000"),
}


def findings(run: Path) -> dict[str, Finding]:
    return {finding.id: finding for finding in evaluate.evaluate(BRK, observations.load(run))}


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for layer in (CAPTURE, *LAYERS):
        shutil.copytree(layer, tmp_path / "run", dirs_exist_ok=True)
    return tmp_path / "run"


def change(file: Path, pattern: str, new: str) -> None:
    text, count = re.subn(pattern, new, file.read_text(), flags=re.MULTILINE)
    assert count
    file.write_text(text)


def test_every_row_of_the_break_is_proved() -> None:
    rows = {"brk.read", "brk.grow", "brk.merge", "brk.shrink", "brk.unaligned", "brk.limit", "brk.random"}
    assert set(BRK.claims) == rows == {expectation.claim for expectation in BRK.expectations}


def test_every_expectation_has_a_control() -> None:
    assert scenario.without_control(BRK) == ()


def test_every_macro_of_a_control_is_in_the_program() -> None:
    code = "".join(path.read_text() for path in BRK.programs)
    defined = {name for control in BRK.controls for name, _ in control.settings.defines}
    assert defined == set(re.findall(r"\bMUTATE_[A-Z_]+", (ROOT / "scenarios/brk/brk.h").read_text()))
    assert defined == set(re.findall(r"\bMUTATE_[A-Z_]+", code))


def test_the_declared_checkpoints_are_those_of_the_program() -> None:
    code = "".join(path.read_text() for path in BRK.programs)
    assert set(re.findall(r'lab_checkpoint\("(.*?)"\)', code)) == set(BRK.checkpoints)


def test_every_fact_has_reason_and_source() -> None:
    for expectation in BRK.expectations:
        for variant in expectation.variants:
            assert len(variant.because) > 40, expectation.id
            assert re.search(r"\(\d?\)|\.c\b", variant.source), expectation.id


def test_the_capture_confirms_all(copy: Path) -> None:
    found = findings(copy)
    assert {f.id: f.message for f in found.values() if f.outcome is not Outcome.PASS} == {}
    assert len(found) == len(BRK.expectations)
    assert all(finding.operands and finding.operands[0].evidence for finding in found.values())


@pytest.mark.parametrize("name", [expectation.id for expectation in BRK.expectations])
def test_each_expectation_can_fail(name: str, copy: Path) -> None:
    file, pattern, new = EDITS[name]
    change(copy / "evidence" / file, pattern, new)
    found = findings(copy)[name]
    assert found.outcome is Outcome.FAIL, found.message
    assert any(e.file == f"evidence/{file}" for operand in found.operands for e in operand.evidence)


def test_without_evidence_nothing_passes(copy: Path) -> None:
    shutil.rmtree(copy / "evidence")
    assert {finding.outcome for finding in findings(copy).values()} == {Outcome.ERROR}


@pytest.mark.parametrize(
    ("sysctl", "kernel", "debian", "gap", "outcome"),
    [
        (2, "6.12.1", "", "0x3fff0000", Outcome.PASS),
        (2, "6.12.1", "", "0x1000000", Outcome.FAIL),
        (2, "6.12.1", "", "0x50000000", Outcome.FAIL),
        (2, "5.10.0-32-cloud-amd64", "Debian 5.10.223-1", "0x1000000", Outcome.PASS),
        (2, "5.10.0-32-cloud-amd64", "Debian 5.10.223-1", "0x3fff0000", Outcome.FAIL),
        (2, "6.1.0-50-cloud-amd64", "Debian 6.1.176-1", "0x3fff0000", Outcome.PASS),
        (2, "6.1.0-20-cloud-amd64", "Debian 6.1.85-1", "0x3fff0000", Outcome.FAIL),
        (2, "6.8.12", "", "0x1000000", Outcome.PASS),
        (2, "6.9", "", "0x3fff0000", Outcome.PASS),
        (2, "6.10.6", "", "0x1000000", Outcome.FAIL),
        (1, "6.12.1", "", "0x0", Outcome.PASS),
        (0, "5.10.1", "", "0x0", Outcome.PASS),
        (0, "6.12.1", "", "0x1000", Outcome.FAIL),
    ],
)
def test_random_variants(copy: Path, sysctl: int, kernel: str, debian: str, gap: str, outcome: Outcome) -> None:
    environment = copy / "evidence/environment"
    (environment / "uname").write_text(
        f"sysname = Linux\nrelease = {kernel}\nversion = #1 SMP {debian}\nmachine = x86_64\n"
    )
    (environment / "sysctl").write_text(f"kernel.randomize_va_space = {sysctl}\n")
    low = "0x0" if gap == "0x0" else "0x800000"
    notes = "".join(f"gap-{n}={gap if n else low}\n" for n in range(8))
    (copy / "evidence/08-random/notes").write_text(notes)
    found = findings(copy)["random"]
    assert found.outcome is outcome, found
    assert found.when


def test_a_program_that_stops_half_way(copy: Path) -> None:
    record = observations.load(copy).record
    del record.checkpoints[5:-1]
    RunDirectory(copy).save(record)
    found = findings(copy)
    assert found["grow"].outcome is Outcome.PASS
    assert found["shrink"].outcome is Outcome.ERROR
    assert "'shrunk' was not reached" in found["shrink"].message
    assert found["checkpoint-spread"].outcome is Outcome.FAIL
