"""The console: drained, kept, classified and waited for, over a socket pair."""

import socket
import time
from pathlib import Path

import pytest

from orchestrator.machine import console as module
from orchestrator.machine.console import Console
from orchestrator.model import Ending


def opened(log: Path | None = None) -> tuple[Console, socket.socket]:
    near, far = socket.socketpair()
    return Console(near, log), far


def soon() -> float:
    return time.monotonic() + 5


def test_lines_are_kept_and_classified(tmp_path: Path) -> None:
    console, far = opened(tmp_path / "console.log")
    far.sendall(b"[    0.100000] hello\r\nLAB: warn MODULE x\r\nLAB: ready 77\r\n"
                b"[  9.900000] Kernel panic - not syncing: oh\r\n")
    far.close()
    assert console.wait(lambda: console.closed, soon())
    console.close()
    assert console.words == {"ready": "77"} and console.warnings == ["MODULE x"]
    fatal = console.fatal()
    assert fatal is not None and fatal.kind is Ending.PANIC
    assert (tmp_path / "console.log").read_bytes().startswith(b"[    0.100000] hello\r\n")


def test_lines_without_a_stamp_are_not_the_kernels_where_others_have_one() -> None:
    console, far = opened()
    far.sendall(b"[    0.100000] Linux version 6.1\nBUG: written to the console by a program\n")
    far.close()
    assert console.wait(lambda: console.closed, soon())
    console.close()
    assert console.sightings == []


def test_what_was_heard_before_a_save_has_the_kernels_time() -> None:
    near, far = socket.socketpair()
    heard = b"[   12.500000] WARNING: CPU: 0 PID: 1 at a.c:1 f\r\n"
    console = Console(near, None, heard)
    far.sendall(b"[   99.000000] WARNING: CPU: 0 PID: 1 at b.c:1 g\r\n")
    far.close()
    assert console.wait(lambda: console.closed, soon())
    console.close()
    assert [(seen.saved, seen.seconds == 12.5, seen.seconds < 10) for seen in console.sightings] == [
        (True, True, False), (False, False, True)]  # fmt: skip


def test_what_has_no_newline_at_the_end_is_kept(tmp_path: Path) -> None:
    console, far = opened(tmp_path / "console.log")
    far.sendall(b"[    0.100000] half a li")
    far.close()
    assert console.wait(lambda: console.closed, soon())
    console.close()
    assert list(console.tail) == ["[    0.100000] half a li"]


def test_a_flood_is_bounded_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_LOG", 10_000)
    console, far = opened(tmp_path / "console.log")
    for _ in range(100):
        far.sendall(b"x" * 10_000)
    far.close()
    assert console.wait(lambda: console.closed, soon())
    console.close()
    kept = (tmp_path / "console.log").read_bytes()
    assert len(kept) < 20_000 and b"cut here" in kept


def test_waiting_ends_at_the_deadline() -> None:
    console, far = opened()
    assert not console.wait(lambda: False, time.monotonic() + 0.02)
    far.close()
    console.close()


def test_a_log_that_cannot_be_written_does_not_stop_the_draining() -> None:
    console, far = opened(Path("/dev/full"))
    far.sendall(b"one\n" * 10)
    far.close()
    assert console.wait(lambda: console.closed, soon())
    console.close()
    assert console.lines == 10 and "incomplete" in console.log_error
