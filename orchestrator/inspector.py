"""Looks inside a guest at checkpoints: pauses it, reads kernel objects and heaps, writes them as evidence.

What can't be done at all (no symbols for this kernel, memory that this host does not let us read) is known before
anything is read and said once, in ``left_out``; the expectations that rest on it are then SKIP with that reason. What
goes wrong while the guest's memory is read is the guest's doing: it is said, evidence is missing, and that is an ERROR.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator import progress
from orchestrator.collect import environment
from orchestrator.collect.lines import Document
from orchestrator.errors import GuestError, LabError, UsageError
from orchestrator.machine.memory import GuestMemory
from orchestrator.model import Case, Inspect, Scenario, Symbols
from orchestrator.prepare import check_vmlinux
from orchestrator.rundir import RunDirectory

if TYPE_CHECKING:
    from drgn import Program

    from orchestrator.collect.ptmalloc import Layout
    from orchestrator.machine.guest import Guest
    from orchestrator.prepare import Prepared
    from orchestrator.symbols import KernelSymbols

MAX_PROCESSES = 32  # at one checkpoint
SETTLE = 2.0  # seconds for an address space to come out of the middle of a change
PAUSE = 0.005  # seconds that the guest runs on between two looks at that
MAX_LOOK = 120.0  # seconds for one checkpoint; what is not read by then is said to be missing


def wanted(scenario: Scenario, asked: bool | None) -> Inspect | None:
    """Where to look: as the user says (``asked``: everywhere, nowhere), else as the scenario says."""
    if asked is None:
        return scenario.inspect
    return Inspect(("all",), ("all",)) if asked else None


def make(case: Case, prepared: Prepared) -> Inspector | None:
    """An inspector for a guest of that case, if the case looks inside; symbols are fetched where they are not there.

    What can't be had is in its ``left_out``, and no error: all else of the case goes on.
    """
    if case.inspect is None:
        return None
    threading.Thread(target=_import_drgn, daemon=True).start()  # while the guest comes up
    return Inspector(prepared.find_symbols(), prepared.cache, own_kernel=prepared.kernel.piece is None)


def _import_drgn() -> None:
    from orchestrator import symbols
    from orchestrator.collect import heap_of, kernel

    assert symbols and heap_of and kernel


@dataclass
class Inspector:
    """For one guest, as long as it lives; ``symbols`` are of its kernel and of its userland's libc."""

    symbols: Symbols
    cache: Path
    own_kernel: bool = False  # a user's, so that its vmlinux is the user's as well
    left_out: dict[str, str] = field(default_factory=dict)  # "kernel", "heap" -> why
    troubles: list[str] = field(default_factory=list)  # what went wrong at the last look, for the record
    _memory: GuestMemory | None = field(default=None, init=False)
    _opened: KernelSymbols | None = field(default=None, init=False)
    _vmcoreinfo: tuple[int, int] = field(default=(0, 0), init=False)  # physical address and size, bytes
    _program: Program | None = field(default=None, init=False)
    _layout: Layout | None = field(default=None, init=False)  # of the userland's libc

    def look(self, guest: Guest, directory: RunDirectory, where: str, pids: Sequence[int],
             parts: Sequence[str]) -> float:
        """Writes ``kernel/PID.jsonl`` and ``heap/PID.jsonl`` below ``where``; seconds that all of it took.

        Raises GuestError if the guest is lost, UsageError for a user's vmlinux that is another kernel's.
        """
        begin = time.monotonic()
        self.troubles = []
        if not pids or not self._ready(guest, directory, parts):
            return time.monotonic() - begin
        for name, content in self._read(pids, parts, begin + MAX_LOOK).items():
            directory.write(f"{where}/{name}", content)
        return time.monotonic() - begin

    def close(self) -> None:
        """Gives back what it holds of the guest."""
        memory, self._memory = self._memory, None
        if memory is not None:
            memory.close()

    # -- while the guest runs ------------------------------------------------------------------------

    def _ready(self, guest: Guest, directory: RunDirectory, parts: Sequence[str]) -> bool:
        """Whether kernel objects can be read; what it takes is there then."""
        if "kernel" not in self.left_out and self._opened is None:
            try:
                self._opened = self._open_kernel(directory)
                self._memory = GuestMemory(guest.monitor, guest.pid, guest.running.regions)
            except (GuestError, UsageError):
                raise
            except (LabError, OSError) as error:
                self.left_out["kernel"] = self.left_out["heap"] = str(error)
        if "heap" in parts and self._layout is None and "heap" not in self.left_out:
            try:
                self._layout = self._open_libc(directory)
            except (LabError, OSError) as error:
                self.left_out["heap"] = str(error)
        return "kernel" not in self.left_out

    def _open_kernel(self, directory: RunDirectory) -> KernelSymbols:
        from orchestrator import symbols

        if self.symbols.vmlinux is None:
            raise LabError("; ".join(self.symbols.missing) or "there are no symbols of this kernel")
        try:
            check_vmlinux(self.symbols, environment.parse_build_id(_environment(directory, "buildid")))
        except UsageError as error:
            if self.own_kernel:
                raise
            raise LabError(error.message) from None
        try:
            self._vmcoreinfo = environment.parse_vmcoreinfo(_environment(directory, "vmcoreinfo"))
        except LabError:
            raise LabError("the kernel does not say where its vmcoreinfo is (/sys/kernel/vmcoreinfo): it needs "
                           "CONFIG_VMCORE_INFO, before 6.9 CONFIG_CRASH_CORE") from None
        symbols.without_plugins()
        with progress.step("looking inside for the first time"):
            return symbols.open_kernel(self.symbols.vmlinux, self.symbols.vmlinux_build_id, self.cache)

    def _open_libc(self, directory: RunDirectory) -> Layout:
        from orchestrator.collect import heap_of
        from orchestrator.symbols import DebugFile

        said = self.symbols
        named = {"libc": (said.libc, said.libc_build_id), "ld": (said.ld, said.ld_build_id),
                 "libpthread": (said.libpthread, said.libpthread_build_id)}  # fmt: skip
        files = {name: DebugFile(path, build_id) for name, (path, build_id) in named.items() if path is not None}
        if not {"libc", "ld"} <= files.keys():
            raise LabError("; ".join(said.missing) or "there is no debug information of this libc")
        glibc = environment.parse_glibc(_environment(directory, "glibc"))
        return heap_of.layout(files, str(glibc), self.cache)

    # -- while it stands still ------------------------------------------------------------------------

    def _read(self, pids: Sequence[int], parts: Sequence[str], until: float) -> dict[str, bytes]:
        """The files by name. The guest is paused, read, and goes on, whatever its memory holds."""
        from orchestrator.collect import kernel

        assert self._memory is not None
        found: dict[str, bytes] = {}
        settled = time.monotonic() + SETTLE
        while True:
            with self._memory.paused():
                try:
                    program = self._program = self._program or self._attach()
                    related = (one for pid in pids for one in kernel.processes(program, pid, MAX_PROCESSES))
                    processes = list(dict.fromkeys(related))[:MAX_PROCESSES]
                    changing = kernel.changing(program, processes)
                    if not changing or self._memory.by_itself or time.monotonic() > settled:
                        if changing:
                            self.troubles.append("an address space was in the middle of a change: it may be torn")
                        for one in processes:
                            found |= self._process(program, one, parts, until)
                        return found
                except Exception as error:  # of damaged memory: drgn and its helpers raise many kinds
                    self.troubles.append(f"the lab could not look inside: {str(error) or type(error).__name__}"[:300])
                    return found
            time.sleep(PAUSE)

    def _attach(self) -> Program:
        from orchestrator.collect import kernel

        assert self._memory is not None and self._opened is not None
        return kernel.attach(self._memory, *self._vmcoreinfo, self._opened.attach)

    def _process(self, program: Program, pid: int, parts: Sequence[str], until: float) -> dict[str, bytes]:
        from orchestrator.collect import heap_of, kernel, objects

        assert self._memory is not None
        left = max(1.0, until - time.monotonic())
        name = f"kernel/{pid}.jsonl"
        budget = kernel.Budget(seconds=min(kernel.Budget.seconds, left))
        found = {name: b"".join(kernel.lines(program, pid, self.symbols.vmlinux_build_id, budget))}
        if "heap" in parts and self._layout is not None:
            process = objects.parse(Document.of(name, found[name]))
            left = max(1.0, until - time.monotonic())
            found[f"heap/{pid}.jsonl"] = b"".join(heap_of.lines(process, self._layout, self._memory, left))
        return found


def _environment(directory: RunDirectory, name: str) -> Document:
    """What labrun read in the guest. Raises LabError if it did not."""
    file = f"evidence/environment/{name}"
    try:
        return Document.of(file, (directory.path / file).read_bytes())
    except OSError:
        raise LabError(f"the guest does not say its {name}") from None
