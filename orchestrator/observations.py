"""A run directory as typed observations, each with the evidence line it came from.

Everything is read when first asked for, once. What is not there is an ObservationError that names
the nearest thing that is; what can't be read is an EvidenceError that names file and line. No
observation is ever guessed: a file that was cut off counts as not there.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeVar

from orchestrator.call_order import CallOrder
from orchestrator.checks import CheckError, pattern
from orchestrator.collect import environment, procfs
from orchestrator.collect.lines import Document, EvidenceError
from orchestrator.heap_objects import Heaps
from orchestrator.kernel_objects import Inside
from orchestrator.model import Checkpoint, Ended, Evidence, Note, Vma
from orchestrator.names import nearest, signal_name
from orchestrator.observed import ObservationError, Observed, Rows, VmaView
from orchestrator.rundir import RunDirectory, RunRecord, safe

MAX_FILE = 128 << 20  # bytes
MAX_MATCHED = 400  # characters of a kernel log line that a pattern sees
MAX_SEARCH = 5.0  # seconds for one pattern over the whole kernel log

T = TypeVar("T")


class Observations(CallOrder, Inside, Heaps):
    """What one run left. Reads only its directory; never changes it."""

    def __init__(self, directory: RunDirectory, record: RunRecord) -> None:
        self.record = record
        self._directory = directory
        self._cache: dict[tuple[str, str], object] = {}

    # -- files ---------------------------------------------------------------------------------

    def document(self, file: str) -> Document:
        """One evidence file. Raises ObservationError if it is not there or was cut off."""
        return self._once("document", file, lambda: self._read(file))

    def _read(self, file: str) -> Document:
        if not safe(file):
            raise EvidenceError(f"run.json names the unsafe path {file!r}")
        path = self._directory.file(file)
        if path.with_name(path.name + ".truncated").exists():
            raise ObservationError(f"{file} was cut off when it was collected")
        try:
            if path.stat().st_size > MAX_FILE:
                raise EvidenceError(f"{file}: more than {MAX_FILE >> 20} MiB")
            return Document.of(file, path.read_bytes())
        except OSError as error:
            raise ObservationError(f"no evidence {file} ({error.strerror})") from None

    def _exists(self, file: str) -> bool:
        return safe(file) and self._directory.file(file).is_file()

    def _once(self, kind: str, key: str, make: Callable[[], T]) -> T:
        if (kind, key) not in self._cache:
            self._cache[kind, key] = make()
        return self._cache[kind, key]  # type: ignore[return-value]

    def _parsed(self, file: str, parse: Callable[[Document], T]) -> tuple[Document, T]:
        document = self.document(file)
        return document, self._once("parsed", file, lambda: parse(document))

    # -- checkpoints ---------------------------------------------------------------------------

    def checkpoint(self, at: str) -> Checkpoint:
        """The checkpoint "name", or "name#2" for its second time."""
        name, hash_, number = at.partition("#")
        found = [c for c in self.record.checkpoints if c.name == name]
        if not found:
            known = sorted({c.name for c in self.record.checkpoints})
            raise ObservationError(f"the checkpoint {name!r} was not reached{nearest(name, known)}")
        if not hash_ and len(found) > 1:
            raise ObservationError(f'{name!r} was reached {len(found)} times; say which: "{name}#1"')
        index = int(number) if number.isascii() and number.isdigit() and len(number) < 8 else 0
        if hash_ and not 1 <= index <= len(found):
            raise ObservationError(f"{name!r} was reached {len(found)} times, there is no #{number}")
        return found[index - 1] if hash_ else found[0]

    def reached(self, at: str) -> Observed:
        """Whether the program came to a checkpoint (for "name#2": twice or more)."""
        name, _, number = at.partition("#")
        times = sum(c.name == name for c in self.record.checkpoints)
        wanted = int(number) if number.isascii() and number.isdigit() else 1
        return Observed(times >= wanted, (Evidence("run.json", 0, f"{name}: {times} times"),))

    def proc(self, at: str, name: str) -> str:
        """The path of a /proc/PID file at a checkpoint."""
        checkpoint = self.checkpoint(at)
        if checkpoint.kind == "exit":
            raise ObservationError(f"at {at!r} the program is gone: there are notes, and no /proc")
        return f"{checkpoint.directory}/proc/{checkpoint.pid}/{name}"

    # -- the program's own words ---------------------------------------------------------------

    def all_notes(self, at: str) -> tuple[Note, ...]:
        """What the program reported between the checkpoint before and this one."""
        checkpoint = self.checkpoint(at)
        document = self.document(f"{checkpoint.directory}/notes")
        notes = []
        for number, line in enumerate(document.lines, 1):
            key, equals, value = line.partition("=")
            if not equals or not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", key):
                raise document.garbled(number, "a note")
            notes.append(Note(key, value, checkpoint.name, number))
        return tuple(notes)

    def note(self, key: str, at: str) -> Observed:
        """The one note of that key; a number if int(value, 0) reads it."""
        notes = self.all_notes(at)
        found = [note for note in notes if note.key == key]
        if not found:
            known = {note.key for note in notes}
            raise ObservationError(f"no note {key!r} at {at!r}{nearest(key, known) or _list(known)}")
        if len(found) > 1:
            raise ObservationError(f"{key!r} was noted {len(found)} times at {at!r}; use notes({key!r})")
        return Observed(_number(found[0].value), self._note_lines(at, found))

    def cost(self, window: str, at: str) -> Observed:
        """The instructions of a window of the program's (lab_cost_end(), guest/lab.h), where they were counted."""
        if not self.record.deterministic:
            raise ObservationError("instructions were not counted: the run was not deterministic (--deterministic)")
        return self.note(f"cost.{window}", at)

    def notes(self, prefix: str, at: str) -> Observed:
        """The values of all notes whose key begins so, in the order of time."""
        notes = self.all_notes(at)
        found = [note for note in notes if note.key.startswith(prefix)]
        if not found:
            known = {note.key for note in notes}
            raise ObservationError(f"no note begins with {prefix!r} at {at!r}{nearest(prefix, known) or _list(known)}")
        return Observed([_number(note.value) for note in found], self._note_lines(at, found))

    def _note_lines(self, at: str, notes: Iterable[Note]) -> tuple[Evidence, ...]:
        document = self.document(f"{self.checkpoint(at).directory}/notes")
        return tuple(document.at(note.line) for note in notes)

    # -- the address space ---------------------------------------------------------------------

    def mappings(self, at: str) -> tuple[Document, tuple[Vma, ...]]:
        """All mappings at a checkpoint: from smaps, else from maps."""
        try:
            return self._parsed(self.proc(at, "smaps"), procfs.parse_smaps)
        except ObservationError:
            return self._parsed(self.proc(at, "maps"), procfs.parse_maps)

    def vmas(self, at: str) -> Observed:
        """All mappings, by address."""
        document, vmas = self.mappings(at)
        return Observed(Rows("mapping", (VmaView(vma, document) for vma in vmas), ()), (document.at(0),))

    def vma(self, which: object, at: str) -> Observed:
        """The mapping of that name, or the one that holds that address; None if there is none."""
        if isinstance(which, bool) or not isinstance(which, int | str):
            raise ObservationError(f"vma() takes a name or an address, not {which!r}")
        document, vmas = self.mappings(at)
        if isinstance(which, str):
            found = [vma for vma in vmas if vma.name == which]
        else:
            found = [vma for vma in vmas if vma.start <= which < vma.end]
        if len(found) > 1:
            raise ObservationError(f"{len(found)} mappings are named {which!r} at {at!r}; give an address")
        if not found:
            return Observed(None, (document.at(0),))
        return Observed(VmaView(found[0], document), (document.at(found[0].line),))

    # -- the rest of /proc/PID -----------------------------------------------------------------

    def rollup(self, key: str, at: str) -> Observed:
        """A sum over all mappings, from a walk of the page tables (smaps_rollup): bytes."""
        return self._field(self.proc(at, "smaps_rollup"), procfs.parse_rollup, key)

    def status(self, key: str, at: str) -> Observed:
        """A line of /proc/PID/status: bytes for sizes, else a number or text."""
        return self._field(self.proc(at, "status"), procfs.parse_status, key)

    def stat(self, key: str, at: str) -> Observed:
        """A field of /proc/PID/stat by its name in proc_pid_stat(5)."""
        return self._field(self.proc(at, "stat"), procfs.parse_stat, key)

    def limit(self, key: str, at: str) -> Observed:
        """The soft resource limit; "unlimited" is above every number."""
        document, limits = self._parsed(self.proc(at, "limits"), procfs.parse_limits)
        found = _get(limits, key, "limit")
        return Observed(found.soft, (document.at(found.line),))

    def _field(self, file: str, parse: Callable[[Document], dict[str, procfs.Value]], key: str) -> Observed:
        document, values = self._parsed(file, parse)
        found = _get(values, key, f"field in {file}:")
        return Observed(found.value, (document.at(found.line),))

    # -- the end of the program ----------------------------------------------------------------

    def ended(self) -> Ended:
        """How the program ended. Raises ObservationError if it did not, or the lab ended it."""
        ended = self.record.ended
        if ended is None:
            raise ObservationError(f"the program's end was not seen (the run ended: {self.record.ending.value})")
        if ended.killed_by_lab:
            raise ObservationError(f"the lab ended the program: {ended.killed_by_lab}")
        return ended

    def exit_code(self) -> Observed:
        """What the program returned; None if a signal ended it."""
        return Observed(self.ended().code, (Evidence("run.json", 0, "ended"),))

    def exit_signal(self) -> Observed:
        """The name of the signal that ended the program ("SIGSEGV"); None if it returned."""
        number = self.ended().signal
        return Observed(None if number is None else signal_name(number), (Evidence("run.json", 0, "ended"),))

    def output(self) -> Observed:
        """What the program printed."""
        document = self.document("evidence/output")
        return Observed("\n".join(document.lines), (document.at(0),))

    def kernel_log(self, text: str) -> Observed:
        """How many records of the kernel log hold a match of the pattern."""
        try:
            wanted = pattern(text)
        except CheckError as error:
            raise ObservationError(str(error)) from None
        document = self.document("kernel.log")
        deadline = time.monotonic() + MAX_SEARCH
        found = []
        for number, line in enumerate(document.lines, 1):
            if wanted.search(line.partition(";")[2][:MAX_MATCHED]):
                found.append(number)
            if time.monotonic() > deadline:
                raise ObservationError(f"the pattern {text!r} takes too long; make it simpler")
        return Observed(len(found), tuple(document.at(n) for n in found[:20]) or (document.at(0),))

    # -- the guest -----------------------------------------------------------------------------

    def _environment(self, name: str, parse: Callable[[Document], T]) -> tuple[Document, T]:
        return self._parsed(f"evidence/environment/{name}", parse)

    def kernel(self) -> Observed:
        """The kernel's version: the exact stable release where the guest says it."""
        document, uname = self._environment("uname", environment.parse_uname)
        return Observed(uname.kernel, (document.at(2), document.at(3)))

    def glibc(self) -> Observed:
        """glibc's version, from the library's own banner."""
        document, version = self._environment("glibc", environment.parse_glibc)
        return Observed(version, (document.at(1),))

    def page_size(self) -> Observed:
        """Bytes of a page."""
        document, size = self._environment("pagesize", environment.parse_pagesize)
        return Observed(size, (document.at(1),))

    def sysctl(self, name: str) -> Observed:
        """A sysctl as measured before the program started: a number, else text."""
        document, values = self._environment("sysctl", environment.parse_sysctl)
        found = _get(values, name, "sysctl")
        return Observed(found.value, (document.at(found.line),))

    def kconfig(self, name: str) -> Observed:
        """The value of a kernel option ("y", "m", a text); None if it is not set."""
        document, values = self._environment("config", environment.parse_config)
        found = values.get(name)
        return Observed(found.value if found else None, (document.at(found.line if found else 0),))

    def symbol(self, name: str) -> Observed:
        """Whether the kernel has the symbol. It must have been looked up in the guest."""
        document, found = self._environment("symbols", environment.parse_symbols)
        present, line = _get(found, name, "looked-up symbol")
        return Observed(present, (document.at(line),))

    def cmdline(self, name: str) -> Observed:
        """The value of a word on the kernel command line; True for a bare word, False if absent."""
        document, words = self._environment("cmdline", environment.parse_cmdline)
        return Observed(words.get(name, False), (document.at(1),))

    def tunable(self, name: str) -> Observed:
        """The value of a glibc tunable that was set for the program; None if it was not."""
        settings = self.record.case.get("settings", {})
        tunables = settings.get("tunables", ()) if isinstance(settings, dict) else ()
        pairs = tunables.items() if isinstance(tunables, dict) else tunables
        values = {str(pair[0]): str(pair[1]) for pair in pairs}
        value = values.get(name)
        return Observed(None if value is None else _number(value), (Evidence("run.json", 0, "settings.tunables"),))


def load(path: Path) -> Observations:
    """The observations of a run directory. Raises UsageError if it is not one."""
    directory = RunDirectory.open(path)
    return Observations(directory, directory.load())


def _get(values: Mapping[str, T], key: str, what: str) -> T:
    if key not in values:
        raise ObservationError(f"no {what} {key!r}{nearest(key, values)}")
    return values[key]


def _list(known: Iterable[str]) -> str:
    names = sorted(known)
    return f"; there are: {', '.join(names[:8])}{' …' if len(names) > 8 else ''}" if names else "; there are none"


def _number(text: str) -> int | str:
    try:
        return int(text, 0) if len(text) <= 40 else text
    except ValueError:
        return text
