"""The report of a matrix for a terminal: one table, what did not pass and where to look, one last line. Pure.

Scenarios are rows, pairs columns, grouped by kernel. Where words have no room, cells become codes of two
letters, userlands letters, and a legend says what they mean; where even that has no room, the kernels are
shown in several blocks.
"""

from __future__ import annotations

import string
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path

from orchestrator.matrix.record import CaseRecord, Failing, MatrixRecord, PairRecord, State, undecided
from orchestrator.model import Ending, Outcome
from orchestrator.report.text import Paint, clean, columns, cut, flow, pad, plural, seconds, wrap
from orchestrator.rundir import FIRST_RUNS

MAX_FINDINGS = 8  # shown of one case
MAX_LINES = 200  # of all that did not pass
_COLOURS = {"PASS": "green", "FAIL": "red", "SKIP": "yellow", "ERROR": "magenta", "WAITING": "dim", "RUNNING": "dim",
            "INTERRUPTED": "yellow"}  # fmt: skip
_CODES = {"PASS": "ok", "SKIP": "sk", "WAITING": "-", "RUNNING": "-", "LOCKUP": "LK", "INTERRUPTED": "in"}
_MEANINGS = {"ok": "passed", "sk": "skipped", "-": "not run"}
_VERDICTS = {0: ("PASS", "green"), 1: ("FAIL", "red"), 4: ("CRASHED", "red"), 5: ("TIMEOUT", "red"),
             130: ("INTERRUPTED", "yellow")}  # fmt: skip
_GAP = 2

_NONE = CaseRecord("", "", "", "")  # the cell of a case that nobody asked for

Row = tuple[str, Sequence[CaseRecord]]


def render(record: MatrixRecord, directory: Path, *, width: int = 80, colour: bool = False,
           resumable: bool = True) -> str:
    """The report as text with a final newline. ``resumable``: ``directory`` is that of the one matrix shown."""
    paint = Paint(colour)
    if record.shard is not None:
        record = _own(record)
    sections = [
        _table(record, width, paint), _not_passed(record, directory, width, paint),
        _unconfirmed(record, directory, width), _verdict(record, directory, width, paint, resumable),
    ]  # fmt: skip
    return "\n\n".join("\n".join(lines) for lines in sections if lines) + "\n"


def _own(record: MatrixRecord) -> MatrixRecord:
    """A shard without the scenarios and pairs of which it has no case."""
    scenarios = {case.scenario for case in record.cases}
    pairs = {(case.kernel, case.userland) for case in record.cases}
    return replace(record, scenarios=[one for one in record.scenarios if one.name in scenarios],
                   pairs=[one for one in record.pairs if (one.kernel, one.userland) in pairs])


# ---- the table


def _table(record: MatrixRecord, width: int, paint: Paint) -> list[str]:
    if not record.cases:
        return []
    cases = {(case.scenario, case.kernel, case.userland): case for case in record.cases}
    rows = [(one.name, [cases.get((one.name, pair.kernel, pair.userland), _NONE) for pair in record.pairs])
            for one in record.scenarios]  # fmt: skip
    names = min(max(columns(clean(name)) for name, _ in rows), 24) + _GAP
    return _in_words(record.pairs, rows, names, width, paint) or _in_codes(record.pairs, rows, names, width, paint)


def _in_words(pairs: Sequence[PairRecord], rows: Sequence[Row], names: int, width: int, paint: Paint) -> list[str]:
    """With outcome words and counts; nothing if they have no room."""
    heads = [[clean(pair.kernel) for pair in pairs], [clean(pair.userland) for pair in pairs]]
    cells = [[_words(case) for case in found] for _, found in rows]
    widths = [max(map(columns, column)) + _GAP for column in zip(*heads, *cells, strict=True)]
    if names + sum(widths) - _GAP > width:
        return []
    heads[0] = [name if number == 0 or heads[0][number - 1] != name else "" for number, name in enumerate(heads[0])]
    lines = [" " * names + "".join(map(pad, head, widths)) for head in heads]
    for (name, found), line in zip(rows, cells, strict=True):
        painted = (paint(pad(cell, size), _colour(case)) for cell, size, case in zip(line, widths, found, strict=True))
        lines.append(pad(cut(clean(name), names - _GAP), names) + "".join(painted))
    return [line.rstrip() for line in lines]


