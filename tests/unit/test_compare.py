"""`lab compare`: which runs stand against each other, what is the same under ASLR, what is noise, what is explained."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from compare_samples import NEW, OLD, compared, differences, edited, make, operand, two_kernels, whats
from synthetic_run import BASE, FAILED, GREW, HEAP, SKIPPED, heap, smaps

from orchestrator.collect.lines import Document
from orchestrator.collect.procfs import parse_smaps
from orchestrator.comparison import sides
from orchestrator.comparison.model import Reason, Seen, Topic
from orchestrator.comparison.places import Regions, exact, mapping_name, relative
from orchestrator.comparison.reasons import Citations, holding, of_glibcs
from orchestrator.comparison.seen import Reading
from orchestrator.errors import UsageError
from orchestrator.kernel_log import log_kind, log_shape
from orchestrator.model import Ending, Evidence, Outcome, Vma
from orchestrator.report import compare_markdown
from orchestrator.report import compare_words as words

# -- addresses -----------------------------------------------------------------------------------


def regions() -> Regions:
    return Regions(parse_smaps(Document.of("smaps", smaps(*BASE, heap(132)))), ((0x7F2713C4B000, 0x7F2713C4D000),))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0x56524d96e2a0", "[heap]+0x2a0"),
        ("[0x56524d96e000, 0x7f2713c4e010]", "[[heap], libc.so+0x10]"),
        ("0x7f2713c4cfc0", "stack block 1 - 0x40"),
        ("56524d96e000-56524d98f000 rw-p [heap]", "[heap] rw-p [heap]"),
        ("0xffff888003c10180", "a kernel address"),
        ("0x123456789000", "an address outside all mappings"),
        ("4096 (4 KiB)", "4096 (4 KiB)"),
        ("thread evidence/02-x/heap/266.jsonl:11", "thread evidence/02-x/heap/PID.jsonl"),
        ("0x1f", "0x1f"),
    ],
)
def test_addresses_are_relative_to_what_they_lie_in(text: str, expected: str) -> None:
    assert relative(text, [regions()]) == expected


def test_mappings_have_the_same_name_with_every_glibc() -> None:
    for name in ("/usr/lib/x86_64-linux-gnu/libc.so.6", "/lib/x86_64-linux-gnu/libc-2.31.so"):
        assert mapping_name(name) == "libc.so"
    for name in ("/lib64/ld-linux-x86-64.so.2", "/lib/x86_64-linux-gnu/ld-2.31.so"):
        assert mapping_name(name) == "ld.so"
    assert mapping_name("[heap]") == "[heap]" and mapping_name("") == ""


def test_sizes_are_exact() -> None:
    assert [exact(size) for size in (0, 17, 4096, 8204 << 10, 8 << 20)] == ["0", "17 B", "4 KiB", "8204 KiB", "8 MiB"]


def test_kernel_log_lines_lose_what_is_of_one_run() -> None:
    one = "6,407,57408029,-;program[289]: segfault at 7fd053093f48 ip 000055bdf72957d9 sp 00007fd053093f40 error 6 " \
          "in program[47d9,55bdf7293000+5000] likely on CPU 0"  # fmt: skip
    other = one.replace("289", "12").replace("7fd053093f48", "123456789012").replace("47d9", "4711")
    assert log_shape(one) == log_shape(other) == \
        "program[N]: segfault at N ip N sp N error N in program[N,N+N] likely on CPU N"
    assert log_kind(one) == "program[N]: segfault"
    assert log_shape("6,378,1,-;Code: 00 <48> 89") == "Code: …"
    assert log_shape("4,361,1,-;do_coredump: 7 callbacks suppressed") == ""


# -- the same ------------------------------------------------------------------------------------


def test_a_run_is_the_same_as_itself(tmp_path: Path) -> None:
    one = make(tmp_path / "one")
    found = compared(one, one)
    assert found.exit_code == 0 and found.cases[0].compared > 40
    assert (found.cases[0].noise, found.cases[0].chance) == (0, 0)


def test_repeats_under_other_addresses_are_the_same(tmp_path: Path) -> None:
    value = replace(GREW, operands=(operand("note('at')", f"{HEAP:#x}"), operand("note('gap')", "4711")))
    other = replace(GREW, operands=(operand("note('at')", f"{HEAP + 0x5000_0000:#x}"), operand("note('gap')", "12")))
    first = make(tmp_path / "first", findings=(value,), minflt=90)
    second = make(tmp_path / "second", by=0x5000_0000, findings=(other,), minflt=93, started="2026-01-02")
    found = compared(first, second)
    assert found.exit_code == 0
    assert found.cases[0].noise == 3  # the gap, and the faults at two checkpoints


def test_of_a_copy_everything_is_compared(tmp_path: Path) -> None:
    one = make(tmp_path / "one")
    shutil.copytree(one, tmp_path / "copy")
    file = tmp_path / "copy/evidence/01-grown/proc/214/stat"
    file.write_text(file.read_text().replace(" 90 ", " 91 "))
    assert whats(one, tmp_path / "copy") == ["counter: minflt"]
    smaps_file = tmp_path / "copy/evidence/01-grown/proc/214/smaps"
    smaps_file.write_text(smaps_file.read_text().replace(f"{HEAP + 4096:x}", f"{HEAP + 8192:x}"))
    assert whats(one, tmp_path / "copy") == ["counter: minflt", "mapping: [heap]"] or \
        whats(one, tmp_path / "copy") == ["mapping: [heap]", "counter: minflt"]


def test_an_outcome_is_never_noise(tmp_path: Path) -> None:
    first = make(tmp_path / "first")
    second = make(tmp_path / "second", findings=(FAILED,), started="2026-01-02")
    (one,) = differences(first, second)
    assert (one.topic, one.what, one.claim, one.reasons) == (Topic.FINDING, "grow-one-page", "brk.grow", ())
    assert one.spots[0].values == ("PASS", "FAIL: the heap has 8192 bytes, and 4096 are expected, when "
                                           "symbol('do_brk_flags')")  # fmt: skip


def test_a_mapping_that_is_not_there_is_never_noise(tmp_path: Path) -> None:
    first = make(tmp_path / "first")
    second = make(tmp_path / "second", started="2026-01-02")
    file = second / "evidence/00-start/proc/214/smaps"
    file.write_text(file.read_text().replace("[vvar]", "[vvar_more]"))
    assert {"mapping: [vvar]", "mapping: [vvar_more]"} <= set(whats(first, second))


# -- noise and chance ----------------------------------------------------------------------------


def test_what_chance_decides_needs_repeats(tmp_path: Path) -> None:
    def side(name: str, kernel: str, *faults: int) -> Path:
        for number, minflt in enumerate(faults):
            make(tmp_path / name / str(number), kernel, minflt=minflt, started=f"2026-01-0{number + 1}")
        return tmp_path / name

    single = compared(side("a", "6.1", 90), side("b", "6.12", 120))
    assert single.exit_code == 0 and single.cases[0].chance > 2
    steady = compared(side("c", "6.1", 90, 90), side("d", "6.12", 120, 120))
    (one,) = steady.cases[0].differences
    assert (one.what, one.spots[0].values, steady.cases[0].chance) == ("minflt", ("90", "120"), 0)
    varying = compared(side("e", "6.1", 90, 91), side("f", "6.12", 120, 120))
    assert varying.exit_code == 0 and varying.cases[0].noise == 2
    one_sided = compared(side("g", "6.1", 90, 90), side("h", "6.12", 120))
    assert one_sided.exit_code == 0 and one_sided.cases[0].chance > 2


def test_runs_on_other_machines_are_no_repeats(tmp_path: Path) -> None:
    """Else what the machine decides would be taken for noise."""
    def run(name: str, kib: int, command: str, accelerator: str = "tcg") -> Path:
        emulator = {"name": "trixie", "version": "10.0", "accelerator": accelerator, "command": command}
        return edited(make(tmp_path / name, kib=kib, started=f"2026-01-0{len(name)}"), emulator=emulator)

    first = run("a", 4, "qemu -m 768M -smp 1 -name x")
    assert whats(first, run("bb", 8, "qemu -m 768M -smp 1 -name y")) == []  # repeats
    for number, (command, accelerator) in enumerate((("qemu -m 768M -smp 2", "tcg"), ("qemu -m 4096M -smp 1", "tcg"),
                                                     ("qemu -m 768M -smp 1", "kvm"))):  # fmt: skip
        assert "mapping: [heap]" in whats(first, run(f"ccc{number}", 8, command, accelerator))


def test_values_of_equal_findings_are_compared_where_they_are_steady(tmp_path: Path) -> None:
    def run(name: str, kernel: str, count: str, started: str) -> Path:
        finding = replace(GREW, operands=(operand("malloc_par().tcache_count", count),))
        return make(tmp_path / name, kernel, findings=(finding,), started=started)

    for number in ("1", "2"):
        run(f"a/{number}", "6.1", "7", f"2026-01-0{number}")
        run(f"b/{number}", "6.12", "16", f"2026-01-0{number}")
    (one,) = differences(tmp_path / "a", tmp_path / "b")
    assert (one.topic, one.what, one.claim) == (Topic.VALUE, "grow-one-page", "brk.grow")
    assert [(spot.at, spot.values) for spot in one.spots] == [("malloc_par().tcache_count", ("7", "16"))]


def test_lines_that_printk_left_out_are_no_difference(tmp_path: Path) -> None:
    dump = "4,1,2,-;coredump: 12(exe): RLIMIT_CORE is set to 1, aborting core\n"
    cut = "4,1,2,-;do_coredump: 7 callbacks suppressed\n"
    first = make(tmp_path / "first", log=dump)
    limited = make(tmp_path / "limited", "6.12", log=cut)
    silent = make(tmp_path / "silent", "6.12", log="")
    assert compared(first, limited).exit_code == 0
    assert whats(first, silent) == ["kernel log: coredump: N(exe):"]


def test_what_the_kernel_says_through_a_limit_is_not_counted(tmp_path: Path) -> None:
    def side(name: str, line: str, count: int) -> Path:
        return make(tmp_path / name, ("6.1", "6.12")[len(name) % 2], log=f"4,1,2,-;{line}\n" * count)

    fault, other = "exe[12]: segfault at 10 ip 20 sp 30 error 6", "exe: something else"
    assert whats(side("a", fault, 2), side("bb", fault, 3)) == []
    assert whats(side("ccc", other, 2), side("dddd", other, 3)) == ["kernel log: exe: something"]
    # ten of them may be all that was let through, and what is missing in the other log may be missing for that
    assert whats(side("eeeee", fault, 10), side("ffffff", other, 1)) == []
    assert set(whats(side("ggggggg", fault, 9), side("hhhhhhhh", other, 1))) == {
        "kernel log: exe[N]: segfault", "kernel log: exe: something"}  # fmt: skip


# -- reasons -------------------------------------------------------------------------------------


def test_forms_say_why(tmp_path: Path) -> None:
    found = {one.what: one for one in differences(*two_kernels(tmp_path))}
    assert set(found) == {"place", "[heap]"}
    reasons = found["place"].reasons
    assert [(why.sides, why.because, why.source) for why in reasons] == [
        (("A",), OLD.because, OLD.source), (("B",), NEW.because, NEW.source)]  # fmt: skip
    assert found["[heap]"].reasons == reasons and found["[heap]"].claim == "brk.random"
    assert found["[heap]"].spots[0].values == ("rw-p 4 KiB", "rw-p 8 KiB")


def test_sums_of_what_is_listed_are_not_listed_again(tmp_path: Path) -> None:
    old, new = two_kernels(tmp_path)
    for path, size in ((old, 2000), (new, 2004)):
        (path / "evidence/01-grown/proc/214/status").write_text(f"Name:\tx\nVmSize:\t{size} kB\n")
        (path / "evidence/00-start/proc/214/status").write_text(f"Name:\tx\nVmSize:\t{size} kB\n")
    found = compared(old, new).cases[0]
    (size_,) = (one for one in found.differences if one.what == "VmSize")
    assert [spot.at for spot in size_.spots] == ["start"] and found.derived >= 1


def test_a_skip_says_why_itself(tmp_path: Path) -> None:
    passed = replace(SKIPPED, outcome=Outcome.PASS, message="")
    (one,) = differences(make(tmp_path / "a", findings=(passed,)), make(tmp_path / "b", "6.12", findings=(SKIPPED,)))
    assert ("B",) in [why.sides for why in one.reasons]
    assert "CONFIG_X is not set in this kernel" in [why.because for why in one.reasons]


def test_a_reason_of_one_case_is_none_of_another(tmp_path: Path) -> None:
    """The heap differs alike in both, and only brk's own expectation says why."""
    old, new = two_kernels(tmp_path / "brk")
    for side, run, kernel, kib in (("a", old, "6.1", 4), ("b", new, "6.12", 8)):
        (tmp_path / side).mkdir()
        run.rename(tmp_path / side / "brk")
        make(tmp_path / side / "fork", kernel, kib=kib, scenario="fork")
    cases = {case.name: case for case in compared(tmp_path / "a", tmp_path / "b").cases}
    ((brk,), (fork,)) = ([one for one in cases[f"{name} with bookworm"].differences if one.what == "[heap]"]
                         for name in ("brk", "fork"))  # fmt: skip
    assert brk.claim == "brk.random" and [why.because for why in brk.reasons] == [OLD.because, NEW.because]
    assert fork.claim == "" and fork.reasons == ()


