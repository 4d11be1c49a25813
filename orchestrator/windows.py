"""The kernel trace of a run as typed observations, window by window (level T).

A window is what the program marked with ``lab_trace_begin`` and ``lab_trace_end``. What was not
recorded is never an empty list: a window that is not there, an event or function that the kernel
does not record, and a buffer that overflowed are each an ObservationError.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from orchestrator.checks import path as names_of
from orchestrator.collect import environment, ftrace
from orchestrator.collect.ftrace import Record, Trace, Window
from orchestrator.collect.lines import Document
from orchestrator.names import nearest
from orchestrator.observed import ObservationError, Observed, Row, Rows

if TYPE_CHECKING:
    from orchestrator.rundir import RunRecord

T = TypeVar("T")
PAGE = 4096  # bytes: the lab's guests are x86-64
SHOWN = 12  # records that a finding names

_FAULT, _HANDLED, _ALLOCATION, _CLONE = "page_fault_user", "lab_fault", "mm_page_alloc", "task_newtask"

# arch/x86/include/asm/trap_pf.h
_ERROR_CODE = (("present", 1), ("write", 2), ("user", 4), ("instruction", 16))
# enum fault_flag, include/linux/mm_types.h (mm.h in 5.10); VMA_LOCK since 0b6a2f41e03e (6.4)
_FLAGS = (("write", 0x1), ("user", 0x40), ("remote", 0x80), ("instruction", 0x100), ("unshare", 0x400),
          ("vma_lock", 0x1000))  # fmt: skip
# include/uapi/linux/sched.h
_CLONE_FLAGS = (("vm", 0x100), ("fs", 0x200), ("files", 0x400), ("sighand", 0x800), ("vfork", 0x4000),
                ("thread", 0x10000), ("sysvsem", 0x40000), ("settls", 0x80000))  # fmt: skip

# The attributes of each kind of row, as scenarios/README.md lists them.
ATTRIBUTES = {
    "faults": ("address", "ip", "code", *(name for name, _ in _ERROR_CODE), "pid"),
    "handled": ("address", "vma", "vma_start", "vma_end", "flags", *(name for name, _ in _FLAGS), "pid"),
    "allocations": ("pfn", "order", "gfp", "zero", "movable", "chain", "page", "pid"),
    "syscalls": ("result", "pid"),
    "clones": ("child", "flags", *(name for name, _ in _CLONE_FLAGS), "pid"),
    "hits": ("chain", "pid"),
    "events": ("pid",),
}
_OPEN = ("syscalls", "events")  # have the kernel's own names besides, which only a record shows


@dataclass(frozen=True)
class _Place:
    """A window in the evidence of one checkpoint."""

    document: Document
    trace: Trace
    window: Window

    @property
    def records(self) -> tuple[Record, ...]:
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

    def _places(self) -> dict[str, list[_Place]]:
        return self._once("windows", "", self._find_windows)

    def _find_windows(self) -> dict[str, list[_Place]]:
        found: dict[str, list[_Place]] = {}
        for checkpoint in self.record.checkpoints:
            file = f"{checkpoint.directory}/trace/events"
            if not self._exists(file):
                continue
            document = self.document(file)
            trace = ftrace.parse_trace(document)
            for window in trace.windows:
                places = found.setdefault(window.name, [])
                if places and places[-1].window.began == window.began:
                    places.pop()  # it was open at the checkpoint before, and its records came again
                places.append(_Place(document, trace, window))
        return found

    def _window(self, name: str) -> _Place:
        self._setup()
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
        lost = self._lost(place.document.file)
        if lost:
            raise ObservationError(
                f"{place.document.file}: the trace buffer overflowed, {lost} records were lost: "
                "give it more MiB (trace: buffer), or mark a smaller window"
            )
        return place

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

    # -- rows ------------------------------------------------------------------------------------

    def _rows(self, kind: str, place: _Place, made: Iterable[tuple[Record, dict[str, object]]]) -> Observed:
        rows = [Row(kind, {**fields, "pid": r.pid}, place.document.at(r.line)) for r, fields in made]
        evidence = tuple(row.evidence for row in rows[:SHOWN]) or (place.document.at(0),)
        known = () if kind in _OPEN else ATTRIBUTES[kind]
        return Observed(Rows(kind, rows, known), evidence)

    def _select(self, place: _Place, event: str, page: object, pid: object) -> Iterator[Record]:
        """The records of an event: of that thread, and of faults on that page. Raises ObservationError."""
        wanted = None if page is None else _address(page) // PAGE
        if pid is not None and (isinstance(pid, bool) or not isinstance(pid, int)):
            raise ObservationError(f"pid= takes a thread's id, not {pid!r}")
        for record in place.records:
            if record.name != event or (pid is not None and record.pid != pid):
                continue
            if wanted is None or _int(record, place, "address") // PAGE == wanted:
                yield record

    def faults(self, window: str, page: object = None, pid: object = None) -> Observed:
        """User page faults (exceptions:page_fault_user): address, ip, the error code and its bits."""
        place = self._window(window)
        self._recorded("event", "exceptions:page_fault_user", "it is recorded always")

        def made() -> Iterator[tuple[Record, dict[str, object]]]:
            for record in self._select(place, _FAULT, page, pid):
                code = _int(record, place, "error_code")
                yield record, {"address": _int(record, place, "address"), "ip": _int(record, place, "ip"),
                               "code": code, **_bits(code, _ERROR_CODE)}

        return self._rows("faults", place, made())

    def handled(self, window: str, page: object = None, pid: object = None) -> Observed:
        """Calls of handle_mm_fault(), also for faults that the kernel itself takes."""
        place = self._window(window)
        self._recorded("probe", "handle_mm_fault", "it is recorded always")

        def made() -> Iterator[tuple[Record, dict[str, object]]]:
            for record in self._select(place, _HANDLED, page, pid):
                flags = _int(record, place, "flags")
                names = ("address", "vma", "vma_start", "vma_end")
                yield record, {**{name: _int(record, place, name) for name in names}, "flags": flags,
                               **_bits(flags, _FLAGS)}

        return self._rows("handled", place, made())

    def allocations(self, window: str, page: object = None, pid: object = None) -> Observed:
        """Pages taken from the page allocator (kmem:mm_page_alloc), each with its call chain. ``page``: those
        made in handle_mm_fault() for that page."""
        place = self._window(window)
        self._recorded("event", "kmem:mm_page_alloc", "it is recorded always")
        return self._rows("allocations", place, self._allocations(place, page, pid))

    def _allocations(self, place: _Place, page: object, pid: object) -> Iterator[tuple[Record, dict[str, object]]]:
        wanted = None if page is None else _address(page) // PAGE
        handled: dict[int, int] = {}  # the page that each thread's last handle_mm_fault() was for
        for record in place.records:
            if record.name == _HANDLED:
                handled[record.pid] = _int(record, place, "address") // PAGE
            if record.name != _ALLOCATION or (pid is not None and record.pid != pid):
                continue
            faulted = handled.get(record.pid) if "handle_mm_fault" in record.chain else None
            if wanted is None or faulted == wanted:
                gfp = _field(record, place, "gfp_flags")
                flags = str(gfp).split("|")
                yield record, {
                    "pfn": _int(record, place, "pfn"), "order": _int(record, place, "order"), "gfp": str(gfp),
                    "zero": "__GFP_ZERO" in flags, "movable": _movable(flags), "chain": list(record.chain),
                    "page": None if faulted is None else faulted * PAGE,
                }  # fmt: skip

    def clones(self, window: str, pid: object = None) -> Observed:
        """New tasks (task:task_newtask): the clone flags that each was made with."""
        place = self._window(window)
        self._recorded("event", "task:task_newtask", "it is recorded always")

        def made() -> Iterator[tuple[Record, dict[str, object]]]:
            for record in self._select(place, _CLONE, None, pid):
                found = re.search(r"clone_flags=([0-9a-f]+)", record.details)  # hexadecimal without 0x
                child = re.search(r"\bpid=(\d+)", record.details)
                if found is None or child is None:
                    raise place.document.garbled(record.line, "a new task")
                flags = int(found[1], 16)
                yield record, {"child": int(child[1]), "flags": flags, **_bits(flags, _CLONE_FLAGS)}

        return self._rows("clones", place, made())

    def syscalls(self, window: str, name: str, pid: object = None) -> Observed:
        """Calls of one system call: its arguments by the kernel's names, and ``result`` (negative: an error
        number; None if it did not return in the window)."""
        place = self._window(window)
        self._recorded("event", f"syscalls:sys_enter_{name}", f"add {name} to trace: syscalls")
        self._recorded("event", f"syscalls:sys_exit_{name}", f"add {name} to trace: syscalls")
        calls: list[tuple[Record, dict[str, object]]] = []
        waiting: dict[int, dict[str, object]] = {}  # by thread: the call that has not returned yet
        for record in self._select(place, f"sys_{name}", None, pid):
            call = ftrace.parse_syscall(record, place.document)
            if call.result is None:
                waiting[record.pid] = {**call.arguments, "result": None}
                calls.append((record, waiting[record.pid]))
            elif record.pid in waiting:  # else it was called before the window, or in the parent
                waiting.pop(record.pid)["result"] = call.result
        return self._rows("syscalls", place, calls)

    def hits(self, window: str, function: str, pid: object = None) -> Observed:
        """Calls of a kernel function that trace: functions names, each with its call chain."""
        place = self._window(window)
        self._recorded("function", function, f"add {function} to trace: functions")

        def made() -> Iterator[tuple[Record, dict[str, object]]]:
            for record in self._select(place, f"lab_{function}"[:59], None, pid):
                yield record, {"chain": [function, *_after(record.chain, function)]}

        return self._rows("hits", place, made())

    def events(self, window: str, event: str, pid: object = None) -> Observed:
        """Records of any trace event, with its own fields."""
        place = self._window(window)
        self._recorded("event", event, f"add {event} to trace: events")
        rows = ((r, {**ftrace.fields(r, place.document), "chain": list(r.chain)})
                for r in self._select(place, event.partition(":")[2], None, pid))
        return self._rows("events", place, rows)

    # -- functions in order ------------------------------------------------------------------------

    def chain(self, window: str, path: str, page: object = None, pid: object = None) -> Observed:
        """Whether some page allocation, or call of a probed function, came about through these functions, outermost
        first; there may be others between them. ``page``: only allocations in the fault on that page."""
        place = self._window(window)
        names, remark = self._present(path, ())
        if page is None:
            records = [r for r in place.records if r.chain and (pid is None or r.pid == pid)]
        else:
            records = [record for record, _ in self._allocations(place, page, pid)]
        found = [r for r in records if _in_order(names, _outermost_first(r))]
        shown = found[:1] or records[:SHOWN]
        return Observed(bool(found), tuple(place.document.at(r.line) for r in shown) or (place.document.at(0),), remark)

    def sequence(self, window: str, path: str, pid: object = None) -> Observed:
        """Whether these happened in the window in this order: calls of probed functions and of system calls,
        ``fault`` and ``allocation``."""
        place = self._window(window)
        _, setup = self._setup()
        other = {name for name in names_of(path) if name in ("fault", "allocation")
                 or ("event", f"syscalls:sys_enter_{name}") in setup}
        names, remark = self._present(path, other)
        for name in names:
            if name not in other:
                self._recorded("function", name, f"add {name} to trace: functions, or to syscalls")
        seen = [(_word(r), r) for r in place.records if pid is None or r.pid == pid]
        taken: list[Record] = []
        for word, record in seen:
            if len(taken) < len(names) and word == names[len(taken)]:
                taken.append(record)
        evidence = tuple(place.document.at(r.line) for r in taken[:SHOWN]) or (place.document.at(0),)
        return Observed(len(taken) == len(names), evidence, remark)

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


def _after(chain: tuple[str, ...], function: str) -> tuple[str, ...]:
    """A probed function's callers: the function itself may stand in its chain, or only its caller."""
    return chain[1:] if chain[:1] == (function,) else chain


