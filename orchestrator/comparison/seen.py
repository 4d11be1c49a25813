"""A run directory as comparable observations: its end, checkpoints, mappings, counters, kernel log. Pure.

What can't be read is told in ``broken`` and compared by nobody. What the kernel decides by chance (where a mapping
lies, how many page tables that needs, which frame) is either left out or marked as not steady.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from orchestrator import costs
from orchestrator.collect import ftrace, procfs
from orchestrator.collect.lines import Document, EvidenceError
from orchestrator.comparison import inside
from orchestrator.comparison.model import Seen, Topic
from orchestrator.comparison.places import Regions, exact, named, stacks
from orchestrator.errors import LabError
from orchestrator.inspection.moment import Moment, Run
from orchestrator.kernel_log import kind_of, log_shape
from orchestrator.model import Checkpoint, Evidence, Vma
from orchestrator.names import signal_name
from orchestrator.observed import ObservationError

MAX_CHECKPOINTS = 400  # of one run
MAX_VALUE = 4000  # characters
MAX_LOG = 20_000  # lines of the kernel log

# /proc/PID/status. Sizes of mappings are told by the mappings.
_STATUS = ("Threads", "VmLck", "HugetlbPages")
_SUMS = ("VmSize", "VmData", "VmStk", "VmExe", "VmLib")
_RESIDENT = ("VmRSS", "RssAnon", "RssFile", "RssShmem", "VmSwap")
_ROLLUP = ("Rss", "Anonymous", "AnonHugePages")
_STAT = ("minflt", "majflt")


class Reading:
    """All observations of one run, and what could not be read."""

    def __init__(self, path: Path) -> None:
        self.run = Run.open(path)
        self.broken: list[str] = []
        self.limited = False  # printk left out lines of the kernel log
        self.spaces: dict[str, Regions] = {}  # the address space by checkpoint's label
        self.pids: dict[int, int] = {}  # processes and threads, numbered from 1 in the order of their appearance
        self._arenas: set[int] = set()  # processes in which threads share arenas, or have
        self.seen: tuple[Seen, ...] = tuple(map(_bounded, self._all()))

    def _all(self) -> Iterator[Seen]:
        yield from _ending(self.run)
        yield from self._log()
        yield from self._costs()
        for checkpoint in self.run.record.checkpoints[:MAX_CHECKPOINTS]:
            at = self.run.label(checkpoint)
            word = f"signal {signal_name(checkpoint.signal)}" if checkpoint.signal else checkpoint.kind
            yield Seen(Topic.CHECKPOINT, "reached", at, word)
            if checkpoint.kind != "exit":
                yield from self._moment(self.run.at(checkpoint, checkpoint.pid))
            yield from self._trace(checkpoint, at)

    def _costs(self) -> Iterator[Seen]:
        """What was counted in instructions, which is the same in every repeat."""
        for one in costs.of_run(self.run):
            at = self.run.label(one.checkpoint)
            evidence = self.run.observed.document(one.file).at(one.line)
            yield Seen(Topic.COST, one.name, at, costs.count(one.instructions), evidence=evidence, word=one.name)

    def _trace(self, checkpoint: Checkpoint, at: str) -> Iterator[Seen]:
        try:
            yield from list(_windows(self.run, checkpoint, at))
        except ObservationError:  # nothing was traced there, or it was cut off
            return
        except LabError as error:
            self.broken.append(error.message)

    def _moment(self, moment: Moment) -> Iterator[Seen]:
        threads = [thread.tid for thread in moment.heap[1].threads] if moment.heap else []
        for pid in (moment.pid, *threads):
            self.pids.setdefault(pid, len(self.pids) + 1)
        if moment.mappings is not None:
            document, vmas = moment.mappings
            self.spaces[moment.at] = Regions(vmas, stacks(moment.heap))
            if any(map(_is_arena, vmas)):
                self._arenas.add(moment.pid)
            yield from _mappings(moment.at, document, vmas, self._calm(moment))
        yield from self._counters(moment)
        yield from inside.seen(moment, self.broken)
        self.broken += [trouble for trouble in moment.troubles if trouble not in self.broken]

    def _calm(self, moment: Moment) -> bool:
        """Whether the sizes of its mappings are decided by neither the scheduler nor the place of the heap."""
        vmas = moment.mappings[1] if moment.mappings else ()
        return moment.pid not in self._arenas and not any(map(_is_cut, vmas))

    def _counters(self, moment: Moment) -> Iterator[Seen]:
        folder = f"{moment.checkpoint.directory}/proc/{moment.pid}"
        for name, parse, wanted, steady in (
            ("status", procfs.parse_status, _STATUS, True),
            ("status", procfs.parse_status, _SUMS, self._calm(moment)),
            ("status", procfs.parse_status, _RESIDENT, False), ("smaps_rollup", procfs.parse_rollup, _ROLLUP, False),
            ("stat", procfs.parse_stat, _STAT, False),
        ):  # fmt: skip
            values, document = self._parsed(f"{folder}/{name}", parse)
            for key in (key for key in wanted if key in values):
                found = values[key]
                shown = exact(found.value) if isinstance(found.value, int) and name != "stat" and key != "Threads" \
                    else str(found.value)  # fmt: skip
                what = f"{key} ({name})" if name == "smaps_rollup" else key
                yield Seen(Topic.RESIDENT if wanted in (_RESIDENT, _ROLLUP) else Topic.COUNTER, what, moment.at, shown,
                           steady, document.at(found.line) if document else None,
                           word="" if name == "status" else key)  # fmt: skip

    def _parsed(self, file: str, parse: Callable[[Document], dict[str, procfs.Value]]) -> \
            tuple[Mapping[str, procfs.Value], Document | None]:
        try:
            document = self.run.observed.document(file)
            return parse(document), document
        except ObservationError:  # not there, or cut off
            return {}, None
        except LabError as error:
            self.broken.append(error.message)
            return {}, None

    def _log(self) -> Iterator[Seen]:
        """Each kind of line of the kernel log, with its shapes."""
        try:
            document = self.run.observed.document("kernel.log")
        except (ObservationError, EvidenceError):
            return
        shapes_of = [log_shape(line) for line in document.lines[:MAX_LOG]]
        self.limited = any(map(_LIMITED.search, document.lines[:MAX_LOG])) or \
            sum(bool(_RATIONED.search(shape)) for shape in shapes_of) >= BURST
        kinds: dict[str, Counter[str]] = {}
        first: dict[str, Evidence] = {}
        for number, shape in enumerate(shapes_of, 1):
            if shape:
                kinds.setdefault(kind := kind_of(shape), Counter())[shape] += 1
                if kind not in first:
                    first[kind] = document.at(number)
        for kind, shapes in kinds.items():
            shown = [f"{count} × {shape}" if count > 1 and not self.limited and not _RATIONED.search(shape) else shape
                     for shape, count in sorted(shapes.items())]  # fmt: skip
            yield Seen(Topic.LOG, kind, "", " | ".join(shown), evidence=first[kind])


def _bounded(one: Seen) -> Seen:
    """It with a value that is no longer than MAX_VALUE; a hash stands for the rest."""
    if len(one.value) <= MAX_VALUE:
        return one
    rest = hashlib.sha256(one.value.encode(errors="surrogatepass")).hexdigest()[:12]
    return replace(one, value=f"{one.value[:MAX_VALUE]} … ({len(one.value)} characters, {rest})")


# -- the kernel log ------------------------------------------------------------------------------

_LIMITED = re.compile(r"callbacks suppressed")  # ___ratelimit(), lib/ratelimit.c: said by the next call, if any
# What the kernel says through printk_ratelimit(), printk_ratelimited() or a ratelimit_state of its own, so that how
# often it does is no count of what happened: show_signal_msg() (arch/x86/mm/fault.c) and the code that follows it,
# show_signal() (traps.c), signal_fault() (signal.c), coredump_report_failure() (include/linux/coredump.h; c114e9948c2b,
# 6.12), warn_alloc() (mm/page_alloc.c), oom_kill_process() (mm/oom_kill.c)
_RATIONED = re.compile(r"segfault at |^Code: |^traps: |^coredump: | bad frame in |page allocation failure"
                       r"|invoked oom-killer")  # fmt: skip
BURST = 10  # messages in DEFAULT_RATELIMIT_INTERVAL: DEFAULT_RATELIMIT_BURST, include/linux/ratelimit_types.h


# -- the end -------------------------------------------------------------------------------------


def _ending(run: Run) -> Iterator[Seen]:
    record = run.record
    whole = Evidence("run.json")
    yield Seen(Topic.ENDING, "the run", "", record.ending.value, evidence=whole)
    yield Seen(Topic.ENDING, "the outcome", "", record.outcome.value, evidence=whole)
    if record.ended is not None:
        ended = record.ended
        how = f"exit status {ended.code}" if ended.signal is None else signal_name(ended.signal)
        yield Seen(Topic.ENDING, "the program", "", ended.killed_by_lab or how, evidence=whole)
    for part, why in record.left_out.items():
        yield Seen(Topic.ENDING, f"looking inside: {part}", "", why, evidence=whole)


# -- mappings ------------------------------------------------------------------------------------


def _is_arena(vma: Vma) -> bool:
    """Whether it looks like the used part of a heap of a thread's arena: HEAP_MAX_SIZE, malloc/arena.c (glibc)."""
    return not vma.name and vma.start % (64 << 20) == 0 and vma.perms == "rw-p" and vma.size < 64 << 20


