"""A run, and one process at one of its checkpoints: its evidence, read when asked for, and where each line stands."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from orchestrator.collect import heap, objects, procfs
from orchestrator.collect.heap_values import HeapEvidence
from orchestrator.collect.lines import Document, EvidenceError
from orchestrator.collect.objects import Item, KernelObjects
from orchestrator.errors import LabError, UsageError
from orchestrator.inspection import program
from orchestrator.inspection.facts import Where
from orchestrator.inspection.program import Program
from orchestrator.model import Checkpoint, Evidence, Note, Vma
from orchestrator.names import nearest
from orchestrator.observations import Observations
from orchestrator.observed import ObservationError
from orchestrator.rundir import RunDirectory, RunRecord, safe

T = TypeVar("T")
MAX_PROCESSES = 256  # evidence files of one kind at one checkpoint that are listed

_VMA = ("address", "start", "end", "flags", "pgoff", "ino", "dev", "anon_vma")
_TASK = ("tid", "tgid", "address", "mm", "files", "fs", "signal", "sighand", "fsbase")
MM_ADDRESSES = ("start_code", "end_code", "start_data", "end_data", "start_brk", "brk", "start_stack", "arg_start",
                "arg_end", "env_start", "env_end", "mmap_base", "vdso")  # fmt: skip
MM_COUNTS = ("total_vm", "data_vm", "exec_vm", "stack_vm", "locked_vm", "map_count", "pgtables_bytes", "rss_file",
             "rss_anon", "rss_swap", "rss_shmem")  # fmt: skip
_MM = ("address", "users", "count", "pgd", "task_size", "def_flags", *MM_ADDRESSES, *MM_COUNTS)


class Run:
    """What one run left. Reads only its directory."""

    def __init__(self, directory: RunDirectory, record: RunRecord) -> None:
        self.directory = directory
        self.record = record
        self.observed = Observations(directory, record)
        self._moments: dict[tuple[int, int], Moment] = {}
        self._made: dict[str, Any] = {}

    @classmethod
    def open(cls, path: Path) -> Run:
        """The run of a run directory, or of the only case of a matrix. Raises UsageError if it is neither."""
        if (path / "matrix.json").is_file() and not (path / "run.json").is_file():
            cases = sorted(inner.name for inner in path.iterdir() if (inner / "run.json").is_file())
            if len(cases) != 1:
                raise UsageError(f"{path} is a matrix of {len(cases)} cases; say which",
                                 f"for example {path}/{cases[0]}" if cases else "none of them was run")  # fmt: skip
            path = path / cases[0]
        directory = RunDirectory.open(path)
        return cls(directory, directory.load())

    def once(self, key: str, make: Callable[[], T]) -> T:
        """Something about this run that is found out once."""
        if key not in self._made:
            self._made[key] = make()
        found: T = self._made[key]
        return found

    def label(self, checkpoint: Checkpoint) -> str:
        """A checkpoint's name; "name#2" where there are several of it."""
        same = self._named[checkpoint.name]
        return f"{checkpoint.name}#{same[checkpoint.index]}" if len(same) > 1 else checkpoint.name

    @cached_property
    def _named(self) -> dict[str, dict[int, int]]:
        """The checkpoints of each name: by index, which of them it is."""
        found: dict[str, dict[int, int]] = {}
        for one in self.record.checkpoints:
            same = found.setdefault(one.name, {})
            same.setdefault(one.index, len(same) + 1)
        return found

    def pids(self, checkpoint: Checkpoint, part: str) -> list[int]:
        """The processes with evidence of that part ("kernel", "heap") there."""
        folder = f"{checkpoint.directory}/{part}"
        if not safe(folder) or not (place := self.directory.file(folder)).is_dir():
            return []
        names = sorted(file.name for file in place.iterdir())[:MAX_PROCESSES]
        stems = (name.removesuffix(".jsonl") for name in names if name.endswith(".jsonl"))
        return sorted(int(stem) for stem in stems if stem.isascii() and stem.isdigit() and len(stem) < 12)

    @cached_property
    def inspected(self) -> list[Checkpoint]:
        """The checkpoints with kernel objects, in the order of time."""
        return [checkpoint for checkpoint in self.record.checkpoints if self.pids(checkpoint, "kernel")]

    def moment(self, at: str | None, pid: int | None) -> Moment:
        """The process at the checkpoint; by default the program's at the last one with kernel objects.

        Raises UsageError where there are none, and says what there is.
        """
        if not self.inspected:
            why = f": {left}" if (left := self.record.left_out.get("kernel")) else ""
            raise UsageError(f"{self.directory.path}: the lab did not look inside in this run{why}",
                             f"`lab run {self.record.case.get('scenario', '…')} --inspect` does at every checkpoint")
        checkpoint = self.inspected[-1] if at is None else self._checkpoint(at)
        pids = self.pids(checkpoint, "kernel")
        wanted = checkpoint.pid if pid is None else pid
        if not pids:
            places = ", ".join(self.label(one) for one in self.inspected[:12])
            raise UsageError(f"the lab did not look inside at {at!r}; it did at: {places}")
        if pid is None and wanted not in pids:
            wanted = pids[0]
        if wanted not in pids:
            raise UsageError(f"there are no kernel objects of process {wanted} at {self.label(checkpoint)!r}; "
                             f"there are of: {', '.join(map(str, pids))}")  # fmt: skip
        return self.at(checkpoint, wanted)

    def at(self, checkpoint: Checkpoint, pid: int) -> Moment:
        """A process at a checkpoint, read once."""
        key = checkpoint.index, pid
        if key not in self._moments:
            self._moments[key] = Moment(self, checkpoint, pid)
        return self._moments[key]

    def _checkpoint(self, at: str) -> Checkpoint:
        try:
            return self.observed.checkpoint(at)
        except ObservationError as error:
            raise UsageError(str(error)) from None

    def near(self, moment: Moment, step: int) -> Moment | None:
        """The same process at the next checkpoint (1) or the one before (-1) at which the lab looked inside."""
        there = [one for one in self.inspected if moment.pid in self.pids(one, "kernel")]
        place = [one.index for one in there].index(moment.checkpoint.index) + step
        return self.at(there[place], moment.pid) if 0 <= place < len(there) else None

    @cached_property
    def program(self) -> Program | LabError:
        """The program's symbols, or why there are none."""
        try:
            return program.read(self.directory.file("program"))
        except LabError as error:
            return error


