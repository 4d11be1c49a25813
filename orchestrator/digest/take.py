"""A run directory → its digest, and where two digests differ. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from orchestrator.digest import canonical, case, findings, heap, objects, space, trace
from orchestrator.digest.left_out import Rule
from orchestrator.digest.subject import Process, Subject
from orchestrator.errors import LabError
from orchestrator.inspection.moment import Run
from orchestrator.model import Checkpoint, Digest, Ending

SCHEME = 1  # goes up when the same run directory gets another digest than before
PART = 16  # hexadecimal digits of a part's digest that a record keeps
# Endings at which chance, or the host, decides how much evidence there is
NO_DIGEST = frozenset({Ending.UNFINISHED, Ending.INTERRUPTED, Ending.HOST_ERROR, Ending.TIMEOUT, Ending.LOST_GUEST})
UNREADABLE = "unreadable"

Parts = Iterator[tuple[str, Any]]


def digest(run: Run) -> Digest | None:
    """The digest of a run with its findings; None for one that was cut short."""
    if run.record.ending in NO_DIGEST:
        return None
    found, used = values(run)
    hashes = {name: canonical.sha256(value) for name, value in found.items()}
    whole = canonical.sha256({"scheme": SCHEME, "parts": hashes})
    return Digest(SCHEME, whole, {name: one[:PART] for name, one in hashes.items()},
                  {rule.what: rule.why for rule in used})  # fmt: skip


def values(run: Run) -> tuple[dict[str, Any], tuple[Rule, ...]]:
    """The parts by name, before they are made a digest of, and the rules by which something was left out of them."""
    subject = Subject(run)
    found = dict(_of_run(subject))
    for checkpoint in subject.checkpoints:
        found.update(_of_checkpoint(subject, checkpoint))
    return found, subject.rules


def differences(one: Digest, other: Digest) -> list[str]:
    """The parts that are not alike, or that only one of them has."""
    names = dict.fromkeys((*one.parts, *other.parts))
    return [name for name in names if one.parts.get(name) != other.parts.get(name)]


def words(one: Digest, other: Digest, most: int = 8) -> str:
    """Where two digests differ, in words; "" if they are equal."""
    if one.scheme != other.scheme:
        return f"they are of scheme {one.scheme} and {other.scheme}, and can't be compared"
    if one.sha256 == other.sha256:
        return ""
    found = differences(one, other)
    more = f" and {len(found) - most} more" if len(found) > most else ""
    return f"{len(found)} of {len(one.parts)} parts: {'; '.join(found[:most])}{more}"


def _of_run(subject: Subject) -> Parts:
    yield from _read("case", lambda: ((f"case: {name}", value) for name, value in case.parts(subject)))
    yield from _read("guest", lambda: [("guest", case.guest(subject))])
    yield from _read("findings", lambda: [("findings", findings.findings(subject))])
    yield from _read("ending", lambda: [("ending", findings.ending(subject))])
    yield from _read("output", lambda: [("output", findings.output(subject))])
    yield from _read("kernel log", lambda: [("kernel log", findings.log(subject))])


_OF_PROCESS: tuple[tuple[str, Callable[[Subject, Process], Parts]], ...] = (
    ("mappings", space.parts), ("kernel objects", objects.parts), ("heap", heap.parts),
)  # fmt: skip


def _of_checkpoint(subject: Subject, checkpoint: Checkpoint) -> Parts:
    label = subject.run.label(checkpoint)
    notes = f"{label}: notes"
    yield from _read(notes, lambda: [(notes, findings.notes(subject, checkpoint))])
    for one in subject.processes.get(checkpoint.index, ()):
        which = "" if one.moment.pid == checkpoint.pid else f" of process {one.number}"
        for first, parts in _OF_PROCESS:
            for kind, value in _read(first, lambda parts=parts, one=one: parts(subject, one)):  # type: ignore[misc]
                yield f"{label}: {kind}{which}", value
    for kind, value in _read("trace", lambda: trace.parts(subject, checkpoint)):
        yield f"{label}: {kind}", value


def _read(name: str, parts: Callable[[], Iterable[tuple[str, Any]]]) -> Iterable[tuple[str, Any]]:
    """The parts; of evidence that is not what the lab or the kernel writes, that it is not."""
    try:
        return list(parts())
    except (LabError, LookupError, TypeError, ValueError, ArithmeticError, AttributeError, RecursionError):
        return [(name, UNREADABLE)]
