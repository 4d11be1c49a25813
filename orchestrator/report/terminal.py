"""The report of one run for a terminal: what ran where, its story, its findings, the verdict. Pure.

Whatever came from a guest or a file passes ``clean``; the last lines always say how it went. No line is wider than
asked for, but for the path of a run directory that is longer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator.costs import NOT_MODELLED, costs, count
from orchestrator.model import OWN_CHECK, Ending, Evidence, Finding, Operand, Outcome
from orchestrator.names import signal_name
from orchestrator.report import terminal_map, terminal_story
from orchestrator.report.results import settings_words
from orchestrator.report.story import Moment, moments, tail
from orchestrator.report.text import PAGE, Paint, clean, columns, cut, flow, pad, plural, seconds, wrap
from orchestrator.rundir import RunDirectory, RunRecord, threads_words

MAX_CONSOLE = 15  # last lines of console.log, after a run that ended early
MAX_OUTPUT = 40  # last lines of a plain program's output
SHORT = 16  # digits of a digest
MAX_EVIDENCE = 5  # lines of evidence for one operand
_LABEL = 9
_HOW = {"saved": "state", "restored": "warm"}  # else "boot"
_SAVED = " of the boot that was saved"
_COLOURS = {Outcome.PASS: "green", Outcome.FAIL: "red", Outcome.SKIP: "yellow", Outcome.ERROR: "magenta"}
_ORDER = (Outcome.PASS, Outcome.SKIP, Outcome.ERROR, Outcome.FAIL)  # what needs eyes last, by the verdict


def render(record: RunRecord, directory: Path, *, width: int = 80, colour: bool = False, verbose: bool = False,
           signs: terminal_map.Signs | None = None) -> str:
    """The report as text with a final newline; with ``signs`` also a picture of the last address space."""
    paint = Paint(colour)
    found = list(moments(record, directory))
    sections = [
        _headline(record, width, paint, verbose),
        _story(record, found, width, paint, verbose),
        _costs(record, found, width),
        terminal_map.lines(found, width, paint, signs) if signs else [],
        _output(record, directory, width, paint, verbose),
        _findings(record, width, paint, verbose),
        _lab(record, width, verbose),
        _console(record, directory, width, paint),
        _verdict(record, directory, width, paint),
    ]
    return "\n\n".join("\n".join(lines) for lines in sections if lines) + "\n"


def _early(record: RunRecord) -> bool:
    return record.ending is not Ending.COMPLETED


def _word(record: RunRecord) -> str:
    """The verdict in one word: how it ended, if it ended early; else the outcome."""
    if _early(record):
        return record.ending.value.replace("-", " ").upper()
    if record.case.get("plain") and record.outcome is Outcome.PASS:
        return "DONE"
    return record.outcome.value


# ---- what ran where


def _headline(record: RunRecord, width: int, paint: Paint, verbose: bool) -> list[str]:
    result = []
    if _early(record):
        text = f"{_word(record)} after {seconds(record.seconds)}"
        detail = f": {clean(record.ending_detail)}" if record.ending_detail else ""
        result += [paint(line, "red", "bold") for line in wrap(text + detail, width, then="  ")]
    result += [paint(line, "bold") for line in wrap(_subject(record), width, then="  ")]
    if record.case.get("summary"):
        result += _bounded(_text(record.case, "summary"), width, 1, verbose)
    settings = settings_words(record)
    result += _bounded(_emulator(record.emulator), width, 2, verbose)
    result += _bounded(_restored(record.restored, verbose), width, 1, verbose)
    result += _bounded(_deterministic(record.deterministic, verbose), width, 1, verbose)
    if settings:
        result += _bounded(clean(f"set {settings}", 4000), width, 1, verbose)
    return result


def _bounded(text: str, width: int, lines: int, verbose: bool) -> list[str]:
    """Wrapped below the headline; beyond ``lines`` cut, unless verbose."""
    found = wrap(text, width, "  ") if text else []
    if len(found) <= lines or verbose:
        return found
    return [*found[: lines - 1], cut("  " + " ".join(line.strip() for line in found[lines - 1 :]), width)]


def _text(mapping: Mapping[str, Any], key: str) -> str:
    value = mapping.get(key, "")
    return clean(str(value)) if value is not None else ""


def _subject(record: RunRecord) -> str:
    """ "brk on Linux 6.1.0-50-cloud-amd64 with glibc 2.36", as measured; else as asked for."""
    release, glibc = _text(record.environment, "release"), _text(record.environment, "glibc")
    kernel = f"Linux {release}" if release else f"kernel {_text(record.case, 'kernel') or '?'} (not measured)"
    libc = f"glibc {glibc}" if glibc else f"userland {_text(record.case, 'userland') or '?'}"
    return f"{_text(record.case, 'scenario') or '?'} on {kernel} with {libc}"


def _emulator(emulator: Mapping[str, Any]) -> str:
    if not emulator:
        return ""
    accelerator, reason = _text(emulator, "accelerator").upper(), _text(emulator, "reason")
    return (
        f"QEMU {_text(emulator, 'version')}"
        + (f" with {accelerator}" if accelerator else "")
        + (f": {reason}" if reason else "")
    )


def _restored(restored: Mapping[str, Any], verbose: bool) -> str:
    if not restored:
        return ""
    same = f"; all guests from it have in common: {_text(restored, 'same')}" if verbose else ""
    return f"restored from a state made {_text(restored, 'made')}{same}"


def _deterministic(told: Mapping[str, Any], verbose: bool) -> str:
    if not told:
        return ""
    if not told.get("raw"):
        return "deterministic, as far as it came"
    return f"deterministic: raw evidence {_text(told, 'raw')[: None if verbose else 16]}{threads_words(told)}"


# ---- the story


def _story(record: RunRecord, found: Sequence[Moment], width: int, paint: Paint, verbose: bool) -> list[str]:
    page = record.environment.get("page_size")
    page = page if isinstance(page, int) and page > 0 else PAGE
    end = _program_end(record)
    story = terminal_story.lines(found, page, end, width, paint, verbose)
    if end and not any(moment.checkpoint.kind == "exit" for moment in found):
        story += wrap(end, width)
    return story


def _costs(record: RunRecord, found: Sequence[Moment], width: int) -> list[str]:
    """The windows whose instructions were counted, in two columns where they fit."""
    counted = costs(record, ((one.checkpoint, [(line, *note) for line, note in enumerate(one.notes, 1)])
                             for one in found))  # fmt: skip
    if not counted:
        return []
    names = [cut(clean(one.name, 64), 40) for one in counted]
    numbers = [count(one.instructions) for one in counted]
    wide, broad = max(map(columns, names)), max(map(len, numbers))
    cells = [f"  {pad(name, wide)}  {number:>{broad}}" for name, number in zip(names, numbers, strict=True)]
    side_by_side = max(1, min(2, width // (wide + broad + 4)))
    rows = -(-len(cells) // side_by_side)
    lines = ["".join(cells[row::rows]) for row in range(rows)]
    return ["cost in instructions", *lines, *wrap(NOT_MODELLED, width, "  ", then="  ")]


def _program_end(record: RunRecord) -> str:
    ended = record.ended
    if ended is None:
        return ""
    if ended.signal is not None:
        text = f"the program was killed by {signal_name(ended.signal)}"
    else:
        text = f"the program ended with exit status {ended.code}"
    return text + (f", by the lab: {clean(ended.killed_by_lab)}" if ended.killed_by_lab else "")


def _ended_badly(record: RunRecord) -> bool:
    return record.ended is not None and record.ended.code != 0


def _output(record: RunRecord, directory: Path, width: int, paint: Paint, verbose: bool) -> list[str]:
    """What the program wrote: always for a plain program, else where it ended badly."""
    if not (record.case.get("plain") or verbose or _ended_badly(record)):
        return []
    return _file_tail(directory, "evidence/output", MAX_OUTPUT, "the program's output", width, paint)


def _file_tail(directory: Path, name: str, count: int, title: str, width: int, paint: Paint) -> list[str]:
    try:
        found, more = tail(RunDirectory(directory), name, count)
    except OSError as error:
        return [f"{title}: {name} can't be read: {error.strerror}"]
    if not found:
        return []
    head = f"{title}, the last {plural(len(found), 'line')} of {name}:" if more else f"{title}:"
    body = [line for text in found for line in _quoted(clean(text), width)]
    return [head, *(paint(line, "dim") for line in body)]


def _quoted(text: str, width: int) -> list[str]:
    """A line as it was said, with its own spacing; wrapped where it is too long."""
    return [f"  | {text}"] if columns(text) + 4 <= width else flow(text.split(" "), width, "  | ", "  |   ", " ")


# ---- findings


def _findings(record: RunRecord, width: int, paint: Paint, verbose: bool) -> list[str]:
    findings = record.findings
    if record.case.get("plain"):  # its only finding is how it ended, which the story and the verdict say
        findings = [f for f in findings if f.outcome is not Outcome.PASS or f.id == OWN_CHECK]
    unseen: list[str] = []
    if _early(record) and not verbose:  # one line instead of a page that says "not reached" of each
        unseen = [f.id for f in findings if f.outcome is Outcome.ERROR]
        findings = [f for f in findings if f.outcome is not Outcome.ERROR]
    ordered = [f for outcome in _ORDER for f in findings if f.outcome is outcome]
    lines = [line for finding in ordered for line in _finding(finding, width, paint, verbose)]
    if unseen:
        lines += wrap(clean(f"{len(unseen)} not evaluated: {', '.join(unseen)}", 4000), width, "ERROR ")
    return lines


def _finding(finding: Finding, width: int, paint: Paint, verbose: bool) -> list[str]:
    result = _title(finding, width, paint)
    if finding.message:
        result += wrap(clean(finding.message), width, " " * 6)
    if verbose or finding.outcome in (Outcome.FAIL, Outcome.ERROR):
        result += _labelled("when", finding.when, width)
        result += _labelled("check", finding.check, width)
        for operand in finding.operands:
            result += _operand(operand, width, paint, verbose)
    result += _labelled("because", finding.because, width)
    if verbose or finding.outcome is not Outcome.PASS:
        result += [paint(line, "dim") for line in _labelled("source", finding.source, width)]
    return result


def _title(finding: Finding, width: int, paint: Paint) -> list[str]:
    """ "FAIL  grow-rss (brk.grow) at grown"."""
    claim = [f"({clean(finding.claim, 64)})"] if finding.claim else []
    where = ["at", clean(finding.at, 64)] if finding.at else []
    name = clean(finding.id, 80)
    first, *rest = wrap(" ".join([name, *claim, *where]), width, f"{finding.outcome:<5} ")
    word = paint(f"{finding.outcome:<5}", _COLOURS[finding.outcome], "bold")
    if first[6:].startswith(name):  # else it is a long one and goes on below
        first = f"{first[:6]}{paint(name, 'bold')}{first[6 + len(name) :]}"
    return [word + first[5:], *rest]


def _labelled(label: str, text: str, width: int) -> list[str]:
    return wrap(clean(text, 2000), width, f"      {label:<{_LABEL}}") if text.strip() else []


def _operand(operand: Operand, width: int, paint: Paint, verbose: bool) -> list[str]:
    """ "text = value", and below it each line of evidence as file:line: text."""
    indent = " " * (6 + _LABEL)
    result = wrap(f"{clean(operand.text)} = {clean(operand.value)}", width, indent, indent + "  ")
    if operand.remark:
        result += wrap(f"({clean(operand.remark, 1000)})", width, indent + "  ", indent + "  ")
    shown = operand.evidence if verbose else operand.evidence[:MAX_EVIDENCE]
    for evidence in shown:
        result += [paint(line, "cyan") for line in _evidence(evidence, width, indent + "  ")]
    if len(shown) < len(operand.evidence):
        result.append(f"{indent}  ... {plural(len(operand.evidence) - len(shown), 'more line')} (--verbose)")
    return result


def _evidence(evidence: Evidence, width: int, indent: str) -> list[str]:
    place = clean(evidence.file) + (f":{evidence.line}" if evidence.line else "")
    text = clean(evidence.text)
    return wrap(f"{place}: {text}" if text.strip() else place, width, indent, indent + "  ")


# ---- what the lab and the kernel had to say


def _lab(record: RunRecord, width: int, verbose: bool) -> list[str]:
    """Retries, console events and messages: nothing that the lab worked around stays hidden."""
    rows = []
    if verbose or len(record.boots) > 1 or any(boot.outcome != "ready" for boot in record.boots):
        rows += [
            (f"{_HOW.get(boot.how, 'boot')} {boot.attempt}", f"{boot.outcome} after {seconds(boot.seconds)}",
             boot.detail)
            for boot in record.boots
        ]  # fmt: skip
    rows += [("console", f"{event.kind} at {seconds(event.seconds)}{_SAVED * event.saved}", event.line)
             for event in record.console]  # fmt: skip
    rows += [("note", message, "") for message in record.messages]
    rows += _digest(record, verbose)
    if verbose:
        rows += _verbose_rows(record)
    return [
        line
        for label, text, detail in rows
        for line in wrap(clean(text, 2000) + (f": {clean(detail)}" if detail else ""), width, f"{label:<{_LABEL}}")
    ]


def _digest(record: RunRecord, verbose: bool) -> list[tuple[str, str, str]]:
    """The digest: enough of it to compare two by eye; verbose the whole, and what is left out of it."""
    found = record.digest
    if found is None:
        return []
    if not verbose:
        return [("digest", f"{found.sha256[:SHORT]} of {plural(len(found.parts), 'part')}", "")]
    whole = f"{found.sha256}, scheme {found.scheme}, {plural(len(found.parts), 'part')}"
    return [("digest", whole, ""), ("", f"without {'; '.join(found.left_out)}", "")]


def _verbose_rows(record: RunRecord) -> list[tuple[str, str, str]]:
    command = record.emulator.get("command") or ()
    timings = ", ".join(f"{name} {seconds(value)}" for name, value in record.timings.items())
    rows = [
        ("qemu", " ".join(map(str, command)) if isinstance(command, (list, tuple)) else str(command), ""),
        ("times", timings, ""),
    ]
    return [row for row in rows if row[1]]


def _console(record: RunRecord, directory: Path, width: int, paint: Paint) -> list[str]:
    if not _early(record):
        return []
    return _file_tail(directory, "console.log", MAX_CONSOLE, "the serial console", width, paint)


# ---- the verdict


def _verdict(record: RunRecord, directory: Path, width: int, paint: Paint) -> list[str]:
    """The word, the counts, the time, and the run directory, which is never broken: it is to be copied. One line, if
    that has room."""
    parts = _plain_counts(record) if record.case.get("plain") else _counts(record.findings) or ["nothing evaluated"]
    parts.append(seconds(record.seconds))
    if record.exit_code:
        parts.append(f"exit {record.exit_code}")
    word = _word(record)
    colour = (
        "red" if _early(record) else "yellow" if word == "DONE" and _ended_badly(record) else _COLOURS[record.outcome]
    )
    first, *rest = flow([*parts, clean(str(directory), 4096)], width, f"{word}  ", "  ", gap=", ", whole=True)
    return [paint(word, colour, "bold") + first[len(word) :], *rest]


def _plain_counts(record: RunRecord) -> list[str]:
    """Nothing is expected of a plain program: how it ended is the result."""
    ended = record.ended
    how = []
    if ended:
        how.append(
            f"killed by {signal_name(ended.signal)}" if ended.signal is not None else f"exit status {ended.code}"
        )
    return [*how, plural(sum(c.kind != "exit" for c in record.checkpoints), "checkpoint")]


def _counts(findings: Iterable[Finding]) -> list[str]:
    words = {Outcome.PASS: "passed", Outcome.FAIL: "failed", Outcome.SKIP: "skipped", Outcome.ERROR: "in error"}
    outcomes = [finding.outcome for finding in findings]
    return [f"{outcomes.count(outcome)} {word}" for outcome, word in words.items() if outcome in outcomes]
