"""The table of a matrix, against golden files: read these to see what a user sees."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from orchestrator.matrix.record import CaseRecord, Failing, MatrixRecord, PairRecord, ScenarioRecord, State
from orchestrator.model import Ending, Outcome
from orchestrator.report import text
from orchestrator.report.matrix_table import render

Golden = Callable[[str, str], None]
SHOWN = Path("runs/20251102-100000-matrix")
KERNELS, USERLANDS = ("5.10", "6.1", "6.12", "7.x"), ("bullseye", "bookworm", "trixie", "testing")
SCENARIOS = ("brk", "exec", "malloc", "malloc-stress", "page-fault", "stack-overflow", "threads")
NATIVE = list(zip(KERNELS, USERLANDS, strict=True))
EVERY = [(kernel, userland) for kernel in KERNELS for userland in USERLANDS]


def matrix(pairs: Sequence[tuple[str, str]], scenarios: Sequence[str] = SCENARIOS) -> MatrixRecord:
    """All passed."""
    record = MatrixRecord(state=State.DONE, seconds=200.4, boots=5, exit_code=0)
    record.scenarios = [ScenarioRecord(name, f"/{name}", "0") for name in scenarios]
    record.pairs = [PairRecord(*pair, *pair) for pair in pairs]
    for kernel, userland in pairs:
        for name in scenarios:
            case = CaseRecord(f"{name}-{kernel}-{userland}", name, kernel, userland, State.DONE, Outcome.PASS,
                              Ending.COMPLETED, exit_code=0, seconds=2.0, counts={"PASS": 20 + len(name)})  # fmt: skip
            record.cases.append(case)
    return record


def mixed(pairs: Sequence[tuple[str, str]]) -> MatrixRecord:
    """One of every kind."""
    record = matrix(pairs)
    failing = [Failing("tcache", "malloc.tcache", "freed", Outcome.FAIL, "does not hold")]
    early(record.cases[0], Ending.PANIC, 4, "the guest's kernel reports: Kernel panic - not syncing: \x1b[31mx")
    ended(record.cases[2], Outcome.FAIL, 1, {"FAIL": 1, "PASS": 30}, failing)
    many = [Failing(f"e{n}", "page-fault.order", "", Outcome.ERROR, "no evidence " * 9) for n in range(12)]
    ended(record.cases[4], Outcome.ERROR, 3, {"ERROR": 12, "PASS": 3}, many)
    ended(record.cases[6], Outcome.SKIP, 0, {"SKIP": 9}, [])
    early(record.cases[8], Ending.LOST_GUEST, 4, "the guest no longer answers")
    early(record.cases[10], Ending.TIMEOUT, 5, "the run took longer than 20 s")
    early(record.cases[12], Ending.HOST_ERROR, 2, "the program does not compile:\nx.c:1: error: no\n" + "more\n" * 9)
    early(record.cases[14], Ending.INTERRUPTED, 130, "interrupted by the user")
    record.cases[14].state = State.INTERRUPTED
    record.cases[15].__dict__.update(CaseRecord("x", "exec", *pairs[2]).__dict__)
    record.state, record.exit_code = State.INTERRUPTED, 130
    return record


def ended(case: CaseRecord, outcome: Outcome, code: int, counts: dict[str, int], failing: list[Failing]) -> None:
    case.outcome, case.exit_code, case.counts, case.failing = outcome, code, counts, failing


def early(case: CaseRecord, ending: Ending, code: int, detail: str) -> None:
    case.ending, case.exit_code, case.detail, case.outcome, case.counts = ending, code, detail, Outcome.ERROR, {}


def fits(report: str, width: int = 80) -> None:
    """No line is wider, but for paths, and the last lines, which end with one."""
    for line in report.splitlines()[:-2]:
        assert text.columns(line) <= width or "/" in line, line


def test_native_pairs(golden: Golden) -> None:
    report = render(matrix(NATIVE), SHOWN)
    golden("matrix-native.txt", report)
    fits(report)


def test_every_pair_fits_80_columns(golden: Golden) -> None:
    report = render(matrix(EVERY), SHOWN)
    golden("matrix-every.txt", report)
    fits(report)


@pytest.mark.parametrize(("name", "pairs"), [("native", NATIVE), ("every", EVERY)])
def test_one_of_every_kind(golden: Golden, name: str, pairs: list[tuple[str, str]]) -> None:
    report = render(mixed(pairs), SHOWN)
    golden(f"matrix-mixed-{name}.txt", report)
    fits(report)
    assert "\x1b" not in report, "a guest's words can't move the terminal"


def test_colour_changes_nothing_but_colour() -> None:
    for pairs in (NATIVE, EVERY):
        coloured = render(mixed(pairs), SHOWN, colour=True)
        assert "\x1b[31m" in coloured
        plain = "\n".join(line.rstrip() for line in re.sub(r"\x1b\[[0-9;]*m", "", coloured).splitlines())
        assert plain == render(mixed(pairs), SHOWN).rstrip("\n")


@pytest.mark.parametrize("count", [5, 17, 33, 70])
def test_any_number_of_pairs(count: int) -> None:
    pairs = [(f"kernel-{number // 3}", f"userland-{number % 3}") for number in range(count)]
    report = render(matrix(pairs, ("a", "b" * 60)), SHOWN)
    fits(report)
    assert len(re.findall(r"\bok\b|PASS \d", report)) >= 2 * count


@pytest.mark.parametrize(("pairs", "cell"), [(NATIVE, "PASS 23*"), (EVERY, "o*")])
def test_a_result_that_a_fresh_guest_does_not_confirm_is_marked(pairs: list[tuple[str, str]], cell: str) -> None:
    record = matrix(pairs)
    record.cases[0].first, record.cases[1].first = "FAIL", "PASS"
    report = render(record, SHOWN)
    fits(report)
    assert report.count(cell) == (1 if cell[0] == "P" else 2), "in the table, and in the legend of codes"
    said = f"* brk on 5.10 with bullseye: PASS in a fresh guest; FAIL in a used one,\n  {SHOWN}/first-runs/brk-5.10"
    assert said in report
    assert "first-runs" not in render(matrix(pairs), SHOWN)
    record.cases[0].state = State.WAITING
    assert "*" not in render(record, SHOWN)


def test_a_finding_of_no_claim_names_none() -> None:
    """A check of the user's own, a checkpoint that was not reached."""
    record = matrix(NATIVE[:1], ["brk"])
    ended(record.cases[0], Outcome.FAIL, 1, {"FAIL": 1}, [Failing("--check", "", "grown", Outcome.FAIL, "")])
    assert "FAIL --check at grown\n" in render(record, SHOWN)


def test_many_failures_are_cut() -> None:
    record = matrix(EVERY, [f"s{number}" for number in range(40)])
    for case in record.cases:
        ended(case, Outcome.FAIL, 1, {"FAIL": 1}, [Failing("x", "a.b", "", Outcome.FAIL, "no")])
    report = render(record, SHOWN)
    assert report.count("\n") < 350 and re.search(r"\d+ more cases not shown", report)


def test_a_matrix_that_is_done_needs_no_resume() -> None:
    assert "--resume" not in render(matrix(NATIVE), SHOWN)
    record = matrix(NATIVE)
    early(record.cases[0], Ending.HOST_ERROR, 2, "it does not compile")
    assert "--resume" not in render(record, SHOWN)
    early(record.cases[0], Ending.HOST_ERROR, 3, "the disk is full")
    assert f"lab matrix --resume {SHOWN}" in render(record, SHOWN), "what the host spoilt can be run again"
