"""Guests without a scenario: one command, or a shell on the user's terminal."""

from __future__ import annotations

import os
import select
import shlex
import shutil
import signal
import sys
import termios
import tty
from collections.abc import Sequence
from typing import IO, TYPE_CHECKING, Any

from orchestrator import host
from orchestrator.errors import GuestError
from orchestrator.machine.guest import Guest
from orchestrator.machine.ssh import Completed
from orchestrator.prepare import Choice, prepare

if TYPE_CHECKING:
    import paramiko

MAX_INPUT = 64 << 20  # bytes of standard input handed to a command


def guest(choice: Choice, timeout: float | None = None) -> Guest:
    """A guest that is ready to be entered. Raises UsageError, PieceError or HostError."""
    prepared = prepare(choice)
    return Guest(prepared.recipe, host.limits(total=timeout), fall_back=prepared.fall_back)


def execute(choice: Choice, command: Sequence[str], timeout: float, stdin: IO[str]) -> Completed:
    """Runs ``command`` in a fresh guest. What waits on ``stdin``, unless it is a terminal, goes with it."""
    given = b"" if stdin.isatty() else stdin.buffer.read(MAX_INPUT)  # type: ignore[attr-defined]
    with guest(choice, timeout) as running:
        try:
            return running.ssh.run(shlex.join(command) if len(command) > 1 else command[0],
                                   stdin=given, patience=timeout)
        except GuestError as error:
            raise running.why_lost(error) from None


def start(choice: Choice) -> Guest:
    """A guest that is up; the caller must leave it (``with``-style) or stop it."""
    return guest(choice).__enter__()


def shell(running: Guest) -> int:
    """A login shell in the guest on this terminal, or fed from standard input; returns its exit status."""
    size = shutil.get_terminal_size()
    interactive = sys.stdin.isatty()
    terminal = (os.environ.get("TERM", "vt100"), size.columns, size.lines) if interactive else None
    channel = running.ssh.open("" if interactive else "exec /bin/sh -l", terminal=terminal)
    channel.settimeout(None)
    if not interactive:
        return _pump(channel)
    before = termios.tcgetattr(sys.stdin)
    resized = signal.signal(signal.SIGWINCH, lambda *_: channel.resize_pty(*shutil.get_terminal_size()))
    try:
        tty.setraw(sys.stdin)
        return _pump(channel)
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
        signal.signal(signal.SIGWINCH, resized)


def _pump(channel: paramiko.Channel) -> int:
    """Between this terminal and the channel, until the far end closes."""
    sources: list[Any] = [channel, sys.stdin]
    while True:
        ready, _, _ = select.select(sources, [], [])
        if channel in ready:
            while channel.recv_stderr_ready():
                _write(2, channel.recv_stderr(1 << 16))
            if channel.recv_ready() or channel.eof_received or channel.closed:
                data = channel.recv(1 << 16)
                if not data:
                    return max(0, channel.recv_exit_status())
                _write(1, data)
        if sys.stdin in ready:
            data = os.read(0, 1 << 16)
            if data:
                channel.sendall(data)
            else:
                channel.shutdown_write()
                sources.remove(sys.stdin)


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
