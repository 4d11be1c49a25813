"""The address space as a picture in characters, and reports of every kind in the width that they were asked for."""

from __future__ import annotations

import contextlib
import io
import itertools
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from results_samples import everything, hostile, planned
from synthetic_run import BASE, ERRED, FAILED, GREW, HEAP, SKIPPED, STACK, Builder, Map, brk, heap

from orchestrator.matrix.record import MatrixDirectory
from orchestrator.model import Ending
from orchestrator.report import matrix_table, results, results_terminal, terminal, terminal_map, text
from orchestrator.report.story import moments
from orchestrator.report.terminal_map import ASCII, UNICODE, Signs
from orchestrator.report.text import Paint

Golden = Callable[[str, str], None]
DATA = Path(__file__).parents[1] / "data"
WIDE = "漢字" * 30


def picture(run: Builder, width: int = 80, signs: Signs = UNICODE) -> str:
    lines = terminal_map.lines(list(moments(run.record, run.directory.path)), width, Paint(False), signs)
    return "\n".join(lines) + "\n"


def too_wide(report: str, width: int) -> list[str]:
    """The lines that are wider, but for those that are one word to be copied: a directory, or a command with one."""
    return [line for line in report.splitlines()
            if text.columns(line) > width and len(line.removeprefix("to go on: lab matrix --resume ").split()) > 1]


def test_the_picture(tmp_path: Path, golden: Golden) -> None:
    run = brk(tmp_path / "run")
    run.record.checkpoints = run.record.checkpoints[:4]
    golden("map.txt", picture(run))
    ascii_only = picture(run, signs=ASCII)
    assert ascii_only.isascii()
    assert ascii_only.splitlines()[1:] == [
        re.sub("[█░│┊]", lambda sign: {"█": "#", "░": ".", "│": "|", "┊": ":"}[sign[0]], line)
        for line in picture(run).splitlines()[1:]]
    rows = {line.split("  ")[-1].split(",")[0]: line for line in picture(run).splitlines()}
    assert "│█████░░░░░│" in rows["[heap]"] and "RSS +4 KiB" in rows["[heap]"]
    assert "│█░░░░░░░░░│" in rows["[stack]"] and "grew by 8 KiB" in rows["[stack]"]
    assert "[vsyscall]" not in rows
    addresses = [int(found[1], 16) for found in re.finditer(r"^ +([0-9a-f]+) │", picture(run), re.M)]
    assert addresses == sorted(addresses, reverse=True) and len(addresses) == 9


def test_sizes_and_gaps_add_up(tmp_path: Path) -> None:
    """Nothing is left out between the lowest and the highest mapping."""
    run = Builder(tmp_path / "run").at("start", heap(8, 4))
    (moment,) = moments(run.record, run.directory.path)
    regions = terminal_map._regions(moment)
    gaps = sum(after.start - before.end for before, after in itertools.pairwise(regions))
    assert sum(region.size for region in regions) + gaps == STACK - BASE[0].start
    assert sum(region.rss or 0 for region in regions) == sum(one.rss * 1024 for one in (*BASE, heap(8, 4)))


@pytest.mark.parametrize(("rss", "bar"), [(0, "░" * 10), (1, "█" + "░" * 9), (999, "█" * 9 + "░"), (1000, "█" * 10)])
def test_a_share_is_honest_at_its_ends(tmp_path: Path, rss: int, bar: str) -> None:
    run = Builder(tmp_path / "run").at("start", heap(1000, rss))
    assert f"│{bar}│ 1000 KiB" in picture(run)


def test_what_went_and_what_is_not_known(tmp_path: Path) -> None:
    run = Builder(tmp_path / "run").at("start", heap(8)).at("gone")
    assert picture(run).splitlines()[-1] == "  went: [heap] 8 KiB"
    folder = run.directory.path / run.record.checkpoints[-1].directory / "proc/214"
    (folder / "smaps").rename(folder / "maps")
    (folder / "maps").write_text(f"{HEAP:x}-{HEAP + 4096:x} rw-p 00000000 00:00 0 [heap]\n")
    assert "│    ?     │ 4 KiB   ? rw-p  [heap]" in picture(run)
    assert picture(Builder(tmp_path / "none")) == "\n"


def test_many_mappings_are_folded(tmp_path: Path) -> None:
    many = [Map(0x100000000000 + number * 0x3000, 4, "rw-p", "", 4) for number in range(5000)]
    run = Builder(tmp_path / "run").at("start", heap(8)).at("many", heap(12), *many)
    lines = picture(run).splitlines()
    assert len(lines) < 80 and "[heap], grew by 4 KiB" in picture(run) and "[stack]" in picture(run)
    folded = [int(found[1]) for line in lines if (found := re.search(r"(\d+) more mapping", line))]
    assert sum(folded) + terminal_map.MAX_REGIONS == 5000 + 9


def test_processes_are_named(tmp_path: Path) -> None:
    run = Builder(tmp_path / "run").at("start").at("child", pid=300)
    assert picture(run).startswith("the address space of process 300 at child, ")


