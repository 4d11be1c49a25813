"""How a deterministic guest stands still: it rings, and then waits in one instruction, until the host opens a gate.

The gates are pipes that are full, the bell is an empty one (guest/machine.c says how the guest uses them, and why).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import time
from collections.abc import Iterable
from pathlib import Path

SMALL = 4096  # bytes: the least that a pipe can hold (pipe(7))
LOOK = 0.001  # seconds between two looks at a QEMU that is on its way to the gate
SLEEPING = frozenset({"35", "230"})  # nanosleep, clock_nanosleep: QEMU waits to write again (qemu_chr_write_buffer())


class _Pipe:
    """Both ends are ours; QEMU opens the writing one anew. Nothing of it waits."""

    def __init__(self) -> None:
        self.read, self.write = os.pipe()
        for end in (self.read, self.write):
            os.set_blocking(end, False)

    def drain(self) -> None:
        """Takes all that is in it."""
        with contextlib.suppress(BlockingIOError):
            while os.read(self.read, 1 << 16):
                pass

    def fill(self) -> None:
        """Puts in as much as it takes; what is not longer than PIPE_BUF goes in whole or not at all (pipe(7))."""
        size = SMALL
        while size:
            try:
                os.write(self.write, bytes(size))
            except BlockingIOError:
                size //= 2

    def hear_no_more(self) -> None:
        """Who writes is refused from then on, and does not wait."""
        os.close(self.read)
        self.read = -1

    def close(self) -> None:
        if self.read >= 0:
            os.close(self.read)
        os.close(self.write)


class Gates:
    """The bell and both gates of one guest."""

    def __init__(self) -> None:
        self._bell, *self._gates = self._pipes = (_Pipe(), _Pipe(), _Pipe())
        self._turn = 0
        for gate in self._gates:
            fcntl.fcntl(gate.write, fcntl.F_SETPIPE_SZ, SMALL)
            gate.fill()

    @property
    def descriptors(self) -> tuple[int, int, int]:
        """For QEMU: the bell's and the gates', in the order of guest/machine.c."""
        bell, first, second = (pipe.write for pipe in self._pipes)
        return bell, first, second

    def rung(self, pid: int, patience: float) -> bool:
        """Whether the guest of the QEMU ``pid`` stands still, by the end of ``patience`` seconds."""
        deadline = time.monotonic() + patience
        if not select.select([self._bell.read], [], [], patience)[0]:
            return False
        self._bell.drain()
        self._gates[1 - self._turn].fill()  # the one that the guest has passed before
        while not _waits(pid):
            if time.monotonic() >= deadline + 1:
                return True  # it has rung; that it waits could not be seen
            time.sleep(LOOK)
        return True

    def open(self) -> None:
        """Lets the guest go on, to the next bell."""
        gate, self._turn = self._gates[self._turn], 1 - self._turn
        gate.drain()

    def leave(self) -> None:
        """Whatever the guest does with bell and gates, they hold it no more."""
        for pipe in self._pipes:
            pipe.hear_no_more()

    def close(self) -> None:
        """Gives the pipes back."""
        for pipe in self._pipes:
            pipe.close()


def _waits(pid: int) -> bool:
    """Whether a thread of that QEMU sleeps until it may write again. So does now and then the one that frees memory
    (call_rcu_thread(), util/rcu.c), which has a name of its own with ``-name …,debug-threads=on``."""
    return any(call.partition(" ")[0] in SLEEPING and name.strip() != "call_rcu"
               for name, call in _threads(Path(f"/proc/{pid}/task").glob("*")))  # fmt: skip


def _threads(folders: Iterable[Path]) -> Iterable[tuple[str, str]]:
    """Name and system call of each thread."""
    for folder in folders:
        with contextlib.suppress(OSError):
            yield (folder / "comm").read_text(), (folder / "syscall").read_text()
