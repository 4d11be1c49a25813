"""Does a kernel start at all under this accelerator? The second stage of the proof of KVM."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from pathlib import Path

from orchestrator import processes
from orchestrator.errors import GuestError
from orchestrator.machine import qemu
from orchestrator.machine.console import Console
from orchestrator.machine.monitor import Monitor
from orchestrator.model import Emulator


def prints_first_line(emulator: Emulator, kernel: Path, accelerator: str, limit: float) -> bool:
    """Whether ``kernel``, booted with ``accelerator``, prints its banner on the console within ``limit``
    seconds; what the firmware prints before proves nothing. The guest is killed then, whatever it does."""
    console, console_far = socket.socketpair()
    monitor, monitor_far = socket.socketpair()
    with console_far, monitor_far:
        channels = qemu.Channels(console_far.fileno(), monitor_far.fileno())
        machine = qemu.Machine(kernel=kernel, initrd="", append=("earlyprintk=serial,ttyS0",),
                               accelerator=accelerator, sandbox=False)
        argv = qemu.command(emulator.argv, machine, channels)
        begin = time.monotonic()
        process = processes.start(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                  pass_fds=(channels.console, channels.monitor))
    listener, control = Console(console, None), Monitor(monitor)
    try:
        with contextlib.suppress(GuestError):
            control.greet(limit)
        listener.wait(lambda: listener.kernel_spoke or listener.closed, begin + limit)
        return listener.kernel_spoke
    finally:
        process.kill()
        process.wait()
        control.close()
        listener.close()
