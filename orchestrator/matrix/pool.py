"""The worker processes of a matrix: started when there is work, told by messages, ended on every way out.

Workers are fresh interpreters, not forks: a fork beside the thread that shows progress could inherit a lock
that nobody will ever release. Each is tethered to this process, and its QEMU to it, so that the kernel ends
them all when this process is killed. Terminal signals reach only us; the workers are told by SIGTERM.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from types import FrameType
from typing import IO

from orchestrator import host, processes
from orchestrator.matrix.worker import Order, Result, Said

PATIENCE = 20.0  # seconds for workers to end their guests after SIGTERM
RESERVE = 512 << 20  # bytes of memory that stay free for everything else
OVERHEAD = 256 << 20  # bytes that a guest takes beside its own memory: QEMU's translated code, initramfs, worker
_CODE = "import sys; sys.path.append({!r}); from orchestrator.matrix.worker import main; main()"


@dataclass(frozen=True)
class Lost:
    """A worker process has ended, and why, in words."""

    reason: str


def default_jobs(memory: int, cpus: int) -> int:
    """How many guests of ``memory`` MiB and ``cpus`` processors this host has room for; at least one."""
    cores = len(os.sched_getaffinity(0)) // cpus
    available = host.memory_available()
    room = (available - RESERVE) // ((memory << 20) + OVERHEAD) if available else cores
    return max(1, min(cores, room))


class Signals:
    """SIGINT, SIGTERM and SIGHUP as something to look at, while the block runs: a matrix in the middle of its
    bookkeeping is not interrupted. ``asked`` counts them, ``wake`` can be waited for."""

    def __init__(self) -> None:
        self.asked = 0
        self.wake, self._far = socket.socketpair()

    def __enter__(self) -> Signals:
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        heard = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]
        self._before = {number: signal.signal(number, self._on) for number in heard}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self.wake.close()
        self._far.close()

    def _on(self, number: int, frame: FrameType | None) -> None:
        self.asked += 1
        with contextlib.suppress(OSError):
            self._far.send(b"x")

    def heard(self) -> None:
        """Empties ``wake``."""
        self.wake.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            self.wake.recv(1 << 10)


class _Process:
    """One worker process and the connection to it."""

    def __init__(self) -> None:
        ours, theirs = Pipe()
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        code = _CODE.format(str(Path(__file__).parents[2]))
        argv = [sys.executable, "-P", "-c", code, str(theirs.fileno())]
        with theirs:
            self._process = processes.start(argv, stdout=self._errors, stderr=self._errors,
                                            pass_fds=(theirs.fileno(),))  # fmt: skip
        self.connection = ours

    def terminate(self) -> None:
        """Asks it to end what it does."""
        self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Ends it at once, and with it its QEMU."""
        self._process.kill()

    def end(self, patience: float) -> Lost:
        """Waits until it has ended, and sees to it."""
        self.connection.close()
        status = processes.end(self._process, patience)
        self._errors.seek(max(0, os.fstat(self._errors.fileno()).st_size - 2000))
        said = self._errors.read().decode("utf-8", "replace").strip()
        self._errors.close()
        how = f"killed by signal {-status}" if status < 0 else f"exit status {status}"
        return Lost(f"its worker process ended ({how})" + (f": {said}" if said else ""))


class Pool:
    """Worker processes by number. A context manager: at its end none is left."""

    def __init__(self, signals: Signals) -> None:
        self._signals = signals
        self._processes: dict[int, _Process] = {}

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for process in self._processes.values():
            process.connection.close()  # a worker without a matrix ends its guest and itself
            if kind is not None:
                process.terminate()  # and does not finish its case first
        for process in self._processes.values():
            process.end(PATIENCE)
        self._processes.clear()

    def send(self, worker: int, order: Order) -> None:
        """Tells a worker what to run; the process is started if there is none."""
        if worker not in self._processes:
            self._processes[worker] = _Process()
        with contextlib.suppress(OSError):  # it has ended: the next ``messages`` says so
            self._processes[worker].connection.send(order)

    def messages(self, timeout: float) -> Iterator[tuple[int, Said | Result | Lost]]:
        """What the workers have to say; waits for the first word until ``timeout``, or a signal has come."""
        numbers = {process.connection: number for number, process in self._processes.items()}
        for ready in wait([*numbers, self._signals.wake], timeout):
            if not isinstance(ready, Connection):
                self._signals.heard()
                continue
            number = numbers[ready]
            try:
                yield number, ready.recv()
            except (EOFError, OSError):
                yield number, self._processes.pop(number).end(PATIENCE)

    def interrupt(self) -> Iterator[tuple[int, Said | Result | Lost]]:
        """Asks all workers to end what they do, and gives their last words; whoever asks once more gets it at once."""
        deadline = time.monotonic() + PATIENCE
        asked = self._signals.asked
        for process in self._processes.values():
            process.terminate()
        while self._processes and time.monotonic() < deadline and self._signals.asked == asked:
            yield from self.messages(deadline - time.monotonic())
        for process in self._processes.values():
            process.kill()