def _in_codes(pairs: Sequence[PairRecord], rows: Sequence[Row], names: int, width: int, paint: Paint) -> list[str]:
    """With codes: blocks of as many kernels as have room side by side."""
    userlands = dict.fromkeys(pair.userland for pair in pairs)
    letters = dict(zip(userlands, _letters(), strict=False))
    lines: list[str] = []
    for block in _blocks(pairs, width - names):
        lines += [*([""] if lines else []), *_block(block, rows, pairs, letters, names, paint)]
    legend = [f"{letter} {clean(name)}" for name, letter in letters.items()]
    used = dict.fromkeys((_code(case), _meaning(case)) for _, found in rows for case in found)
    return [*lines, "", *flow(legend, width), *flow([f"{code} {meaning}" for code, meaning in used], width)]


def _letters() -> Iterable[str]:
    yield from string.ascii_lowercase
    yield from (first + second for first in string.ascii_lowercase for second in string.ascii_lowercase)


def _blocks(pairs: Sequence[PairRecord], room: int) -> list[list[list[int]]]:
    """The columns (numbers of pairs), grouped by kernel, as many groups in a block as have room."""
    most = max(1, (room - 1) // 3)  # userlands of one kernel side by side
    groups = [every[first : first + most]
              for every in (list(group) for _, group in groupby(range(len(pairs)), key=lambda i: pairs[i].kernel))
              for first in range(0, len(every), most)]  # fmt: skip
    blocks: list[list[list[int]]] = [[]]
    for group in groups:
        used = sum(_group_width(pairs, other) for other in blocks[-1])
        if blocks[-1] and used + _group_width(pairs, group) > room:
            blocks.append([])
        blocks[-1].append(group)
    return blocks


def _group_width(pairs: Sequence[PairRecord], group: Sequence[int]) -> int:
    return max(3 * len(group), min(columns(clean(pairs[group[0]].kernel)), 12)) + 1


def _block(block: Sequence[Sequence[int]], rows: Sequence[Row], pairs: Sequence[PairRecord],
           letters: dict[str, str], names: int, paint: Paint) -> list[str]:
    sizes = [_group_width(pairs, group) for group in block]
    heads = [pad(cut(clean(pairs[group[0]].kernel), size - 1), size) for group, size in zip(block, sizes, strict=True)]
    keys = [pad("".join(pad(letters[pairs[number].userland], 3) for number in group), size)
            for group, size in zip(block, sizes, strict=True)]  # fmt: skip
    lines = [" " * names + "".join(heads), " " * names + "".join(keys)]
    for name, found in rows:
        line = pad(cut(clean(name), names - _GAP), names)
        for group, size in zip(block, sizes, strict=True):
            cells = (paint(pad(_code(found[number]), 3), _colour(found[number])) for number in group)
            line += "".join(cells) + " " * (size - 3 * len(group))
        lines.append(line)
    return [line.rstrip() for line in lines]


def _bad(case: CaseRecord) -> int:
    return case.counts.get(Outcome.FAIL.value, 0) or case.counts.get(Outcome.ERROR.value, 0)


def _words(case: CaseRecord) -> str:
    """ "PASS 21", "FAIL 1/21", "PANIC"; with a star if a fresh guest did not confirm the first run."""
    total = sum(case.counts.values())
    star = "*" if case.unconfirmed else ""
    if case.state is not State.DONE or case.ending is not Ending.COMPLETED or not total:
        return "-" if case.state in (State.WAITING, State.RUNNING) else case.word + star
    return (f"{case.word} {total}" if case.exit_code == 0 else f"{case.word} {_bad(case)}/{total}") + star


def _code(case: CaseRecord) -> str:
    """ "ok", "F1", "PA"; "o*" if a fresh guest did not confirm the first run."""
    code = _plain_code(case)
    return f"{code[0]}*" if case.unconfirmed else code


def _plain_code(case: CaseRecord) -> str:
    if case.word in (Outcome.FAIL, Outcome.ERROR):
        count = _bad(case) if case.ending is Ending.COMPLETED else 0
        return case.word[0] + ("" if not count else str(count) if count < 10 else "+")
    return _CODES.get(case.word) or case.word[:2]


def _meaning(case: CaseRecord) -> str:
    if case.unconfirmed:
        return f"{_kind(case)}, otherwise in a used guest"
    code = _plain_code(case)
    if code[0] in "FE":
        what = "failed" if code[0] == "F" else "in error"
        return what if len(code) == 1 else f"{'more than 9' if code[1] == '+' else code[1]} {what}"
    return _MEANINGS.get(code) or case.word.lower()


def _colour(case: CaseRecord) -> str:
    return _COLOURS.get(case.word, "red")


# ---- what did not pass


def _not_passed(record: MatrixRecord, directory: Path, width: int, paint: Paint) -> list[str]:
    found = [case for case in record.cases if case.state is State.DONE and case.exit_code != 0]
    lines: list[str] = []
    for number, case in enumerate(found):
        if len(lines) > MAX_LINES:
            lines.append(f"... {plural(len(found) - number, 'more case')} not shown: matrix.json has them")
            break
        lines += _case(case, directory, width, paint)
    return [*lines, paint("(`lab check DIRECTORY` shows values and evidence)", "dim")] if lines else []


def _case(case: CaseRecord, directory: Path, width: int, paint: Paint) -> list[str]:
    word = paint(f"{clean(case.word):<5}", _colour(case), "bold")
    first, *more = wrap(clean(case.name), width, " " * max(columns(clean(case.word)) + 1, 6), " " * 6)
    lines = [f"{word} {first.lstrip()}", *more]
    if case.directory:
        lines.append(f"      {clean(str(directory / case.directory), 4096)}")
    if case.detail:
        for said in case.detail.splitlines()[:6]:
            lines += wrap(clean(said), width, " " * 6, " " * 8)
    for finding in case.failing[:MAX_FINDINGS]:
        lines += _finding(finding, width)
    if len(case.failing) > MAX_FINDINGS:
        lines.append(f"      ... {plural(len(case.failing) - MAX_FINDINGS, 'more finding')}")
    return lines


def _finding(finding: Failing, width: int) -> list[str]:
    where = f" at {clean(finding.at, 64)}" if finding.at else ""
    claim = f" ({clean(finding.claim, 64)})" if finding.claim else ""
    text = f"{finding.outcome} {clean(finding.id, 80)}{claim}{where}"
    return wrap(f"{text}: {clean(finding.message)}" if finding.message else text, width, " " * 6, " " * 8)


def _unconfirmed(record: MatrixRecord, directory: Path, width: int) -> list[str]:
    """The cases that went otherwise in a fresh guest than in one that others had used: some other left something."""
    found = [case for case in record.cases if case.unconfirmed]
    lines: list[str] = []
    for case in found[:MAX_FINDINGS]:
        first = clean(str(directory / FIRST_RUNS / case.directory), 4096)
        text = f"{clean(case.name)}: {clean(case.word)} in a fresh guest; {clean(case.first)} in a used one,"
        lines += [*wrap(text, width, "* ", "  "), f"  {first}"]
    more = [f"* ... {plural(len(found) - MAX_FINDINGS, 'more case')}"] if len(found) > MAX_FINDINGS else []
    return [*lines, *more]


# ---- the last line


def _verdict(record: MatrixRecord, directory: Path, width: int, paint: Paint, resumable: bool) -> list[str]:
    word, colour = _VERDICTS.get(record.exit_code, ("ERROR", "magenta"))
    counts = Counter(_kind(case) for case in record.cases)
    order = ("passed", "skipped", "failed", "in error", "crashed", "timed out", "interrupted", "not run")
    parts = [f"{counts[kind]} {kind}" for kind in order if counts[kind]]
    parts += [seconds(record.seconds), plural(record.boots, "boot")]
    if record.exit_code:
        parts.append(f"exit {record.exit_code}")
    place = clean(str(directory), 4096)
    head = plural(len(record.cases), "case")
    if record.shard is not None:
        head = f"shard {record.shard.name}, {len(record.cases)} of {plural(record.shard.cases, 'case')}"
        word, colour = (word, colour) if record.cases else ("SKIP", "yellow")
    parts[0] = f"{head}: {parts[0]}"
    lines = flow([*parts, place], width, f"{word}  ", "  ", gap=", ", whole=True)
    lines[0] = paint(word, colour, "bold") + lines[0].removeprefix(word)
    if resumable and (record.state is not State.DONE or any(map(undecided, record.cases))):
        lines.append(f"to go on: lab matrix --resume {place}")
    return lines


def _kind(case: CaseRecord) -> str:
    """The word of the last line for a case."""
    if case.state is State.INTERRUPTED:
        return "interrupted"
    if case.state is not State.DONE:
        return "not run"
    kinds = {Outcome.PASS: "passed", Outcome.SKIP: "skipped", Outcome.FAIL: "failed", Outcome.ERROR: "in error"}
    return {4: "crashed", 5: "timed out"}.get(case.exit_code, kinds[case.outcome])
