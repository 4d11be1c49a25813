"""The page of results: what was asked, on what it ran, whether it held; then pictures, findings, evidence, record.

Pure: it reads the run directories that the results name, and what the claims state from the lab's own catalogue. The
file stays below ``BUDGET``: of many cases those that did not pass come first with their pictures, then as many others
as there is room for; of many findings those that did not pass have their values first. What is left out is counted and
said, and how to get it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from markupsafe import Markup, escape

from orchestrator.inspection.moment import Run
from orchestrator.model import Evidence, Finding, Outcome
from orchestrator.report.html import case, embed, shell
from orchestrator.report.html.excerpts import MAX_BYTES, Excerpts, cited
from orchestrator.report.html.pictures import Drawn, drawn, scripts, styles
from orchestrator.report.html.sources import linked
from orchestrator.report.results import CaseResult, Results, Verdict
from orchestrator.rundir import RunDirectory

BUDGET = 2_500_000  # bytes of the whole file
PICTURES_BUDGET = 1_800_000  # bytes of the pictures' data of one case
FINDINGS_BUDGET = 500_000  # bytes of the findings that a case shows in full
REST = 150_000  # bytes of a case's other parts: its facts, its record, findings by name
MAX_BRIEF = 12  # findings that did not pass which a case without pictures shows in full
BRIEF_BUDGET = 40_000  # bytes of these
MAX_NAMED = 600  # findings that are only named
MAX_CLAIMS = 200
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
    whole: bool  # with its pictures and record
    left: int = 0  # findings that are not even named
    first: int = 0  # which checkpoint is shown first


def render(results: Results) -> str:
    """The page as one HTML file."""
    alone = len(results.cases) == 1 and not results.matrices
    cases = _kept(results.cases)
    known = case.statements(one.scenario for one in cases)
    def around(parts: list[Markup], nav: list[shell.Link]) -> str:
        body = shell.render("results.html", results=results, alone=alone, parts=parts, table=_overview(cases),
                            left=len(results.cases) - len(cases), verdicts=_verdicts(results),
                            mark=case.mark)  # fmt: skip
        return shell.document(f"{results.title}: qemu-lab", body, nav, styles(), scripts())

    if alone:
        section = _whole(cases[0], "c0", 1)
        return around([_html(section, known)], _contents(section))
    nav = [shell.Link("overview", "Overview"), shell.Link("cases", "Cases")]
    return around(_fitted(cases, known, BUDGET - _bytes(around([], nav))), nav)


def _bytes(text: str) -> int:
    return len(text.encode())


def _kept(cases: Sequence[CaseResult]) -> list[CaseResult]:
    """As many cases as a page has, in their order: those that did not pass before others."""
    order = sorted(range(len(cases)), key=lambda number: cases[number].verdict is Verdict.PASS)
    return [cases[number] for number in sorted(order[:MAX_CASES])]


def _contents(section: Section) -> list[shell.Link]:
    there = [("findings", "Findings", True), ("evidence", "Evidence", bool(section.excerpts.all)),
             ("record", "Record", section.result.record is not None)]  # fmt: skip
    return [
        shell.Link(section.anchor, "Verdict"),
        *(shell.Link(f"{section.anchor}-{one.picture.name}", one.picture.title) for one in section.pictures),
        *(shell.Link(f"{section.anchor}-{name}", text) for name, text, shown in there if shown),
    ]


def _fitted(cases: Sequence[CaseResult], known: Mapping[str, str], room: int) -> list[Markup]:
    """Every case in a line, and in brief or in full while there is room: first those which did not pass."""
    parts = [_line(one, f"c{index}") for index, one in enumerate(cases)]
    room -= sum(map(_bytes, parts))
    levels: tuple[Callable[[CaseResult, str], Section], ...] = (_brief, lambda one, anchor: _whole(one, anchor, AMONG))
    for passed in (False, True):
        chosen = [index for index, one in enumerate(cases) if (one.verdict is Verdict.PASS) == passed]
        for made in levels:
            misfits = 0
            for index in chosen:
                better = _html(made(cases[index], f"c{index}"), known)
                cost = _bytes(better) - _bytes(parts[index])
                if cost <= room:
                    parts[index], room = better, room - cost
                elif (misfits := misfits + 1) == MAX_MISFITS:
                    break
    return parts


def _line(one: CaseResult, anchor: str) -> Markup:
    return shell.render("line.html", id=anchor, result=one, verdict=case.mark(one.verdict, one.word),
                        counts=one.counted)  # fmt: skip


def _whole(one: CaseResult, anchor: str, level: int) -> Section:
    findings = case.ordered(one.findings)
    shown, brief = _chosen(findings, FINDINGS_BUDGET)
    pictures: tuple[Drawn, ...] = ()
    first = 0
    if one.record is not None and one.directory is not None:
        run = Run(RunDirectory(one.directory), one.record)
        alone = BUDGET - _frame() - REST - sum(map(_weight, shown)) - min(MAX_BYTES, _AROUND * len(cited(shown)))
        pictures = drawn(run, PICTURES_BUDGET if level == AMONG else min(PICTURES_BUDGET, alone))
        first = _first(run)
    wanted = [*cited(shown), *(line for picture in pictures for line in picture.wants)]
    return Section(anchor, one, level, pictures, _excerpts(anchor, one, wanted), shown, brief[:MAX_NAMED], True,
                   max(len(brief) - MAX_NAMED, 0), first)  # fmt: skip


_AROUND = 1000  # bytes of a cited line with those around it, as they mostly are


@cache
def _frame() -> int:
    """The bytes of a page without anything in it."""
    return _bytes(shell.document("", Markup(), (), styles(), scripts()))


def _chosen(findings: Sequence[Finding], room: int, most: int | None = None) -> \
        tuple[tuple[Finding, ...], tuple[Finding, ...]]:
    """(findings that are shown in full, the others), each in their order."""
    shown: list[Finding] = []
    rest: list[Finding] = []
    for one in findings:
        weight = _weight(one)
        if weight > room or len(shown) == most:
            rest.append(one)
        else:
            shown.append(one)
            room -= weight
    return tuple(shown), tuple(rest)


def _weight(one: Finding) -> int:
    """About how many bytes a finding in full takes."""
    texts = [one.message, one.because, one.source, one.source, one.when, one.check, *[one.id] * 4]
    lines = [evidence for operand in one.operands for evidence in operand.evidence[:6]]
    texts += [text for operand in one.operands for text in (operand.text, operand.value, operand.remark)]
    written = sum(min(len(escape(text).encode()), shell.MAX_TEXT * 6) for text in texts if isinstance(text, str))
    written += 130 * str(one.source).count("()")  # links
    return 900 + written + 130 * len(one.operands) + sum(90 + 2 * len(str(line.file)) for line in lines)


def _first(run: Run) -> int:
    """The first checkpoint at which the lab looked inside, where every picture has something; else the very first."""
    return next((place for place, checkpoint in enumerate(run.record.checkpoints)
                 if run.pids(checkpoint, "kernel") or run.pids(checkpoint, "heap")), 0)  # fmt: skip


def _brief(one: CaseResult, anchor: str) -> Section:
    findings = case.ordered(one.findings)
    failed = [finding for finding in findings if finding.outcome is not Outcome.PASS]
    shown, others = _chosen(failed, BRIEF_BUDGET, MAX_BRIEF)
    rest = (*others, *findings[len(failed) :])
    most = MAX_NAMED // 10
    return Section(anchor, one, AMONG, (), _excerpts(anchor, one, cited(shown)), shown, rest[:most], False,
                   max(len(rest) - most, 0))  # fmt: skip


def _excerpts(anchor: str, one: CaseResult, wanted: Iterable[Evidence]) -> Excerpts:
    return Excerpts(anchor, RunDirectory(one.directory) if one.directory else None, wanted)


def _html(section: Section, known: Mapping[str, str]) -> Markup:
    result = section.result
    record = result.record
    claims = case.claim_rows(result.findings, known)
    most = MAX_CLAIMS if section.whole else MAX_CLAIMS // 10
    return shell.render(
        "case.html", case=section, result=result, h=section.level, mark=case.mark,
        verdict=case.mark(result.verdict, result.word), alarm=case.alarm(result), subject=case.subject(result),
        summary=record.case.get("summary", "") if record else "", counts=result.counted,
        facts=case.facts(result), claims=claims[:most], claims_left=max(len(claims) - most, 0),
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