@pytest.mark.parametrize("source", [OLD.source, NEW.source])
def test_what_is_said_of_both_sides_is_no_reason(tmp_path: Path, source: str) -> None:
    new = replace(NEW, because=OLD.because, source=source)
    first, second = make(tmp_path / "a", findings=(OLD,)), make(tmp_path / "b", "6.12", findings=(new,))
    (one,) = differences(first, second)
    assert (one.what, one.reasons) == ("place", ())


def test_a_skip_on_both_sides_is_no_reason(tmp_path: Path) -> None:
    other = replace(SKIPPED, when="config('X')")
    (one,) = differences(make(tmp_path / "a", findings=(SKIPPED,)), make(tmp_path / "b", "6.12", findings=(other,)))
    assert (one.what, one.reasons) == ("limit", ())


def test_reasons_tell_apart_all_sides_that_differ() -> None:
    old, new = Reason(("A",), "old", ""), Reason(("B", "C"), "new", "")
    assert holding((old, new), [[("A", 1), ("B", 2), ("C", 2)]]) == (old, new)
    assert holding((old, new), [[("A", 1), ("B", 2), ("C", 3)]]) == ()  # B and C differ for another reason
    assert holding((old,), [[("A", 1), ("B", 2)]]) == ()  # nothing is said of B
    both = Reason(("A", "B"), "always so", "")
    assert holding((both, old, Reason(("B",), "new", "")), [[("A", 1), ("B", 2)]])[0] == old


