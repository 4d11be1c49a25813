"""A comparison for a terminal: the sides, then what differs by case and claim, with the reason. Pure."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence

from orchestrator.comparison.model import Comparison, Difference, Matched, Reason, Topic
from orchestrator.report import compare_room
from orchestrator.report import compare_words as words
from orchestrator.report.text import Paint, clean, cut, pad, plural, wrap

SPOTS, LINES, SHORT = 3, 3, 1000  # groups of places, lines of a value, characters of a text, without ``verbose``
LIMIT = 4000  # characters of a text in any case
PAGE_LINES = 2500  # of cases and differences, without ``verbose``
LISTED = 12  # settings of a side, cases without a counterpart; of runs that were left out five
MORE = "(-v; all: --json FILE)"


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
            yield from self.listed(one.settings, LISTED, ("more setting", ""), "   ")
        yield from self.said(f"cases are {self.comparison.rule}")

    def body(self) -> Iterator[str]:
        cases, common = self.comparison.cases, words.shared(self.comparison)
        kept = compare_room.kept(
            self.comparison, common, sys.maxsize if self.verbose else PAGE_LINES,
            frame=lambda at: self.size(self.case(cases[at], (), 1)) + 1,
            head=lambda claim: self.size(self.claim(claim, ())) + 1, size=self.lines_of)  # fmt: skip
        short = False  # the case before, a line
        for at in kept.cases:
            lines = list(self.case(cases[at], kept.own[at], kept.left[at]))
            if not (short and len(lines) == 1):
                yield ""
            yield from lines
            short = len(lines) == 1
        if unnamed := [case for at, case in enumerate(cases) if at not in set(kept.cases)]:
            differing = plural(sum(len(case.differences) for case in unnamed), "difference")
            yield from ("", f"... and {plural(len(unnamed), 'more case')} with {differing} {MORE}")
        if common:
            yield ""
            yield self.paint("the same in several cases", "bold")
            for cases_, costs in _by_cases(kept.common).items():
                yield from self.said(cases_, "    ")
                yield from self.costs([one.difference for one in costs], claims=True)
            for one in kept.common:
                if one.difference.topic is not Topic.COST:
                    yield from self.difference(one.difference, one)
            if kept.common_left:
                yield f"    ... and {plural(kept.common_left, 'more difference')} {MORE}"

    def lines_of(self, one: Difference, common: words.Shared | None) -> int:
        """How many lines a difference takes."""
        if one.topic is Topic.COST:
            return 0 if self.verbose else len(one.spots) + 2 * bool(common)
        return self.size(self.difference(one, common))

    def size(self, lines: Iterator[str]) -> int:
        """How many lines they are; with ``verbose`` none counts."""
        return 0 if self.verbose else sum(1 for _ in lines)

    def listed(self, items: Sequence[str], most: int, what: tuple[str, str], first: str = "",
               then: str | None = None) -> Iterator[str]:
        """The first items, and how many more there are; with ``verbose`` all."""
        for item in items if self.verbose else items[:most]:
            yield from self.said(item, first, then)
        if len(items) > most and not self.verbose:
            yield f"{first}... and {plural(len(items) - most, *what)} {MORE}"

    def case(self, case: Matched, mine: Sequence[Difference], left: int) -> Iterator[str]:
        more = len(case.differences) - len(mine) - left
        counts = words.counts(len(mine) + left, more)
        repeats = [f"{letter} {len(runs)}" for letter, runs in zip(self.letters, case.runs, strict=True)
                   if len(runs) > 1]  # fmt: skip
        shown = f"  (runs: {', '.join(repeats)})" if repeats else ""
        yield f"{self.paint(clean(case.name), 'bold')}  {counts}{shown}"
        if said := words.digest(case):
            yield from self.said(said, "  ", "    ")
        yield from self.listed([f"not read: {why}" for why in case.broken], 2, ("more such message", ""), "  ")
        for claim, differences in words.by_claim(mine).items():
            yield from self.claim(claim, differences)
        if left:
            yield f"  ... and {plural(left, 'more difference')} {MORE}"

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

    def costs(self, differences: Sequence[Difference], *, claims: bool = False) -> Iterator[str]:
        """A line for each window whose instructions were counted; with ``claims`` also which speaks of it."""
        if not differences:
            return
        rows = [(clean(one.what, 64) + (f" at {clean(spot.at, 64)}" if len(one.spots) > 1 else ""),
                 *(value or "-" for value in spot.values), words.costs(one, place),
                 f"({clean(one.claim, 64)})" if claims and one.claim else "")
                for one in differences for place, spot in enumerate(one.spots)]  # fmt: skip
        rows.insert(0, ("cost in instructions", *self.letters, "", ""))
        wide = [max(_columns(row[place]) for row in rows) for place in range(len(rows[0]))]
        for row in rows:
            numbers = (f"{cell:>{wide[place]}}" for place, cell in enumerate(row[1:-1], 1))
            cells = [pad(row[0], wide[0]), *numbers, row[-1]]
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
            for letter, value in zip(self.letters, values, strict=True):
                yield from self.value(letter, words.shown(value, one.topic))
        if len(groups) > len(shown):
            yield f"      and {plural(len(groups) - len(shown), 'more place')} (-v)"
        yield from self.reasons(one.reasons, again)

    def value(self, letter: str, value: str) -> Iterator[str]:
        most = len(value) if self.verbose else min(4 * LINES * self.width, SHORT)  # more than the lines hold
        lines = self.said(value[:most], f"        {self.paint(letter, 'cyan')}  ", "           ")
        yield from lines if self.verbose else lines[:LINES]
        if not self.verbose and (len(lines) > LINES or len(value) > most):
            yield "           ..."

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
        alone = [f"only in {letter}: {case}" for letter, case in comparison.alone]
        yield from self.listed(alone, LISTED, ("more case without a counterpart", "more cases without a counterpart"))
        yield from self.listed([f"left out: {path}: {why}" for path, why in comparison.left_out], 5,
                               ("more run left out", "more runs left out"), "", " " * 10)  # fmt: skip
        for sentence in words.left_out(comparison):
            yield from self.said(sentence)
        verdict = self.paint(words.verdict(comparison), "bold", "yellow" if comparison.exit_code else "green")
        yield from self.said(words.counted(comparison), f"{verdict}  ")

    def said(self, text: str, first: str = "", then: str | None = None) -> list[str]:
        """Lines of text; what a guest said in it can do nothing."""
        indent = " " * _columns(first) if then is None else then
        shown = clean(text, LIMIT if self.verbose else SHORT)
        return _painted(wrap(shown, self.width, " " * _columns(first), indent), first)


def _by_cases(common: Sequence[words.Shared]) -> dict[str, list[words.Shared]]:
    """The costs, by the cases that have them in common."""
    found: dict[str, list[words.Shared]] = {}
    for one in common:
        if one.difference.topic is Topic.COST:
            found.setdefault(words.in_cases(one), []).append(one)
    return found


_CODE = re.compile(r"\x1b\[[0-9;]*m")


def _columns(text: str) -> int:
    """The width of a text of ours that may be painted."""
    return len(_CODE.sub("", text))


def _painted(lines: list[str], first: str) -> list[str]:
    return [first + lines[0][_columns(first):], *lines[1:]] if lines else [first]
