"""QMP, QEMU's machine protocol: one command at a time, answers with a deadline (docs/interop/qmp-spec)."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Callable
from typing import Any

from orchestrator.errors import GuestError, HostError

MAX_ANSWER = 16 << 20  # bytes in one line


class Monitor:
    """A QMP session over a connected socket. Events are kept in ``events``, in order."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._buffer = b""
        self.events: list[dict[str, Any]] = []

    def greet(self, patience: float) -> None:
        """Waits for QEMU's greeting and leaves negotiation mode."""
        deadline = time.monotonic() + patience
        while "QMP" not in self._message(deadline):
            pass
        self.execute("qmp_capabilities", patience=patience)

    def execute(self, command: str, *, patience: float = 10.0, **arguments: Any) -> Any:
        """Runs one command and returns its answer. Raises HostError for an error that QEMU reports,
        GuestError if QEMU ends or does not answer within ``patience`` seconds."""
        request: dict[str, Any] = {"execute": command}
        if arguments:
            request["arguments"] = arguments
        deadline = time.monotonic() + patience
        try:
            self._socket.settimeout(patience)
            self._socket.sendall(json.dumps(request).encode() + b"\r\n")
        except OSError as error:
            raise GuestError(f"QEMU does not take the command {command}: {error}") from None
        while True:
            message = self._message(deadline)
            if "return" in message:
                return message["return"]
            if "error" in message:
                raise HostError(f"QEMU refuses {command}: {message['error'].get('desc', message['error'])}")
            self.events.append(message)

    def event(self, wanted: Callable[[dict[str, Any]], bool], patience: float) -> dict[str, Any]:
        """The first event that is wanted, of those that came and those still to come; it is taken from ``events``.
        Raises GuestError if none comes within ``patience`` seconds."""
        deadline = time.monotonic() + patience
        while True:
            for index, event in enumerate(self.events):
                if wanted(event):
                    return self.events.pop(index)
            self.events.append(self._message(deadline))

    def human(self, line: str) -> str:
        """Runs a command of the human monitor, for what QMP itself does not offer."""
        arguments: dict[str, Any] = {"command-line": line}
        return str(self.execute("human-monitor-command", **arguments))

    def ssh_port(self) -> int:
        """The loopback port that QEMU's user network listens on for the guest's port 22."""
        found = re.search(r"TCP\[HOST_FORWARD\]\s+\d+\s+127\.0\.0\.1\s+(\d+)\s+10\.0\.2\.15\s+22\b",
                          self.human("info usernet"))
        if found is None:
            raise HostError("QEMU has no forwarded port for SSH: its user-mode network (slirp) is missing?",
                            "use a QEMU that was built with libslirp")
        return int(found[1])

    def close(self) -> None:
        """Closes the connection."""
        self._socket.close()

    def _message(self, deadline: float) -> dict[str, Any]:
        while b"\n" not in self._buffer:
            self._socket.settimeout(max(0.001, deadline - time.monotonic()))
            try:
                chunk = self._socket.recv(1 << 16)
            except TimeoutError:
                raise GuestError("QEMU's monitor does not answer in time") from None
            except OSError as error:
                raise GuestError(f"QEMU's monitor is gone: {error}") from None
            if not chunk:
                raise GuestError("QEMU ended while its monitor was in use")
            self._buffer += chunk
            if len(self._buffer) > MAX_ANSWER:
                raise GuestError("QEMU's monitor floods us")
        line, _, self._buffer = self._buffer.partition(b"\n")
        message = json.loads(line)
        if not isinstance(message, dict):
            raise GuestError("QEMU's monitor does not speak QMP")
        return message
