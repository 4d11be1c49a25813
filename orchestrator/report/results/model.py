"""Results: the one model that every renderer of whole results takes. Pure.

A result is an ERROR until proved otherwise. What was planned and never ran is a case too, and so is a directory
that can't be read: nothing that is lost makes a file look as if there had been less to test.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from orchestrator.matrix.record import CaseRecord, MatrixRecord, State, worst
from orchestrator.model import Ending, Finding, Outcome
from orchestrator.rundir import RunRecord

MAX_NAMED = 5  # findings that a detail names


class Verdict(StrEnum):
    """How a case went. Each word means one thing, in every format."""

    PASS = "PASS"
    FAIL = "FAIL"  # an expectation did not hold
    SKIP = "SKIP"  # with a reason
    ERROR = "ERROR"  # not evaluated: the lab, the host, the scenario, or a directory that can't be read
    LOST = "LOST"  # the guest: panic, oops, warning, lock-up …, or it no longer answers; ``ending`` says which
    TIMEOUT = "TIMEOUT"
    INTERRUPTED = "INTERRUPTED"
    NOT_RUN = "NOT RUN"  # planned, and never started


EARLY = {  # the verdict of an ending; of all others but ``completed`` it is LOST
    Ending.TIMEOUT: Verdict.TIMEOUT, Ending.INTERRUPTED: Verdict.INTERRUPTED,
    Ending.HOST_ERROR: Verdict.ERROR, Ending.UNFINISHED: Verdict.ERROR,
}  # fmt: skip
_CODES = {Verdict.PASS: 0, Verdict.SKIP: 0, Verdict.FAIL: 1, Verdict.ERROR: 3, Verdict.LOST: 4, Verdict.TIMEOUT: 5,
          Verdict.INTERRUPTED: 130, Verdict.NOT_RUN: 3}  # fmt: skip
_WORDS = {0: "PASS", 1: "FAIL", 4: "CRASHED", 5: "TIMEOUT", 130: "INTERRUPTED"}  # by exit code
_FINDINGS = {Outcome.PASS: "passed", Outcome.FAIL: "failed", Outcome.SKIP: "skipped", Outcome.ERROR: "in error"}
_CASES = {Verdict.PASS: "passed", Verdict.SKIP: "skipped", Verdict.FAIL: "failed", Verdict.ERROR: "in error",
          Verdict.LOST: "crashed", Verdict.TIMEOUT: "timed out", Verdict.INTERRUPTED: "interrupted",
          Verdict.NOT_RUN: "not run"}  # fmt: skip
UNFINISHED = "it was never finished: the lab was ended from outside, or is still at work"


@dataclass(frozen=True)
class CaseResult:
    """One case. ``record`` is None where there is no run directory that can be read; ``findings`` are then those
    that the matrix kept (none that passed, no values)."""

    name: str  # "brk on 6.12 with trixie": unique within Results
    scenario: str
    kernel: str  # as chosen: "6.12"
    userland: str  # as chosen: "trixie"
    directory: Path | None  # None if the case never had one
    record: RunRecord | None
    verdict: Verdict
    detail: str = ""  # why, in words, for what is not PASS
    ending: Ending | None = None  # None: not known
    findings: tuple[Finding, ...] = ()
    seconds: float = 0.0
    started: str = ""  # ISO 8601, UTC
    usage: bool = False  # an ERROR that the user's own input made (exit code 2)
    first: str = ""  # what it was in a guest that others had used, if that was not confirmed in a fresh one: "FAIL"
    older: int = 0  # runs of the same case that were found too, and do not count

    @property
    def exit_code(self) -> int:
        """As ``lab run`` of this case alone."""
        return 2 if self.usage and self.verdict is Verdict.ERROR else _CODES[self.verdict]

    @property
    def word(self) -> str:
        """The verdict in one word, with the kind of ending where that is known: "PANIC", "LOST GUEST"."""
        if self.ending and (self.verdict is Verdict.LOST or self.ending is Ending.UNFINISHED):
            return self.ending.value.replace("-", " ").upper()
        return self.verdict.value

    @property
    def remark(self) -> str:
        """What else is to be known of it; "" for nothing."""
        used = f"it was {self.first} in a guest that others had used" if self.first else ""
        runs = "an older run of it does not count" if self.older == 1 else f"{self.older} older runs of it do not count"
        return "; ".join(one for one in (used, runs if self.older else "") if one)

    @property
    def release(self) -> str:
        """The kernel as measured in the guest; "" if it was not."""
        return measured(self.record, "release")

    @property
    def glibc(self) -> str:
        """The C library's version as measured in the guest; "" if it was not."""
        return measured(self.record, "glibc")

    @property
    def accelerator(self) -> str:
        """ "tcg", "kvm"; "" if not known."""
        return str(self.record.emulator.get("accelerator") or "") if self.record else ""

    @property
    def lab(self) -> str:
        """The version of the lab that ran it; "" if not known."""
        return self.record.lab if self.record else ""

    @property
    def counted(self) -> str:
        """ "41 passed, 1 failed"; "nothing evaluated"."""
        found = [f"{self.count(outcome)} {word}" for outcome, word in _FINDINGS.items() if self.count(outcome)]
        return ", ".join(found) or "nothing evaluated"

    def count(self, outcome: Outcome) -> int:
        """How many findings have that outcome."""
        return sum(finding.outcome is outcome for finding in self.findings)