def test_what_the_kernel_changed_explains_that_change_only(tmp_path: Path) -> None:
    old = "4,1,2,-;Process 12(exe) has RLIMIT_CORE set to 1\n4,2,2,-;Aborting core\n"
    new = "4,1,2,-;coredump: 12(exe): RLIMIT_CORE is set to 1, aborting core\n"
    logs = {"old": ("6.1", old), "new": ("6.12", new), "old with new words": ("6.1", new), "silent": ("6.1", "")}
    made = {name: make(tmp_path / name, kernel, log=log) for name, (kernel, log) in logs.items()}
    found = differences(made["old"], made["new"])
    assert [one.what for one in found] == ["Process N(exe)", "Aborting core", "coredump: N(exe):"]
    assert all("c114e9948c2b" in one.reasons[0].source for one in found)
    silent = make(tmp_path / "silent new", "6.12")
    for one, other in ((made["old with new words"], silent), (made["silent"], made["new"])):
        assert [(one.what, one.reasons) for one in differences(one, other)] == [("coredump: N(exe):", ())]


def test_a_mapping_that_a_release_brought_is_known_where_it_did(tmp_path: Path) -> None:
    def side(name: str, kernel: str, split: bool) -> Path:
        place = make(tmp_path / name, kernel)
        for file in place.glob("evidence/*/proc/214/smaps") if split else ():
            file.write_text(file.read_text().replace("[vvar]", "[vvar_vclock]"))
        return place

    old, new, odd = side("a", "6.12", False), side("b", "6.13", True), side("c", "6.12", True)
    for one, known in ((new, True), (odd, False)):
        (found,) = (found for found in differences(old, one) if found.what == "[vvar_vclock]")
        assert bool(found.reasons) is known


