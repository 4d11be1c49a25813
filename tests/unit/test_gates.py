"""The gates at which a deterministic guest stands still, with a thread that writes as QEMU does."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Iterator

import pytest

from orchestrator.machine import gates
from orchestrator.machine.gates import Gates


class Guest(threading.Thread):
    """Rings and passes the gates in turn, as guest/machine.c does by QEMU (qemu_chr_write_buffer())."""

    def __init__(self, found: Gates, pauses: int) -> None:
        super().__init__(daemon=True)
        self.passed: list[int] = []
        self._ends = [os.open(f"/proc/self/fd/{one}", os.O_WRONLY | os.O_NONBLOCK) for one in found.descriptors]
        self._pauses = pauses

    def run(self) -> None:
        for number in range(self._pauses):
            self._write(self._ends[0])
            self._write(self._ends[1 + number % 2])
            self.passed.append(number)

    def _write(self, end: int) -> None:
        while True:
            try:
                os.write(end, b"\1")
                return
            except BlockingIOError:
                time.sleep(0.0001)


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gates]:
    monkeypatch.setattr(gates, "_waits", lambda pid: True)
    made = Gates()
    yield made
    made.close()


def test_each_pause_waits_for_its_gate(found: Gates) -> None:
    guest = Guest(found, 7)
    guest.start()
    for number in range(7):
        assert found.rung(0, 20.0)
        time.sleep(0.01)
        assert guest.passed == list(range(number)), "it stands still"
        found.open()
    guest.join(20)
    assert guest.passed == list(range(7))
    assert not found.rung(0, 0.01)


def test_gates_that_are_left_hold_nobody(found: Gates) -> None:
    ends = [os.open(f"/proc/self/fd/{one}", os.O_WRONLY | os.O_NONBLOCK) for one in found.descriptors]
    found.leave()
    for end in ends:
        with pytest.raises(BrokenPipeError):
            os.write(end, b"\1")


def test_a_qemu_that_waits_is_told_from_one_that_works() -> None:
    with subprocess.Popen(["sleep", "30"]) as sleeper, subprocess.Popen(["sh", "-c", "while :; do :; done"]) as worker:
        try:
            deadline = time.monotonic() + 20
            while not gates._waits(sleeper.pid) and time.monotonic() < deadline:
                time.sleep(0.01)
            assert gates._waits(sleeper.pid) and not gates._waits(worker.pid)
        finally:
            sleeper.kill()
            worker.kill()
