"""Results as KTAP, version 1: a test for each case, in it one for each expectation. Pure.

Grammar and directives: Documentation/dev-tools/ktap.rst. What was skipped is ``# SKIP reason``, a time limit
``# TIMEOUT``; whatever else is why there is no result ``# ERROR``, with its word. What a guest said can neither end the
document (kunit_parser.py stops at a panic of the VFS and the like), nor be taken for a plan or a result.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from orchestrator.model import Finding, Outcome
from orchestrator.report import finding_text
from orchestrator.report.results import CaseResult, Results, Verdict, unique
from orchestrator.report.text import clean

# Lines at which kunit_parser.py takes the log of a kernel to be over (KTAP_END), wherever they stand
_ENDS = re.compile(r"(List of all partitions|Kernel panic - not syncing: VFS|reboot): ?")
_INDENT = "    "


def render(results: Results) -> str:
    """The document, with a final newline. Without a case: one test that is an error."""
    lines = ["KTAP version 1", *_comments(f"lab {results.lab}: {results.title}", *results.notes)]
    names = unique(_name(case.name) for case in results.cases)
    lines.append(f"1..{max(len(names), 1)}")
    if not names:
        lines.append("not ok 1 run # ERROR NOT RUN: nothing ran")
    for number, (case, name) in enumerate(zip(results.cases, names, strict=True), 1):
        lines += (f"{_INDENT}{line}" for line in _subtest(case, name))
        lines.append(_case(case, name, number))
    return "\n".join(lines) + "\n"


def _case(case: CaseResult, name: str, number: int) -> str:
    good = case.verdict in (Verdict.PASS, Verdict.SKIP)
    return f"{'ok' if good else 'not ok'} {number} {name}{_directive(case)}"


def _directive(case: CaseResult) -> str:
    """ " # TIMEOUT …" of a case; nothing of one that passed or failed."""
    return "" if case.verdict in (Verdict.PASS, Verdict.FAIL) else _reason(case)


def _reason(case: CaseResult) -> str:
    """ " # ERROR PANIC: …"; ERROR is said once."""
    if case.verdict in (Verdict.SKIP, Verdict.TIMEOUT):
        return f" # {case.verdict} {_said(case.detail)}".rstrip()
    return f" # ERROR {_said(finding_text.reason(case).removeprefix('ERROR: '))}"


def _subtest(case: CaseResult, name: str) -> Iterator[str]:
    tests = finding_text.tests(case)
    yield "KTAP version 1"
    yield f"# Subtest: {name}"
    yield from _comments(*(f"{key}: {value}" for key, value in finding_text.properties(case)))
    yield f"1..{len(tests)}"
    labels = unique(_name(label).replace(" ", "-") for label, _ in tests)
    for number, (label, (_, finding)) in enumerate(zip(labels, tests, strict=True), 1):
        if finding is None:
            yield f"not ok {number} {label}{_reason(case)}"
        else:
            yield from _result(finding, label, number)


def _result(finding: Finding, label: str, number: int) -> Iterator[str]:
    """What is to be known of a test stands before its result."""
    if finding.outcome in (Outcome.FAIL, Outcome.ERROR):
        yield from _comments(*(f"{label}: {line}" for line in finding_text.lines(finding)))
    words = {Outcome.SKIP: "SKIP", Outcome.ERROR: "ERROR"}
    directive = f" # {words[finding.outcome]} {_said(finding.message)}".rstrip() if finding.outcome in words else ""
    good = finding.outcome in (Outcome.PASS, Outcome.SKIP)
    yield f"{'ok' if good else 'not ok'} {number} {label}{directive}"


def _name(text: str) -> str:
    """A name for a result line: no ``#``, which begins a directive, and nothing that reads as the dash before it."""
    return " ".join(clean(text, 200).replace("#", "no.").split()).lstrip("- ") or "unnamed"


def _said(text: str) -> str:
    """A text of any origin, on its line; it neither ends the document nor makes a SKIP of the failure it explains."""
    return _ENDS.sub(r"\1 : ", clean(" ".join(text.split()), 2000)).replace("#", "\\#")


def _comments(*texts: str) -> Iterator[str]:
    for text in texts:
        yield "# " + _ENDS.sub(r"\1 : ", clean(text, 4000)).rstrip()
