"""The record of a run: what it begins with, and how the run ended; ``unfinished`` until something better is known."""

from __future__ import annotations

import contextlib
import datetime
import re
import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

from orchestrator import elf, fingerprint, host
from orchestrator.elf import ElfError
from orchestrator.errors import LabError, UsageError
from orchestrator.machine import qemu, warm
from orchestrator.machine.guest import Attempt, Guest, ending_of
from orchestrator.model import Case, Ending, Inspect, Outcome, Piece, Settings
from orchestrator.rundir import Boot, ConsoleEvent, RunDirectory, RunRecord

NOT_ASKED = "it was not asked for (--no-inspect)"
_CREATES = {"pthread_create", "thrd_create", "clone"}  # what a program creates threads with, in libc
_THREADS = re.compile(rb"^Threads:\s*(\d{1,9})$", re.MULTILINE)  # proc_pid_status(5)


def merge(first: Settings, then: Settings) -> Settings:
    """Two settings, the second one winning where both name the same thing."""

    def pairs(name: str) -> tuple[tuple[str, str], ...]:
        return tuple({**dict(getattr(first, name)), **dict(getattr(then, name))}.items())

    return Settings(
        append=first.append + then.append,
        sysctls=pairs("sysctls"), tunables=pairs("tunables"), ulimits=pairs("ulimits"),
        environment=pairs("environment"), defines=pairs("defines"),
    )  # fmt: skip


def new_record(case: Case, emulator: dict[str, Any]) -> RunRecord:
    """A record of a case that has not run yet."""
    return RunRecord(
        lab=version(),
        started=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        case={
            "scenario": case.scenario.name, "summary": case.scenario.summary, "plain": case.scenario.plain,
            "source": str(fingerprint.source(case.scenario).resolve()), "fingerprint": case.fingerprint,
            "kernel": case.kernel.name, "userland": case.userland.name,
            "emulator": case.emulator.name, "settings": asdict(case.settings),
        },
        pieces=pieces(case),
        emulator={"name": case.emulator.name, "version": case.emulator.version, **emulator},
        host=dict(host.describe()),
        left_out={} if case.inspect or not case.scenario.inspect else {"kernel": NOT_ASKED, "heap": NOT_ASKED},
        messages=[f"{p.kind} {p.name}: {p.drift}" for p in _pieces(case) if p.drift],
    )  # fmt: skip


def version() -> str:
    """The lab's own."""
    try:
        return metadata.version("qemu-lab")
    except metadata.PackageNotFoundError:
        return "unknown"


def pieces(case: Case) -> list[dict[str, Any]]:
    """What a case is made of, as the record keeps it."""
    return [_piece(piece) for piece in _pieces(case)]


def _pieces(case: Case) -> list[Piece]:
    pieces = (case.kernel.piece, case.userland.piece, case.userland.sysroot_piece, case.emulator.piece)
    return [piece for piece in pieces if piece is not None]


def _piece(piece: Piece) -> dict[str, Any]:
    packages = [f"{p.name}={p.version}" for p in piece.packages]
    return {"kind": piece.kind.value, "name": piece.name, "version": piece.version, "key": piece.key,
            "packages": packages, "drift": piece.drift}  # fmt: skip


@contextmanager
def recorded(record: RunRecord, directory: RunDirectory) -> Iterator[None]:
    """Whatever ends the block, the record says how, and is saved; errors that are a way for a run
    to end are swallowed, the user's own mistakes (UsageError) go on to the command line."""
    begin = time.monotonic()
    try:
        yield
        _end(record, Ending.COMPLETED, "", 3)  # until the findings say better
    except UsageError as error:
        _end(record, Ending.HOST_ERROR, error.message, error.exit_code)
        raise
    except LabError as error:
        _end(record, ending_of(error), error.message, error.exit_code, error.hint)
    except KeyboardInterrupt:
        _end(record, Ending.INTERRUPTED, "interrupted by the user", 130)
    except Exception as error:
        _end(record, Ending.HOST_ERROR, f"{type(error).__name__}: {error}", 3)
        raise
    finally:
        record.seconds = round(time.monotonic() - begin, 3)
        directory.save(record)


def _end(record: RunRecord, ending: Ending, detail: str, code: int, hint: str = "") -> None:
    record.ending, record.ending_detail, record.exit_code = ending, detail, code
    record.outcome = Outcome.ERROR
    if hint:
        record.messages.append(hint)


def boots(attempts: list[Attempt]) -> list[Boot]:
    """The guest's boots as the record keeps them."""
    return [Boot(a.number, a.outcome, a.seconds, a.cpu_seconds, a.detail, a.how) for a in attempts]


def keep_digest(guest: Guest, record: RunRecord, directory: RunDirectory, inspect: Inspect | None) -> None:
    """That the guest was deterministic, if it was, and what all that came out of it comes to: of a run that came to its
    end, as where another one was cut off was decided by this host."""
    recipe = guest.recipe
    if not recipe.deterministic:
        return
    record.deterministic = {"began": f"{qemu.CLOCK}Z", "agent": recipe.agent.name, "guest": recipe.content(),
                            "inspect": inspect and asdict(inspect), "record": _written(recipe.record)}  # fmt: skip
    if record.ended is not None:
        with contextlib.suppress(OSError):
            record.deterministic["raw"] = directory.raw_digest()
            record.deterministic["threads"] = _threads(directory)


def _threads(directory: RunDirectory) -> bool:
    """Whether the program may have more threads than one: it imports what creates them, or had them at a checkpoint."""
    with contextlib.suppress(ElfError, OSError):
        if _CREATES & elf.imports(directory.path / "program"):
            return True
    tasks = (_THREADS.search(file.read_bytes()) for file in directory.path.glob("evidence/*/proc/*/status"))
    return any(int(found[1]) > 1 for found in tasks if found)


def _written(record: qemu.Record | None) -> bool:
    """Whether QEMU wrote one, to its end: only then it has its version at the beginning (replay_finish())."""
    if record is None or record.again:
        return False
    try:
        with Path(record.path).open("rb") as file:
            return file.read(4).strip(b"\0") != b""
    except OSError:
        return False


def keep_console(guest: Guest, record: RunRecord) -> None:
    """What the record keeps of a guest: its boots, its command, and what was recognised on its console."""
    record.boots = boots(guest.attempts)
    if guest.recipe.accelerator != record.emulator.get("accelerator"):
        record.emulator.update(accelerator=guest.recipe.accelerator, reason="a guest did not boot under KVM")
    if guest.command:
        record.emulator["command"] = shlex.join(guest.command)
    if guest.started:
        by_port = guest.recipe.deterministic or guest.running.port is not None
        record.emulator["link"] = "virtio port" if by_port else "SSH"
    if guest.unusable:
        record.messages.append(f"no warm start: {guest.unusable}")
    if guest.state is not None:
        record.restored = {"made": guest.state.made, "boot_seconds": guest.state.seconds, "same": warm.SAME}
    if not guest.started:
        return
    console = guest.console
    record.console = [ConsoleEvent(s.kind.value, s.line, round(s.seconds, 3), s.saved) for s in console.sightings]
    record.messages += [f"guest's init: {warning}" for warning in console.warnings]
    if console.log_error:
        record.messages.append(console.log_error)