# ---- the width


def kinds(tmp_path: Path) -> list[Builder]:
    """Runs of every kind that there is here, with words that are as wide as they can be."""
    runs = [brk(tmp_path / "brk"), brk(tmp_path / "findings"), Builder(tmp_path / "empty"), Builder(tmp_path / "wide")]
    words = {"message": WIDE, "because": WIDE, "source": WIDE}
    long = replace(FAILED, id="i" * 300, claim=WIDE, at="a" * 64, check="x" * 500, **words)
    runs[1].record.findings = [GREW, FAILED, SKIPPED, ERRED, long]
    runs[2].end(Ending.LOST_GUEST, "x" * 300, 4, "z" * 3000)
    runs[3].at("x" * 60, Map(0x7FFFFFFFE000, 1 << 40, "rw-p", WIDE, 1 << 39), notes=f"{'k' * 64}={WIDE}\n")
    runs[3].at("y", Map(0x7FFFFFFFE000, 1 << 41, "rw-p", WIDE, 1 << 40), notes="k" * 500)
    runs[3].record.case |= {"scenario": WIDE, "kernel": WIDE, "summary": WIDE}
    runs[3].record.environment |= {"release": WIDE, "glibc": "2" * 200}
    return runs


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("verbose", [False, True])
def test_no_report_of_a_run_is_wider(tmp_path: Path, width: int, verbose: bool) -> None:
    recorded = results.read([DATA / "brk"]).cases[0]
    assert recorded.record is not None
    found = [(run.record, run.directory.path) for run in kinds(tmp_path)]
    case = hostile(tmp_path / "hostile").cases[0]
    assert case.record is not None and case.directory is not None
    for record, place in [*found, (recorded.record, DATA / "brk"), (case.record, case.directory)]:
        for signs in (UNICODE, ASCII):
            report = terminal.render(record, place, width=width, verbose=verbose, signs=signs)
            assert not too_wide(report, width)


@pytest.mark.parametrize("width", [60, 80, 120])
def test_no_table_is_wider(tmp_path: Path, width: int) -> None:
    everything(tmp_path / "m")
    found = results.read([tmp_path / "m"])
    assert not too_wide(results_terminal.render(found, width=width), width)
    one = hostile(tmp_path / "hostile")
    crowd = replace(one, cases=tuple(replace(one.cases[0], name=f"{WIDE}{number}", kernel=f"{WIDE}{number % 7}",
                                             userland=f"{WIDE}{number}") for number in range(60)))  # fmt: skip
    assert not too_wide(results_terminal.render(crowd, width=width), width)
    pairs = tuple((kernel, f"own-{number}") for kernel in ("5.10", "6.1") for number in range(70))
    record = planned("brk", "exec", pairs=pairs)
    MatrixDirectory(tmp_path).save(record)
    assert not too_wide(matrix_table.render(record, tmp_path, width=width), width)


# ---- colour, and what a terminal can show


class Stream(io.StringIO):
    """A stream that may be a terminal."""

    def __init__(self, terminal: bool, encoding: str = "utf-8") -> None:
        super().__init__()
        self.terminal, self._encoding = terminal, encoding

    def isatty(self) -> bool:
        return self.terminal

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._encoding


@pytest.mark.parametrize(
    ("environment", "terminal_colour", "file_colour"),
    [
        ({"TERM": "xterm"}, True, False), ({"TERM": "dumb"}, False, False), ({}, False, False),
        ({"TERM": "xterm", "NO_COLOR": "1"}, False, False), ({"TERM": "xterm", "NO_COLOR": ""}, True, False),
        ({"TERM": "xterm", "CLICOLOR": "0"}, False, False), ({"FORCE_COLOR": "1"}, True, True),
        ({"CLICOLOR_FORCE": "1"}, True, True), ({"FORCE_COLOR": "0", "TERM": "xterm"}, True, False),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False, False),
    ],
)  # fmt: skip
def test_colour_is_for_terminals(environment: dict[str, str], terminal_colour: bool, file_colour: bool) -> None:
    assert text.wants_colour(Stream(True), environment) is terminal_colour
    assert text.wants_colour(Stream(False), environment) is file_colour


def test_what_a_stream_can_show() -> None:
    assert text.is_unicode(Stream(True)) and text.is_unicode(Stream(False, "UTF8"))
    assert not text.is_unicode(Stream(True, "ANSI_X3.4-1968")) and not text.is_unicode(Stream(True, "latin-1"))


def test_a_directory_stays_whole(tmp_path: Path) -> None:
    run = brk(tmp_path / "run")
    deep = tmp_path / ("d" * 100) / "run"
    deep.parent.mkdir()
    run.directory.path.rename(deep)
    with contextlib.chdir(tmp_path):
        report = terminal.render(run.record, deep)
    assert report.splitlines()[-1] == f"  {deep}" and report.splitlines()[-2].startswith("PASS  2 passed, 3.2 s,")
