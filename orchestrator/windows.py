"""The windows of a run's kernel trace: which there are, and whether all that happened in them was recorded (level T).

A window is what the program marked with ``lab_trace_begin`` and ``lab_trace_end``. What was not
recorded is never an empty list: a window that is not there or has no end, an event or function that the
kernel does not record, and a buffer that overflowed are each an ObservationError.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from orchestrator import tracing
from orchestrator.collect import ftrace
from orchestrator.collect.ftrace import Record, Trace, Window
from orchestrator.collect.lines import Document
from orchestrator.names import nearest
from orchestrator.observed import ObservationError

if TYPE_CHECKING:
    from orchestrator.rundir import RunRecord

T = TypeVar("T")


@dataclass(frozen=True)
class Place:
    """A window in the evidence of one checkpoint."""

    document: Document
    trace: Trace
    window: Window

    @property
    def records(self) -> tuple[Record, ...]:
        """What was recorded in it, in the order of time."""
        return self.trace.records[self.window.first:self.window.last]


class Windows:
    """The part of Observations that reads traces."""

    record: RunRecord

    def document(self, file: str) -> Document:
        """One evidence file. Raises ObservationError if it is not there or was cut off."""
        raise NotImplementedError

    def _once(self, kind: str, key: str, make: Callable[[], T]) -> T:
        raise NotImplementedError

    def _exists(self, file: str) -> bool:
        raise NotImplementedError

    # -- windows -------------------------------------------------------------------------------

    def _places(self) -> dict[str, list[Place]]:
        return self._once("windows", "", self._find_windows)

    def _find_windows(self) -> dict[str, list[Place]]:
        """By name, in the order of time. A window that is open at a checkpoint comes again at the next one."""
        found: dict[str, dict[float, Place]] = {}
        for file in self._trace_files():
            document = self.document(file)
            trace = ftrace.parse_trace(document)
            for window in trace.windows:
                found.setdefault(window.name, {})[window.began] = Place(document, trace, window)
        return {name: list(places.values()) for name, places in found.items()}

    def _window(self, name: str) -> Place:
        _, setup = self._setup()
        if doubt := tracing.doubt(setup):
            raise ObservationError(doubt)
        wanted, hash_, digits = name.partition("#")
        places = self._places()
        found = places.get(wanted, [])
        if not found:
            lost = sum(self._lost(file) for file in self._trace_files())
            why = f"; the trace buffer overflowed: {lost} records were lost" if lost else ""
            raise ObservationError(f"no window {wanted!r} in the kernel trace{nearest(wanted, places)}{why}")
        if not hash_ and len(found) > 1:
            raise ObservationError(f'the window {wanted!r} was recorded {len(found)} times; say which: "{wanted}#1"')
        index = int(digits) if hash_ else 1
        if index > len(found):
            raise ObservationError(f"the window {wanted!r} was recorded {len(found)} times, there is no #{index}")
        place = found[index - 1]
        self._complete(place)
        return place

    def _complete(self, place: Place) -> None:
        """Raises ObservationError unless all that happened in the window was recorded."""
        lost = self._lost(place.document.file)
        if lost:
            raise ObservationError(
                f"{place.document.file}: the trace buffer overflowed, {lost} records were lost: "
                "give it more MiB (trace: buffer), or mark a smaller window"
            )
        window = place.window
        if window.flaw:
            raise ObservationError(f"not all of the window {window.name!r} was recorded: {window.flaw}; "
                                   "windows do not nest, and only one is open at a time")  # fmt: skip
        if not window.closed and not self._died(window.pid):
            raise ObservationError(f"the window {window.name!r} has no end, and its program did not die in it: "
                                   f'lab_trace_end("{window.name}") is missing, or was not reached')  # fmt: skip

    def _died(self, pid: int) -> bool:
        """Whether the lab saw that process end in the middle: by a signal, or by the lab's own hand."""
        ended = self.record.ended
        if ended is not None and (ended.signal is not None or ended.killed_by_lab):
            return True
        return any(c.kind in ("signal", "limit") and c.pid == pid for c in self.record.checkpoints)

    def _trace_files(self) -> Iterator[str]:
        for checkpoint in self.record.checkpoints:
            file = f"{checkpoint.directory}/trace/events"
            if self._exists(file):
                yield file

    def _lost(self, events: str) -> int:
        """Lost records of the buffer whose text is in ``events``."""
        stats = self.document(events.removesuffix("events") + "stats")
        return self._once("lost", stats.file, lambda: ftrace.lost(stats))

    # -- what was asked for ----------------------------------------------------------------------

    def _setup(self) -> tuple[Document, dict[tuple[str, str], ftrace.Setup]]:
        file = "evidence/environment/trace"
        if not self._exists(file):
            raise ObservationError("this run has no kernel trace: scenario.yaml needs `trace: {…}`")
        document = self.document(file)
        return document, self._once("parsed", file, lambda: ftrace.parse_setup(document))

    def _recorded(self, what: str, name: str, hint: str) -> None:
        """Raises ObservationError unless the kernel records that."""
        _, setup = self._setup()
        found = setup.get((what, name))
        if found is None:
            known = [known for kind, known in setup if kind == what]
            raise ObservationError(f"the {what} {name!r} was not traced{nearest(name, known)}: {hint}")
        if found.state == "absent":
            raise ObservationError(f"this kernel has no function {name!r} (no symbol: inlined, or another name)")
        if found.state != "ok":
            raise ObservationError(f"the kernel does not trace the {what} {name!r}: {found.detail}")
