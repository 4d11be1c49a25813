"""The report on the terminal, against golden files: read these to see what a user sees.

``pytest --update-goldens`` rewrites them.
"""

from __future__ import annotations

import contextlib
import re
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from synthetic_run import ERRED, FAILED, GREW, HEAP, LIBC, MERGED, PID, PROGRAM, SKIPPED, STACK, Builder, Map, brk, heap

from orchestrator.model import Ended, Ending, Evidence, Operand, Outcome
from orchestrator.report import text
from orchestrator.report.terminal import render
from orchestrator.rundir import Boot, ConsoleEvent

Golden = Callable[[str, str], None]
SHOWN = Path("runs/20251102-100000-brk-6.1-bookworm")

CONSOLE = """\
[    0.000000] Linux version 6.1.0-50-cloud-amd64
[    2.104501] BUG: kernel NULL pointer dereference, address: 0000000000000000
[    2.104907] #PF: supervisor read access in kernel mode
[    2.105512] Oops: 0000 [#1] PREEMPT SMP NOPTI
[    2.106001] CPU: 0 PID: 214 Comm: program Not tainted 6.1.0-50-cloud-amd64 #1 Debian 6.1.176-1
[    2.106733] RIP: 0010:do_brk_flags+0x1a/0x2f0
[    2.110000] Kernel panic - not syncing: Fatal exception
[    2.110431] ---[ end Kernel panic - not syncing: Fatal exception ]---
"""


def shown(run: Builder, **options: bool) -> str:
    """The report, as a user would see it who stands above ``runs``."""
    place = run.directory.path.parent
    (place / SHOWN).parent.mkdir(exist_ok=True)
    if not (place / SHOWN).exists():
        (place / SHOWN).symlink_to(run.directory.path)
    with contextlib.chdir(place):
        return render(run.record, SHOWN, **options)


def fits(report: str, width: int = 80) -> None:
    """No line is wider, in columns; only a path of a run directory may be, for that is to be copied."""
    for line in report.splitlines():
        assert text.columns(line) <= width or line.strip() == str(SHOWN), line


def test_pass(tmp_path: Path, golden: Golden) -> None:
    report = shown(brk(tmp_path / "run"))
    golden("report-pass.txt", report)
    fits(report)


def test_verbose(tmp_path: Path, golden: Golden) -> None:
    golden("report-verbose.txt", shown(brk(tmp_path / "run"), verbose=True))


def test_colour_changes_nothing_but_colour(tmp_path: Path, golden: Golden) -> None:
    run = brk(tmp_path / "run")
    run.record.findings = [GREW, FAILED, SKIPPED, ERRED]
    report = shown(run, colour=True)
    golden("report-colour.txt", report)
    assert re.sub(r"\x1b\[[0-9;]*m", "", report) == shown(run)


def test_fail_error_skip(tmp_path: Path, golden: Golden) -> None:
    run = brk(tmp_path / "run")
    run.record.findings = [FAILED, MERGED, ERRED, SKIPPED]
    run.record.outcome, run.record.exit_code = Outcome.FAIL, 1
    run.record.boots = [Boot(1, "panic", 2.04, 1.8, "Kernel panic - not syncing: double fault"), Boot(2, "ready", 2.21)]
    run.record.console = [
        ConsoleEvent("warning", "WARNING: CPU: 0 PID: 214 at mm/mmap.c:99 do_brk_flags+0x1/0x2", 4.213)
    ]
    run.record.messages = ["kernel 6.1: the mirror no longer serves 6.1.170-1; 6.1.176-1 was taken instead"]
    report = shown(run)
    golden("report-fail.txt", report)
    fits(report)
    assert "evidence/01-grown/proc/214/smaps:41: 56524d96e000-56524d970000" in report
    assert report.splitlines()[-2:] == ["FAIL  1 passed, 1 failed, 1 skipped, 1 in error, 3.2 s, exit 1,", f"  {SHOWN}"]


def test_what_was_seen_before_a_save_says_so(tmp_path: Path) -> None:
    run = brk(tmp_path / "run")
    run.record.console = [ConsoleEvent("warning", "WARNING: a", 1.25, saved=True), ConsoleEvent("warning", "b", 2.0)]
    lines = " ".join(shown(run).split())
    assert "warning at 1.2 s of the boot that was saved: WARNING: a" in lines and "warning at 2.0 s: b" in lines


