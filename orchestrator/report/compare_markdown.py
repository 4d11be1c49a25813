"""A comparison in Markdown, as for the summary of a CI job. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from orchestrator.comparison.model import Comparison, Difference, Matched
from orchestrator.report import compare_room
from orchestrator.report import compare_words as words
from orchestrator.report.markdown import MAX_SIZE
from orchestrator.report.markdown_text import plain
from orchestrator.report.text import clean, plural

_LIMIT = 1000  # characters of a text
SPOTS = 3  # groups of places of one difference
LISTED = 100  # cases without a counterpart, runs that were left out; of a side's settings twelve
_SHORT = 300  # characters of a name; sixfold as entities, so that those of all sides leave room for the rest
_ALL = "`lab compare` with `--json FILE` has all of it"


def render(comparison: Comparison) -> str:
    """The page, with a final newline."""
    names = " and ".join(plain(one.name, 80) for one in comparison.sides)
    parts = [f"# {names} compared", "", f"**{words.verdict(comparison)}**: {words.counted(comparison)}.", ""]
    parts += ["| side | what | where |", "|---|---|---|"]
    for one in comparison.sides:
        more = "".join(f"<br>{plain(word, 120)}" for word in one.settings[:12])
        if len(one.settings) > 12:
            more += f"<br>… and {plural(len(one.settings) - 12, 'more setting')}"
        parts.append(f"| **{one.letter}** | {plain(words.side(one), _SHORT)}{more} | {_code(one.place, _SHORT)} |")
    parts += ["", f"Cases are {comparison.rule}. " + ". ".join(map(_capital, words.left_out(comparison))) + "."]
    tail = list(_tail(comparison, MAX_SIZE // 10))
    room = MAX_SIZE - _size(parts) - _size(tail)
    return "\n".join([*parts, *_body(comparison, room), *tail]).rstrip() + "\n"


def _size(lines: Iterable[str]) -> int:
    return sum(len(line.encode(errors="backslashreplace")) + 1 for line in lines)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _body(comparison: Comparison, room: int) -> Iterator[str]:
    """Cases and differences, in ``room`` bytes; how much is not there."""
    cases, common = comparison.cases, words.shared(comparison)
    letters = [one.letter for one in comparison.sides]
    kept = compare_room.kept(
        comparison, common, room - 1000 - _size(_header(letters)),  # for what is said of what is not there
        frame=lambda at: _size(_case(cases[at], (), 1, comparison, letters)),
        head=lambda claim: _size(_claim(claim, comparison, letters)),
        size=lambda one, shared: _size(_rows(one, letters, shared)))  # fmt: skip
    for at in kept.cases:
        yield from _case(cases[at], kept.own[at], kept.left[at], comparison, letters)
    if unnamed := [case for at, case in enumerate(cases) if at not in set(kept.cases)]:
        differing = plural(sum(len(case.differences) for case in unnamed), "difference")
        yield from ("", f"… and {plural(len(unnamed), 'more case')} with {differing}: {_ALL}.")
    if common:
        yield from ("", "## The same in several cases")
        if kept.common:
            yield from ("", *_header(letters))
        for one in kept.common:
            yield from _rows(one.difference, letters, one)
        yield from _left(kept.common_left)


def _left(count: int) -> Iterator[str]:
    if count:
        yield from ("", f"… and {plural(count, 'more difference')}: {_ALL}.")


def _tail(comparison: Comparison, room: int) -> Iterator[str]:
    """What has no counterpart, and what was left out, each in half of ``room`` bytes."""
    for title, items in (("Without a counterpart", [f"only in {letter}: {case}" for letter, case in comparison.alone]),
                         ("Left out", [f"{path}: {why}" for path, why in comparison.left_out])):  # fmt: skip
        lines = [f"- {_prose(item)}" for item in items[:LISTED]]
        sizes = [_size([line]) for line in lines]
        there, _ = compare_room.fitting(len(lines), sizes.__getitem__, room // 2 - 200)
        if items:
            yield from ("", f"## {title}", "", *(lines[at] for at in there))
        if len(items) > len(there):
            yield from ("", f"… and {len(items) - len(there)} more: {_ALL}.")


def _case(case: Matched, mine: Sequence[Difference], left: int, comparison: Comparison,
          letters: Sequence[str]) -> Iterator[str]:
    more = len(case.differences) - len(mine) - left
    yield from ("", f"## {_prose(case.name)}", "")
    yield from (f"- not read: {_code(why)}" for why in case.broken)
    yield from [""] if case.broken else []
    yield words.counts(len(mine) + left, more)
    if said := words.digest(case):
        yield from ("", f"{_prose(_capital(said))}.")
    for claim, differences in words.by_claim(mine).items():
        yield from _claim(claim, comparison, letters)
        for one in differences:
            yield from _rows(one, letters)
    yield from _left(left)


def _claim(claim: str, comparison: Comparison, letters: Sequence[str]) -> Iterator[str]:
    """What stands above the differences of a claim."""
    statement = comparison.statements.get(claim, "")
    title = f"**{_prose(claim)}**" if claim else "**no claim speaks of**"
    yield from ("", f"{title}{f': {_prose(statement)}' if statement else ''}", "", *_header(letters))


def _header(letters: Sequence[str]) -> tuple[str, str]:
    return f"| what | {' | '.join(letters)} | why |", "|---" * (len(letters) + 2) + "|"


def _rows(one: Difference, letters: Sequence[str], common: words.Shared | None = None) -> Iterator[str]:
    groups = words.groups(one)
    for number, (values, ats) in enumerate(groups[:SPOTS]):
        where = words.where(one, values, ats, common=common)
        if common and common.alike and number == 0:
            where.append(words.in_cases(common))
        place = "; ".join(where)
        what = f"{one.topic.value}: {_code(one.what)}{f'<br>{_prose(place)}' if place else ''}"
        cells = " | ".join(_code(words.shown(value, one.topic)) if value else words.shown(value) for value in values)
        yield f"| {what} | {cells} | {_why(one, len(letters)) if number == 0 else ''} |"
    if len(groups) > SPOTS:
        yield f"| and {plural(len(groups) - SPOTS, 'more place')}{' | ' * (len(letters) + 1)} |"


def _why(one: Difference, sides: int) -> str:
    if not one.reasons:
        return "**unexplained**" if one.unexplained else words.costs(one)
    costs = f"{words.costs(one)}<br>" if words.costs(one) else ""
    return costs + "<br>".join(
        f"{'' if len(why.sides) == sides else ', '.join(why.sides) + ': '}{_prose(why.because)}"
        f"{f' *{_prose(why.source)}*' if why.source else ''}" for why in one.reasons)  # fmt: skip


def _code(text: str, limit: int = _LIMIT) -> str:
    shown = clean(text, limit).replace("`", "'").replace("|", "\\|")
    return f"`{shown}`" if shown else ""


def _prose(text: str) -> str:
    return plain(text, _LIMIT)
