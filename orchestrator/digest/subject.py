"""One run as the digest sees it: its processes at each checkpoint, in the order of their appearance, and the names of
addresses there. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from orchestrator.comparison.places import LARGE, Regions, named, stacks
from orchestrator.digest import checked
from orchestrator.digest.left_out import RULES, Rule
from orchestrator.digest.names import Names
from orchestrator.inspection.moment import MAX_PROCESSES, Moment, Run
from orchestrator.model import Checkpoint, Vma
from orchestrator.observed import ObservationError
from orchestrator.rundir import safe

MAX_CHECKPOINTS = 1000  # of one run
ARENA = 64 << 20  # HEAP_MAX_SIZE, malloc/arena.c (glibc): what heaps of threads' arenas are aligned to

# bytes: what execve makes of a main stack (setup_arg_pages(), fs/exec.c: 128 KiB more than a page)
_STEADY = {"[heap]": LARGE, "[stack]": (128 << 10) + 4096}
_PID = re.compile(r"[pt]id=notes?\(\s*[\"']([^\"']+)")


@dataclass
class Process:
    """A process at a checkpoint. What is no longer ``placed`` is not at any later one; what is ``shared`` stays so."""

    moment: Moment
    number: int  # its place among the processes and threads of the run, from 1
    threads: tuple[int, ...]  # ids
    placed: bool = True  # no mapping so far was put at a random distance from the one before
    shared: bool = False  # threads have shared arenas

    @cached_property
    def vmas(self) -> list[tuple[str, Vma]]:
        """Its mappings by the names that a repeat has too, in the order of addresses."""
        return list(named(self.moment.mappings[1])) if self.moment.mappings else []

    @cached_property
    def cut(self) -> frozenset[str]:
        """Which of "[heap]" and "[stack]" is so large that its size may be chance: a program may have cut a heap above
        2 MiB where a page table ends, and a main stack that has grown did so from a random top. Whether the heap ends
        there must not count: by chance any heap may."""
        return frozenset(name for name, vma in self.vmas if vma.size > _STEADY.get(name, vma.size))

    @property
    def arenas(self) -> int:
        """How many mappings look like the used part of a heap of a thread's arena."""
        return sum(name == "anonymous" and vma.start % ARENA == 0 and vma.perms == "rw-p" and vma.size < ARENA
                   for name, vma in self.vmas)  # fmt: skip