def test_nothing_evaluated_is_no_success(tmp_path: Path) -> None:
    run = brk(tmp_path / "run")
    run.record.findings, run.record.outcome, run.record.exit_code = [], Outcome.ERROR, 3
    assert shown(run).splitlines()[-1] == f"ERROR  nothing evaluated, 3.2 s, exit 3, {SHOWN}"


def plain(path: Path) -> Builder:
    """A plain C file: sbrk(0); getchar(); brk(+4096); getchar(); brk(back)."""
    run = Builder(path)
    run.record.case = {"scenario": "demo.c", "plain": True, "kernel": "7.2", "userland": "forky"}
    run.record.environment = {"release": "7.2.1-cloud-amd64", "glibc": "2.43", "page_size": 4096}
    run.record.emulator = {"version": "10.0.13", "accelerator": "kvm", "reason": "proved in 0.4 s"}
    for name, maps in (("stdin-1", ()), ("stdin-2", (heap(4),)), ("stdin-3", ())):
        run.at(name, *maps, kind="stdin")
    run.at("exit", kind="exit")
    run.directory.write("evidence/output", b"Welcome to the break\nbreak: 0x56524d96e000\n\nbye\n")
    return run


def test_plain_program(tmp_path: Path, golden: Golden) -> None:
    report = shown(plain(tmp_path / "run"))
    golden("report-plain.txt", report)
    fits(report)


def test_plain_program_that_is_killed(tmp_path: Path, golden: Golden) -> None:
    run = plain(tmp_path / "run")
    run.record.checkpoints.pop()
    run.at("SIGSEGV", Map(STACK - 8192 * 1024, 8192, "rw-p", "[stack]", 8192), kind="signal", signal=11)
    run.at("exit", kind="exit")
    run.record.ended = Ended(signal=11)
    run.directory.write("evidence/output", b"".join(b"depth %d\n" % i for i in range(5000)))
    golden("report-plain-signal.txt", shown(run))


def test_panic(tmp_path: Path, golden: Golden) -> None:
    run = Builder(tmp_path / "run").at("start").at("grown", heap(4))
    run.end(Ending.PANIC, "Kernel panic - not syncing: Fatal exception", 4, CONSOLE * 3)
    run.record.console = [
        ConsoleEvent("oops", "BUG: kernel NULL pointer dereference, address: 0000000000000000", 2.31),
        ConsoleEvent("panic", "Kernel panic - not syncing: Fatal exception", 2.32),
    ]
    report = shown(run)
    golden("report-panic.txt", report)
    fits(report)
    assert report.startswith("PANIC after 3.2 s: Kernel panic - not syncing: Fatal exception\n")
    assert report.splitlines()[-1].startswith("PANIC  ")
    assert report.count("\n  | ") - report.count("\n  |   ") == 15


def test_lost_before_anything_was_measured(tmp_path: Path, golden: Golden) -> None:
    run = Builder(tmp_path / "run").end(Ending.LOST_GUEST, "QEMU ended with exit code 1: Could not open vmlinuz", 4)
    run.record.environment, run.record.emulator = {}, {}
    run.record.case = {"scenario": "brk", "kernel": "/home/u/bzImage", "userland": "bookworm", "settings": {}}
    run.record.boots = [Boot(1, "lost-guest", 0.3, 0.1, "QEMU ended with exit code 1")]
    golden("report-lost.txt", shown(run))


def test_timeout(tmp_path: Path, golden: Golden) -> None:
    run = Builder(tmp_path / "run").at("start")
    detail = "after checkpoint start the program reached no further checkpoint within 30 s"
    run.end(Ending.TIMEOUT, detail, 5, CONSOLE[:46])
    run.record.seconds, run.record.ended = 33.4, Ended(signal=9, killed_by_lab="limit")
    run.record.findings = [replace(GREW, outcome=Outcome.ERROR, message="the checkpoint was not reached")]
    golden("report-timeout.txt", shown(run))


