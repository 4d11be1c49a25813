"""Results as Markdown for the summary page of a CI: small, and what did not pass folded below. Pure.

For GitHub's flavour. Whatever came from a run stands in a cell, a summary or a block of code, escaped for that place;
so no text of a guest is ever a link, an image, a mention or markup.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from orchestrator.model import Outcome
from orchestrator.report import finding_text
from orchestrator.report.markdown_text import plain
from orchestrator.report.results import CaseResult, Results, Verdict
from orchestrator.report.text import clean, plural, seconds

MAX_CELLS = 60 * 20  # of the table of cases
MAX_CASES = 40  # folded out below
MAX_FINDINGS = 12  # of one case
MAX_SIZE = 900_000  # bytes; GitHub takes a mebibyte
_GOOD = (Verdict.PASS, Verdict.SKIP)


def render(results: Results) -> str:
    """The page, with a final newline."""
    single = len(results.cases) == 1
    parts = [*_head(results), *(_properties(results.cases[0]) if single else _table(results.cases)), *_notes(results)]
    bad = [case for case in results.cases if case.verdict not in _GOOD]
    room = MAX_SIZE - sum(len(part.encode()) + 1 for part in parts)
    for number, case in enumerate(bad):
        lines = list(_case(case))
        room -= sum(len(line.encode()) + 1 for line in lines)
        if number == MAX_CASES or room < 0:
            parts += ["", f"… {plural(len(bad) - number, 'more case')} did not pass: the JSON has them."]
            break
        parts += lines
    return "\n".join(parts) + "\n"


def _head(results: Results) -> Iterator[str]:
    lab = f", lab {results.lab}" if results.lab else ""
    yield f"## {plain(results.word)}: {plain(results.title)}"
    yield ""
    yield f"{plain(results.counted)}, {seconds(results.seconds)}{plain(lab)}, exit code {results.exit_code}"


def _properties(case: CaseResult) -> Iterator[str]:
    yield from ("", "| | |", "|---|---|")
    for name, value in finding_text.properties(case):
        yield f"| {name} | {plain(value)} |"


def _table(cases: Sequence[CaseResult]) -> Iterator[str]:
    """Scenarios by pairs; a list where a cell would hold several cases, or that would be too large."""
    pairs = list(dict.fromkeys((case.kernel, case.userland) for case in cases))
    rows = list(dict.fromkeys(case.scenario for case in cases))
    cells = {(case.scenario, case.kernel, case.userland): case for case in cases}
    if not cases or len(pairs) * len(rows) > MAX_CELLS or len(cells) < len(cases):
        yield from _list(cases)
        return
    yield from ("", f"| | {' | '.join(plain(f'{kernel} {userland}') for kernel, userland in pairs)} |")
    yield "|---" * (len(pairs) + 1) + "|"
    for row in rows:
        found = (cells.get((row, *pair)) for pair in pairs)
        yield f"| {plain(row)} | {' | '.join(_cell(case) if case else '' for case in found)} |"


def _cell(case: CaseResult) -> str:
    """ "PASS 42", "**FAIL** 1/42", "**PANIC**"."""
    total = len(case.findings)
    if case.verdict in _GOOD:
        return f"{case.word} {total}"
    bad = case.count(Outcome.FAIL) or case.count(Outcome.ERROR)
    here = case.record is not None and bad and case.verdict in (Verdict.FAIL, Verdict.ERROR)
    return f"**{plain(case.word)}**" + (f" {bad}/{total}" if here else "")


def _list(cases: Sequence[CaseResult]) -> Iterator[str]:
    if cases:
        yield from ("", "| case | | findings |", "|---|---|---|")
    for case in cases[:MAX_CELLS]:
        yield f"| {plain(case.name)} | {_cell(case)} | {plain(case.counted)} |"
    if len(cases) > MAX_CELLS:
        yield f"| … {plural(len(cases) - MAX_CELLS, 'more case')} | | |"


def _notes(results: Results) -> Iterator[str]:
    for note in results.notes[:MAX_CASES]:
        yield from ("", f"Note: {plain(note)}")


def _case(case: CaseResult) -> Iterator[str]:
    """One case folded: why, where its run is, and each finding that is not as it should be."""
    head = f"<b>{plain(case.word)}</b> {plain(case.name)}: {plain(case.counted)}"
    yield from ("", f"<details><summary>{head}</summary>")
    lines = [*([case.detail] if case.detail else []), *([case.remark] if case.remark else []),
             finding_text.place_of(case)]  # fmt: skip
    yield from _block([clean(line, 2000) for line in lines])
    wrong = [one for one in case.findings if one.outcome in (Outcome.FAIL, Outcome.ERROR)]
    for finding in wrong[:MAX_FINDINGS]:
        yield from _block([finding_text.head(finding), *(f"  {line}" for line in finding_text.lines(finding))])
    if len(wrong) > MAX_FINDINGS:
        yield from ("", f"… {plural(len(wrong) - MAX_FINDINGS, 'more finding')}")
    yield from ("", "</details>")


def _block(lines: Sequence[str]) -> list[str]:
    """A block of code; its fence is longer than any that the text could bring."""
    fence = "`" * 3
    while any(fence in line for line in lines):
        fence += "`"
    return ["", f"{fence}text", *lines, fence]
