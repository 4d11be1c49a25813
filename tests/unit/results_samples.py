"""Results of every kind, for tests of their renderers: a matrix directory in which all goes wrong that can."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from synthetic_run import ERRED, FAILED, GREW, MERGED, SKIPPED, Builder, brk

from orchestrator.matrix.record import (
    CaseRecord,
    Failing,
    MatrixDirectory,
    MatrixRecord,
    PairRecord,
    ScenarioRecord,
    State,
)
from orchestrator.model import Ending, Evidence, Finding, Operand, Outcome
from orchestrator.report.results import Results, of_run
from orchestrator.rundir import RunRecord

CODES = {Ending.TIMEOUT: 5, Ending.INTERRUPTED: 130, Ending.HOST_ERROR: 3, Ending.UNFINISHED: 3}
UNSEEN = replace(GREW, outcome=Outcome.ERROR, message="the checkpoint 'grown' was not reached")
PAIRS = (("5.10", "bullseye"), ("6.1", "bookworm"))
# Everything that a guest could try: ends of tags, of blocks, of lines, of documents; directives; controls; width
HOSTILE = (
    "</failure>]]>&lt;<script>alert(1)</script>\x1b[31m\x00\x07\r\nnot ok 1 - x\nok 2 y # SKIP z\n1..0\n```\n</details>"
    "\u202egnp.exe\ufffe\ud800 | a | b ![x](http://x/y) @root www.evil.example # SKIP no\nBail out!\nKTAP version 1\n"
    "Kernel panic - not syncing: VFS: Unable to mount\nreboot: System halted\n# Subtest: x\nList of all partitions:"
)


def saved(path: Path, *findings: Finding, ending: Ending = Ending.COMPLETED, detail: str = "",
          **case: object) -> Builder:
    """A run directory with these findings, as the lab leaves it."""
    run = brk(path)
    run.record.findings = list(findings)
    run.record.case |= case
    if ending is not Ending.COMPLETED:
        run.end(ending, detail or f"it was {ending}", CODES.get(ending, 4))
    run.directory.save(run.record)
    return run


def planned(*scenarios: str, pairs: tuple[tuple[str, str], ...] = PAIRS) -> MatrixRecord:
    """A matrix of these scenarios; no case has run."""
    return MatrixRecord(
        lab="0.1.0", started="2025-11-02T09:59:00+00:00", state=State.DONE, seconds=61.5, boots=3,
        scenarios=[ScenarioRecord(name, f"scenarios/{name}/scenario.yaml", "0" * 64) for name in scenarios],
        pairs=[PairRecord(kernel, userland, kernel, userland) for kernel, userland in pairs],
        cases=[CaseRecord(f"{name}-{kernel}-{userland}", name, kernel, userland)
               for kernel, userland in pairs for name in scenarios],
    )  # fmt: skip


def ran(place: Path, case: CaseRecord, *findings: Finding, ending: Ending = Ending.COMPLETED,
        detail: str = "") -> RunRecord:
    """Lets a case of a matrix have run: its directory, and what the matrix keeps of it."""
    run = saved(place / case.directory, *findings, ending=ending, detail=detail, scenario=case.scenario,
                kernel=case.kernel, userland=case.userland)  # fmt: skip
    found = {finding.outcome for finding in findings}
    order = (Outcome.FAIL, Outcome.ERROR, Outcome.PASS, Outcome.SKIP)
    early = ending is not Ending.COMPLETED
    case.outcome = Outcome.ERROR if early else next((one for one in order if one in found), Outcome.ERROR)
    case.state = State.INTERRUPTED if ending is Ending.INTERRUPTED else State.DONE
    case.ending, case.detail, case.booted, case.seconds = ending, run.record.ending_detail, True, 2.5
    case.exit_code = CODES.get(ending, 4) if early else {"FAIL": 1, "ERROR": 3}.get(case.outcome, 0)
    case.counts = {outcome: sum(one.outcome is outcome for one in findings) for outcome in found}
    case.failing = [Failing(one.id, one.claim, one.at, one.outcome, one.message) for one in findings
                    if one.outcome in (Outcome.FAIL, Outcome.ERROR)]  # fmt: skip
    run.record.outcome, run.record.exit_code = case.outcome, case.exit_code
    run.directory.save(run.record)
    return run.record


def everything(place: Path) -> MatrixRecord:
    """A matrix directory with a case of each verdict, and each kind of damage."""
    record = planned("pass", "fail", "skip", "error", "panic", "lost", "timeout", "halted", "never", "worker", "gone",
                     "broken", pairs=PAIRS[1:])  # fmt: skip
    cases = {case.scenario: case for case in record.cases}
    ran(place, cases["pass"], GREW, MERGED)
    ran(place, cases["fail"], FAILED, MERGED)
    ran(place, cases["skip"], SKIPPED)
    ran(place, cases["error"], GREW, ERRED)
    ran(place, cases["panic"], MERGED, UNSEEN, ending=Ending.PANIC, detail="Kernel panic - not syncing: Fatal")
    ran(place, cases["lost"], UNSEEN, ending=Ending.LOST_GUEST, detail="QEMU ended with signal 9")
    ran(place, cases["timeout"], GREW, UNSEEN, ending=Ending.TIMEOUT, detail="no further checkpoint within 30 s")
    ran(place, cases["halted"], ending=Ending.INTERRUPTED, detail="interrupted by the user")
    cases["worker"].state, cases["worker"].ending = State.DONE, Ending.HOST_ERROR
    cases["worker"].detail = "its worker was ended by signal 9"
    ran(place, cases["gone"], FAILED)
    (place / cases["gone"].directory / "run.json").unlink()
    ran(place, cases["broken"], GREW)
    (place / cases["broken"].directory / "run.json").write_text('{"schema": 1, "')
    cases["fail"].first = "PASS"
    record.exit_code = 130
    MatrixDirectory(place).save(record)
    return record


def hostile(place: Path) -> Results:
    """One run in which every text that is not the lab's own is hostile, and whose guest was lost."""
    operand = Operand(HOSTILE, HOSTILE, (Evidence(HOSTILE, 7, HOSTILE),), HOSTILE)
    words = {"claim": HOSTILE, "at": HOSTILE, "check": HOSTILE, "because": HOSTILE, "source": HOSTILE, "when": HOSTILE,
             "message": HOSTILE, "operands": (operand,) * 30}  # fmt: skip
    outcomes = (Outcome.FAIL, Outcome.SKIP, Outcome.ERROR, Outcome.PASS)
    findings = [replace(GREW, id=f"{HOSTILE}{outcome}", outcome=outcome, **words) for outcome in outcomes]
    run = saved(place / "run", *findings, ending=Ending.PANIC, detail=HOSTILE, scenario=HOSTILE, kernel=HOSTILE,
                userland=HOSTILE, summary=HOSTILE)  # fmt: skip
    run.record.environment |= {"release": HOSTILE, "glibc": HOSTILE}
    run.record.emulator |= {"accelerator": HOSTILE, "version": HOSTILE}
    run.record.lab = run.record.started = HOSTILE
    return replace(of_run(run.record, run.directory.path), notes=(HOSTILE,))
