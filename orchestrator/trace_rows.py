"""What the kernel recorded in a window, as typed rows: faults, allocations, system calls, new tasks, hits (level T)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from orchestrator.collect import ftrace
from orchestrator.collect.ftrace import Record
from orchestrator.observed import ObservationError, Observed, Row, Rows
from orchestrator.windows import Place, Windows

PAGE = 4096  # bytes: the lab's guests are x86-64
SHOWN = 12  # records that a finding names

FAULT, HANDLED, ALLOCATION = "page_fault_user", "lab_fault", "mm_page_alloc"
_CLONE = "task_newtask"

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
    "syscalls": ("result", "pid", "task"),
    "clones": ("child", "flags", *(name for name, _ in _CLONE_FLAGS), "pid"),
    "hits": ("chain", "pid"),
    "events": ("pid", "task", "chain"),
}
_OPEN = ("syscalls", "events")  # have the kernel's own names besides, which only a record shows


class TraceRows(Windows):
    """The part of Observations that reads records."""

    def _rows(self, kind: str, place: Place, made: Iterable[tuple[Record, dict[str, object]]]) -> Observed:
        rows = [Row(kind, {"pid": r.pid, **fields}, place.document.at(r.line)) for r, fields in made]
        evidence = tuple(row.evidence for row in rows[:SHOWN]) or (place.document.at(0),)
        known = () if kind in _OPEN else ATTRIBUTES[kind]
        return Observed(Rows(kind, rows, known), evidence)

    def _select(self, place: Place, event: str, page: object, pid: object) -> Iterator[Record]:
        """The records of an event: of that thread, and of faults on that page. Raises ObservationError."""
        wanted = None if page is None else _address(page) // PAGE
        task = thread(pid)
        for record in place.records:
            if record.name != event or task not in (None, record.pid):
                continue
            if wanted is None or _int(record, place, "address") // PAGE == wanted:
                yield record

    def faults(self, window: str, page: object = None, pid: object = None) -> Observed:
        """User page faults (exceptions:page_fault_user): address, ip, the error code and its bits."""
        place = self._window(window)
        self._recorded("event", "exceptions:page_fault_user", "it is recorded always")

        def made() -> Iterator[tuple[Record, dict[str, object]]]:
            for record in self._select(place, FAULT, page, pid):
                code = _int(record, place, "error_code")
                yield record, {"address": _int(record, place, "address"), "ip": _int(record, place, "ip"),
                               "code": code, **_bits(code, _ERROR_CODE)}

        return self._rows("faults", place, made())

    def handled(self, window: str, page: object = None, pid: object = None) -> Observed:
        """Calls of handle_mm_fault(), also for faults that the kernel itself takes."""
        place = self._window(window)
        self._recorded("probe", "handle_mm_fault", "it is recorded always")

        def made() -> Iterator[tuple[Record, dict[str, object]]]:
            for record in self._select(place, HANDLED, page, pid):
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
        if page is not None:
            self._recorded("probe", "handle_mm_fault", "it is recorded always")
        return self._rows("allocations", place, self._allocations(place, page, pid))

    def _allocations(self, place: Place, page: object, pid: object) -> Iterator[tuple[Record, dict[str, object]]]:
        wanted = None if page is None else _address(page) // PAGE
        task = thread(pid)
        handled: dict[int, int] = {}  # the page that each thread's last handle_mm_fault() was for
        for record in place.records:
            if record.name == HANDLED:
                handled[record.pid] = _int(record, place, "address") // PAGE
            if record.name != ALLOCATION or task not in (None, record.pid):
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
                child, flags = ftrace.parse_new_task(record, place.document)
                yield record, {"child": child, "flags": flags, **_bits(flags, _CLONE_FLAGS)}

        return self._rows("clones", place, made())

    def syscalls(self, window: str, name: str, pid: object = None) -> Observed:
        """Calls of one system call: its arguments by the kernel's names, ``task`` (the thread), and ``result``
        (negative: an error number; None if it did not return in the window)."""
        place = self._window(window)
        self._recorded("event", f"syscalls:sys_enter_{name}", f"add {name} to trace: syscalls")
        self._recorded("event", f"syscalls:sys_exit_{name}", f"add {name} to trace: syscalls")
        calls: list[tuple[Record, dict[str, object]]] = []
        waiting: dict[int, dict[str, object]] = {}  # by thread: the call that has not returned yet
        for record in self._select(place, f"sys_{name}", None, pid):
            call = ftrace.parse_syscall(record, place.document)
            if call.result is None:
                waiting[record.pid] = {**call.arguments, "result": None, "task": record.pid}
                calls.append((record, waiting[record.pid]))
            elif record.pid in waiting:  # else it was called before the window, or in the parent
                waiting.pop(record.pid)["result"] = call.result
        return self._rows("syscalls", place, calls)

    def hits(self, window: str, function: str, pid: object = None) -> Observed:
        """Calls of a kernel function that trace: functions names, each with its call chain."""
        place = self._window(window)
        self._recorded("function", function, f"add {function} to trace: functions")

        def made() -> Iterator[tuple[Record, dict[str, object]]]:
            for record in self._select(place, probe(function), None, pid):
                yield record, {"chain": [function, *_after(record.chain, function)]}

        return self._rows("hits", place, made())

    def events(self, window: str, event: str, pid: object = None) -> Observed:
        """Records of any trace event, with its own fields: its ``pid`` is the event's own where it has one, ``task``
        the thread that was recorded."""
        place = self._window(window)
        self._recorded("event", event, f"add {event} to trace: events")
        rows = ((r, {**ftrace.fields(r, place.document), "chain": list(r.chain), "task": r.pid})
                for r in self._select(place, event.partition(":")[2], None, pid))
        return self._rows("events", place, rows)


def probe(function: str) -> str:
    """The name of a function's kprobe event (guest/trace.c)."""
    return f"lab_{function[:55]}".replace(".", "_")


def thread(pid: object) -> int | None:
    """The thread whose records are wanted; None: all. Raises ObservationError for what is no id."""
    if pid is not None and (isinstance(pid, bool) or not isinstance(pid, int)):
        raise ObservationError(f"pid= takes a thread's id, not {pid!r}")
    return pid


def _after(chain: tuple[str, ...], function: str) -> tuple[str, ...]:
    """A probed function's callers: the function itself may stand in its chain, or only its caller."""
    return chain[1:] if chain[:1] == (function,) else chain


def _bits(value: int, bits: Iterable[tuple[str, int]]) -> dict[str, object]:
    return {name: bool(value & bit) for name, bit in bits}


def _movable(flags: list[str]) -> bool:
    return any(flag in ("__GFP_MOVABLE", "GFP_HIGHUSER_MOVABLE") or flag.startswith("GFP_TRANSHUGE") for flag in flags)


def _field(record: Record, place: Place, name: str) -> object:
    found = re.search(rf"(?:^|\s){name}=(\S+)", record.details)
    if found is None:
        raise place.document.garbled(record.line, f"a record with {name}=")
    return ftrace.number(found[1])


def _int(record: Record, place: Place, name: str) -> int:
    value = _field(record, place, name)
    if not isinstance(value, int):
        raise place.document.garbled(record.line, f"a record with a number {name}=")
    return value


def _address(page: object) -> int:
    if isinstance(page, bool) or not isinstance(page, int):
        raise ObservationError(f"page= takes an address, not {page!r}")
    return page