def test_a_file_that_is_not_mapped_is_of_no_glibc(tmp_path: Path) -> None:
    old, new = make(tmp_path / "a"), make(tmp_path / "b", userland="trixie")
    for file in new.glob("evidence/*/proc/214/smaps"):
        file.write_text(file.read_text().replace("/libc.so.6", "/libother.so.6"))
    found = {one.what: one for one in differences(old, new) if one.topic is Topic.MAPPING}
    assert {"libc.so", "libother.so"} <= set(found)
    assert found["libc.so"].reasons == found["libother.so"].reasons == ()


def test_libpthread_went_into_libc(tmp_path: Path) -> None:
    """Where glibc is older than 2.34 it may be mapped; where both are newer that says nothing."""
    def side(name: str, userland: str, there: bool) -> Path:
        place = make(tmp_path / name, userland=userland)
        for file in place.glob("evidence/*/proc/214/smaps") if there else ():
            file.write_text(file.read_text().replace("/libc.so.6", "/libpthread-2.31.so"))
        return place

    old, new, odd = side("a", "2.31", True), side("b", "trixie", False), side("c", "bookworm", True)
    for one, known in ((old, True), (odd, False)):
        found = [found for found in differences(one, new) if found.what == "libpthread.so"]
        assert [bool(one.reasons) for one in found] == [known]


