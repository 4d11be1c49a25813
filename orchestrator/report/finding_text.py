"""What stands behind one finding, as plain lines that mean the same in every format. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.model import Ending, Evidence, Finding, Operand, Outcome
from orchestrator.report.results import CaseResult, Verdict, unique
from orchestrator.report.text import clean

MAX_OPERANDS = 20
MAX_EVIDENCE = 12  # lines of one operand
RUN = "run"  # the test that stands for the run itself, where that did not come to its end


def head(finding: Finding) -> str:
    """ "FAIL grow-rss (brk.grow) at grown"."""
    claim = f" ({clean(finding.claim, 64)})" if finding.claim else ""
    at = f" at {clean(finding.at, 64)}" if finding.at else ""
    return f"{finding.outcome} {clean(finding.id, 80)}{claim}{at}"


def lines(finding: Finding) -> list[str]:
    """Why, which check with which values, and where each was read: cleaned lines, of any length."""
    return [line for line in _lines(finding) if line.strip()]


def _lines(finding: Finding) -> Iterator[str]:
    yield clean(finding.message, 2000)
    for label, text in (("when", finding.when), ("check", finding.check)):
        yield _labelled(label, text)
    for operand in finding.operands[:MAX_OPERANDS]:
        yield from _operand(operand)
    if len(finding.operands) > MAX_OPERANDS:
        yield f"  ... and {len(finding.operands) - MAX_OPERANDS} more values"
    for label, text in (("because", finding.because), ("source", finding.source)):
        yield _labelled(label, text)


def _labelled(label: str, text: str) -> str:
    return f"{label}: {clean(' '.join(text.split()), 2000)}" if text.strip() else ""


def _operand(operand: Operand) -> Iterator[str]:
    remark = f" ({clean(operand.remark, 1000)})" if operand.remark else ""
    yield f"  {clean(operand.text)} = {clean(operand.value)}{remark}"
    for evidence in operand.evidence[:MAX_EVIDENCE]:
        yield f"    {place(evidence)}"
    if len(operand.evidence) > MAX_EVIDENCE:
        yield f"    ... and {len(operand.evidence) - MAX_EVIDENCE} more lines"


def place(evidence: Evidence) -> str:
    """ "evidence/01-grown/proc/214/smaps:41: 56524d96e000-… [heap]"."""
    where = clean(evidence.file) + (f":{evidence.line}" if evidence.line else "")
    text = clean(" ".join(evidence.text.split()))
    return f"{where}: {text}" if text else where


def tests(case: CaseResult) -> list[tuple[str, Finding | None]]:
    """The tests of a case, with unique names: its expectations, and before them, as None, the run itself where that is
    why there is no result. So a case is never without a test, and a guest that was lost never only a shorter list."""
    told = case.verdict in (Verdict.PASS, Verdict.FAIL, Verdict.SKIP) or any(
        finding.outcome is Outcome.ERROR for finding in case.findings)  # fmt: skip
    whole = told and case.findings and case.record is not None and case.ending is Ending.COMPLETED
    found: list[tuple[str, Finding | None]] = [] if whole else [(RUN, None)]
    found += [(clean(finding.id, 200) or "?", finding) for finding in case.findings]
    names = unique(name for name, _ in found)
    return [(name, finding) for name, (_, finding) in zip(names, found, strict=True)]


def kind(case: CaseResult) -> str:
    """The one word for why a case has no result, or not all: "panic", "timeout", "not-run", "unreadable", …"""
    if case.ending not in (None, Ending.COMPLETED):
        return case.ending.value
    if case.record is None and case.verdict is not Verdict.NOT_RUN:
        return "unreadable"
    return case.verdict.value.lower().replace(" ", "-")


def place_of(case: CaseResult) -> str:
    """The run directory, or that there is none."""
    return clean(str(case.directory), 4096) if case.directory else "no run directory"


def reason(case: CaseResult) -> str:
    """The verdict and why, in one line: "PANIC: Kernel panic - not syncing: …"."""
    return f"{case.word}: {clean(case.detail, 2000)}" if case.detail else case.word


def properties(case: CaseResult) -> list[tuple[str, str]]:
    """What the case was and ran on, cleaned; what is not known is left out."""
    emulator = case.record.emulator if case.record else {}
    found = [
        ("scenario", case.scenario), ("kernel", case.kernel), ("userland", case.userland),
        ("kernel.release", case.release), ("glibc", case.glibc), ("accelerator", case.accelerator),
        ("qemu", str(emulator.get("version") or "")), ("lab", case.lab), ("verdict", case.word),
        ("detail", case.detail), ("remark", case.remark), ("directory", str(case.directory or "")),
    ]  # fmt: skip
    return [(name, clean(value, 4096)) for name, value in found if value]
