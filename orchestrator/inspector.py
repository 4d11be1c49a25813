"""Looks inside a guest at checkpoints: pauses it, reads kernel objects and heaps, writes them as evidence.

What can't be done (no symbols for this kernel, memory that this host does not let us read) is said once, in
``left_out``; the expectations that rest on it are then SKIP with that reason. Nothing that the guest's memory
holds ends a run.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from orchestrator import progress
from orchestrator.collect import environment
from orchestrator.collect.lines import Document
from orchestrator.errors import GuestError, LabError, PieceError, UsageError
from orchestrator.machine.memory import GuestMemory
from orchestrator.model import Case, Inspect, Scenario, Symbols
from orchestrator.prepare import check_vmlinux
from orchestrator.rundir import RunDirectory

if TYPE_CHECKING:
    from drgn import Program

    from orchestrator.collect.ptmalloc import Layout
    from orchestrator.machine.guest import Guest
    from orchestrator.prepare import Prepared

MAX_PROCESSES = 32  # at one checkpoint
ATTEMPTS = 100  # to find no address space in the middle of a change
T = TypeVar("T")


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
    try:
        symbols = prepared.find_symbols()
    except PieceError as error:
        symbols = Symbols(missing=(error.message,))
    return Inspector(symbols, prepared.cache, own_kernel=prepared.kernel.piece is None)


@dataclass
class Inspector:
    """For one guest, as long as it lives; ``symbols`` are of its kernel and of its userland's libc."""

    symbols: Symbols
    cache: Path
    own_kernel: bool = False  # a user's, so that its vmlinux is the user's as well
    left_out: dict[str, str] = field(default_factory=dict)  # "kernel", "heap" -> why
    _memory: GuestMemory | None = field(default=None, init=False)
    _program: Program | None = field(default=None, init=False)
    _layout: Layout | None = field(default=None, init=False)  # of the userland's libc

    def look(self, guest: Guest, directory: RunDirectory, where: str, pids: Sequence[int],
             parts: Sequence[str]) -> float:
        """Writes ``kernel/PID.jsonl`` and ``heap/PID.jsonl`` below ``where``; seconds that the guest stood still.

        Raises GuestError if the guest is lost, UsageError for a user's vmlinux that is another kernel's.
        """
        if "kernel" in self.left_out or not pids:
            return 0.0
        from orchestrator.collect import kernel

        found: dict[str, bytes] = {}
        try:
            memory = self._memory = self._memory or GuestMemory(guest.monitor, guest.pid)
            self._prepare(directory, parts)
            begin = time.monotonic()
            for attempt in range(ATTEMPTS):
                with memory.paused():
                    program = self._program = self._program or self._attach(memory, directory)
                    related = (one for pid in pids for one in kernel.processes(program, pid, MAX_PROCESSES))
                    processes = list(dict.fromkeys(related))[:MAX_PROCESSES]
                    if attempt + 1 < ATTEMPTS and kernel.changing(program, processes):
                        continue  # the guest runs on for a moment
                    for one in processes:
                        found |= self._process(program, memory, one, parts)
                break
            paused = time.monotonic() - begin
        except (GuestError, UsageError):
            raise
        except LabError as error:
            self.left_out["kernel"] = self.left_out["heap"] = error.message
            return 0.0
        for name, content in found.items():
            directory.write(f"{where}/{name}", content)
        return paused

    def _process(self, program: Program, memory: GuestMemory, pid: int, parts: Sequence[str]) -> dict[str, bytes]:
        from orchestrator.collect import heap_of, kernel, objects

        release = program["init_uts_ns"].name.release.string_().decode("utf-8", "replace")
        name = f"kernel/{pid}.jsonl"
        found = {name: b"".join(kernel.lines(program, pid, release, self.symbols.vmlinux_build_id))}
        if "heap" in parts and self._layout is not None:
            process = objects.parse(Document.of(name, found[name]))
            found[f"heap/{pid}.jsonl"] = b"".join(heap_of.lines(process, self._layout, memory))
        return found

    def _prepare(self, directory: RunDirectory, parts: Sequence[str]) -> None:
        """What can be done before the guest has to stand still."""
        if "heap" not in parts or self._layout is not None or "heap" in self.left_out:
            return
        from orchestrator.collect import heap_of
        from orchestrator.symbols import DebugFile

        said = self.symbols
        named = {"libc": (said.libc, said.libc_build_id), "ld": (said.ld, said.ld_build_id),
                 "libpthread": (said.libpthread, said.libpthread_build_id)}  # fmt: skip
        files = {name: DebugFile(path, build_id) for name, (path, build_id) in named.items() if path is not None}
        if not {"libc", "ld"} <= files.keys():
            self.left_out["heap"] = "; ".join(said.missing) or "there is no debug information of this libc"
            return
        try:
            self._layout = heap_of.layout(files, _glibc(directory), self.cache)
        except LabError as error:
            self.left_out["heap"] = error.message

    def _attach(self, memory: GuestMemory, directory: RunDirectory) -> Program:
        from orchestrator import symbols
        from orchestrator.collect import kernel

        if self.symbols.vmlinux is None:
            raise LabError("; ".join(self.symbols.missing) or "there are no symbols of this kernel")
        symbols.without_plugins()
        self._compare(directory)
        opened = symbols.open_kernel(self.symbols.vmlinux, self.symbols.vmlinux_build_id, self.cache)
        with progress.step("looking inside for the first time"):
            return kernel.attach(memory, self._vmcoreinfo(directory), opened.attach)

    def _compare(self, directory: RunDirectory) -> None:
        """Raises UsageError if a user's vmlinux is not of the running kernel, LabError if that of a piece is not."""
        file = directory.path / "evidence/environment/buildid"
        try:
            check_vmlinux(self.symbols, file.read_text().strip() if file.is_file() else "")
        except UsageError as error:
            if self.own_kernel:
                raise
            raise LabError(error.message) from None

    def _vmcoreinfo(self, directory: RunDirectory) -> str:
        file = directory.path / "evidence/environment/vmcoreinfo"
        found = file.read_text() if file.is_file() else ""
        if not found.strip():
            raise LabError("the kernel has no /sys/kernel/vmcoreinfo: CONFIG_VMCORE_INFO, before 6.9 CONFIG_CRASH_CORE")
        return found

    def close(self) -> None:
        """Gives back what it holds of the guest."""
        if self._memory is not None:
            self._memory.close()


def _glibc(directory: RunDirectory) -> str:
    """The guest's glibc version as its own libc says it."""
    file = directory.path / "evidence/environment/glibc"
    try:
        return str(environment.parse_glibc(Document.of("evidence/environment/glibc", file.read_bytes())))
    except OSError:
        raise LabError("the guest does not say which glibc it has") from None
