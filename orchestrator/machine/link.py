"""The ways to a labrun in the guest: a virtio port, a channel of SSH where there is no port, and a file that only grows
where the host must not be noticed."""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import paramiko

SLICE = 0.5  # seconds after which a labrun that is gone is noticed
MAX_AHEAD = 512 << 20  # bytes that a deterministic guest may write before it stands still


class Link(Protocol):
    """What a session needs of it; a channel of paramiko's is one. Each raises OSError or EOFError when the guest is
    gone, TimeoutError after the time that was set."""

    def settimeout(self, timeout: float) -> None:
        """Seconds for each of the following calls."""

    def sendall(self, data: bytes) -> None:
        """Sends all of it."""

    def recv(self, size: int) -> bytes:
        """Up to ``size`` bytes; b"" at the end."""

    def errors(self) -> str:
        """What labrun said on its standard errors, as far as it can be told."""

    @property
    def listens(self) -> bool:
        """Whether labrun hears more than "go"."""


class Port:
    """The host's end of the virtio port. ``gone`` says whether the labrun there has ended, which nothing else tells:
    the port stays."""

    listens = True

    def __init__(self, connection: socket.socket, gone: Callable[[], str]) -> None:
        self._socket = connection
        self._gone = gone
        self._timeout = 0.0

    def settimeout(self, timeout: float) -> None:
        """As of Link."""
        self._timeout = timeout
        self._socket.settimeout(timeout)

    def sendall(self, data: bytes) -> None:
        """As of Link."""
        self._socket.sendall(data)

    def recv(self, size: int) -> bytes:
        """As of Link; what labrun sent before it ended comes first."""
        deadline = time.monotonic() + self._timeout
        while True:
            gone = self._gone()
            left = deadline - time.monotonic()
            ready, _, _ = select.select([self._socket], [], [], 0.0 if gone else max(0.0, min(left, SLICE)))
            if ready:
                return self._socket.recv(size)
            if gone:
                return b""
            if left <= 0:
                raise TimeoutError

    def errors(self) -> str:
        """As of Link."""
        return self._gone()


class SshLink:
    """A channel of SSH, on which labrun was started."""

    listens = True

    def __init__(self, channel: paramiko.Channel) -> None:
        self._channel = channel

    def settimeout(self, timeout: float) -> None:
        """As of Link."""
        self._channel.settimeout(timeout)

    def sendall(self, data: bytes) -> None:
        """As of Link."""
        self._channel.sendall(data)

    def recv(self, size: int) -> bytes:
        """As of Link."""
        return self._channel.recv(size)

    def errors(self) -> str:
        """As of Link."""
        return self._channel.recv_stderr(2000).decode(errors="replace") if self._channel.recv_stderr_ready() else ""


class Feed:
    """What a deterministic guest writes to its port: a file. At each checkpoint, and at its end, it stands still; "go"
    lets it go on.

    ``stands(seconds)`` waits for that, and says whether it came, ``go`` ends it; ``gone`` is what became of a labrun
    that is gone, ``ended`` whether all of it is."""

    listens = False

    def __init__(self, descriptor: int, stands: Callable[[float], bool], go: Callable[[], None],
                 gone: Callable[[], str], ended: Callable[[], bool]) -> None:
        self._descriptor = descriptor
        self._stands = stands
        self._go = go
        self._gone = gone
        self._ended = ended
        self._still = False
        self._offset = 0
        self._timeout = 0.0

    def settimeout(self, timeout: float) -> None:
        """As of Link."""
        self._timeout = timeout

    def sendall(self, data: bytes) -> None:
        """As of Link. Raises OSError for all but "go"."""
        if data != b"go\n":
            raise OSError("a deterministic guest takes no orders while it runs")
        self._still = False
        self._go()

    def recv(self, size: int) -> bytes:
        """As of Link; b"" where nothing will come any more. What was written before the guest stands still is given
        when it does: who reads "ready" may look."""
        deadline = time.monotonic() + self._timeout
        while not (self._still or self._ended()):
            left = deadline - time.monotonic()
            if left <= 0:
                break
            self._still = self._stands(min(left, SLICE))
            if os.fstat(self._descriptor).st_size - self._offset > MAX_AHEAD:
                raise OSError(f"the guest floods its port: more than {MAX_AHEAD >> 20} MiB at once")
        if found := os.pread(self._descriptor, size, self._offset):
            self._offset += len(found)
            return found
        if self._still or self._ended():
            return b""
        raise TimeoutError

    def errors(self) -> str:
        """As of Link."""
        return self._gone()