def _is_cut(vma: Vma) -> bool:
    """Whether a heap ends where a page table does, or with the first page of the next: then its size is as random as
    its start."""
    return vma.name == "[heap]" and vma.end % (2 << 20) in (0, 4096)


def _mappings(at: str, document: Document, vmas: tuple[Vma, ...], steady: bool) -> Iterator[Seen]:
    """Of each name all mappings in the order of addresses; of those without a name how many there are of each kind."""
    groups: dict[str, list[Vma]] = {}
    for name, vma in named(vmas):
        groups.setdefault(name, []).append(vma)
    for name, group in groups.items():
        ordered = not name.startswith("anonymous")
        shown = [f"{vma.perms} {exact(vma.size)}" for vma in group]
        value = ", ".join(shown) if ordered else _counted(group)
        first, last = group[0], group[-1]
        end = last.line + len(last.fields) + bool(last.flags)
        sure = steady or name not in ("[heap]", "anonymous")  # threads race for what is in arenas
        yield Seen(Topic.MAPPING, name, at, value, sure, document.at(first.line), end)
        yield from _resident(at, name, document, group, end, steady)


def _resident(at: str, name: str, document: Document, group: list[Vma], end: int,
              calm: bool) -> Iterator[Seen]:
    sums = [dict(vma.fields).get("Rss") for vma in group]
    if any(value is None for value in sums):
        return
    # the stack's first pages depend on where its strings are put, a file's on what is read around a fault
    steady = calm and name == "[heap]"
    yield Seen(Topic.RESIDENT, name, at, exact(sum(value or 0 for value in sums)), steady,
               document.at(group[0].line), end)  # fmt: skip


