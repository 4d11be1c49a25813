"""What comes of a search: candidates in order, what each was found to be, and where that changes. Frozen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from orchestrator.bisection.question import Question
from orchestrator.bisection.search import Flip, Mark, Search, State
from orchestrator.model import Finding, Outcome

KERNEL, USERLAND = "kernel", "userland"


@dataclass(frozen=True)
class Candidate:
    """A kernel or a userland: its name in the catalogue or its absolute path, and the version that it is ordered by."""

    name: str
    version: str

    @property
    def label(self) -> str:
        """The name where there is little room: of a path the last part."""
        return Path(self.name).name


@dataclass(frozen=True)
class Trial:
    """One candidate that was tried. Without ``directory`` nothing was run; ``why`` says the reason."""

    index: int  # of the candidate
    mark: Mark
    why: str
    directory: Path | None = None
    release: str = ""  # as measured in the guest, as is glibc
    glibc: str = ""
    exit_code: int = 3
    seconds: float = 0.0
    findings: tuple[Finding, ...] = ()
    variant: str | None = None


@dataclass(frozen=True)
class Bisection:
    """A search, as far as it came. ``beside``: the userland of kernels, the kernel of userlands."""

    scenario: str
    question: Question
    axis: str  # KERNEL or USERLAND
    beside: str
    candidates: tuple[Candidate, ...]
    every: bool = False
    trials: tuple[Trial, ...] = ()  # in the order in which they were made
    interrupted: bool = False
    directory: Path | None = None
    lab: str = ""

    @property
    def search(self) -> Search:
        """The search that knows of all trials."""
        return Search(len(self.candidates), {one.index: one.mark for one in self.trials}, self.every)

    @property
    def state(self) -> State:
        """What is known."""
        return self.search.state

    @property
    def exit_code(self) -> int:
        """0 a boundary was found, 1 there is none from good to bad, 3 an end could not be judged, 130 interrupted."""
        if self.interrupted:
            return 130
        return {State.FOUND: 0, State.OPEN: 3, State.UNJUDGED: 3}.get(self.state, 1)

    def trial(self, index: int) -> Trial | None:
        """The trial of a candidate, if there was one."""
        return next((one for one in self.trials if one.index == index), None)

    def sides(self, flip: Flip) -> tuple[Trial, Trial]:
        """The trials on both sides of a flip."""
        before, after = self.trial(flip.before), self.trial(flip.after)
        assert before is not None and after is not None
        return before, after

    def changed(self, flip: Flip) -> tuple[tuple[Finding | None, Finding | None], ...]:
        """The findings that make the difference, of both sides: that of the question, else all with another outcome.
        What a crash kept from being evaluated is not among them."""
        before, after = self.sides(flip)
        return tuple(self._changed(before, after))

    def _changed(self, before: Trial, after: Trial) -> Iterator[tuple[Finding | None, Finding | None]]:
        then = {one.id: one for one in after.findings}
        name = self.question.id
        for one in before.findings:
            other = then.get(one.id)
            if one.id == name or (not name and other is not None and _differ(one, other)):
                yield one, other
        known = {one.id for one in before.findings}
        for other in after.findings if not name else ():  # built-in ones, for a checkpoint that was not reached
            if other.id not in known and other.outcome is Outcome.FAIL:
                yield None, other

    def known(self, flip: Flip) -> tuple[tuple[Finding, Finding], ...]:
        """What the scenario knows to be otherwise on both sides of a flip, and speaks of a value that makes it."""
        values = {part.text for pair in self.changed(flip) for one in pair if one for part in one.operands}
        return tuple((one, other) for one, other in _forms(*self.sides(flip)) if one.id != self.question.id
                     and any(part.text in values for part in (*one.operands, *other.operands)))  # fmt: skip

    def other_forms(self) -> tuple[tuple[Finding, Finding], ...]:
        """What passed at both ends in another variant at each: where ends are alike, that is what differs."""
        first, last = self.trial(0), self.trial(len(self.candidates) - 1)
        if first is None or last is None:
            return ()
        name = self.question.id
        return tuple(pair for pair in _forms(first, last) if name in ("", pair[0].id))


def _forms(before: Trial, after: Trial) -> Iterator[tuple[Finding, Finding]]:
    """What passed in both, in another variant in each."""
    then = {one.id: one for one in after.findings if one.outcome is Outcome.PASS}
    for one in before.findings:
        other = then.get(one.id)
        if one.outcome is Outcome.PASS and other is not None and one.when != other.when:
            yield one, other


def _differ(one: Finding, other: Finding) -> bool:
    return one.outcome is not other.outcome and Outcome.FAIL in (one.outcome, other.outcome)
