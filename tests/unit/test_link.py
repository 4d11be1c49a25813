"""The virtio port: what came before an end is read first, and an end is noticed though the port stays."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest

from orchestrator.machine import link
from orchestrator.machine.link import Port


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    near, far = socket.socketpair()
    with near, far:
        yield near, far


def test_a_labrun_that_is_gone_is_an_end_after_its_last_words(ends: tuple[socket.socket, socket.socket]) -> None:
    near, far = ends
    said = ""
    port = Port(near, lambda: said)
    port.settimeout(20)
    far.sendall(b"hello 0\n")
    said = "labrun was ended by signal 9"
    assert port.recv(100) == b"hello 0\n"
    assert port.recv(100) == b"" and port.errors() == said


def test_that_it_is_gone_is_noticed_while_waiting(
    ends: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "SLICE", 0.01)
    looks = iter([""] * 3)
    port = Port(ends[0], lambda: next(looks, "labrun ended with status 1"))
    port.settimeout(20)
    assert port.recv(100) == b"" and next(looks, None) is None


def test_silence_is_a_timeout_and_qemus_end_an_end(ends: tuple[socket.socket, socket.socket]) -> None:
    near, far = ends
    port = Port(near, lambda: "")
    port.settimeout(0.05)
    before = time.monotonic()
    with pytest.raises(TimeoutError):
        port.recv(100)
    assert time.monotonic() - before >= 0.04
    far.close()
    assert port.recv(100) == b""
    with pytest.raises(OSError):
        port.sendall(b"x")
