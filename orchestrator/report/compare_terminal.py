"""A comparison for a terminal: the sides, then what differs by case and claim, with the reason. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from orchestrator.comparison.model import Comparison, Difference, Matched, Reason, Topic
from orchestrator.report import compare_words as words
from orchestrator.report.text import Paint, clean, cut, pad, plural, wrap

SPOTS, LINES, LIMIT = 3, 3, 4000  # groups of places, lines of a value, characters of a text; all with ``verbose``


def render(comparison: Comparison, *, width: int = 80, colour: bool = False, verbose: bool = False) -> str:
    """The whole comparison; ``verbose``: every place, and values in full length."""
    page = _Page(comparison, width, Paint(colour), verbose)
    return "\n".join([*page.head(), *page.body(), *page.foot()]) + "\n"


class _Page:
    """One rendering."""

    def __init__(self, comparison: Comparison, width: int, paint: Paint, verbose: bool) -> None:
        self.comparison, self.width, self.paint, self.verbose = comparison, width, paint, verbose

    def head(self) -> Iterator[str]:
        for one in self.comparison.sides:
            yield from self.said(words.side(one), f"{self.paint(one.letter, 'bold', 'cyan')}  ", "   ")
            for setting in one.settings:
                yield from self.said(setting, "   ")
        yield from self.said(f"cases are {self.comparison.rule}")

    def body(self) -> Iterator[str]:
        common = words.shared(self.comparison)
        for case, mine in zip(self.comparison.cases, words.own(self.comparison, common), strict=True):
            yield from self.case(case, mine)
        if common:
            yield ""
            yield self.paint("the same in several cases", "bold")
            for one in common:
                yield from self.difference(one.difference, one)

    def case(self, case: Matched, mine: Sequence[Difference]) -> Iterator[str]:
        more = len(case.differences) - len(mine)
        counts = plural(len(mine), "difference") + (f", and {more} that other cases have too" if more else "")
        repeats = [f"{letter} {len(runs)}" for letter, runs in zip(self.letters, case.runs, strict=True)
                   if len(runs) > 1]  # fmt: skip
        shown = f"  (runs: {', '.join(repeats)})" if repeats else ""
        yield ""
        yield f"{self.paint(clean(case.name), 'bold')}  {counts if case.differences else 'no difference'}{shown}"
        if said := words.digest(case):
            yield from self.said(said, "  ", "    ")
        for why in case.broken if self.verbose else case.broken[:2]:
            yield from self.said(f"not read: {why}", "  ")
        for claim, differences in words.by_claim(mine).items():
            yield from self.claim(claim, differences)

    @property
    def letters(self) -> list[str]:
        return [one.letter for one in self.comparison.sides]

    def claim(self, claim: str, differences: Sequence[Difference]) -> Iterator[str]:
        statement = self.comparison.statements.get(claim, "")
        yield f"  {self.paint(clean(claim) or 'no claim speaks of', 'bold')}"
        if statement:
            yield from self.said(statement, "    ")
        yield from self.costs([one for one in differences if one.topic is Topic.COST])
        others = [one for one in differences if one.topic is not Topic.COST]
        for place, one in enumerate(others):
            told = place > 0 and others[place - 1].reasons == one.reasons and bool(one.reasons)
            yield from self.difference(one, again=told)

    def costs(self, differences: Sequence[Difference]) -> Iterator[str]:
        """A line for each window whose instructions were counted."""
        if not differences:
            return
        rows = [(clean(one.what, 64) + (f" at {clean(spot.at, 64)}" if len(one.spots) > 1 else ""),
                 *(value or "-" for value in spot.values), words.costs(one, place))
                for one in differences for place, spot in enumerate(one.spots)]  # fmt: skip
        rows.insert(0, ("cost in instructions", *self.letters, ""))
        wide = [max(_columns(row[place]) for row in rows) for place in range(len(rows[0]))]
        for row in rows:
            cells = [pad(row[0], wide[0]), *(f"{cell:>{wide[place]}}" for place, cell in enumerate(row[1:], 1))]
            yield cut("    " + "  ".join(cells).rstrip(), self.width)

    def difference(self, one: Difference, common: words.Shared | None = None, *,
                   again: bool = False) -> Iterator[str]:
        head = f"{one.topic.value}: {one.what}"
        if common and one.claim:
            head += f" ({one.claim})"
        yield from self.said(head, "    ")
        if common and common.alike:
            yield from self.said(words.in_cases(common), "      ")
        groups = words.groups(one)
        shown = groups if self.verbose else groups[:SPOTS]
        for values, ats in shown:
            for place in words.where(one, values, ats, len(ats) if self.verbose else 4, common):
                yield from self.said(place, "      ", "        ")
            for letter, value in zip(self.letters, words.values(values), strict=True):
                lines = self.said(value, f"        {self.paint(letter, 'cyan')}  ", "           ")
                yield from lines if self.verbose or len(lines) <= LINES else [*lines[:LINES], "           ..."]
        if len(groups) > len(shown):
            yield f"      and {plural(len(groups) - len(shown), 'more place')} (-v)"
        yield from self.reasons(one.reasons, again)

    def reasons(self, reasons: Sequence[Reason], again: bool) -> Iterator[str]:
        if not reasons:
            yield f"      {self.paint('unexplained', 'yellow')}"
        elif again:
            yield "      for the same reason"
        for reason in reasons if not again else ():
            sides = "" if len(reason.sides) == len(self.comparison.sides) else f" {', '.join(reason.sides)}"
            head = f"      {self.paint('because', 'green')}{self.paint(sides, 'cyan')}  "
            yield from self.said(reason.because, head, " " * 15)
            yield from self.said(f"source {reason.source}", " " * 15)[: None if reason.source else 0]

    def foot(self) -> Iterator[str]:
        comparison = self.comparison
        yield ""
        for letter, case in comparison.alone:
            yield from self.said(f"only in {letter}: {case}")
        for path, why in comparison.left_out if self.verbose else comparison.left_out[:5]:
            yield from self.said(f"left out: {path}: {why}", "", " " * 10)
        for sentence in words.left_out(comparison):
            yield from self.said(sentence)
        verdict = self.paint(words.verdict(comparison), "bold", "yellow" if comparison.exit_code else "green")
        yield from self.said(words.counted(comparison), f"{verdict}  ")

    def said(self, text: str, first: str = "", then: str | None = None) -> list[str]:
        """Lines of text; what a guest said in it can do nothing."""
        indent = " " * _columns(first) if then is None else then
        return _painted(wrap(clean(text, LIMIT), self.width, " " * _columns(first), indent), first)


_CODE = re.compile(r"\x1b\[[0-9;]*m")


def _columns(text: str) -> int:
    """The width of a text of ours that may be painted."""
    return len(_CODE.sub("", text))


def _painted(lines: list[str], first: str) -> list[str]:
    return [first + lines[0][_columns(first):], *lines[1:]] if lines else [first]
