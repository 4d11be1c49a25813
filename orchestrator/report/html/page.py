"""The page of results: what was asked, on what it ran, whether it held; then pictures, findings, evidence, record.

Pure: it reads the run directories that the results name, and nothing else. The file stays below ``BUDGET``: of many
cases those that did not pass come first with their pictures, then as many others as there is room for. What is left
out is said, and how to get it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from markupsafe import Markup

from orchestrator.errors import LabError
from orchestrator.inspection.moment import Run
from orchestrator.model import Evidence, Finding, Outcome
from orchestrator.observed import ObservationError
from orchestrator.report.html import address_space, case, embed, shell, stack_growth
from orchestrator.report.html.excerpts import Excerpts, cited
from orchestrator.report.html.sources import linked
from orchestrator.report.results import CaseResult, Results, Verdict
from orchestrator.report.text import size
from orchestrator.rundir import RunDirectory

BUDGET = 2_500_000  # bytes of the whole file
MAX_BRIEF = 12  # findings that did not pass which a case without pictures shows in full
MAX_CITED = 1000  # lines of evidence that one picture may ask for
MAX_STEPS = 2000  # checkpoints
MAX_PAGE_CASES = 1000


@dataclass(frozen=True)
class Picture:
    """A picture of the page. ``data`` gives what its script draws, None where the run has nothing of it; the lines
    of evidence that it wants on the page stand in its key "evidence": [[file, line], …]."""

    name: str  # of the module, of assets/NAME.js and assets/NAME.css
    title: str
    caption: str
    data: Callable[[Run], dict[str, Any] | None]


PICTURES = (
    Picture("address_space", "Address space",
            "The process's mappings at each checkpoint, high addresses on top, and what became of them since the "
            "checkpoint before.", address_space.data),
    Picture("stack_growth", "Stack growth",
            "How far down the main stack reaches, where its limit and the guard gap end it, and what lies below.",
            stack_growth.data),
)  # fmt: skip


@dataclass(frozen=True)
class Drawn:
    """A picture with its data; ``trouble`` instead where it could not be made."""

    picture: Picture
    data: Markup | None = None
    wants: tuple[Evidence, ...] = ()
    trouble: str = ""


@dataclass(frozen=True)
class Section:
    """One case as its template takes it."""

    anchor: str
    result: CaseResult
    level: int  # of its heading: 1 alone on the page, 2 among others
    pictures: tuple[Drawn, ...]
    excerpts: Excerpts
    shown: tuple[Finding, ...]  # in full
    brief: tuple[Finding, ...]  # by name only
    whole: bool  # nothing is left out


def render(results: Results) -> str:
    """The page as one HTML file."""
    alone = len(results.cases) == 1 and not results.matrices
    cases = results.cases[:MAX_PAGE_CASES]
    sections = [_whole(cases[0], "c0", 1)] if alone else _fitted(cases)
    body = shell.render("results.html", results=results, alone=alone, parts=sections, table=_overview(cases),
                        verdicts=_verdicts(results), mark=case.mark)  # fmt: skip
    styles = [f"{picture.name}.css" for picture in PICTURES]
    scripts = [f"{picture.name}.js" for picture in PICTURES]
    return shell.document(f"{results.title}: qemu-lab", body, _contents(alone), styles, scripts)


def _contents(alone: bool) -> list[shell.Link]:
    if not alone:
        return [shell.Link("overview", "Overview"), shell.Link("cases", "Cases")]
    parts = ("Pictures", "Findings", "Evidence", "Record")
    return [shell.Link("c0", "Verdict"), *(shell.Link(f"c0-{part.lower()}", part) for part in parts)]


def _fitted(cases: Iterable[CaseResult]) -> list[Markup]:
    """Every case in brief, and in full while the file has room: first those which did not pass."""
    found = list(enumerate(cases))
    parts = [_html(_brief(one, f"c{index}")) for index, one in found]
    room = BUDGET - sum(map(len, parts))
    for index, one in sorted(found, key=lambda item: item[1].verdict is Verdict.PASS):
        whole = _whole(one, f"c{index}", 2)
        cost = len(whole) - len(parts[index])
        if cost > room:
            break
        parts[index], room = whole, room - cost
    return parts


def _whole(one: CaseResult, anchor: str, level: int) -> Markup:
    pictures = _pictures(one)
    findings = tuple(case.ordered(one.findings))
    wanted = [*cited(findings), *(line for drawn in pictures for line in drawn.wants)]
    return _html(Section(anchor, one, level, pictures, _excerpts(anchor, one, wanted), findings, (), True))


def _brief(one: CaseResult, anchor: str) -> Section:
    findings = case.ordered(one.findings)
    shown = tuple(finding for finding in findings if finding.outcome is not Outcome.PASS)[:MAX_BRIEF]
    rest = tuple(findings[len(shown) :])
    return Section(anchor, one, 2, (), _excerpts(anchor, one, cited(shown)), shown, rest, False)


def _excerpts(anchor: str, one: CaseResult, wanted: Iterable[Evidence]) -> Excerpts:
    return Excerpts(anchor, RunDirectory(one.directory) if one.directory else None, wanted)


def _pictures(one: CaseResult) -> tuple[Drawn, ...]:
    if one.record is None or one.directory is None:
        return ()
    run = Run(RunDirectory(one.directory), one.record)
    drawn, room = [], BUDGET
    for picture in PICTURES:
        found = _drawn(picture, run)
        if found is None:
            continue
        cost = len(found.data or "")
        if cost > room:
            found, cost = replace(found, data=None, wants=(), trouble=f"its data would take {size(cost)}"), 0
        room -= cost
        drawn.append(found)
    return tuple(drawn)


def _drawn(picture: Picture, run: Run) -> Drawn | None:
    """None where there is nothing to show. Damaged evidence costs its picture, not the page."""
    try:
        data = picture.data(run)
        if data is None:
            return None
        wants = tuple(Evidence(str(file), int(line)) for file, line in data.pop("evidence", ())[:MAX_CITED])
        return Drawn(picture, embed.data(data), wants)
    except (LabError, ObservationError) as error:
        return Drawn(picture, trouble=str(error))
    except (OSError, ValueError, TypeError, KeyError, IndexError, ArithmeticError, RecursionError) as error:
        return Drawn(picture, trouble=f"the evidence can't be read: {type(error).__name__}: {error}")


def _html(section: Section) -> Markup:
    result = section.result
    record = result.record
    return shell.render(
        "case.html", case=section, result=result, h=section.level, mark=case.mark,
        verdict=case.mark(result.verdict, result.word), alarm=case.alarm(result), subject=case.subject(result),
        summary=record.case.get("summary", "") if record else "", counts=case.counts(result.findings),
        facts=case.facts(result), claims=case.claim_rows(result.findings),
        paper=case.paper(record, result.directory) if record and section.whole else None,
        messages=record.messages if record else [], left_out=record.left_out if record else {},
        data=embed.data(_case_data(section)), linked=lambda text: linked(text, result.release, result.glibc),
    )  # fmt: skip


def _case_data(section: Section) -> dict[str, Any]:
    """What the scripts know of a case: its checkpoints, the one to begin with, the evidence that is there."""
    record = section.result.record
    checkpoints = record.checkpoints[:MAX_STEPS] if record and section.pictures else []
    steps = [{"index": c.index, "name": c.name, "kind": c.kind, "pid": c.pid, "directory": c.directory,
              "seconds": c.seconds, "signal": c.signal} for c in checkpoints]  # fmt: skip
    return {"steps": steps, "first": 0, "evidence": section.excerpts.index()}


@dataclass(frozen=True)
class Cell:
    """A cell of the overview: the cases of one scenario on one pair (more than one where settings differ)."""

    cases: tuple[tuple[str, CaseResult], ...]  # anchor, case


@dataclass(frozen=True)
class Overview:
    """scenario × (kernel, userland)."""

    pairs: tuple[tuple[str, str, str, str], ...]  # kernel, userland as chosen; release, glibc as measured
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]


def _overview(cases: Iterable[CaseResult]) -> Overview:
    named = [(f"c{index}", one) for index, one in enumerate(cases)]
    pairs: dict[tuple[str, str], tuple[str, str]] = {}
    for _, one in named:
        release, glibc = pairs.get((one.kernel, one.userland), ("", ""))
        pairs[one.kernel, one.userland] = (release or one.release, glibc or one.glibc)
    scenarios = dict.fromkeys(one.scenario for _, one in named)
    rows = tuple(
        (scenario, tuple(Cell(tuple((anchor, one) for anchor, one in named
                                    if (one.scenario, one.kernel, one.userland) == (scenario, *pair)))
                         for pair in pairs))
        for scenario in scenarios)  # fmt: skip
    return Overview(tuple((*pair, *measured) for pair, measured in pairs.items()), rows)


def _verdicts(results: Results) -> list[tuple[case.Mark, int]]:
    """How many cases went how, the worst first."""
    order = (Verdict.INTERRUPTED, Verdict.LOST, Verdict.TIMEOUT, Verdict.FAIL, Verdict.ERROR, Verdict.NOT_RUN,
             Verdict.SKIP, Verdict.PASS)  # fmt: skip
    return [(case.mark(verdict), results.count(verdict)) for verdict in order if results.count(verdict)]