class Moment:
    """One process at one checkpoint. What is not there or can't be read is None, and told in ``troubles``, except for
    the kernel objects, which are what all else is about."""

    def __init__(self, run: Run, checkpoint: Checkpoint, pid: int) -> None:
        self.run = run
        self.checkpoint = checkpoint
        self.pid = pid
        self.at = run.label(checkpoint)
        self.troubles: list[str] = []

    @property
    def where(self) -> Where:
        """What an answer about it says on top."""
        case, measured = self.run.record.case, self.run.record.environment
        return Where(str(self.run.directory.path), str(case.get("scenario", "")),
                     str(measured.get("release") or case.get("kernel", "")),
                     str(measured.get("glibc") or case.get("userland", "")), self.at, self.pid)  # fmt: skip

    @cached_property
    def document(self) -> Document:
        """The file of the kernel objects. Raises EvidenceError."""
        return self._document(f"{self.checkpoint.directory}/kernel/{self.pid}.jsonl")

    @cached_property
    def kernel(self) -> KernelObjects:
        """The kernel objects. Raises EvidenceError, with file and line, for what is none."""
        document = self.document
        try:
            found = objects.parse(document)
        except (TypeError, ValueError, ArithmeticError) as error:
            raise document.garbled(0, f"kernel objects ({error})") from None
        for item in found.vmas:
            _checked(document, item, _VMA, ("name",))
            if not isinstance(item.fields.get("file", 0), str | None):
                raise document.garbled(item.line, "a VMA with a file")
        for item in found.tasks:
            _checked(document, item, _TASK, ("comm", "state"))
        if found.mm is not None:
            _checked(document, found.mm, _MM, ())
        for part, why in found.broken.items():
            self.troubles.append(f"{document.file}: {part}: {why}")
        return found

    @cached_property
    def heap(self) -> tuple[Document, HeapEvidence] | None:
        """glibc's heap, where the lab looked at it."""
        found = self._optional(f"{self.checkpoint.directory}/heap/{self.pid}.jsonl", heap.parse)
        if found is not None:
            self.troubles += [f"{found[0].file}:{one.line}: {one.what}: {one.why}" for one in found[1].broken]
        return found

    @cached_property
    def mappings(self) -> tuple[Document, tuple[Vma, ...]] | None:
        """/proc/PID/smaps, else maps."""
        folder = f"{self.checkpoint.directory}/proc/{self.pid}"
        return self._optional(f"{folder}/smaps", procfs.parse_smaps) or \
            self._optional(f"{folder}/maps", procfs.parse_maps)

    @cached_property
    def _starts(self) -> list[int]:
        return [vma.start for vma in self.mappings[1]] if self.mappings else []

    def mapping_at(self, address: int) -> Vma | None:
        """The mapping of /proc that an address lies in."""
        place = bisect_right(self._starts, address) - 1
        if self.mappings is None or place < 0:
            return None
        found = self.mappings[1][place]
        return found if address < found.end else None

    def _optional(self, file: str, parse: Callable[[Document], T]) -> tuple[Document, T] | None:
        if not (safe(file) and self.run.directory.file(file).is_file()):
            return None
        try:
            document = self._document(file)
            return document, parse(document)
        except LabError as error:
            self.troubles.append(error.message)
        except (TypeError, ValueError, KeyError, ArithmeticError) as error:
            self.troubles.append(f"{file}: {error}")
        return None

    def _document(self, file: str) -> Document:
        try:
            return self.run.observed.document(file)
        except ObservationError as error:
            raise EvidenceError(str(error)) from None

    @cached_property
    def notes(self) -> tuple[tuple[Note, Evidence], ...]:
        """What the program reported before this checkpoint, with the lines."""
        at = self.at
        try:
            document = self._document(f"{self.checkpoint.directory}/notes")
            return tuple((note, document.at(note.line)) for note in self.run.observed.all_notes(at))
        except EvidenceError as error:
            if self.run.directory.file(f"{self.checkpoint.directory}/notes").is_file():
                self.troubles.append(error.message)
            return ()

    @cached_property
    def bias(self) -> int | None:
        """What is added to the addresses of the run's program; None if this process does not run it."""
        found, mm = self.run.program, self.kernel.mm
        exe = mm.fields.get("exe") if mm else None
        if isinstance(found, LabError) or not isinstance(exe, str) or exe.rpartition("/")[2] != "program":
            return None
        return program.bias(found, [item.fields for item in self.kernel.vmas], exe)

    def line(self, item: Item) -> Evidence:
        """Where an object stands."""
        return self.document.at(item.line)


def _checked(document: Document, item: Item, numbers: tuple[str, ...], texts: tuple[str, ...]) -> None:
    """Raises EvidenceError unless an object has these fields, of these types."""
    fields: Mapping[str, object] = item.fields
    for name in numbers:
        if type(fields.get(name)) is not int:
            raise document.garbled(item.line, f"an object with a number {name}")
    for name in texts:
        if not isinstance(fields.get(name), str):
            raise document.garbled(item.line, f"an object with a text {name}")


def all_notes(moment: Moment) -> Iterator[tuple[Note, Evidence]]:
    """Notes as one would look for them: of this checkpoint, the last first; of those before; of those after."""
    checkpoints = moment.run.record.checkpoints
    here = moment.checkpoint.index
    before = [c for c in reversed(checkpoints) if c.index < here]
    for checkpoint in [moment.checkpoint, *before, *(c for c in checkpoints if c.index > here)]:
        yield from reversed(moment.run.at(checkpoint, moment.pid).notes)


def nearest_names(word: str, known: list[str]) -> str:
    """The nearest names, for an error; a few of all where none is near."""
    return nearest(word, known, 0.5) or (f"; there are {', '.join(known[:8])} …" if known else "")
