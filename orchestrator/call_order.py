"""Which functions, system calls and faults came in which order: call chains and sequences in a window (level T)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from orchestrator.checks import path as names_of
from orchestrator.collect import environment
from orchestrator.collect.ftrace import Record
from orchestrator.model import Evidence
from orchestrator.observed import ObservationError, Observed
from orchestrator.trace_rows import ALLOCATION, FAULT, HANDLED, SHOWN, TraceRows, probe, thread
from orchestrator.windows import Place

_EVENTS = {"fault": "exceptions:page_fault_user", "allocation": "kmem:mm_page_alloc"}
_ALWAYS = "it is recorded always"


class CallOrder(TraceRows):
    """The part of Observations that compares orders of calls."""

    def chain(self, window: str, path: str, page: object = None, pid: object = None) -> Observed:
        """Whether some page allocation, or call of a probed function, came about through these functions, outermost
        first; there may be others between them. ``page``: only allocations in the fault on that page."""
        place = self._window(window)
        names, remark = self._present(path, ())
        _, setup = self._setup()
        self._recorded("event", "kmem:mm_page_alloc", _ALWAYS)
        if page is None:
            task = thread(pid)
            records = [r for r in place.records if r.chain and task in (None, r.pid)]
        else:
            self._recorded("probe", "handle_mm_fault", _ALWAYS)
            records = [record for record, _ in self._allocations(place, page, pid)]
        probed = {probe(name): name for kind, name in setup if kind == "function"}
        found = [r for r in records if _in_order(names, _outermost_first(r, probed))]
        if not found and page is None and ("function", names[-1]) in setup:
            self._recorded("function", names[-1], "")  # it may have been called, unseen
        return Observed(bool(found), _shown(place, found[:1] or records), remark)

    def sequence(self, window: str, path: str, pid: object = None) -> Observed:
        """Whether these happened in the window in this order: calls of probed functions, of ``handle_mm_fault`` and of
        system calls, ``fault`` (a user page fault) and ``allocation``."""
        place = self._window(window)
        task = thread(pid)
        words = {word: self._record_of(word) for word in names_of(path)}
        names, remark = self._present(path, {word for word, (kind, _) in words.items() if kind == "event"})
        for name in names:
            self._recorded(*words[name], f"add {name} to trace: functions, or to syscalls")
        wanted = {name: _event(name, *words[name]) for name in names}
        taken: list[Record] = []
        for record in place.records:
            if len(taken) == len(names):
                break
            called = not record.name.startswith("sys_") or " -> " not in record.details  # not a call's return
            if record.name == wanted[names[len(taken)]] and called and task in (None, record.pid):
                taken.append(record)
        return Observed(len(taken) == len(names), _shown(place, taken), remark)

    def _record_of(self, word: str) -> tuple[str, str]:
        """What of the trace's set-up shows that a word of a sequence happened: its kind and name."""
        _, setup = self._setup()
        if word in _EVENTS:
            return "event", _EVENTS[word]
        if ("event", f"syscalls:sys_enter_{word}") in setup:
            return "event", f"syscalls:sys_enter_{word}"
        if word == "handle_mm_fault" and ("function", word) not in setup:
            return "probe", word
        return "function", word

    def _present(self, path: str, other: Iterable[str]) -> tuple[list[str], str]:
        """The names that this kernel has, and words about those that it has not. Raises ObservationError if fewer
        than two remain."""
        document = self.document("evidence/environment/symbols")
        symbols = self._once("parsed", document.file, lambda: environment.parse_symbols(document))
        names: list[str] = []
        inlined: list[str] = []
        for name in names_of(path):
            present, _ = (True, 0) if name in other else symbols.get(name, (None, 0))
            if present is None:
                raise ObservationError(f"{name!r} was not looked up in the guest: run it again")
            (names if present else inlined).append(name)
        if len(names) < 2:
            raise ObservationError(f"of {path!r} this kernel has {names or 'no function'}: nothing to compare")
        if not inlined:
            return names, ""
        return names, f"not in this kernel (no symbol in /proc/kallsyms: inlined, or not there): {', '.join(inlined)}"


def _event(word: str, kind: str, name: str) -> str:
    """The name of the records that a word of a sequence stands for."""
    if kind == "probe":
        return HANDLED
    if kind == "function":
        return probe(name)
    return {"fault": FAULT, "allocation": ALLOCATION}.get(word, f"sys_{word}")


def _shown(place: Place, records: list[Record]) -> tuple[Evidence, ...]:
    return tuple(place.document.at(r.line) for r in records[:SHOWN]) or (place.document.at(0),)


def _outermost_first(record: Record, probed: dict[str, str]) -> Iterator[str]:
    """The record's callers, and at the end the probed function itself, which may stand in its own chain."""
    yield from reversed(record.chain)
    name = probed.get(record.name)
    if name and record.chain[:1] != (name,):
        yield name


def _in_order(wanted: list[str], found: Iterable[str]) -> bool:
    rest = iter(found)
    return all(name in rest for name in wanted)  # `in` consumes the iterator up to the name
