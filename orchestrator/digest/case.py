"""Which case a run is of, and the guest as it was measured: as values that a repeat has too, on any host. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from orchestrator.collect import environment
from orchestrator.collect.lines import Document
from orchestrator.digest import left_out
from orchestrator.digest.subject import Subject
from orchestrator.observed import ObservationError
from orchestrator.rundir import machine

_NETWORK = ("net.", "user.")
T = TypeVar("T")


def parts(subject: Subject) -> Iterator[tuple[str, Any]]:
    """What the case is made of, each by itself, so that one can tell which of it is another."""
    record = subject.run.record
    case, told = record.case, machine(record)
    subject.leave(left_out.WORDS)
    pieces = [one for one in record.pieces if isinstance(one, dict)]
    for name, kinds in (("kernel", ("kernel",)), ("userland", ("userland", "sysroot"))):
        found = [[one.get("kind"), one.get("version"), one.get("key")] for one in pieces if one.get("kind") in kinds]
        yield name, found or [case.get(name)]
    yield "scenario", [case.get("scenario"), case.get("plain"), case.get("fingerprint")]
    yield "settings", case.get("settings")
    yield "program", record.program.get("sha256")
    yield "emulator", [told.emulator, told.version, told.accelerator]
    yield "machine", [told.memory, told.processors]


def guest(subject: Subject) -> Any:
    """The guest as measured before the program began."""
    subject.leave(left_out.ENVIRONMENT)
    return {
        "measured": subject.run.record.environment,
        "command line": _read(subject, "cmdline", environment.parse_cmdline),
        "configuration": _read(subject, "config", lambda document: {
            name: one.value for name, one in environment.parse_config(document).items()}),
        "sysctl": _read(subject, "sysctl", lambda document: left_out.ENVIRONMENT.without({
            name: one.value for name, one in environment.parse_sysctl(document).items()
            if not name.startswith(_NETWORK)})),
        "symbols": _read(subject, "symbols", lambda document: {
            name: present for name, (present, _) in environment.parse_symbols(document).items()}),
        "huge pages": _read(subject, "thp", lambda document: list(document.lines)),
    }  # fmt: skip


def _read(subject: Subject, name: str, parse: Callable[[Document], T]) -> T | None:
    try:
        return parse(subject.run.observed.document(f"evidence/environment/{name}"))
    except ObservationError:
        return None
