"""What is going on, as typed events. Who does the work sends them; who shows them knows nothing of it.

Everything that may take over two seconds runs inside ``with step("…")``. Without a listener
nothing is shown: tests and library users are silent by default.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Event:
    """One thing to show. ``kind``: begin, update, end, or note (a line said once and kept)."""

    kind: str
    what: str
    detail: str = ""
    seconds: float = 0.0  # for "end": how long the step took


Listener = Callable[[Event], None]
_listeners: list[Listener] = []
_said: set[str] = set()
_lock = threading.Lock()


@contextlib.contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Sends all events to ``listener`` while the block runs."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def send(event: Event) -> None:
    """Sends one event to whoever listens."""
    with _lock:
        for listener in list(_listeners):
            listener(event)


def note(text: str, *, once: bool = False) -> None:
    """A line that the user must see: a fallback taken, a drift from the lock, a retry."""
    if once and text in _said:
        return
    _said.add(text)
    send(Event("note", text))


def update(what: str, detail: str) -> None:
    """How far a step has come ("12 of 90 packages")."""
    send(Event("update", what, detail))


@contextlib.contextmanager
def step(what: str) -> Iterator[None]:
    """A step with a name; its end says how long it took, also when it fails."""
    begin = time.monotonic()
    send(Event("begin", what))
    try:
        yield
    finally:
        send(Event("end", what, seconds=time.monotonic() - begin))
