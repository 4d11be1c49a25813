"""A comparison in Markdown, as for the summary of a CI job. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from orchestrator.comparison.model import Comparison, Difference, Matched
from orchestrator.report import compare_words as words
from orchestrator.report.markdown_text import plain
from orchestrator.report.text import clean, plural

_LIMIT = 1000  # characters of a text
SPOTS = 3  # groups of places of one difference


def render(comparison: Comparison) -> str:
    """The page, with a final newline."""
    names = " and ".join(_prose(one.name) for one in comparison.sides)
    parts = [f"# {names} compared", "", f"**{words.verdict(comparison)}**: {words.counted(comparison)}.", ""]
    parts += ["| side | what | where |", "|---|---|---|"]
    for one in comparison.sides:
        more = "".join(f"<br>{_prose(word)}" for word in one.settings)
        parts.append(f"| **{one.letter}** | {_prose(words.side(one))}{more} | {_code(one.place)} |")
    parts += ["", f"Cases are {comparison.rule}. " + ". ".join(map(_capital, words.left_out(comparison))) + "."]
    return "\n".join([*parts, *_body(comparison)]).rstrip() + "\n"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _body(comparison: Comparison) -> Iterator[str]:
    common = words.shared(comparison)
    letters = [one.letter for one in comparison.sides]
    for case, mine in zip(comparison.cases, words.own(comparison, common), strict=True):
        yield from _case(case, mine, comparison, letters)
    if common:
        yield from ("", "## The same in several cases", "", *_header(letters))
        for one in common:
            yield from _rows(one.difference, letters, one)
    for title, items in (("Without a counterpart", [f"only in {letter}: {case}" for letter, case in comparison.alone]),
                         ("Left out", [f"{path}: {why}" for path, why in comparison.left_out])):  # fmt: skip
        if items:
            yield from ("", f"## {title}", "", *(f"- {_prose(item)}" for item in items))


def _case(case: Matched, mine: Sequence[Difference], comparison: Comparison, letters: Sequence[str]) -> Iterator[str]:
    more = len(case.differences) - len(mine)
    yield from ("", f"## {_prose(case.name)}", "")
    yield from (f"- not read: {_code(why)}" for why in case.broken)
    yield from [""] if case.broken else []
    counts = plural(len(mine), "difference") if case.differences else "no difference"
    yield counts + (f", and {more} that other cases have too" if more else "")
    if said := words.digest(case):
        yield from ("", f"{_prose(_capital(said))}.")
    for claim, differences in words.by_claim(mine).items():
        statement = comparison.statements.get(claim, "")
        title = f"**{_prose(claim)}**" if claim else "**no claim speaks of**"
        yield from ("", f"{title}{f': {_prose(statement)}' if statement else ''}", "", *_header(letters))
        for one in differences:
            yield from _rows(one, letters)


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
        cells = " | ".join(_code(value) if value else words.shown(value) for value in values)
        yield f"| {what} | {cells} | {_why(one, len(letters)) if number == 0 else ''} |"
    if len(groups) > SPOTS:
        yield f"| and {plural(len(groups) - SPOTS, 'more place')}{' | ' * (len(letters) + 1)} |"


def _why(one: Difference, sides: int) -> str:
    if not one.reasons:
        return "**unexplained**" if one.unexplained else words.costs(one)
    return "<br>".join(
        f"{'' if len(why.sides) == sides else ', '.join(why.sides) + ': '}{_prose(why.because)}"
        f"{f' *{_prose(why.source)}*' if why.source else ''}" for why in one.reasons)  # fmt: skip


def _code(text: str) -> str:
    shown = clean(text, _LIMIT).replace("`", "'").replace("|", "\\|")
    return f"`{shown}`" if shown else ""


def _prose(text: str) -> str:
    return plain(text, _LIMIT)
