"""Parsers of /proc/PID: real captures, values, and hostile input that must be named by line."""
# ruff: noqa: E501 - tables of lines

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.collect import procfs
from orchestrator.collect.lines import MAX_LINE, Document, EvidenceError

CAPTURE = Path(__file__).parents[1] / "data/brk/evidence/02-touched/proc/77"
HEAP = "55d0c8a00000-55d0c8a21000 rw-p 00000000 00:00 0                          [heap]"


def capture(name: str) -> Document:
    return Document.of(name, (CAPTURE / name).read_bytes())


def doc(text: str) -> Document:
    return Document.of("f", text)


def test_maps_line() -> None:
    (vma,) = procfs.parse_maps(doc(HEAP + "\n"))
    assert (vma.start, vma.end, vma.size) == (0x55D0C8A00000, 0x55D0C8A21000, 0x21000)
    assert (vma.perms, vma.offset, vma.device, vma.inode, vma.name, vma.line) == ("rw-p", 0, "00:00", 0, "[heap]", 1)


@pytest.mark.parametrize(
    "name", ["/usr/bin/a b", "/x (deleted)", "/with\\012newline", "[anon:my name]", "/memfd:é x", ""]
)
def test_maps_names(name: str) -> None:
    line = f"1000-2000 r--s 0000f000 fe:01 2204695                   {name}".rstrip() + ("" if name else " ")
    (vma,) = procfs.parse_maps(doc(line))
    assert (vma.name, vma.perms, vma.inode) == (name, "r--s", 2204695)


def test_maps_vsyscall_and_empty() -> None:
    (vma,) = procfs.parse_maps(doc("ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0       [vsyscall]\n"))
    assert vma.perms == "--xp"
    assert procfs.parse_maps(doc("")) == ()


@pytest.mark.parametrize(
    "line",
    [
        "", "garbage", "2000-1000 rw-p 00000000 00:00 0", "1000-1000 rw-p 00000000 00:00 0", "1000-2000 rwxz 0 00:00 0",
        "1000-2000 rw-p 00000000 00:00", "11111111111111111-2 rw-p 00000000 00:00 0", "-1000-2000 rw-p 00000000 00:00 0",
        "1000-2000 rw-p 00000000 00:00 0[heap]", "0-1000 rw-p 00000000 00:00 0",
    ],
)  # fmt: skip
def test_maps_garbled_line_is_named(line: str) -> None:
    good = "1000-2000 rw-p 00000000 00:00 0 "
    with pytest.raises(EvidenceError, match=r"^f:2: "):
        procfs.parse_maps(doc(f"{good}\n{line}\n"))


def test_maps_of_100000_lines_take_about_a_second() -> None:
    text = "\n".join(f"{n * 8192 + 4096:08x}-{n * 8192 + 8192:08x} rw-p 00000000 00:00 0 " for n in range(100_000))
    begin = time.perf_counter()
    assert len(procfs.parse_maps(doc(text))) == 100_000
    assert time.perf_counter() - begin < 5  # about 0.3 s alone


def test_smaps_capture_agrees_with_its_headers() -> None:
    document = capture("smaps")
    vmas = procfs.parse_smaps(document)
    heap = next(vma for vma in vmas if vma.name == "[heap]")
    assert dict(heap.fields)["Rss"] == 4096
    assert "wr" in heap.flags
    for vma in vmas:
        assert document.lines[vma.line - 1].startswith(f"{vma.start:08x}-")
        for index, (field, value) in enumerate(vma.fields):
            line = document.lines[vma.line + index]
            assert line.startswith(f"{field}:")
            assert str(value // 1024) in line
        assert dict(vma.fields)["Size"] == vma.size


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("Rss: 4 kB\n", 1),
        (f"{HEAP}\nRss: four kB\n", 2),
        (f"{HEAP}\nRss: 4 kB\nnonsense\n", 3),
        (f"{HEAP}\nVmFlags: rd wr \nRss: 4 kB\n", 3),
        (f"{HEAP}\nRss: 4 kB\n{HEAP}\n", 3),
        (f"{HEAP}\nRss: -4 kB\n", 2),
        (f"{HEAP}\nRss: {'9' * 30} kB\n", 2),
    ],
)
def test_smaps_garbled(text: str, line: int) -> None:
    with pytest.raises(EvidenceError, match=rf"^f:{line}: "):
        procfs.parse_smaps(doc(text))


