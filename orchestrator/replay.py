"""`lab replay` and `lab gdb` from end to end: a recorded run happens once more, instruction by instruction.

The record is QEMU's own (docs/system/replay.rst): it is only good for the very same machine, so what that was made of
is held against what there is now, before anything is started.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import socket as sockets
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from orchestrator import host, inspector, recording, resources, scenario, session
from orchestrator.errors import HostError, UsageError
from orchestrator.judgement import judge
from orchestrator.machine import qemu
from orchestrator.model import Case, Inspect, Settings
from orchestrator.prepare import Choice, Prepared, prepare
from orchestrator.rundir import RECORD_LOG, RECORD_ORDERS, RunDirectory, RunRecord, machine
from orchestrator.toolchain import Program

AGAIN = "run it again: `lab run … --record`"
KILL = b"$k#6b"  # of gdb's remote protocol: the guest ends
PATIENCE = 20.0  # seconds for that
SHORTEST, SLOWER = 600.0, 20.0  # seconds that a replay may take at least, and times of what the run itself took
NO_LIMITS = host.Limits(*(1e7,) * 4)  # seconds, four months: who walks through a run takes the time that it takes


@dataclass(frozen=True)
class Replayed:
    """A run that happened again. ``differs`` are the files of evidence that are not the same, none where all are."""

    was: RunRecord
    record: RunRecord
    directory: RunDirectory
    differs: tuple[str, ...]

    @property
    def cut_off(self) -> bool:
        """Whether the recorded run did not come to its end, so that there is nothing whole to compare."""
        return "raw" not in self.was.deterministic

    @property
    def how(self) -> str:
        """What is not as it was, in words; "" where all is."""
        found = [f"{len(self.differs)} files: {', '.join(self.differs[:20])}"] if self.differs else []
        if self.record.ending != self.was.ending and not self.cut_off:
            found.append(f"it ended as {self.record.ending.value} {self.record.ending_detail}".rstrip())
        return "; ".join(found)


@dataclass(frozen=True)
class Recorded:
    """A run that can happen again, and all that it takes."""

    directory: RunDirectory
    record: RunRecord
    case: Case
    prepared: Prepared


def find(path: Path) -> Recorded:
    """The record of a run, with the pieces that it was made of. Raises UsageError where there is none, or where
    something is otherwise now; PieceError and HostError as a run does."""
    directory = RunDirectory.open(path)
    was = directory.load()
    if not was.deterministic.get("record"):
        raise UsageError(f"{path} has no record to replay", AGAIN)
    for name in (RECORD_LOG, RECORD_ORDERS, "program"):
        if not directory.file(name).is_file():
            raise UsageError(f"{directory.path / name} is gone: the run can't happen again", AGAIN)
    told, counted = was.case, was.deterministic
    source = str(told.get("source", ""))
    wanted = scenario.named(source if Path(source).exists() else str(told.get("scenario", "")))
    settings = _settings(told.get("settings", {}))
    memory = machine(was).memory.removesuffix("M")
    choice = Choice(kernel=str(told.get("kernel", "")), userland=str(told.get("userland", "")), append=settings.append,
                    qemu=None if _is_piece(was, "emulator") else str(told.get("emulator", "")),
                    memory=int(memory) if memory.isdecimal() else Choice.memory, deterministic=True)  # fmt: skip
    prepared = prepare(choice, announce=False)
    case = Case(wanted, prepared.kernel, prepared.userland, prepared.emulator, settings,
                str(told.get("fingerprint", "")), _inspect(counted.get("inspect")))
    _check(was, case, prepared)
    return Recorded(directory, was, case, prepared)


def _is_piece(record: RunRecord, kind: str) -> bool:
    return any(piece.get("kind") == kind for piece in record.pieces)


def _inspect(told: Any) -> Inspect | None:
    """Where the recorded run was looked into, whatever the scenario says by now."""
    if not isinstance(told, dict):
        return None
    return Inspect(*(tuple(map(str, told.get(part, ()))) for part in ("kernel", "heap")))


def _settings(told: dict[str, Any]) -> Settings:
    known: dict[str, Any] = {one.name: tuple(tuple(value) if isinstance(value, list) else value
                                             for value in told.get(one.name, ())) for one in fields(Settings)}
    return Settings(**known)


def _check(was: RunRecord, case: Case, prepared: Prepared) -> None:
    """Raises UsageError naming all that is not as it was."""
    now = {(piece["kind"], piece["name"]): piece for piece in recording.pieces(case)}
    wrong = []
    for piece in was.pieces:
        other = now.get((piece["kind"], piece["name"]))
        if piece["kind"] != "sysroot" and (other is None or other["key"] != piece["key"]):
            wrong.append(f"{piece['kind']} {piece['name']}: {_packages(piece)} then, {_packages(other)} now")
    if was.emulator.get("version") != prepared.emulator.version:
        wrong.append(f"QEMU {was.emulator.get('version')} then, {prepared.emulator.version} now")
    if was.deterministic.get("agent") != prepared.recipe.agent.name:
        wrong.append("the lab's own programs in the guest (init, labrun) were others")
    elif was.deterministic.get("guest") != prepared.recipe.content():
        wrong.append("the bytes of kernel or initramfs were others")
    if wrong:
        raise UsageError("the record is of another machine: " + "; ".join(dict.fromkeys(wrong)),
                         "use the lab and the lock (images/lock.yaml) that recorded it")  # fmt: skip


def _packages(piece: dict[str, Any] | None) -> str:
    if piece is None:
        return "none"
    packages = [str(name) for name in piece.get("packages", ())]
    more = f" and {len(packages) - 3} more" if len(packages) > 3 else ""
    return ", ".join(packages[:3]) + more or str(piece["key"])


def replay(found: Recorded, output: Path, debugger: str = "") -> Replayed:
    """Lets it happen again, into the run directory ``output``. ``debugger``: the socket on which gdb is waited for."""
    case, prepared, directory = found.case, found.prepared, found.directory
    looking = inspector.make(case, prepared)
    record = recording.new_record(case, {"accelerator": "tcg", "reason": f"the record of {directory.path}, again"})
    target = RunDirectory.create(output, record)
    again = qemu.Record(str(directory.file(RECORD_LOG).resolve()), again=True, debugger=debugger)
    recipe = replace(prepared.recipe, orders=directory.file(RECORD_ORDERS).read_bytes(), record=again)
    program = Program(directory.file("program"), str(found.record.program.get("sha256", "")),
                      str(found.record.program.get("compiler", "")), tuple(found.record.program.get("command", ())))
    limits = NO_LIMITS if debugger else host.limits(total=max(SHORTEST, SLOWER * found.record.seconds))
    session.run_case(case, recipe, program, target, record, limits, None, looking)
    judge(record, target, case.scenario)
    whole = found.record.deterministic.get("raw")
    differs = () if whole in (None, record.deterministic.get("raw")) else tuple(_differing(directory, target))
    if differs:
        record.messages.append(f"not as it was recorded: {', '.join(differs[:10])}")
    target.save(record)
    return Replayed(found.record, record, target, differs)


def _differing(first: RunDirectory, second: RunDirectory) -> Iterator[str]:
    """The files of raw evidence that one has otherwise than the other, by name."""
    sides = [one.raw_files() for one in (first, second)]
    for name in sorted(sides[0].keys() | sides[1].keys()):
        one, other = (side.get(name) for side in sides)
        if one is None or other is None or one.read_bytes() != other.read_bytes():
            yield name


# -- with a debugger ---------------------------------------------------------------------------------


class Waiting(threading.Thread):
    """A run that happens again in the background, and waits for gdb first at ``socket``."""

    def __init__(self, found: Recorded, output: Path, socket: Path) -> None:
        super().__init__(name="replay", daemon=True)
        self._found, self._output, self.socket = found, output, socket
        self.failed: Exception | None = None

    def run(self) -> None:
        try:
            replay(self._found, self._output, str(self.socket))
        except Exception as error:  # for who waits
            self.failed = error

    def command(self) -> list[str]:
        """What connects gdb, with the symbols of kernel, program and libc."""
        return gdb(self._found, self.socket)

    def end(self) -> None:
        """The guest is ended, wherever it is, and its record written."""
        deadline = time.monotonic() + PATIENCE
        while self.is_alive() and time.monotonic() < deadline:
            with contextlib.suppress(OSError), sockets.socket(sockets.AF_UNIX) as stub:
                stub.settimeout(1.0)
                stub.connect(str(self.socket))
                stub.sendall(KILL)
            self.join(0.5)


@contextlib.contextmanager
def debugged(found: Recorded, output: Path) -> Iterator[Waiting]:
    """The run happens again, once gdb lets it; at the end of the block the guest is ended, wherever it is. Raises what
    keeps it from starting."""
    with tempfile.TemporaryDirectory(prefix="lab-gdb-") as folder:
        waiting = Waiting(found, output, Path(folder) / "socket")
        waiting.start()
        try:
            while not waiting.socket.exists():
                waiting.join(0.05)
                if not waiting.is_alive():
                    raise waiting.failed or HostError("the replay ended before gdb could connect", found.record.ending)
            yield waiting
        finally:
            waiting.end()


def gdb(found: Recorded, socket: Path) -> list[str]:
    """gdb's command line for a guest whose gdb stub listens at ``socket``."""
    symbols = found.prepared.find_symbols()
    words = ["gdb", "-q"]
    if symbols.vmlinux is not None:
        words += ["-ex", f"file {shlex.quote(str(symbols.vmlinux))}"]
    for file, base in _loaded(found, symbols.libc):
        words += ["-ex", f"add-symbol-file {shlex.quote(str(file))} -o {base:#x}"]
    sources = found.case.scenario.directory, resources.data("guest")  # "." and "include" in the program: toolchain
    words += ["-ex", f"directory {shlex.quote(str(sources[0].absolute()))}"]
    words += ["-ex", f"set substitute-path include {shlex.quote(str(sources[1]))}"]
    return [*words, "-ex", f"target remote {socket}"]


