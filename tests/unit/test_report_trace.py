"""Windows of the kernel trace as a person reads them: counts, and the calls as a tree."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.model import Checkpoint
from orchestrator.report import trace
from orchestrator.rundir import RunDirectory

DATA = Path(__file__).parents[1] / "data/trace"
HERE = Checkpoint(0, "touched", "named", 7, "evidence/00-touched", 0.1)


@pytest.fixture(params=["5.10", "7.x"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> RunDirectory:
    directory = RunDirectory.create(tmp_path / "run")
    for file, name in (("events", "touch"), ("graph", "graph")):
        directory.write(f"{HERE.directory}/trace/{file}", (DATA / f"{name}-{request.param}").read_bytes())
    directory.write(f"{HERE.directory}/trace/stats", b"cpu0 entries=9 overrun=0 commit_overrun=0 dropped=0\n")
    return directory


def test_a_window_has_counts_and_calls(run: RunDirectory) -> None:
    (window,) = trace.windows(run, HERE)
    assert (window.name, window.closed, window.problem) == ("touch", True, "")
    assert window.counts[:2] == (("user fault", 1), ("page allocation", 2))
    assert len(window.counts) == 3 and window.counts[2][1] == 1  # the VMA look-up, by either name
    start = [line for line in window.calls if line.startswith("handle_mm_fault(")]
    assert len(start) == 1
    inner = [line for line in window.calls if "anonymous_page" in line]
    assert inner and all(line.startswith("  ") for line in inner)


def test_an_overflow_and_garbage_are_told(run: RunDirectory) -> None:
    run.write(f"{HERE.directory}/trace/stats", b"cpu0 entries=9 overrun=0 commit_overrun=0 dropped=5\n")
    assert "overflowed: 5 records" in trace.windows(run, HERE)[0].problem
    run.write(f"{HERE.directory}/trace/events", b"what is this\n")
    (window,) = trace.windows(run, HERE)
    assert window.name == "" and "trace/events:1" in window.problem


def test_no_trace_is_nothing(tmp_path: Path) -> None:
    assert trace.windows(RunDirectory.create(tmp_path / "run"), HERE) == ()


def test_a_long_tree_is_cut_and_says_so() -> None:
    calls = tuple(str(number) for number in range(100))
    lines = list(trace.shown(calls))
    assert len(lines) == trace.MAX_CALLS + 1
    assert lines[-1].startswith(f"... {100 - trace.MAX_CALLS} more")
