"""Results as workflow commands of GitHub Actions: an annotation for each expectation that did not hold, at its line of
scenario.yaml. Pure.

What the runner makes of a line: actions/runner, src/Runner.Common/ActionCommand.cs. It shows ten errors of a step, so
one annotation names all cases in which the same expectation failed, and there are never more than ten.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from orchestrator.model import Finding, Outcome
from orchestrator.report import finding_text
from orchestrator.report.results import CaseResult, Results
from orchestrator.report.results.places import Place, key_of
from orchestrator.report.text import clean, plural

MAX_ANNOTATIONS = 10
MAX_CASES = 12  # that one annotation names
MAX_LINES = 24  # of one annotation
MAX_TEXT = 4000  # characters of it


@dataclass
class _Annotation:
    """One thing that is wrong, and all cases in which it is."""

    title: str
    place: Place | None
    lines: Sequence[str]  # of the first case
    cases: list[str] = field(default_factory=list)


def render(results: Results, places: Mapping[tuple[str, str, str, str], Place]) -> str:
    """The commands, a line each; "" where nothing is wrong. ``places``: where expectations stand, by ``key_of``."""
    found: dict[tuple[str, ...], _Annotation] = {}
    for case in results.cases:
        for key, made in _of_case(case, places):
            found.setdefault(key, made).cases.append(case.name)
    every = list(found.values())
    kept = every if len(every) <= MAX_ANNOTATIONS else every[: MAX_ANNOTATIONS - 1]
    lines = [_command(one.title, one.place, [_named(one.cases), *one.lines]) for one in kept]
    if not results.cases:
        lines.append(_command("lab: nothing ran", None, [results.title or "no case"]))
    if len(every) > len(kept):
        left = plural(len(every) - len(kept), "more problem")
        lines.append(_command(f"lab: {left}", None, [results.counted, "the summary and the JUnit file have all"]))
    return "".join(f"{line}\n" for line in lines)


def _of_case(case: CaseResult, places: Mapping[tuple[str, str, str, str], Place]) -> \
        Iterator[tuple[tuple[str, ...], _Annotation]]:
    """What is wrong with a case: that it has no result, else what could not be evaluated; and what failed."""
    tests = finding_text.tests(case)
    lost = any(finding is None for _, finding in tests)
    if lost:
        kind = finding_text.kind(case)
        yield (case.scenario, "", kind), _Annotation(f"{case.scenario}: {case.word}", places.get(key_of(case, None)),
                                                     [finding_text.reason(case)])  # fmt: skip
    for finding in (finding for _, finding in tests if finding is not None):
        if finding.outcome is Outcome.FAIL or (finding.outcome is Outcome.ERROR and not lost):
            yield (case.scenario, finding.id, finding.outcome), _of_finding(case, finding, places)


def _of_finding(case: CaseResult, finding: Finding, places: Mapping[tuple[str, str, str, str], Place]) -> _Annotation:
    what = "does not hold" if finding.outcome is Outcome.FAIL else "could not be evaluated"
    at = f" at {finding.at}" if finding.at else ""
    place = places.get(key_of(case, finding)) or places.get(key_of(case, None))
    return _Annotation(f"{case.scenario}: {finding.id}{at} {what}", place, finding_text.lines(finding))


def _named(cases: Sequence[str]) -> str:
    more = f" and {len(cases) - MAX_CASES} more" if len(cases) > MAX_CASES else ""
    return ", ".join(clean(name, 200) for name in cases[:MAX_CASES]) + more


def _command(title: str, place: Place | None, lines: Sequence[str]) -> str:
    """ "::error file=F,line=L,title=T::M", escaped as the runner reads it."""
    properties = {"file": place.file, "line": str(place.line)} if place else {}
    properties["title"] = clean(title, 200)
    text = "\n".join(lines[:MAX_LINES])[:MAX_TEXT]
    return f"::error {','.join(f'{name}={_property(value)}' for name, value in properties.items())}::{_data(text)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
