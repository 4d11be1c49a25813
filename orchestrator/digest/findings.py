"""Findings, the program's own words, and the run's end as values that a repeat has too. Pure."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from orchestrator.comparison.places import LOWEST
from orchestrator.digest import checked, left_out
from orchestrator.digest.names import USER_END, Names
from orchestrator.digest.subject import Subject
from orchestrator.kernel_log import log_shape
from orchestrator.model import Checkpoint, Finding, Operand
from orchestrator.observed import ObservationError

MAX_LOG = 20_000  # lines of the kernel log
_ID = re.compile(r"(?:^|[-_.])(?:pid|tid|tgid|ppid)$|^(?:child|parent)$")  # keys of notes
_OF_PROCESSES = re.compile(r"[pt]g?id|clone|fork|wait|child", re.IGNORECASE)  # operands
_NOTE = re.compile(r"\s*notes?\(\s*[\"']([^\"']+)")
_HEX = re.compile(r"0x[0-9a-f]{1,16}")
_PRINTED = re.compile(r"0x[0-9a-fA-F]+|\b[0-9a-f]{8,16}\b|\d+(?:\.\d+)?")
_DECIMAL = re.compile(r"-?\d{1,20}")


# -- findings ------------------------------------------------------------------------------------


def findings(subject: Subject) -> Any:
    """Each with its outcome, and what its check looked at."""
    subject.leave(left_out.COMPUTED, left_out.NOTED)
    return [_finding(subject, one) for one in subject.run.record.findings]


def _finding(subject: Subject, one: Finding) -> Any:
    labels = (one.at, one.at.removesuffix("#1"))
    checkpoint = next((c for c in subject.checkpoints if one.at and subject.run.label(c) in labels), None)
    names = subject.names(checkpoint.index, checkpoint.pid) if checkpoint else subject.names()
    loose = checked.bounded(one.check)
    return {
        "id": one.id, "claim": one.claim, "at": one.at, "check": one.check, "when": one.when,
        "outcome": one.outcome.value, "verdict": one.verdict.value, "message": names.text(one.message, ids=True),
        "operands": [[operand.text, _shown(subject, names, operand)] for operand in one.operands
                     if _is_given(subject, checkpoint, operand, loose)],
    }  # fmt: skip


def _is_given(subject: Subject, checkpoint: Checkpoint | None, operand: Operand, loose: set[str]) -> bool:
    """Whether an operand is one observation that the check fixes, and that no rule leaves out."""
    if not checked.is_observation(operand.text) or checked.same(operand.text) in loose:
        return False
    for rule in left_out.RULES:
        if rule.operands.search(operand.text) and not (rule is left_out.SHARED and not subject.shared(checkpoint)) \
                and not (rule is left_out.RACES and not subject.several(checkpoint)) \
                and not (rule is left_out.CUT and not subject.cut(checkpoint)) \
                and not (rule is left_out.PLACES and subject.placed(checkpoint)):  # fmt: skip
            return False
    return True


def _shown(subject: Subject, names: Names, operand: Operand) -> Any:
    noted = _NOTE.match(operand.text)
    if noted and _is_id(subject, noted[1]):
        return re.sub(r"(?<![\w.])\d+(?![\w.])", lambda found: str(_id(names, found[0])), operand.value)
    if noted and any("=0x" in line.text for line in operand.evidence):
        return re.sub(r"(?<![\w.])(?:0x[0-9a-f]{1,16}|\d+(?: \([^)]*\))?)(?![\w.])",
                      lambda found: str(_noted(names, found[0] if found[0][:2] == "0x" else "0x0")), operand.value)
    return names.text(operand.value, ids=bool(_OF_PROCESSES.search(operand.text)))


# -- notes ---------------------------------------------------------------------------------------


def notes(subject: Subject, checkpoint: Checkpoint) -> Any:
    """In the order of time."""
    try:
        found = subject.run.observed.all_notes(subject.run.label(checkpoint))
    except ObservationError:
        return None
    subject.leave(left_out.NOTED)
    names = subject.names(checkpoint.index, checkpoint.pid)
    if subject.shared(checkpoint):
        subject.leave(left_out.SHARED)
        return Counter(note.key for note in found)
    return [[note.key, None if note.key in subject.bounded else _note(subject, names, note.key, note.value)]
            for note in found]  # fmt: skip


def _note(subject: Subject, names: Names, key: str, value: str) -> Any:
    if value == subject.memory:
        return "the guest's memory"
    return _id(names, value) if _is_id(subject, key) else _noted(names, value)


def _is_id(subject: Subject, key: str) -> bool:
    """Whether a note of that key is the id of a process: by its name, or as a check takes it for one."""
    return bool(_ID.search(key)) or key in subject.processes_noted


def _id(names: Names, value: str) -> Any:
    try:
        number = int(value, 0) if len(value) < 12 else 0
    except ValueError:
        return names.text(value)
    return names.member(number) if number else "none"


def _noted(names: Names, value: str) -> Any:
    """A decimal number is one, if it is no address; a hexadecimal one is only given if it is."""
    if _HEX.fullmatch(value):
        number = int(value, 16)
        return names.address(number) if LOWEST <= number < USER_END and names.known(number) else "0x…"
    if _DECIMAL.fullmatch(value):
        return names.number(int(value)) if abs(int(value)) >= LOWEST else int(value)
    return names.text(value)


# -- the end -------------------------------------------------------------------------------------


def ending(subject: Subject) -> Any:
    """How the run and the program ended, and what the lab could not look at."""
    record = subject.run.record
    ended = record.ended
    return {
        "ending": record.ending.value, "outcome": record.outcome.value,
        "ended": ended and [ended.code, ended.signal, ended.killed_by_lab], "left out": dict(record.left_out),
        "checkpoints": [[c.name, c.kind, c.signal] for c in record.checkpoints],
    }  # fmt: skip


def output(subject: Subject) -> Any:
    """What the program printed, without numbers."""
    subject.leave(left_out.PRINTED)
    try:
        return [_PRINTED.sub("N", line) for line in subject.run.observed.document("evidence/output").lines]
    except ObservationError:
        return None


def log(subject: Subject) -> Any:
    """Which lines the kernel log has, without numbers."""
    try:
        lines = subject.run.observed.document("kernel.log").lines[:MAX_LOG]
    except ObservationError:
        return None
    return sorted({shape for line in lines if (shape := log_shape(line))})
