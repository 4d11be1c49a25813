"""The two ways to a labrun in the guest: a virtio port, and a channel of SSH where there is no port."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import paramiko

SLICE = 0.5  # seconds after which a labrun that is gone is noticed


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


class Port:
    """The host's end of the virtio port. ``gone`` says whether the labrun there has ended, which nothing else tells:
    the port stays."""

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