def test_smaps_keeps_fields_without_unit() -> None:
    (vma,) = procfs.parse_smaps(doc(f"{HEAP}\nSize: 132 kB\nTHPeligible:           0\nVmFlags: rd wr ?? \n"))
    assert dict(vma.fields) == {"Size": 132 << 10, "THPeligible": 0}
    assert vma.flags == ("rd", "wr", "??")


def test_status_stat_statm_limits_rollup_captures() -> None:
    status = procfs.parse_status(capture("status"))
    assert status["VmPTE"].value == 1024 * int(str(status["VmPTE"].value)) // 1024
    assert status["Pid"].value == 77
    assert str(status["State"].value).startswith("T")
    stat = procfs.parse_stat(capture("stat"))
    assert (stat["pid"].value, stat["comm"].value, stat["state"].value) == (77, "program", "T")
    heap = next(v for v in procfs.parse_smaps(capture("smaps")) if v.name == "[heap]")
    assert stat["start_brk"].value == heap.start
    statm = Document.of("statm", (CAPTURE.parents[2] / "00-start/proc/77/statm").read_bytes())
    assert set(procfs.parse_statm(statm)) == set(procfs.STATM_FIELDS)
    limits = procfs.parse_limits(capture("limits"))
    assert limits["data"].soft == math.inf
    assert set(limits) == set(procfs.LIMITS.values())
    assert procfs.parse_rollup(capture("smaps_rollup"))["Anonymous"].value


def test_stat_of_a_program_with_an_odd_name() -> None:
    numbers = " ".join(str(n) for n in range(4, 53))
    values = procfs.parse_stat(doc(f"1 (a) S (b ) R {numbers}\n"))
    assert (values["comm"].value, values["state"].value, values["start_brk"].value) == ("a) S (b ", "R", 47)


PARSERS: list[tuple[Callable[[Document], object], str]] = [
    (procfs.parse_status, "no colon"), (procfs.parse_status, "A: 1\nA: 2"), (procfs.parse_stat, ""),
    (procfs.parse_stat, "1 (a) S 1 2 3"), (procfs.parse_stat, "1 a S 1"), (procfs.parse_statm, "1 2 3"),
    (procfs.parse_statm, "1 2 3 4 5 6 x"), (procfs.parse_limits, ""), (procfs.parse_limits, "Limit x\nMax data size 1 2"),
    (procfs.parse_limits, "Limit\nMax new thing             1                    2                    bytes"),
    (procfs.parse_rollup, ""), (procfs.parse_rollup, "1000-2000 ---p 0 00:00 0 [rollup]\nRss 4"),
]  # fmt: skip


@pytest.mark.parametrize(("parse", "text"), PARSERS)
def test_other_files_garbled(parse: Callable[[Document], object], text: str) -> None:
    with pytest.raises(EvidenceError, match=r"^f:\d+: "):
        parse(doc(text))


def test_a_line_without_end_is_refused() -> None:
    with pytest.raises(EvidenceError, match=r"^f:2: "):
        doc("a\n" + "x" * (MAX_LINE + 1))


@pytest.mark.parametrize("name", ["smaps", "status", "stat", "limits", "smaps_rollup"])
def test_mutilated_captures_parse_or_are_refused_by_line(name: str) -> None:
    parse = {"smaps": procfs.parse_smaps, "status": procfs.parse_status, "stat": procfs.parse_stat,
             "limits": procfs.parse_limits, "smaps_rollup": procfs.parse_rollup}[name]  # fmt: skip
    content = (CAPTURE / name).read_bytes()
    dice = random.Random(1)
    for _ in range(150):
        broken = bytearray(content[: dice.randrange(len(content))] if dice.random() < 0.3 else content)
        for _ in range(dice.randrange(4)):
            broken[dice.randrange(len(broken)) if broken else 0 : 0] = dice.randbytes(dice.randrange(1, 5))
        try:
            parse(Document.of("f", bytes(broken)))
        except EvidenceError as error:
            assert error.message.startswith("f:")