def test_interrupted(tmp_path: Path, golden: Golden) -> None:
    run = Builder(tmp_path / "run").at("start").end(Ending.INTERRUPTED, "interrupted by the user", 130)
    golden("report-interrupted.txt", shown(run))


def test_unfinished_is_said(tmp_path: Path) -> None:
    run = Builder(tmp_path / "run").end(Ending.UNFINISHED, "", 3)
    lines = shown(run).splitlines()
    assert lines[0] == "UNFINISHED after 3.2 s"
    assert lines[-2].startswith("UNFINISHED  ")


EVIL = "\x1b[2J\x1b]0;owned\x07\r\u202egpj.exe\u200b\u2028\x9b31m\U000e0041|<b>\t\x00\n\nPASS  99 passed"


def test_hostile_text_moves_no_cursor_and_forges_no_line(tmp_path: Path, golden: Golden) -> None:
    run = Builder(tmp_path / "run").at("start", Map(HEAP, 4, "rw-p", "/tmp/" + EVIL.replace("\n", "\\012")))
    run.at("x", Map(HEAP, 8, "rw-p", "[anon:" + EVIL.replace("\n", "") + "]"), notes=f"k{EVIL[:9]}={EVIL}" + "y" * 900)
    run.record.case.update(scenario=EVIL, summary=EVIL, settings={"append": [EVIL], "sysctls": [[EVIL, EVIL]]})
    run.record.environment.update(release=EVIL, glibc=EVIL)
    run.record.emulator.update(reason=EVIL, version=EVIL, accelerator=EVIL)
    operands = (Operand(EVIL, EVIL, (Evidence(EVIL, 3, EVIL),)),)
    words: dict[str, Any] = {
        "id": EVIL,
        "claim": EVIL,
        "at": EVIL,
        "check": EVIL,
        "because": EVIL,
        "source": EVIL,
        "when": EVIL,
    }
    run.record.findings = [replace(FAILED, message=EVIL, operands=operands, **words)]
    run.record.messages, run.record.console = [EVIL], [ConsoleEvent("oops", EVIL, 1)]
    run.record.boots = [Boot(1, EVIL, 1, 1, EVIL)]
    run.end(Ending.OOPS, EVIL, 4, EVIL + "\xff" + "z" * 5000)
    run.record.ended = Ended(code=1, killed_by_lab=EVIL)
    run.directory.write("evidence/output", EVIL.encode() + b"\xff\xfe")
    report = shown(run, verbose=True)
    golden("report-hostile.txt", report)
    allowed = {"L", "N", "P", "S"}
    assert all(c in "\n " or unicodedata.category(c)[0] in allowed for c in report)
    verdicts = [line for line in report.splitlines() if line.startswith("PASS")]
    assert verdicts == []


def test_evidence_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    run = brk(tmp_path / "run")
    folder = run.directory.path / "evidence"
    (folder / f"00-start/proc/{PID}/smaps").unlink()
    (folder / f"01-grown/proc/{PID}/smaps").write_bytes(b"\xff\x00 nonsense")
    (folder / f"02-more/proc/{PID}/smaps").unlink()
    (folder / f"02-more/proc/{PID}/smaps").symlink_to("/dev/zero")
    (folder / f"03-touched/proc/{PID}/smaps.truncated").write_bytes(b"")
    run.record.checkpoints[4] = replace(run.record.checkpoints[4], directory="../../etc")
    report = shown(run)
    for words in ("no smaps and no maps", "smaps:1: not the first line", "is a symbolic link", "is cut off", "unsafe"):
        assert words in report
    fits(report)
    assert report.splitlines()[-1].startswith("PASS  2 passed")


def test_maps_serve_where_smaps_are_missing(tmp_path: Path) -> None:
    run = Builder(tmp_path / "run").at("start").at("grown")
    more = "00600000-00700000 rw-p 00000000 00:00 0  [heap]\n"
    for checkpoint, line in zip(run.record.checkpoints, ("", more), strict=True):
        folder = run.directory.path / checkpoint.directory / f"proc/{PID}"
        (folder / "smaps").unlink()
        (folder / "maps").write_text("00400000-00401000 r-xp 00000000 08:01 12                         /bin/x\n" + line)
    assert re.search(r"appeared 00600000-00700000 rw-p +1 MiB +\+256 +\? +\[heap\]", shown(run))


