"""A search for a terminal: each candidate with its answer, where that changes, and what is known of that. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from orchestrator.bisection.model import Bisection
from orchestrator.bisection.search import Flip, Mark, State
from orchestrator.model import Evidence, Finding, Operand
from orchestrator.report import bisect_words as words
from orchestrator.report.finding_text import place
from orchestrator.report.text import Paint, clean, flow, pad, seconds, wrap

SHOWN = 5  # findings of a boundary, and forms of which ends differ; all with ``verbose``
VALUES = 8  # operands of a finding; all with ``verbose``
_COLOURS = {Mark.GOOD: "green", Mark.BAD: "red", Mark.SKIP: "yellow"}


def render(found: Bisection, *, width: int = 80, colour: bool = False, verbose: bool = False) -> str:
    """The whole search; ``verbose``: every finding and value, and the lines of evidence."""
    page = _Page(found, width, Paint(colour), verbose)
    sections = (page.head(), page.row(), page.conclusion(), *map(page.flip, found.search.flips), page.forms(),
                page.foot())  # fmt: skip
    return "\n\n".join(text for lines in sections if (text := "\n".join(lines).strip("\n"))) + "\n"


class _Page:
    """One rendering."""

    def __init__(self, found: Bisection, width: int, paint: Paint, verbose: bool) -> None:
        self.found, self.width, self.paint, self.verbose = found, width, paint, verbose
        self.columns = max(len(clean(one.label, 40)) for one in found.candidates)

    def head(self) -> Iterator[str]:
        for line in wrap(clean(words.headline(self.found), 2000), self.width, then="  "):
            yield self.paint(line, "bold")

    def row(self) -> Iterator[str]:
        """A candidate each, in order: its answer, and where its run is."""
        for index, one in enumerate(self.found.candidates):
            trial = self.found.trial(index)
            name = pad(clean(one.label, 40), self.columns)
            if trial is None:
                yield f"-     {name}  not tried"
                continue
            first, *rest = wrap(clean(trial.why, 600), self.width, f"{trial.mark:<4}  {name}  ")
            yield self.paint(first[:4], _COLOURS[trial.mark], "bold") + first[4:]
            yield from rest[:3]
            if trial.directory is not None:
                yield f"      {' ' * self.columns}  {clean(str(trial.directory), 4096)}"

    def conclusion(self) -> Iterator[str]:
        for sentence in words.conclusion(self.found):
            yield from wrap(clean(sentence, 2000), self.width)

    def flip(self, one: Flip) -> Iterator[str]:
        """What makes the difference there, on both sides."""
        changed = self.found.changed(one)
        shown = changed if self.verbose else changed[:SHOWN]
        for place_, (before, after) in enumerate(shown):
            if place_:
                yield ""
            yield from self.pair((one.before, before), (one.after, after))
        if len(shown) < len(changed):
            yield f"and {len(changed) - len(shown)} more that changed there (-v)"
        yield from self.several("What the scenario knows of it:", self.found.known(one), (one.before, one.after))

    def forms(self) -> Iterator[str]:
        """Where both ends are good: what holds at each in a form of its own."""
        forms = self.found.other_forms() if self.found.state is State.GOOD else ()
        yield from self.several("Not all of it holds at both ends in the same form:", forms,
                                (0, len(self.found.candidates) - 1))  # fmt: skip

    def several(self, title: str, pairs: Sequence[tuple[Finding, Finding]], at: tuple[int, int]) -> Iterator[str]:
        """Findings of two candidates below a title; nothing if there are none."""
        if not pairs:
            return
        yield from ("", title)
        shown = pairs if self.verbose else pairs[:SHOWN]
        for before, after in shown:
            yield ""
            yield from self.pair((at[0], before), (at[1], after))
        if len(shown) < len(pairs):
            yield f"and {len(pairs) - len(shown)} more (-v)"

    def pair(self, *sides: tuple[int, Finding | None]) -> Iterator[str]:
        """A finding on both sides: what they have in common once, then what is of each."""
        there = [one for _, one in sides if one is not None]
        yield from self.title(there[0])
        common = len({(one.when, one.check, one.because, one.source) for one in there}) == 1
        if common:
            yield from self.form(there[0], "  ")
        for index, one in sides:
            label = pad(clean(self.found.candidates[index].label, 40), self.columns)
            if one is None:
                yield f"  {label}  not among its findings"
                continue
            message = f": {one.message}" if one.message else ""
            yield from wrap(clean(f"{one.outcome}{message}", 600), self.width, f"  {label}  ")
            indent = " " * (self.columns + 4)
            if not common:
                yield from self.form(one, indent)
            yield from self.values(one, indent)

    def title(self, one: Finding) -> Iterator[str]:
        claim = f" ({clean(one.claim, 64)})" if one.claim else ""
        at = f" at {clean(one.at, 64)}" if one.at else ""
        yield self.paint(f"{clean(one.id, 80)}{claim}{at}", "bold")

    def form(self, one: Finding, indent: str) -> Iterator[str]:
        for label, text in (("when", one.when), ("check", one.check), ("because", one.because), ("source", one.source)):
            if text.strip():
                yield from wrap(clean(" ".join(text.split()), 2000), self.width, f"{indent}{label:<9}")

    def values(self, one: Finding, indent: str) -> Iterator[str]:
        shown = one.operands if self.verbose else one.operands[:VALUES]
        for operand in shown:
            yield from self.value(operand, indent)
        if len(shown) < len(one.operands):
            yield f"{indent}and {len(one.operands) - len(shown)} more values (-v)"

    def value(self, operand: Operand, indent: str) -> Iterator[str]:
        yield from wrap(f"{clean(operand.text)} = {clean(operand.value)}", self.width, indent, indent + "  ")
        if operand.remark:
            yield from wrap(f"({clean(operand.remark, 1000)})", self.width, indent + "  ")
        for line in operand.evidence if self.verbose else ():
            yield from self.evidence(line, indent + "  ")

    def evidence(self, line: Evidence, indent: str) -> Iterator[str]:
        for text in wrap(place(line), self.width, indent, indent + "  "):
            yield self.paint(text, "cyan")

    def foot(self) -> Iterator[str]:
        for hint in words.hints(self.found):
            yield from flow(clean(hint, 9000).split(" "), self.width, "", "  ", gap=" ", whole=True)
        word = words.verdict(self.found)
        took = sum(one.seconds for one in self.found.trials)
        exit_ = [f"exit {self.found.exit_code}"] if self.found.exit_code else []
        where = clean(str(self.found.directory or "no directory"), 4096)
        parts = [words.count(self.found), seconds(took), *exit_, where]
        first, *rest = flow(parts, self.width, f"{word}  ", "  ", gap=", ", whole=True)
        yield self.paint(word, "bold", "green" if not self.found.exit_code else "yellow") + first[len(word) :]
        yield from rest