def _counted(vmas: Iterable[Vma]) -> str:
    """How many there are of each size and permission. Of those without any permission the number and the sum: how a
    program cuts up what it has reserved often depends on where that lies."""
    found = Counter(f"{vma.perms} {exact(vma.size)}" for vma in vmas if vma.perms != "---p")
    shown = [f"{count} × {value}" if count > 1 else value for value, count in sorted(found.items())]
    closed = [vma.size for vma in vmas if vma.perms == "---p"]
    return ", ".join([*shown, *([f"{len(closed)} × ---p, together {exact(sum(closed))}"] if closed else ())])


# -- the trace -----------------------------------------------------------------------------------

_SAID_TWICE = frozenset({"lab_fault", "rss_stat"})  # by other records of the same


def _windows(run: Run, checkpoint: Checkpoint, at: str) -> Iterator[Seen]:
    """Which functions and events were recorded in each window that is whole, and how often."""
    folder = f"{checkpoint.directory}/trace"
    document = run.observed.document(f"{folder}/events")
    trace = ftrace.parse_trace(document)
    if ftrace.lost(run.observed.document(f"{folder}/stats")):
        return
    for window in (one for one in trace.windows if not one.flaw):
        records = trace.records[window.first : window.last]
        counts = Counter(record.name.removeprefix("lab_") for record in records
                         if record.name not in _SAID_TWICE and not _is_return(record))  # fmt: skip
        for what, count in counts.items():
            yield Seen(Topic.TRACE, f"{window.name}: {what}", at, _times(count), False, document.at(0), word=what)


def _is_return(record: ftrace.Record) -> bool:
    """Whether it is the end of a system call whose beginning is there, too."""
    return record.name.startswith("sys_") and " -> " in record.details


def _times(count: int) -> str:
    return f"{count} times" if count > 1 else "once"
