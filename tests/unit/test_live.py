"""Progress on standard error: lines without a terminal, one live line on one, clean at every end."""

from __future__ import annotations

import contextlib
import io
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pytest

from orchestrator import progress
from orchestrator.report.live import Live


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def until(condition: Callable[[], bool]) -> None:
    """Waits for the ticker to have done something; fails after five seconds."""
    end = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < end, "the ticker did nothing"
        time.sleep(0.005)


def test_short_steps_say_nothing_and_notes_are_kept() -> None:
    out = io.StringIO()
    with Live(out) as live, progress.listening(live):
        with progress.step("quick"):
            progress.update("quick", "1 of 2")
        progress.note("accelerator: tcg")
    assert out.getvalue() == "accelerator: tcg\n"


def test_a_long_step_is_told_when_it_has_lasted_and_when_it_ends() -> None:
    out = io.StringIO()
    with Live(out, patience=0.02) as live:
        live(progress.Event("begin", "building kernel 6.1"))
        until(lambda: "..." in out.getvalue())
        live(progress.Event("update", "building kernel 6.1", "3 of 9"))
        live(progress.Event("end", "building kernel 6.1", seconds=4.26))
    assert out.getvalue() == "building kernel 6.1 ...\nbuilding kernel 6.1: 4.3 s\n"


def test_after_a_silence_it_says_how_far_it_is() -> None:
    out, clock = io.StringIO(), Clock()
    with Live(out, clock=clock, patience=0.02) as live:
        clock.now += 500  # nothing is to be done meanwhile, and nothing is said
        live(progress.Event("begin", "fetching"))
        assert out.getvalue() == ""
        for times, lasted in enumerate((30, 61, 61), 1):
            clock.now += lasted
            live(progress.Event("update", "fetching", f"{times} of 9 packages"))
            live(progress.Event("begin", "inner"))  # which has the ticker look at the clock
            live(progress.Event("end", "inner"))
            until(lambda times=times: out.getvalue().count("\n") == times)  # type: ignore[misc]
        live(progress.Event("end", "fetching", seconds=152))
    assert out.getvalue().splitlines() == [
        "fetching ...", "fetching ... 91.0 s  2 of 9 packages", "fetching ... 2 min 32 s  3 of 9 packages",
        "fetching: 2 min 32 s"]  # fmt: skip


def test_nested_and_equal_steps() -> None:
    out = io.StringIO()
    with Live(out, patience=0.02) as live:
        for what in ("a", "b", "b"):
            live(progress.Event("begin", what))
        until(lambda: out.getvalue().count("...") == 3)
        for what in ("b", "b", "a", "never begun"):
            live(progress.Event("end", what, seconds=1))
    assert out.getvalue() == "a ...\nb ...\nb ...\nb: 1.0 s\nb: 1.0 s\na: 1.0 s\n"


def test_quiet_and_silent_after_the_end() -> None:
    out = io.StringIO()
    with Live(out, quiet=True) as live, progress.listening(live), progress.step("y"):
        progress.note("x")
    with Live(out) as live:
        pass
    live(progress.Event("note", "late"))
    assert out.getvalue() == ""


def test_the_live_line_is_cleared_and_notes_stay_above_it() -> None:
    out, clock = io.StringIO(), Clock()
    with Live(out, terminal=True, clock=clock) as live:
        live(progress.Event("begin", "fetching"))
        clock.now += 7
        live(progress.Event("update", "fetching", "12 of 90 packages"))
        live(progress.Event("note", "mirror is slow"))
        live(progress.Event("end", "fetching", seconds=7))
    text = out.getvalue()
    assert "\r\x1b[Kmirror is slow\n" in text
    assert "fetching  7 s  12 of 90 packages" in text
    assert screen(text) == ["mirror is slow", ""]


def screen(text: str) -> list[str]:
    """What a terminal shows in the end: \\r\\x1b[K empties the line."""
    return [line.rsplit("\r\x1b[K", 1)[-1] for line in text.split("\n")]


def test_the_live_line_moves_by_itself() -> None:
    out = io.StringIO()
    with Live(out, terminal=True) as live:
        live(progress.Event("begin", "x"))
        until(lambda: out.getvalue().count("\r") >= 2)
    assert screen(out.getvalue()) == [""]


def test_hostile_and_long_names_stay_on_one_line() -> None:
    out = io.StringIO()
    with Live(out, terminal=True) as live:
        live(progress.Event("begin", "a\nb\x1b[2J" + "x" * 500))
        live(progress.Event("note", "n\x1b]0;title\x07"))
    lines = out.getvalue().replace("\r\x1b[K", "\n").split("\n")
    assert all("\x1b" not in line and "\x07" not in line and len(line) < 80 for line in lines)


@pytest.mark.parametrize("terminal", [True, False])
def test_a_closed_stream_is_no_error(terminal: bool) -> None:
    read, write = os.pipe()
    os.close(read)
    stream = os.fdopen(write, "w")
    with Live(stream, terminal=terminal) as live:
        live(progress.Event("note", "x" * 100))
        live(progress.Event("begin", "y"))
    with contextlib.suppress(BrokenPipeError):
        stream.close()


def test_an_exception_leaves_no_thread_and_no_half_line() -> None:
    out = io.StringIO()
    with (
        pytest.raises(KeyboardInterrupt),
        Live(out, terminal=True) as live,
        progress.listening(live),
        progress.step("s"),
    ):
        raise KeyboardInterrupt
    assert screen(out.getvalue()) == [""]
    assert not [thread for thread in threading.enumerate() if thread.name == "progress"]


def test_many_threads() -> None:
    out = io.StringIO()

    def work(number: int) -> None:
        for i in range(50):
            with progress.step(f"step {number}"):
                progress.update(f"step {number}", str(i))
            progress.note(f"note {number} {i}")

    with Live(out, terminal=True) as live, progress.listening(live):
        threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    lines = screen(out.getvalue())
    assert sorted(lines) == sorted([""] + [f"note {n} {i}" for n in range(8) for i in range(50)])


CHILD = """
from orchestrator import progress
from orchestrator.report.live import Live
import signal, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job inherits it ignored
try:
    with Live() as live, progress.listening(live), progress.step("waiting"):
        print("ready", flush=True)
        time.sleep(60)
except KeyboardInterrupt:
    pass
"""


def test_ctrl_c_on_a_real_terminal() -> None:
    """Standard output has only what the program printed, the terminal's last line is empty."""
    master, slave = pty.openpty()
    environment = {**os.environ, "TERM": "xterm"}
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD], stderr=slave, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, env=environment
    )
    os.close(slave)
    assert child.stdout is not None
    assert child.stdout.readline() == b"ready\n"
    child.send_signal(signal.SIGINT)
    assert child.wait(timeout=10) == 0
    assert child.stdout.read() == b""
    child.stdout.close()
    text = os.read(master, 65536).decode()
    os.close(master)
    assert "waiting" in text
    assert screen(text) == [""]