@dataclass
class Subject:
    """A run."""

    run: Run
    _used: set[str] = field(default_factory=set)

    def leave(self, *rules: Rule) -> None:
        """Something was left out by these."""
        self._used.update(rule.what for rule in rules)

    @property
    def rules(self) -> tuple[Rule, ...]:
        """Those by which something was left out, in the order of the table."""
        return tuple(rule for rule in RULES if rule.what in self._used)

    @property
    def checkpoints(self) -> list[Checkpoint]:
        """Those that are looked at."""
        return self.run.record.checkpoints[:MAX_CHECKPOINTS]

    @cached_property
    def ids(self) -> list[int]:
        """Of all processes and threads, in the order of their appearance."""
        found: dict[int, None] = {}
        for checkpoint in self.checkpoints:
            for pid in self._pids(checkpoint):
                found.update(dict.fromkeys((pid, *self._threads(checkpoint, pid))))
            found.update(dict.fromkeys(self.run.pids(checkpoint, "kernel")))
        return list(found)

    @cached_property
    def processes(self) -> dict[int, list[Process]]:
        """By the checkpoint's index."""
        found: dict[int, list[Process]] = {}
        unplaced: set[int] = set()
        shared = False
        for checkpoint in self.checkpoints:
            for pid in self._pids(checkpoint):
                threads = self._threads(checkpoint, pid)
                one = Process(self.run.at(checkpoint, pid), self.ids.index(pid) + 1, threads)
                if any(name == "anonymous" and vma.size >= LARGE for name, vma in one.vmas):
                    unplaced.add(pid)
                shared = shared or bool(one.arenas and len(threads) > one.arenas + 1)
                one.placed, one.shared = pid not in unplaced, shared
                found.setdefault(checkpoint.index, []).append(one)
        return found

    def shared(self, checkpoint: Checkpoint | None) -> bool:
        """Whether threads have shared arenas until that checkpoint, or, without one, ever."""
        return any(one.shared for one in self._until(checkpoint))

    def placed(self, checkpoint: Checkpoint | None) -> bool:
        """Whether all mappings of all processes were, until that checkpoint; without one, ever."""
        return all(one.placed for one in self._until(checkpoint))

    def arenas(self, checkpoint: Checkpoint | None) -> bool:
        """Whether a process has had a heap of a thread's arena, until that checkpoint."""
        return any(one.arenas for one in self._until(checkpoint))

    def cut(self, checkpoint: Checkpoint | None) -> bool:
        """Whether the size of a heap or a main stack may be chance, at that checkpoint or before."""
        return any(bool(one.cut) for one in self._until(checkpoint))

    def several(self, checkpoint: Checkpoint | None) -> bool:
        """Whether a process has had threads, until that checkpoint."""
        return any(len(one.threads) > 1 for one in self._until(checkpoint))

    def _until(self, checkpoint: Checkpoint | None) -> Iterator[Process]:
        for index, processes in self.processes.items():
            if checkpoint is None or index <= checkpoint.index:
                yield from processes

    @cached_property
    def _regions(self) -> dict[tuple[int, int], Regions]:
        return {(index, one.moment.pid): Regions(one.moment.mappings[1], stacks(one.moment.heap), exact=False)
                for index, processes in self.processes.items() for one in processes if one.moment.mappings}

    def names(self, index: int | None = None, pid: int | None = None) -> Names:
        """The names of addresses for a process at a checkpoint: those in its own mappings first, then those of others
        there, then its own elsewhere. Not those of all: what has nothing to do with one may lie in it by chance."""
        if index is None:
            return Names(list(self._regions.values()), self.ids)
        near = [key for key in self._regions if key[0] == index or key[1] == pid]
        near.sort(key=lambda key: (key != (index, pid), key[0] != index))  # stable
        return Names([self._regions[key] for key in near], self.ids)

    @cached_property
    def processes_noted(self) -> frozenset[str]:
        """The keys of notes that checks take for the id of a process."""
        return frozenset(key for one in self.run.record.findings for key in _PID.findall(one.check))

    @cached_property
    def bounded(self) -> frozenset[str]:
        """The keys of notes that checks only bound, as what they are is expected to vary."""
        found = [checked.notes(one.check) for one in self.run.record.findings]
        return frozenset().union(*(every for every, _ in found)) - frozenset().union(*(fixed for _, fixed in found))

    @cached_property
    def memory(self) -> str:
        """All memory of the guest in bytes, as its kernel counts it; "" if that is not known."""
        try:
            lines = self.run.observed.document("evidence/environment/meminfo").lines
        except ObservationError:
            return ""
        found = next((found for line in lines if (found := re.fullmatch(r"MemTotal:\s+(\d{1,15}) kB", line))), None)
        return str(int(found[1]) * 1024) if found else ""

    def _pids(self, checkpoint: Checkpoint) -> tuple[int, ...]:
        return self._numbers(f"{checkpoint.directory}/proc")

    def _threads(self, checkpoint: Checkpoint, pid: int) -> tuple[int, ...]:
        return self._numbers(f"{checkpoint.directory}/proc/{pid}/task")

    def _numbers(self, folder: str) -> tuple[int, ...]:
        if not safe(folder) or not (place := self.run.directory.file(folder)).is_dir():
            return ()
        names = (one.name for one in place.iterdir())
        found = sorted(int(name) for name in names if name.isascii() and name.isdigit() and len(name) < 12)
        return tuple(found[:MAX_PROCESSES])