def test_a_parameter_of_malloc_is_known_where_glibcs_agree_on_it() -> None:
    seen = Seen(Topic.HEAP, "mp_.tcache_count", "grown", "7")
    glibcs = [("A", "2.24"), ("B", "2.41"), ("C", "2.41")]
    found = of_glibcs(seen, {"A": {False}, "B": {True}, "C": {True}}, glibcs)
    assert [(one.sides, one.because) for one in found] == [
        (("B", "C"), "The structure of malloc's parameters has this field."),
        (("A",), "The structure of malloc's parameters has no such field.")]  # fmt: skip
    assert of_glibcs(seen, {"A": {False}, "B": {True}, "C": {False}}, glibcs) == ()


def test_files_of_another_glibc_are_known_to_be_others(tmp_path: Path) -> None:
    old, new = make(tmp_path / "a"), make(tmp_path / "b", userland="trixie")
    for file in new.glob("evidence/*/proc/214/smaps"):
        file.write_text(file.read_text().replace("7f2713dca000-7f2713e1d000", "7f2713dca000-7f2713e1c000"))
    (one,) = (one for one in differences(old, new) if one.topic is Topic.MAPPING)
    assert one.what == "libc.so" and len(one.spots) == 2
    assert [why.because for why in one.reasons] == [
        "The file is that of glibc 2.36, or built against it.", "The file is that of glibc 2.41, or built against it."]


