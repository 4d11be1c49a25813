"""The page of results: what was asked, on what it ran, whether it held; then pictures, findings, evidence, record.

Pure: it reads the run directories that the results name, and what the claims state from the lab's own catalogue. The
file stays below ``BUDGET``: of many cases those that did not pass come first with their pictures, then as many others
as there is room for. What is left out is said, and how to get it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from orchestrator.inspection.moment import Run
from orchestrator.model import Evidence, Finding, Outcome
from orchestrator.report.html import case, embed, shell
from orchestrator.report.html.excerpts import Excerpts, cited
from orchestrator.report.html.pictures import Drawn, drawn, scripts, styles
from orchestrator.report.html.sources import linked
from orchestrator.report.results import CaseResult, Results, Verdict
from orchestrator.rundir import RunDirectory

BUDGET = 2_500_000  # bytes of the whole file
PICTURES_BUDGET = 1_800_000  # bytes of the pictures' data of one case
MAX_BRIEF = 12  # findings that did not pass which a case without pictures shows in full
MAX_STEPS = 500  # checkpoints of a case that can be stepped through; no picture has more
MAX_CASES = 1000
AMONG = 3  # level of the heading of a case among others
MAX_MISFITS = 3  # cases too large for the room that is left, after which no other is tried


@dataclass(frozen=True)
class Section:
    """One case as its template takes it."""

    anchor: str
    result: CaseResult
    level: int  # of its heading: 1 alone on the page, AMONG others
    pictures: tuple[Drawn, ...]
    excerpts: Excerpts
    shown: tuple[Finding, ...]  # in full
    brief: tuple[Finding, ...]  # by name only
    whole: bool  # nothing is left out
    first: int = 0  # which checkpoint is shown first


def render(results: Results) -> str:
    """The page as one HTML file."""
    alone = len(results.cases) == 1 and not results.matrices
    cases = results.cases[:MAX_CASES]
    known = case.statements(one.scenario for one in cases)
    if alone:
        section = _whole(cases[0], "c0", 1)
        parts, nav = [_html(section, known)], _contents(section)
    else:
        parts = _fitted(cases, known)
        nav = [shell.Link("overview", "Overview"), shell.Link("cases", "Cases")]
    body = shell.render("results.html", results=results, alone=alone, parts=parts, table=_overview(cases),
                        left=len(results.cases) - len(cases), verdicts=_verdicts(results), mark=case.mark)  # fmt: skip
    return shell.document(f"{results.title}: qemu-lab", body, nav, styles(), scripts())


def _contents(section: Section) -> list[shell.Link]:
    there = [("findings", "Findings", True), ("evidence", "Evidence", bool(section.excerpts.all)),
             ("record", "Record", section.result.record is not None)]  # fmt: skip
    return [
        shell.Link(section.anchor, "Verdict"),
        *(shell.Link(f"{section.anchor}-{one.picture.name}", one.picture.title) for one in section.pictures),
        *(shell.Link(f"{section.anchor}-{name}", text) for name, text, shown in there if shown),
    ]


def _fitted(cases: Iterable[CaseResult], known: Mapping[str, str]) -> list[Markup]:
    """Every case in brief, and in full while the file has room: first those which did not pass."""
    found = list(enumerate(cases))
    parts = [_html(_brief(one, f"c{index}"), known) for index, one in found]
    room = BUDGET - sum(map(len, parts)) - len(shell.document("", Markup(), (), styles(), scripts()))
    misfits = 0
    for index, one in sorted(found, key=lambda item: item[1].verdict is Verdict.PASS):
        whole = _html(_whole(one, f"c{index}", AMONG), known)
        cost = len(whole) - len(parts[index])
        if cost > room:
            misfits += 1
            if misfits == MAX_MISFITS:
                break
            continue
        parts[index], room = whole, room - cost
    return parts


def _whole(one: CaseResult, anchor: str, level: int) -> Section:
    pictures: tuple[Drawn, ...] = ()
    first = 0
    if one.record is not None and one.directory is not None:
        run = Run(RunDirectory(one.directory), one.record)
        pictures, first = drawn(run, PICTURES_BUDGET), _first(run)
    findings = tuple(case.ordered(one.findings))
    wanted = [*cited(findings), *(line for picture in pictures for line in picture.wants)]
    return Section(anchor, one, level, pictures, _excerpts(anchor, one, wanted), findings, (), True, first)


def _first(run: Run) -> int:
    """The first checkpoint at which the lab looked inside, where every picture has something; else the very first."""
    return next((place for place, checkpoint in enumerate(run.record.checkpoints)
                 if run.pids(checkpoint, "kernel") or run.pids(checkpoint, "heap")), 0)  # fmt: skip


def _brief(one: CaseResult, anchor: str) -> Section:
    findings = case.ordered(one.findings)
    shown = tuple(finding for finding in findings if finding.outcome is not Outcome.PASS)[:MAX_BRIEF]
    rest = tuple(findings[len(shown) :])
    return Section(anchor, one, AMONG, (), _excerpts(anchor, one, cited(shown)), shown, rest, False)


def _excerpts(anchor: str, one: CaseResult, wanted: Iterable[Evidence]) -> Excerpts:
    return Excerpts(anchor, RunDirectory(one.directory) if one.directory else None, wanted)


def _html(section: Section, known: Mapping[str, str]) -> Markup:
    result = section.result
    record = result.record
    return shell.render(
        "case.html", case=section, result=result, h=section.level, mark=case.mark,
        verdict=case.mark(result.verdict, result.word), alarm=case.alarm(result), subject=case.subject(result),
        summary=record.case.get("summary", "") if record else "", counts=result.counted,
        facts=case.facts(result), claims=case.claim_rows(result.findings, known),
        paper=case.paper(record, result.directory) if record and section.whole else None,
        messages=record.messages if record else [], left_out=record.left_out if record else {},
        unseen=max(len(record.checkpoints) - MAX_STEPS, 0) if record else 0,
        data=embed.data(_case_data(section)), linked=lambda text: linked(text, result.release, result.glibc),
    )  # fmt: skip


def _case_data(section: Section) -> dict[str, Any]:
    """What the scripts know of a case: its checkpoints, the one to begin with, the evidence that is there."""
    record = section.result.record
    checkpoints = record.checkpoints[:MAX_STEPS] if record and section.pictures else []
    steps = [{"index": c.index, "name": c.name, "kind": c.kind, "pid": c.pid, "directory": c.directory,
              "seconds": c.seconds, "signal": c.signal} for c in checkpoints]  # fmt: skip
    return {"steps": steps, "first": section.first, "evidence": section.excerpts.index()}


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
    pairs: dict[tuple[str, str], tuple[str, str]] = {}
    cells: dict[str, dict[tuple[str, str], list[tuple[str, CaseResult]]]] = {}
    for index, one in enumerate(cases):
        pair = one.kernel, one.userland
        release, glibc = pairs.get(pair, ("", ""))
        pairs[pair] = (release or one.release, glibc or one.glibc)
        cells.setdefault(one.scenario, {}).setdefault(pair, []).append((f"c{index}", one))
    rows = tuple((scenario, tuple(Cell(tuple(there.get(pair, ()))) for pair in pairs))
                 for scenario, there in cells.items())  # fmt: skip
    return Overview(tuple((*pair, *measured) for pair, measured in pairs.items()), rows)


def _verdicts(results: Results) -> list[tuple[case.Mark, int]]:
    """How many cases went how, the worst first."""
    order = (Verdict.INTERRUPTED, Verdict.LOST, Verdict.TIMEOUT, Verdict.FAIL, Verdict.ERROR, Verdict.NOT_RUN,
             Verdict.SKIP, Verdict.PASS)  # fmt: skip
    return [(case.mark(verdict), results.count(verdict)) for verdict in order if results.count(verdict)]
