"""The virtio port: what came before an end is read first, and an end is noticed though the port stays."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator

import pytest

from orchestrator.machine import link
from orchestrator.machine.link import Feed, Port


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


class Guest:
    """A deterministic guest of ours: what it writes, one checkpoint after the other."""

    def __init__(self, *parts: bytes) -> None:
        self.parts = list(parts)
        self.file = os.memfd_create("feed")
        self.still = self.ended = False

    def stands(self, patience: float) -> bool:
        if self.still or not self.parts:
            return False
        os.write(self.file, self.parts.pop(0))
        self.still = True
        return True

    def go(self) -> None:
        assert self.still
        self.still = False

    def feed(self) -> Feed:
        found = Feed(self.file, self.stands, self.go, lambda: "labrun ended with status 9", lambda: self.ended)
        found.settimeout(0.02)
        return found


def test_a_deterministic_guest_is_read_while_it_stands_still() -> None:
    guest = Guest(b"ready 0\n", b"bye 0\n")
    feed = guest.feed()
    assert feed.recv(100) == b"ready 0\n" and guest.still and feed.recv(100) == b"", "nothing more until it goes on"
    feed.sendall(b"go\n")
    assert feed.recv(3) == b"bye" and feed.recv(100) == b" 0\n" and feed.recv(100) == b""
    assert feed.errors() == "labrun ended with status 9"


def test_a_deterministic_guest_takes_no_orders_and_may_be_too_slow() -> None:
    guest = Guest()
    feed = guest.feed()
    with pytest.raises(OSError, match="no orders"):
        feed.sendall(b"kill\n")
    with pytest.raises(TimeoutError):
        feed.recv(100)
    os.write(guest.file, b"output 1\nx")
    assert feed.recv(100) == b"output 1\nx", "what there is at a limit is not lost"
    guest.ended = True
    assert feed.recv(100) == b""
