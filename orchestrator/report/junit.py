"""Results as JUnit XML: a testsuite for each case, a testcase for each expectation. Pure.

Valid by the schema of Jenkins' xUnit plugin (junit-10.xsd) and by that of Apache Ant (JUnit.xsd), whose demands go
together: no attributes on ``testsuites``, ``package`` and ``id`` on each suite, times without a zone, output on the
suite and never on a test. A guest that was lost, a time limit and the like are an ``error`` of a test of their own,
whose ``type`` says which. The schemas: jenkinsci/xunit-plugin, windyroad/JUnit-Schema.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree import ElementTree

from orchestrator.model import Finding, Outcome
from orchestrator.report import finding_text
from orchestrator.report.results import CaseResult, Results, unique
from orchestrator.report.text import clean

_NEVER = "1970-01-01T00:00:00"  # the schema wants a time; of a case that never began there is none
_TAGS = {Outcome.FAIL: "failure", Outcome.ERROR: "error"}
Test = tuple[str, Finding | None]


def render(results: Results) -> str:
    """The document, with a declaration and a final newline. Without a case: a suite with one error."""
    root = ElementTree.Element("testsuites")
    if not results.cases:
        _nothing(root, results)
    names = unique(_class_name(case) for case in results.cases)
    for number, (case, name) in enumerate(zip(results.cases, names, strict=True)):
        _suite(root, case, name, number)
    ElementTree.indent(root, " ")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ElementTree.tostring(root, encoding="unicode")}\n'


def _class_name(case: CaseResult) -> str:
    """ "brk.6_12 trixie": one dot, for consumers make a tree of packages by it."""
    stem = f"{case.scenario} on {case.kernel} with {case.userland}"
    more = case.name.removeprefix(stem) if case.name.startswith(stem) else ""
    return f"{_token(case.scenario)}.{_token(f'{case.kernel} {case.userland}{more}')}"


def _token(text: str) -> str:
    return " ".join(clean(text, 300).replace(".", "_").split()) or "?"


def _suite(root: ElementTree.Element, case: CaseResult, class_name: str, number: int) -> None:
    tests = finding_text.tests(case)
    suite = ElementTree.SubElement(root, "testsuite", {
        "name": _spaced(case.name), "package": _token(case.scenario), "id": str(number), "hostname": "localhost",
        "timestamp": _time(case.started), "time": f"{case.seconds:.3f}", **_counts(tests),
    })  # fmt: skip
    properties = ElementTree.SubElement(suite, "properties")
    for name, value in finding_text.properties(case):
        ElementTree.SubElement(properties, "property", {"name": name, "value": value})
    for name, finding in tests:
        test = ElementTree.SubElement(suite, "testcase", {"classname": class_name, "name": _spaced(name), "time": "0"})
        if finding is None:
            _problem(test, "error", finding_text.kind(case), finding_text.reason(case), [])
        elif finding.outcome is not Outcome.PASS:
            _finding(test, finding)
    ElementTree.SubElement(suite, "system-out").text = _output(case)
    ElementTree.SubElement(suite, "system-err")


def _counts(tests: Sequence[Test]) -> dict[str, str]:
    outcomes = [Outcome.ERROR if finding is None else finding.outcome for _, finding in tests]
    names = {"failures": Outcome.FAIL, "errors": Outcome.ERROR, "skipped": Outcome.SKIP}
    return {"tests": str(len(tests)), **{name: str(outcomes.count(outcome)) for name, outcome in names.items()}}


def _finding(test: ElementTree.Element, finding: Finding) -> None:
    message = clean(finding.message, 2000) or ("does not hold" if finding.outcome is Outcome.FAIL else "no reason")
    if finding.outcome is Outcome.SKIP:  # Ant's schema knows no type of it
        ElementTree.SubElement(test, "skipped", {"message": message})
    else:
        _problem(test, _TAGS[finding.outcome], finding.outcome.value.lower(), message, finding_text.lines(finding))


def _problem(test: ElementTree.Element, tag: str, kind: str, message: str, body: Sequence[str]) -> None:
    element = ElementTree.SubElement(test, tag, {"type": kind, "message": message})
    element.text = "\n".join(body) or None


def _output(case: CaseResult) -> str:
    """Where the evidence is, which a reader of a test's failure needs next."""
    files = "evidence/, console.log, kernel.log and run.json are there\n" if case.record else ""
    return f"{finding_text.reason(case)}\n{finding_text.place_of(case)}\n{files}"


def _time(started: str) -> str:
    found = re.match(r"\d{4}-[01]\d-[0-3]\dT[0-2]\d:[0-5]\d:[0-5]\d", started)
    return found[0] if found else _NEVER


def _spaced(text: str) -> str:
    return " ".join(clean(text, 300).split()) or "?"


def _nothing(root: ElementTree.Element, results: Results) -> None:
    suite = ElementTree.SubElement(root, "testsuite", {
        "name": _spaced(results.title), "package": "lab", "id": "0", "hostname": "localhost", "timestamp": _NEVER,
        "time": "0", "tests": "1", "failures": "0", "errors": "1", "skipped": "0",
    })  # fmt: skip
    ElementTree.SubElement(suite, "properties")
    test = ElementTree.SubElement(suite, "testcase", {"classname": "lab", "name": finding_text.RUN, "time": "0"})
    _problem(test, "error", "not-run", "nothing ran", [])
    ElementTree.SubElement(suite, "system-out").text = clean(str(results.place), 4096)
    ElementTree.SubElement(suite, "system-err")
