"""Progress on standard error: one live line on a terminal, a few plain lines elsewhere.

    with Live() as live, progress.listening(live):
        ...  # whatever sends progress events, from any thread

On a terminal the newest step is shown with its time and how far it came; the line is gone at the
end. Elsewhere (a file, CI) only a step that lasts over two seconds is told, once when it has
lasted so long and once when it ends; and where nothing was told for a minute, how far the newest
step is, as CI systems end jobs that say nothing. Notes are always told. Nothing goes to standard
output.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TextIO

from orchestrator.progress import Event
from orchestrator.report.text import clean, columns, cut, inert, is_terminal, seconds

PATIENCE = 2.0  # seconds that a step may last before a plain line tells of it
SILENCE = 60.0  # seconds without a plain line, after which one tells how far the newest step is
REDRAW = 0.2  # seconds between two drawings of the live line
_CLEAR = "\r\x1b[K"


@dataclass
class _Step:
    what: str
    begin: float
    told: bool = False
    detail: str = ""


@dataclass
class _State:
    """What both the sender of an event and the ticker look at, under one lock."""

    steps: list[_Step] = field(default_factory=list)
    drawn: bool = False  # the live line is on the screen
    spoke: float = 0.0  # when the last plain line was told
    broken: bool = False  # nobody reads standard error any more
    stopped: bool = False


class Live:
    """A listener for progress events which shows them while its ``with`` block runs.

    ``quiet`` shows nothing, ``terminal`` overrides what the stream says of itself, ``patience`` is
    in seconds.
    """

    def __init__(
        self,
        stream: TextIO | None = None,
        *,
        quiet: bool = False,
        terminal: bool | None = None,
        clock: Callable[[], float] = time.monotonic,
        patience: float = PATIENCE,
    ) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._terminal = is_terminal(self._stream) if terminal is None else terminal
        self._clock = clock
        self._patience = patience
        self._state = _State(stopped=quiet, spoke=clock())
        self._wake = threading.Condition(threading.Lock())
        self._ticker = threading.Thread(target=self._tick, name="progress", daemon=True)

    def __enter__(self) -> Live:
        self._ticker.start()
        return self

    def __exit__(self, *exception: object) -> None:
        try:
            self._stop()
            self._ticker.join(timeout=1)
        finally:  # also when Ctrl-C comes while joining
            self._stop()

    def __call__(self, event: Event) -> None:
        """Shows one event."""
        with self._wake:
            if self._state.stopped:
                return
            handler = {"begin": self._begin, "update": self._update, "end": self._end, "note": self._note}
            handler[event.kind](event)
            if event.kind != "update":  # which may come thousands of times a second: the ticker shows it
                self._draw()
                self._wake.notify()

    def _begin(self, event: Event) -> None:
        self._state.steps.append(_Step(event.what, self._clock()))

    def _find(self, what: str) -> _Step | None:
        return next((step for step in reversed(self._state.steps) if step.what == what), None)

    def _update(self, event: Event) -> None:
        step = self._find(event.what)
        if step:
            step.detail = event.detail

    def _end(self, event: Event) -> None:
        step = self._find(event.what)
        if step:
            self._state.steps.remove(step)
            if step.told:
                self._line(f"{event.what}: {seconds(event.seconds)}")

    def _note(self, event: Event) -> None:
        self._line(event.what)

    def _line(self, text: str) -> None:
        """A line that stays, above the live one."""
        self._state.spoke = self._clock()
        self._write((_CLEAR if self._state.drawn else "") + inert(clean(text, 2000)) + "\n")
        self._state.drawn = False

    def _draw(self) -> None:
        """The live line, on a terminal: the newest step, or nothing."""
        if not self._terminal:
            return
        if not self._state.steps:
            if self._state.drawn:
                self._write(_CLEAR)
            self._state.drawn = False
            return
        step = self._state.steps[-1]
        lasted = self._clock() - step.begin
        time_ = f"  {lasted:.0f} s" if lasted >= 1 else ""
        tail = f"{time_}  {clean(step.detail, 80)}" if step.detail else time_
        room = self._width() - 1 - columns(tail)
        self._write(_CLEAR + cut(cut(clean(step.what), max(room, 20)) + tail, self._width() - 1))
        self._state.drawn = True

    def _width(self) -> int:
        try:
            return max(os.get_terminal_size(self._stream.fileno()).columns, 20)
        except (OSError, ValueError):
            return 80

    def _write(self, text: str) -> None:
        """One write for a whole line, so that no other writer comes between. A closed reader ends the show."""
        if self._state.broken:
            return
        encoding = self._stream.encoding or "utf-8"
        try:
            self._stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
            self._stream.flush()
        except (OSError, ValueError):
            self._state.broken = True

    def _tick(self) -> None:
        """Redraws, or tells of steps that have lasted too long; sleeps until one of both is due."""
        with self._wake:
            while not self._state.stopped:
                if not self._wake.wait(self._due()):  # nobody sent an event: it is due
                    self._draw()
                    self._tell()

    def _tell(self) -> None:
        """Elsewhere: one line for each step that has lasted long enough, or for the newest one after a silence."""
        now = self._clock()
        for step in () if self._terminal else self._state.steps:
            if not step.told and now - step.begin >= self._patience:
                step.told = True
                self._line(f"{step.what} ...")
        if not self._terminal and self._state.steps and now >= self._silence():
            step = self._state.steps[-1]
            far = f"  {clean(step.detail, 200)}" if step.detail else ""
            self._line(f"{step.what} ... {seconds(now - step.begin)}{far}")

    def _due(self) -> float | None:
        """Seconds until there is something to do; None: when an event comes."""
        if self._terminal:
            return REDRAW if self._state.steps else None
        if not self._state.steps:
            return None
        due = [step.begin + self._patience for step in self._state.steps if not step.told]
        return max(min([*due, self._silence()]) - self._clock(), 0.001)

    def _silence(self) -> float:
        """When nothing will have been told for too long."""
        return max(self._state.spoke, self._state.steps[-1].begin) + SILENCE

    def _stop(self) -> None:
        with self._wake:
            self._state.stopped = True
            self._state.steps.clear()
            self._draw()
            self._wake.notify_all()