def test_other_processes_and_programs(tmp_path: Path) -> None:
    run = Builder(tmp_path / "run").at("start").at("child", heap(4), pid=PID + 1).at("again", heap(8))
    other = [Map(m, 4, "r-xp", "/bin/other", 4, 0, 999) for m in (0x565231986000,)]
    run.at("child-again", heap(12), pid=PID + 1).at("executed", *other)
    path = run.directory.path / f"evidence/04-executed/proc/{PID}/smaps"
    path.write_text("".join(m.smaps() for m in other))
    report = shown(run)
    assert re.search(r"1 child .*new process, pid 215", report)
    assert re.search(r"2 again .*\n  appeared 56524d96e000-56524d970000", report)
    assert re.search(r"3 child-again .*\n  grew     56524d96e000-56524d971000 rw-p +12 KiB +\+2", report)
    assert re.search(r"4 executed .*new program, pid 214", report)


def test_splits_merges_and_permissions(tmp_path: Path, golden: Golden) -> None:
    base = 0x7F0000000000
    run = Builder(tmp_path / "run").at(
        "start", Map(base, 64, "rw-p", ""), Map(0x565231989000, 4, "rw-p", PROGRAM, 4, 0x3000, 131)
    )
    run.at(
        "mprotect",
        Map(base, 16, "rw-p", "", 8),
        Map(base + 0x4000, 16, "r--p", "", 4),
        Map(base + 0x8000, 32, "rw-p", ""),
    )
    run.at("munmap", Map(base, 16, "rw-p", "", 8), Map(base + 0xC000, 16, "rw-p", ""))
    run.at("mmap", Map(base, 64, "rw-p", "", 8), Map(0x565231989000, 4, "r--p", PROGRAM, 4, 0x3000, 131))
    golden("report-kinds.txt", shown(run))


def test_a_flood_of_changes_is_bounded(tmp_path: Path) -> None:
    run = Builder(tmp_path / "run").at("start")
    run.at("flood", *(Map(0x600000000000 + i * 0x3000, 4, "rw-p", "") for i in range(300)))
    assert "... 260 more rows (--verbose), from evidence/01-flood/proc/214/smaps" in shown(run)
    assert len(shown(run, verbose=True).splitlines()) > 300


@pytest.mark.parametrize("width", [20, 60, 132])
def test_other_widths(tmp_path: Path, width: int) -> None:
    run = brk(tmp_path / "run")
    run.record.findings = [GREW, FAILED]
    report = render(run.record, run.directory.path, width=width)
    assert "FAIL  grow-one-page" in report
    if width >= 60:
        assert "evidence/01-grown/proc/214/smaps:41:" in report


def test_libraries_that_are_read_in_take_one_line(tmp_path: Path) -> None:
    run = Builder(tmp_path / "run").at("start").at("later", Map(0x7F2713C74000, 1368, "r-xp", LIBC, 784, 0x26000, 77))
    assert "  touched  libc.so.6 RSS +64 KiB\n" in shown(run)


@pytest.mark.parametrize(
    ("count", "expected"),
    [(0, "0"), (17, "17 B"), (4096, "4 KiB"), (135168, "132 KiB"), (1 << 20, "1 MiB"), (1990000, "1.9 MiB"),
     (-4096, "-4 KiB"), (1 << 47, "128 TiB"), (1 << 64, "16 EiB"), (1 << 90, "1073741824 EiB")],
)  # fmt: skip
def test_sizes(count: int, expected: str) -> None:
    assert text.size(count) == expected


def test_cleaning() -> None:
    assert text.clean("plain text") == "plain text"
    assert text.clean("a\tb\u00a0c\u00e9") == "a b\\xa0c\u00e9"
    assert text.clean("e" + "\u0301" * 50) == "e\u0301\u0301"
    assert text.clean("\ud800\ue000\u2066") == "\\ud800\\ue000\\u2066"
    assert text.clean("x" * 500, 10) == "x" * 10 + " ... (+490 characters)"
    assert text.columns("\u6f22\u5b57e\u0301") == 5
    assert text.cut("\u6f22\u5b57\u6f22\u5b57", 6) == "\u6f22..."
