"""QMP against a peer at the other end of a socket pair."""

import json
import socket
import threading
from collections.abc import Callable

import pytest

from orchestrator.errors import GuestError, HostError
from orchestrator.machine.monitor import Monitor

GREETING = {"QMP": {"version": {"qemu": {"major": 10}}, "capabilities": []}}
USERNET = (
    "Hub -1 (net0):\r\n  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ\r\n"
    "  TCP[HOST_FORWARD]  15       127.0.0.1 40313       10.0.2.15    22     0     0\r\n"
)


def peer(answers: Callable[[dict], list[dict]], greeting: bytes | None = None) -> Monitor:
    """A monitor whose far end answers each command with ``answers(command)``."""
    near, far = socket.socketpair()

    def serve() -> None:
        with far:
            far.sendall(json.dumps(GREETING).encode() + b"\r\n" if greeting is None else greeting)
            for line in far.makefile():
                for answer in answers(json.loads(line)):
                    far.sendall(json.dumps(answer).encode() + b"\r\n")
                    if answer == {"hang": "up"}:
                        return

    threading.Thread(target=serve, daemon=True).start()
    return Monitor(near)


def test_events_between_command_and_answer_are_kept() -> None:
    monitor = peer(lambda c: [{"event": "STOP"}, {"return": {"running": True}}] if c["execute"] != "qmp_capabilities"
                   else [{"return": {}}])
    monitor.greet(5)
    assert monitor.execute("query-status") == {"running": True}
    assert monitor.events == [{"event": "STOP"}]
    monitor.close()


def test_an_error_of_qemus_is_ours_to_tell() -> None:
    monitor = peer(lambda c: [{"error": {"class": "GenericError", "desc": "no such thing"}}])
    with pytest.raises(HostError, match="no such thing"):
        monitor.greet(5)


def test_silence_is_bounded() -> None:
    monitor = peer(lambda c: [])
    with pytest.raises(GuestError, match="in time"):
        monitor.execute("query-status", patience=0.05)


def test_qemu_gone() -> None:
    monitor = peer(lambda c: [{"hang": "up"}])
    with pytest.raises(GuestError):
        monitor.execute("a"), monitor.execute("b")


def test_not_qmp_at_all() -> None:
    monitor = peer(lambda c: [], greeting=b"[1, 2]\r\n")
    with pytest.raises(GuestError):
        monitor.greet(1)


def test_the_port_is_read_not_guessed() -> None:
    monitor = peer(lambda c: [{"return": USERNET}])
    assert monitor.ssh_port() == 40313


def test_a_qemu_without_user_network() -> None:
    monitor = peer(lambda c: [{"return": "unknown command: 'info usernet'"}])
    with pytest.raises(HostError, match="slirp"):
        monitor.ssh_port()
