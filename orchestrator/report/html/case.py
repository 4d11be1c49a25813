"""What the page says of one case in words: how it went, on what it ran, its findings in the order of need, its record.

Whatever stands in a record may be of any type, as a damaged or hostile run.json is; what is not what it should be is
left away or shown as text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator import resources
from orchestrator.claims import catalogue
from orchestrator.errors import LabError
from orchestrator.model import Ending, Finding, Outcome
from orchestrator.names import signal_name
from orchestrator.report.results import CaseResult, Verdict, settings_words
from orchestrator.report.story import tail
from orchestrator.report.text import plural, seconds
from orchestrator.rundir import RunDirectory, RunRecord, safe, threads_words

MAX_TAIL = 30  # last lines of the console, or of the program's output
MAX_ROWS = 200  # of one table of the record

ORDER = (Outcome.FAIL, Outcome.ERROR, Outcome.SKIP, Outcome.PASS)

ENDINGS = {  # what a run that did not come to its end is called, so that nobody takes it for a result
    Ending.UNFINISHED: "The record stops in the middle: the lab was ended from outside, or is still at work",
    Ending.PANIC: "The guest's kernel panicked",
    Ending.OOPS: "The guest's kernel had an oops",
    Ending.BUG: "The guest's kernel hit a BUG",
    Ending.WARNING: "The guest's kernel gave a warning",
    Ending.LOCKUP: "The guest locked up",
    Ending.HUNG_TASK: "A task of the guest hung",
    Ending.RCU_STALL: "RCU stalled in the guest",
    Ending.LOST_GUEST: "The guest was lost: QEMU ended, or it no longer answered",
    Ending.TIMEOUT: "A time limit ended the run",
    Ending.INTERRUPTED: "The run was interrupted",
    Ending.HOST_ERROR: "The lab or the host failed",
}


@dataclass(frozen=True)
class Mark:
    """A verdict or outcome as a person sees it: a class for the colour, a sign, the word."""

    style: str
    sign: str
    word: str


_MARKS = {"PASS": ("is-pass", "✓"), "FAIL": ("is-fail", "✗"), "SKIP": ("is-none", "–"), "ERROR": ("is-warn", "!"),
          "LOST": ("is-fail", "✖"), "TIMEOUT": ("is-fail", "◔"), "INTERRUPTED": ("is-warn", "■"),
          "NOT RUN": ("is-none", "○")}  # fmt: skip


def mark(verdict: Verdict | Outcome, word: str = "") -> Mark:
    """How a verdict or an outcome is shown; ``word`` says it more exactly ("PANIC")."""
    return Mark(*_MARKS[verdict.value], word or verdict.value)


@dataclass(frozen=True)
class Alarm:
    """How a run ended that did not come to its end."""

    title: str
    detail: str
    console: tuple[str, ...]  # the last lines of the serial console


def alarm(case: CaseResult) -> Alarm | None:
    """None where the program came to its own end."""
    if case.verdict is Verdict.NOT_RUN:
        return Alarm("This case was planned and never started", "", ())
    if case.record is None and case.ending is None:
        return Alarm("There is no run that can be read", case.detail, ())
    if case.ending in (None, Ending.COMPLETED):
        return None
    return Alarm(ENDINGS[case.ending], case.detail, _tail(case.directory, "console.log"))


def _tail(directory: Path | None, file: str) -> tuple[str, ...]:
    if directory is None:
        return ()
    try:
        return tuple(tail(RunDirectory(directory), file, MAX_TAIL)[0])
    except OSError as error:
        return (f"{file} can't be read: {error.strerror}",)


def ordered(findings: Iterable[Finding]) -> list[Finding]:
    """What needs eyes first; within an outcome as the scenario has them."""
    return sorted(findings, key=lambda finding: ORDER.index(finding.outcome))


@dataclass(frozen=True)
class Fact:
    """A line of the summary."""

    name: str
    text: str
    more: str = ""  # in smaller print


def subject(case: CaseResult) -> str:
    """ "brk on Linux 6.12.107+deb13-cloud-amd64 with glibc 2.41", as measured; else as chosen, which is said."""
    kernel = f"Linux {case.release}" if case.release else f"kernel {case.kernel} (not measured)"
    libc = f"glibc {case.glibc}" if case.glibc else f"userland {case.userland} (not measured)"
    return f"{case.scenario} on {kernel} with {libc}"


def facts(case: CaseResult) -> list[Fact]:
    """What was asked, on what it ran, how it ended."""
    record = case.record
    if record is None:
        return [Fact("Asked for", case.name)]
    found = [
        Fact("Kernel", f"Linux {case.release or '? (not measured)'}", _because(_chosen(record, "kernel"),
             measured_text(record, "version"))),
        Fact("C library", f"glibc {case.glibc or '? (not measured)'}", _chosen(record, "userland")),
        Fact("Machine", _machine(record.emulator), str(record.emulator.get("reason") or "")),
        Fact("Guest", *_guest(record)),
        Fact("Settings", settings_words(record) or "none"),
        Fact("Program", program_end(record)),
        Fact("Run", f"{started(record)}, {seconds(case.seconds)}", f"qemu-lab {record.lab}, {case.directory}"),
    ]  # fmt: skip
    return [fact for fact in found if fact.text]


def _because(*texts: str) -> str:
    return "; ".join(text for text in texts if text)


def measured_text(record: RunRecord, key: str) -> str:
    """A text that was read in the guest; "" where there is none."""
    value = record.environment.get(key)
    return value if isinstance(value, str) else ""


def started(record: RunRecord) -> str:
    """ "2026-11-28 04:13:49 UTC"."""
    return record.started[:19].replace("T", " ") + " UTC" if len(record.started) >= 19 else "at an unknown time"


def pieces(record: RunRecord) -> list[Mapping[str, Any]]:
    """The pieces that the guest was made of."""
    found: list[Mapping[str, Any]] = [piece for piece in record.pieces if isinstance(piece, Mapping)]
    return found[:MAX_ROWS]


def _chosen(record: RunRecord, kind: str) -> str:
    """ "chosen as trixie: libc6=2.41-12+deb13u4 …", from the piece of that kind."""
    asked = f"chosen as {record.case.get(kind)}"
    for piece in pieces(record):
        if piece.get("kind") == kind and piece.get("version"):
            return f"{asked}, {_package(piece, kind)}"
    return asked


def _package(piece: Mapping[str, Any], kind: str) -> str:
    wanted = "linux-image-" if kind == "kernel" else "libc6="
    packages = piece.get("packages")
    for name in packages if isinstance(packages, list) else ():
        if str(name).startswith(wanted):
            return f"package {str(name).replace('=', ' ', 1)}"
    return f"version {piece.get('version')}"


def _machine(emulator: Mapping[str, Any]) -> str:
    if not emulator:
        return ""
    accelerator = str(emulator.get("accelerator") or "?").upper()
    return f"QEMU {emulator.get('version')} with {accelerator}"


def _guest(record: RunRecord) -> tuple[str, str]:
    """How the guest came to be: booted for this, or gone on from a saved state, and what that means."""
    if record.deterministic:
        raw = record.deterministic.get("raw")
        detail = f"raw evidence {raw}{threads_words(record.deterministic)}" if raw else "as far as it came"
        return "booted, deterministic", detail
    if not record.restored:
        return ("booted" if any(boot.outcome == "ready" for boot in record.boots) else ""), ""
    same = record.restored.get("same")
    more = f"all guests from it have in common: {same}" if same else ""
    return f"restored from a state made {record.restored.get('made')}", more


def program_end(record: RunRecord) -> str:
    """How the program ended, in words; "" if it did not."""
    if record.ended is None:
        return ""
    how = (f"killed by {signal_name(record.ended.signal)}" if record.ended.signal is not None
           else f"exit status {record.ended.code}")  # fmt: skip
    by = f", by the lab: {record.ended.killed_by_lab}" if record.ended.killed_by_lab else ""
    return f"{how}{by}, {plural(sum(c.kind != 'exit' for c in record.checkpoints), 'checkpoint')}"


@dataclass(frozen=True)
class ClaimRow:
    """What the findings say of one claim together."""

    claim: str
    mark: Mark
    says: str  # "confirmed", "refuted, confirmed"
    statement: str  # as the lab's catalogue has it; "" where it has none


def statements(scenarios: Iterable[str]) -> dict[str, str]:
    """What the claims of these scenarios say, by the lab's own catalogue; one that can't be read says nothing."""
    shelf = resources.data("scenarios")
    folders = [shelf, *(shelf / name for name in dict.fromkeys(scenarios) if safe(name))]
    try:
        return {name: claim.statement for name, claim in catalogue(folders).items()}
    except (LabError, OSError):
        return {}


def claim_rows(findings: Iterable[Finding], known: Mapping[str, str]) -> list[ClaimRow]:
    """One row for each claim, with its worst outcome; the worst first, else in the scenario's order. ``known``: their
    statements."""
    by_claim: dict[str, list[Finding]] = {}
    for finding in findings:
        by_claim.setdefault(finding.claim or "(no claim)", []).append(finding)
    worst = {claim: ordered(found)[0].outcome for claim, found in by_claim.items()}
    return [ClaimRow(claim, mark(worst[claim]), _says(by_claim[claim]), known.get(claim, ""))
            for claim in sorted(by_claim, key=lambda claim: ORDER.index(worst[claim]))]  # fmt: skip


def _says(findings: list[Finding]) -> str:
    return ", ".join(dict.fromkeys(f.verdict.value for f in findings if f.outcome is Outcome.PASS))


@dataclass(frozen=True)
class Paper:
    """The record behind a case: what it was made of, and what the lab had to say."""

    pieces: tuple[tuple[str, str, str, str, str], ...]  # kind, name, version, packages, key or drift
    command: str  # QEMU's
    compiler: str
    timings: tuple[tuple[str, str], ...]
    boots: tuple[tuple[str, str, str], ...]  # "attempt 1, booted", outcome, detail
    console: tuple[tuple[str, str, str], ...]  # kind, when, line
    host: str
    output: tuple[str, ...]  # the program's last lines
    plain: bool  # a C file without expectations: what it wrote is the result


def paper(record: RunRecord, directory: Path | None) -> Paper:
    """The record of a run for its section."""
    command = record.emulator.get("command") or ""
    program = record.program.get("command") or ""
    return Paper(
        tuple(_piece(piece) for piece in pieces(record)),
        " ".join(map(str, command)) if isinstance(command, list) else str(command),
        _because(str(record.program.get("compiler") or ""),
                 " ".join(map(str, program)) if isinstance(program, list) else str(program)),
        tuple((name, seconds(value)) for name, value in record.timings.items() if isinstance(value, int | float)),
        tuple((f"attempt {boot.attempt}, {boot.how}", f"{boot.outcome} after {seconds(boot.seconds)}", boot.detail)
              for boot in record.boots[:MAX_ROWS]),
        tuple((event.kind, f"at {seconds(event.seconds)}" + " of the boot that was saved" * event.saved, event.line)
              for event in record.console[:MAX_ROWS]),
        ", ".join(f"{name} {value}" for name, value in record.host.items()),
        _tail(directory, "evidence/output"), record.case.get("plain") is True,
    )  # fmt: skip


def _piece(piece: Mapping[str, Any]) -> tuple[str, str, str, str, str]:
    packages = piece.get("packages")
    names = ", ".join(map(str, packages)) if isinstance(packages, list) else ""
    drift = f"not as locked: {piece['drift']}" if piece.get("drift") else str(piece.get("key") or "")[:12]
    return str(piece.get("kind")), str(piece.get("name")), str(piece.get("version")), names, drift