def test_what_findings_cite_is_gathered_once(tmp_path: Path) -> None:
    """Else every observation looks at every finding, and ten thousand of them take minutes."""
    old, _ = two_kernels(tmp_path)
    reading = Reading(old)
    citations = Citations(reading)
    reading.run.record.findings.clear()
    (seen,) = (one for one in reading.seen if (one.topic, one.what) == (Topic.MAPPING, "[heap]"))
    assert citations.of(seen) == ["place"]
    assert citations.of(replace(seen, topic=Topic.HEAP, word="z")) == []
    assert citations.of(replace(seen, word="x")) == ["place"]
    assert citations.of(replace(seen, word="y")) == citations.of(replace(seen, evidence=None)) == []
    assert citations.of(replace(seen, topic=Topic.TRACE, word="6.4", evidence=Evidence("trace"))) == ["place"]


# -- sides and cases -----------------------------------------------------------------------------


def test_cases_are_matched_by_what_the_sides_have_in_common(tmp_path: Path) -> None:
    for side, kernel in (("a", "6.1"), ("b", "6.12")):
        for userland in ("bookworm", "trixie"):
            make(tmp_path / side / userland, kernel, userland)
    found = compared(tmp_path / "a", tmp_path / "b")
    assert found.rule == "matched by scenario and userland"
    assert [case.name for case in found.cases] == ["brk with bookworm", "brk with trixie"]
    assert [side.name for side in found.sides] == ["6.1", "6.12"]
    exact_ = compared(tmp_path / "a", tmp_path / "a")
    assert exact_.rule == "matched by scenario, kernel and userland"
    with pytest.raises(UsageError, match="just one counterpart"):
        compared(tmp_path / "a", make(tmp_path / "c", "5.10", "bullseye"))


def test_a_case_without_a_counterpart_is_a_difference(tmp_path: Path) -> None:
    make(tmp_path / "a/brk")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    make(tmp_path / "b/fork", scenario="fork")
    found = compared(tmp_path / "a", tmp_path / "b")
    assert found.alone == (("B", "fork on 6.1 with bookworm"),) and found.exit_code == 1


def test_a_case_that_one_of_three_sides_lacks_is_told(tmp_path: Path) -> None:
    for name, kernels in (("a", ("6.1", "6.12")), ("b", ("6.1", "6.12")), ("c", ("6.1",))):
        for kernel in kernels:
            make(tmp_path / name / kernel, kernel)
    found = compared(*(tmp_path / name for name in "abc"))
    assert [letters for letters, _ in found.alone] == ["A, B"] and found.exit_code == 1


def test_three_sides(tmp_path: Path) -> None:
    places = [make(tmp_path / kernel, kernel, kib=kib) for kernel, kib in (("5.10", 4), ("6.1", 4), ("6.12", 8))]
    (one,) = differences(*places)
    assert one.spots[0].values == ("rw-p 4 KiB", "rw-p 4 KiB", "rw-p 8 KiB")


def test_only_runs_of_the_newest_program_and_with_an_end_count(tmp_path: Path) -> None:
    make(tmp_path / "a/old", fingerprint="before", started="2026-01-01")
    make(tmp_path / "a/new", started="2026-01-02")
    edited(make(tmp_path / "a/cut", "6.12"), ending=Ending.INTERRUPTED.value)
    edited(make(tmp_path / "a/odd", "5.10"), findings=[{**_json(GREW), "because": 7}])
    (tmp_path / "a/none").mkdir()
    (tmp_path / "a/none/run.json").write_text("{")
    found, left_out = sides.read([tmp_path / "a"])
    assert [one.path.name for one in found[0].members] == ["new"]
    assert len(left_out) == 4 and any("because is 7" in why for _, why in left_out)
    with pytest.raises(UsageError, match="no run there came to an end"):
        sides.read([tmp_path / "a/cut"])
    with pytest.raises(UsageError, match="no run directory"):
        sides.read([tmp_path / "nothing"])


