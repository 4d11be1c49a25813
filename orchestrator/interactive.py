"""Guests without a scenario: one command, or a shell on the user's terminal."""

from __future__ import annotations

import contextlib
import os
import select
import shlex
import shutil
import signal
import sys
import termios
import tty
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from orchestrator import host
from orchestrator.errors import GuestError
from orchestrator.machine.guest import Guest, GuestEnded
from orchestrator.prepare import Choice, prepare

if TYPE_CHECKING:
    import paramiko

def guest(choice: Choice, *, announce: bool = True) -> Guest:
    """A guest that is ready to be entered; ``announce`` as in prepare(). Raises UsageError, PieceError or HostError."""
    prepared = prepare(choice, announce=announce)
    return Guest(prepared.recipe, host.limits(), fall_back=prepared.fall_back)


def execute(running: Guest, command: Sequence[str], timeout: float) -> int | None:
    """Runs ``command`` in the guest on our own standard input, output and errors; its exit status, None if
    a signal ended it. Raises LimitError after ``timeout`` seconds, GuestEnded if the guest is lost."""
    line = shlex.join(command) if len(command) > 1 else command[0]
    try:
        return running.ssh.stream(line, _standard_input, lambda data: _write(1, data),
                                  lambda data: _write(2, data), timeout)
    except GuestError as error:
        raise running.why_lost(error) from None


def _standard_input(size: int) -> bytes:
    """Our standard input; nothing from a terminal on which another job is in the foreground."""
    if os.isatty(0) and os.tcgetpgrp(0) != os.getpgrp():
        return b""
    return os.read(0, size)


def shell(running: Guest) -> int:
    """A login shell in the guest on this terminal, or fed from standard input; its exit status, 128 if a
    signal ended it. Raises GuestEnded if the guest is lost."""
    try:
        code = _terminal(running) if sys.stdin.isatty() else execute(running, ["exec /bin/sh -l"], 10**8)
    except (GuestEnded, BrokenPipeError):
        raise
    except (GuestError, OSError, EOFError) as error:
        raise running.why_lost(GuestError(str(error) or type(error).__name__)) from None
    running.check()
    return 128 if code is None else code


def _terminal(running: Guest) -> int | None:
    """The shell on a pseudo-terminal; the user's terminal is raw meanwhile, and follows changes of its size."""
    size = shutil.get_terminal_size()
    channel = running.ssh.open("", terminal=(os.environ.get("TERM", "vt100"), size.columns, size.lines))
    channel.settimeout(None)
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    before = termios.tcgetattr(sys.stdin)
    resized = signal.signal(signal.SIGWINCH, lambda *_: None)  # select() is woken by the pipe
    woken = signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    try:
        tty.setraw(sys.stdin, termios.TCSADRAIN)  # what was typed ahead stays
        return _pump(channel, wake_read)
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
        signal.set_wakeup_fd(woken)
        signal.signal(signal.SIGWINCH, resized)
        os.close(wake_read)
        os.close(wake_write)


def _pump(channel: paramiko.Channel, wake: int) -> int | None:
    """Between this terminal and the channel, until the far end closes."""
    from paramiko import SSHException

    sources: list[Any] = [channel, 0, wake]
    while True:
        ready, _, _ = select.select(sources, [], [])
        if wake in ready:
            os.read(wake, 1 << 10)
            with contextlib.suppress(SSHException):  # the shell may just have ended
                channel.resize_pty(*shutil.get_terminal_size())
        if channel in ready:
            data = channel.recv(1 << 16)
            if not data:
                code = channel.recv_exit_status()
                return code if code >= 0 else None
            _write(1, data)
        if 0 in ready:
            data = os.read(0, 1 << 16)
            if data:
                channel.sendall(data)
            else:
                channel.shutdown_write()
                sources.remove(0)


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