def _loaded(found: Recorded, libc: Path | None) -> Iterator[tuple[Path, int]]:
    """The program and libc, each with the address at which the recorded run had it."""
    from orchestrator.collect import procfs
    from orchestrator.collect.lines import Document

    bases: dict[str, int] = {}
    for file in sorted((found.directory.path / "evidence").glob("*/proc/*/maps")):
        for vma in procfs.parse_maps(Document.of(file.name, file.read_bytes())):
            if vma.offset == 0 and vma.inode:
                bases.setdefault(vma.name.rpartition("/")[2], vma.start)
    program = found.directory.file("program")
    if "program" in bases:
        yield program, bases["program"] if _moves(program) else 0
    if libc is not None and "libc.so.6" in bases:
        yield libc, bases["libc.so.6"]


def _moves(program: Path) -> bool:
    """Whether it is linked to run at any address: ET_DYN of its header (elf(5))."""
    with program.open("rb") as file:
        return file.read(18)[16:18] == b"\3\0"


def run_gdb(command: Sequence[str]) -> int:
    """gdb in the foreground, on this terminal. Raises HostError where there is none."""
    if shutil.which(command[0]) is None:
        raise HostError("there is no gdb on this host", "install it; or connect another: `lab replay RUN --gdb`")
    before = signal.signal(signal.SIGINT, lambda *_: None)  # Ctrl-C is gdb's; an ignored one would be inherited
    try:
        code = subprocess.run(list(command), check=False, env={**os.environ, "DEBUGINFOD_URLS": ""}).returncode
    finally:
        signal.signal(signal.SIGINT, before)
    return code if code >= 0 else 128 - code