def _json(finding: object) -> dict[str, object]:
    from dataclasses import asdict

    return dict(json.loads(json.dumps(asdict(finding))))  # type: ignore[call-overload]


def test_settings_of_one_side_only_are_told(tmp_path: Path) -> None:
    tuned = {"append": [], "tunables": [["glibc.malloc.tcache_count", "0"]]}
    found = compared(make(tmp_path / "a"), make(tmp_path / "b", settings=tuned))
    assert [side.settings for side in found.sides] == [(), ("brk: glibc.malloc.tcache_count=0",)]


def test_evidence_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    one, other = make(tmp_path / "a"), make(tmp_path / "b", "6.12")
    (other / "evidence/01-grown/proc/214/smaps").write_text("\x1b]0;x\x07 nonsense\n")
    (other / "evidence/01-grown/proc/214/stat").write_bytes(b"\xff" * 100)
    found = compared(one, other).cases[0]
    assert any("smaps:1: not the first line" in why for why in found.broken)
    assert any("stat:1: not the line" in why for why in found.broken)
    assert any(d.what == "[heap]" and d.spots[0].values[1] == "" for d in found.differences)


def test_evidence_that_cannot_be_read_is_never_the_same(tmp_path: Path) -> None:
    """Not even of repeats, where it is the same as far as it can be read."""
    one, other = make(tmp_path / "a"), make(tmp_path / "b", started="2026-01-02")
    assert compared(one, other).exit_code == 0
    for place in (one, other):
        (place / "evidence/01-grown/proc/214/stat").write_bytes(b"\xff" * 100)
    damaged = compared(one, other)
    assert damaged.differences == 0 and damaged.exit_code == 3 and words.verdict(damaged) == "NOT ALL READ"
    assert "not read" in compare_markdown.render(damaged)


def test_evidence_that_is_gone_is_no_noise(tmp_path: Path) -> None:
    one, other = make(tmp_path / "a"), make(tmp_path / "b", started="2026-01-02")
    (other / "evidence/01-grown/proc/214/stat").unlink()
    assert compared(one, other).exit_code != 0


def test_how_runs_ended_is_compared(tmp_path: Path) -> None:
    one = make(tmp_path / "a")
    other = edited(make(tmp_path / "b", "6.12"), ending="panic", ended=None)
    found = {d.what: d.spots[0].values for d in differences(one, other)}
    assert found["the run"] == ("completed", "panic") and found["the program"] == ("exit status 0", "")


def test_long_values_are_cut_and_still_told_apart(tmp_path: Path) -> None:
    from orchestrator.comparison.seen import MAX_VALUE, _bounded

    long = [_bounded(Seen(Topic.MAPPING, "x", "", "a" * 5000 + end)) for end in "xy"]
    assert all(len(one.value) < MAX_VALUE + 60 for one in long) and long[0].value != long[1].value


def test_a_place_is_of_the_mapping_that_holds_it() -> None:
    hole = Regions((Vma(1 << 40, (1 << 40) + 4096, "rw-p", 0, "00:00", 0, "", 1),))
    assert hole.place((1 << 40) + 4096) == "end of anonymous (4 KiB)" and hole.place(5) is None


def test_a_heap_that_ends_at_a_page_table_has_a_size_by_chance(tmp_path: Path) -> None:
    edge = (HEAP >> 21) + 1 << 21
    old = make(tmp_path / "old", kib=(edge + 4096 - HEAP) >> 10)
    new = make(tmp_path / "new", "6.12", by=-0x3000, kib=(edge + 4096 - HEAP + 0x3000) >> 10)
    assert compared(old, new).exit_code == 0