def _outermost_first(record: Record) -> Iterator[str]:
    yield from reversed(record.chain)
    if record.name.startswith("lab_"):
        yield record.name.removeprefix("lab_")


def _in_order(wanted: list[str], found: Iterable[str]) -> bool:
    rest = iter(found)
    return all(name in rest for name in wanted)  # `in` consumes the iterator up to the name


def _word(record: Record) -> str:
    """What ``sequence`` calls a record; "" for one that it does not name."""
    if record.name == _FAULT:
        return "fault"
    if record.name == _ALLOCATION:
        return "allocation"
    if record.name.startswith("sys_"):
        return record.name.removeprefix("sys_") if " -> " not in record.details else ""
    return record.name.removeprefix("lab_") if record.name.startswith("lab_") else ""


def _bits(value: int, bits: Iterable[tuple[str, int]]) -> dict[str, object]:
    return {name: bool(value & bit) for name, bit in bits}


def _movable(flags: list[str]) -> bool:
    return any(flag in ("__GFP_MOVABLE", "GFP_HIGHUSER_MOVABLE") or flag.startswith("GFP_TRANSHUGE") for flag in flags)


def _field(record: Record, place: _Place, name: str) -> object:
    found = re.search(rf"(?:^|\s){name}=(\S+)", record.details)
    if found is None:
        raise place.document.garbled(record.line, f"a record with {name}=")
    return ftrace.number(found[1])


def _int(record: Record, place: _Place, name: str) -> int:
    value = _field(record, place, name)
    if not isinstance(value, int):
        raise place.document.garbled(record.line, f"a record with a number {name}=")
    return value


def _address(page: object) -> int:
    if isinstance(page, bool) or not isinstance(page, int):
        raise ObservationError(f"page= takes an address, not {page!r}")
    return page