@dataclass(frozen=True)
class Results:
    """What one command has to report: a run, a matrix, or several of them."""

    title: str  # what was asked
    place: Path  # the directory given
    cases: tuple[CaseResult, ...]
    started: str = ""  # ISO 8601, UTC: the earliest
    seconds: float = 0.0  # wall time of a run or a matrix; the sum of several
    lab: str = ""  # version; several: "0.1.0, 0.2.0"
    matrices: tuple[tuple[Path, MatrixRecord], ...] = ()
    notes: tuple[str, ...] = ()  # what was left out and why: said, not hidden

    @property
    def exit_code(self) -> int:
        """That of the worst case; 3 where there is none, for nothing that ran is no success; 130 where cases were not
        run because their matrix was interrupted."""
        codes = [case.exit_code for case in self.cases] or [3]
        if self.count(Verdict.NOT_RUN) and any(record.state is State.INTERRUPTED for _, record in self.matrices):
            codes.append(130)
        return worst(codes)

    @property
    def word(self) -> str:
        """The verdict on all of it in one word, that of the worst case; nothing that ran is NOT RUN."""
        if len(self.cases) == 1:
            return self.cases[0].word
        if self.count(Verdict.SKIP) == len(self.cases):
            return "SKIP" if self.cases else "NOT RUN"
        return _WORDS.get(self.exit_code, "ERROR")

    @property
    def counted(self) -> str:
        """ "36 cases: 35 passed, 1 timed out"; of one case, its findings."""
        if len(self.cases) == 1:
            return self.cases[0].counted
        found = [f"{self.count(verdict)} {word}" for verdict, word in _CASES.items() if self.count(verdict)]
        return f"{len(self.cases)} cases: {', '.join(found)}" if found else "nothing ran"

    def count(self, verdict: Verdict) -> int:
        """How many cases went so."""
        return sum(case.verdict is verdict for case in self.cases)


def of_run(record: RunRecord, directory: Path) -> Results:
    """The results of one run."""
    case = of_record(record, directory)
    return Results(case.name, directory, (case,), case.started, case.seconds, record.lab)


def name_of(scenario: str, kernel: str, userland: str) -> str:
    """A case for people."""
    return f"{scenario} on {kernel} with {userland}"


def of_record(record: RunRecord, directory: Path) -> CaseResult:
    """One case from its run record."""
    scenario, kernel, userland = (str(record.case.get(key) or "?") for key in ("scenario", "kernel", "userland"))
    verdict = verdict_of(record)
    return CaseResult(
        name_of(scenario, kernel, userland), scenario, kernel, userland, directory, record, verdict,
        _detail(record, verdict), record.ending, tuple(record.findings), finite(record.seconds), record.started,
        record.exit_code == 2,
    )  # fmt: skip


def verdict_of(record: RunRecord) -> Verdict:
    """How the run went. What its findings say is stronger than the outcome that it gives itself."""
    if record.ending is not Ending.COMPLETED:
        return EARLY.get(record.ending, Verdict.LOST)
    found = {finding.outcome for finding in record.findings} | ({record.outcome} & {Outcome.FAIL, Outcome.ERROR})
    order = (Outcome.FAIL, Outcome.ERROR, Outcome.PASS, Outcome.SKIP)
    return next((Verdict(outcome.value) for outcome in order if outcome in found), Verdict.ERROR)


def of_plan(case: CaseRecord, ending: Ending | None = None) -> CaseResult:
    """One case from the matrix's record alone: it has no run directory, or none that can be read."""
    findings = tuple(Finding(one.id, one.claim, one.at, "", "", "", one.outcome, one.message) for one in case.failing)
    return CaseResult(
        name_of(case.scenario, case.kernel, case.userland), case.scenario, case.kernel, case.userland, None, None,
        Verdict.ERROR, case.detail, ending, findings, finite(case.seconds), usage=case.exit_code == 2,
    )  # fmt: skip


def unique(names: Iterable[str], gap: str = ".") -> list[str]:
    """The names, in their order, made different by a number where they are not: "a", "a.2"."""
    used: set[str] = set()
    last: dict[str, int] = {}
    result = []
    for stem in names:
        name = stem
        while name in used:
            last[stem] = last.get(stem, 1) + 1
            name = f"{stem}{gap}{last[stem]}"
        used.add(name)
        result.append(name)
    return result


def measured(record: RunRecord | None, key: str) -> str:
    """A text of the environment as measured; "" where there is none."""
    return str(record.environment.get(key) or "") if record else ""


def finite(seconds: float) -> float:
    """Seconds that can be written and added up: a damaged record may say anything."""
    return float(seconds) if math.isfinite(seconds) and 0 <= seconds < 1e9 else 0.0


def _detail(record: RunRecord, verdict: Verdict) -> str:
    if record.ending is Ending.UNFINISHED:
        return UNFINISHED
    if record.ending is not Ending.COMPLETED:
        return record.ending_detail or f"the run ended early: {record.ending}"
    if verdict is Verdict.FAIL:
        return _named("does not hold", (f.id for f in record.findings if f.outcome is Outcome.FAIL))
    if verdict is Verdict.ERROR:
        ids = [f.id for f in record.findings if f.outcome is Outcome.ERROR]
        return _named("could not be evaluated", ids) if ids else "no expectation was evaluated"
    if verdict is Verdict.SKIP:
        return "; ".join(dict.fromkeys(f.message for f in record.findings if f.message)) or "all was skipped"
    return ""


def _named(what: str, ids: Iterable[str]) -> str:
    """ "does not hold: a, b, c, d, e and 3 more"."""
    found: Sequence[str] = list(ids)
    more = f" and {len(found) - MAX_NAMED} more" if len(found) > MAX_NAMED else ""
    return f"{what}: {', '.join(found[:MAX_NAMED])}{more}" if found else what
