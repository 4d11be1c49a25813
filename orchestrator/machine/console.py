"""The serial console: always drained, kept as ``console.log``, classified while it runs (pexpect).

A thread of its own reads, so that a guest that floods its console neither blocks nor fills us:
what is kept is bounded, and cutting is said in the log.
"""

from __future__ import annotations

import os
import re
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pexpect
from pexpect import fdpexpect

from orchestrator.errors import HostError
from orchestrator.kernel_log import comparable, stamped
from orchestrator.machine.classify import FATAL, classify, clock, lab_line
from orchestrator.model import Ending

MAX_LOG = 16 << 20  # bytes kept of one guest's console
MAX_LINE = 4096  # bytes; a longer line is taken in pieces
MAX_EVENTS = 200
_LINE = re.compile(rb"[^\n]{0,%d}\n|[^\n]{%d}" % (MAX_LINE, MAX_LINE))


@dataclass(frozen=True)
class Sighting:
    """Something that the classifier recognised. ``seconds`` since the console was opened; of what was seen before the
    guest was ``saved``, by its kernel's own clock."""

    kind: Ending
    line: str
    seconds: float
    saved: bool = False


def _opened(log: Path | None) -> IO[bytes] | None:
    try:
        return log.open("wb") if log else None
    except OSError as error:
        raise HostError(f"cannot write {log}: {error.strerror}", "free some space, or give another --output") from None


class Listener:
    """The reading end of a pipe, with as much of a socket's ways as a console needs: nothing can be said."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def fileno(self) -> int:
        """The pipe's."""
        return self._descriptor

    def sendall(self, data: bytes) -> None:
        """Raises OSError."""
        raise OSError("this guest's console takes no input")

    def shutdown(self, how: int) -> None:
        """A pipe ends with the last of its writers."""

    def close(self) -> None:
        """Gives it back."""
        os.close(self._descriptor)


class Console:
    """The guest's serial console over a connected socket, or a pipe where it only speaks.

    ``wait(fact, deadline)`` sleeps until a fact about the console holds; every line wakes it.
    """

    def __init__(self, connection: socket.socket | Listener, log: Path | None, heard: bytes = b"") -> None:
        """``heard`` is what the guest said before it was saved and restored: it counts as if it had come now."""
        self._socket = connection
        self._log = _opened(log)
        self._written = 0
        self._opened = time.monotonic()
        self._changed = threading.Condition()
        self.sightings: list[Sighting] = []
        self.tail: deque[str] = deque(maxlen=60)
        self.words: dict[str, str] = {}  # init's own lines: "ready" -> "1234"
        self.warnings: list[str] = []  # init's "LAB: warn …"
        self.last_heard = self._opened
        self.lines = 0
        self.kernel_spoke = False  # its banner was seen, maybe behind what the firmware left on the line
        self._stamps = False  # this kernel's lines carry time stamps
        self.closed = False  # QEMU closed its end
        self.log_error = ""
        for line in heard.splitlines(keepends=True):
            self._take(line[:MAX_LINE], saved=True)
        self._spawn = fdpexpect.fdspawn(connection.fileno(), timeout=None, maxread=1 << 16)
        self._thread = threading.Thread(target=self._drain, name="console", daemon=True)
        self._thread.start()

    def fatal(self, forged: Collection[str] = ()) -> Sighting | None:
        """The first panic, oops or BUG, if there was one; lines ``comparable`` to ``forged`` are not the kernel's."""
        found = (s for s in self.sightings if s.kind in FATAL)
        return next((s for s in found if comparable(s.line) not in forged), None)

    def wait(self, fact: Callable[[], bool], deadline: float) -> bool:
        """Waits until ``fact()`` holds (True) or ``deadline`` (time.monotonic()) has passed (False)."""
        with self._changed:
            return self._changed.wait_for(fact, max(0.0, deadline - time.monotonic()))

    def say(self, line: str) -> None:
        """Types a line on the guest's terminal. Raises OSError if QEMU is gone."""
        self._socket.sendall(line.encode("ascii") + b"\n")  # less than a socket holds: nobody waits

    def close(self) -> None:
        """Stops reading, after what QEMU had already written; call it when QEMU has ended."""
        self._thread.join(2.0)
        if self._thread.is_alive():
            self._socket.shutdown(socket.SHUT_RDWR)
            self._thread.join(2.0)
        self._socket.close()
        if self._log:
            self._log.close()

    def _drain(self) -> None:
        while True:
            try:
                self._spawn.expect(_LINE)
                chunk = self._spawn.after
            except (pexpect.EOF, OSError, ValueError):
                chunk = None
            if not isinstance(chunk, bytes):
                break
            self._take(chunk)
        rest = self._spawn.before
        if isinstance(rest, bytes) and rest:
            self._take(rest[:MAX_LINE])
        with self._changed:
            self.closed = True
            self._changed.notify_all()

    def _take(self, chunk: bytes, *, saved: bool = False) -> None:
        self._keep(chunk)
        line = chunk.decode("utf-8", "replace").rstrip("\r\n")
        now = time.monotonic()
        self._stamps = self._stamps or stamped(line)
        self.kernel_spoke = self.kernel_spoke or "Linux version " in line
        kind = classify(line) if stamped(line) or not self._stamps else None  # else it is not the kernel's
        word = lab_line(line)
        with self._changed:
            self.last_heard = now
            self.lines += 1
            self.tail.append(line)
            if kind is not None and len(self.sightings) < MAX_EVENTS:
                seconds = clock(line) if saved else now - self._opened
                self.sightings.append(Sighting(kind, line[:500], seconds, saved))
            if word is not None:
                self._word(*word)
            self._changed.notify_all()

    def _word(self, word: str, rest: str) -> None:
        if word == "warn":
            if len(self.warnings) < MAX_EVENTS:
                self.warnings.append(rest)
        elif len(self.words) < 32:
            self.words.setdefault(word, rest)

    def _keep(self, chunk: bytes) -> None:
        if self._log is None or self._written > MAX_LOG:
            return
        self._written += len(chunk)
        try:
            self._log.write(chunk)
            if self._written > MAX_LOG:
                self._log.write(b"\n[lab: the console log is cut here: the guest floods it]\n")
            self._log.flush()
        except OSError as error:  # a full disk must not stop the draining
            self.log_error = f"console.log is incomplete: {error.strerror}"
            self._log = None
