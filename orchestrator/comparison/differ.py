"""What differs between the runs of one case on several sides. Pure.

Runs with the same identity are repeats, also across sides: what varies between them is noise, and compared nowhere in
that case. Never noise are the outcome and the form of a finding, how a run ended, which checkpoints it reached, and
whether a mapping is there at all. What is not steady is compared only where repeats show that it does not vary. Of a
copy of the same run everything is compared, as it stands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cached_property

from orchestrator.comparison import reasons
from orchestrator.comparison.gather import Items, gathered
from orchestrator.comparison.model import NOT_THERE, VALUE_OF, Comparison, Difference, Matched, Seen, Side, Spot, Topic
from orchestrator.comparison.subject import BY_CHANCE, Name, Subject, form
from orchestrator.digest import take
from orchestrator.errors import UsageError
from orchestrator.model import Finding, Outcome

MAX_SHOWN = 2000  # characters of a value
ABSENT = ""
_ALWAYS = (Topic.ENDING, Topic.CHECKPOINT)
_PRESENCE = (Topic.MAPPING, Topic.THREAD)
_EVERYWHERE = (Topic.RESIDENT, Topic.KERNEL)  # what varies here at one checkpoint may at any


def compare(sides: Sequence[Side], rule: str, cases: Sequence[Matched], alone: Iterable[tuple[str, str]] = (),
            left_out: Iterable[tuple[str, str]] = (), told: Callable[[str], None] = lambda _: None) -> Comparison:
    """The whole comparison. ``told`` hears the name of each case before it is read. Raises UsageError where there is
    nothing that could be compared."""
    letters = [side.letter for side in sides]
    done = []
    for case in cases:
        told(case.name)
        done.append(_Case(case, letters).done())
    if not any(case.compared for case in done):
        raise UsageError("there is nothing to compare in these runs: no finding and no evidence")
    return Comparison(tuple(sides), rule, tuple(done), tuple(alone), tuple(left_out))


class _Case:
    """One case of the comparison."""

    def __init__(self, case: Matched, letters: Sequence[str]) -> None:
        self.case = case
        self.letters = letters
        self.sides = [[Subject(one) for one in members] for members in case.runs]
        self.runs = [run for side in self.sides for run in side]
        self.compared = self.chance = self.noise = 0

    @cached_property
    def copies(self) -> bool:
        """Whether all sides are the very same runs."""
        stamps = [{run.stamp for run in side} for side in self.sides if side]
        return all(stamp == stamps[0] for stamp in stamps[1:])

    @cached_property
    def repeats(self) -> list[list[Subject]]:
        """Runs that are repeats of each other, where there are two or more; a copy is no repeat."""
        groups: dict[str, dict[tuple[object, ...], Subject]] = {}
        for run in self.runs:
            groups.setdefault(run.member.identity, {})[run.stamp] = run
        return [list(group.values()) for group in groups.values() if len(group) > 1]

    @cached_property
    def repeated(self) -> bool:
        """Whether each side that has the case has repeats of a run: what chance decides is known nowhere else."""
        known = {id(run) for group in self.repeats for run in group}
        return all(any(id(run) in known for run in side) for side in self.sides if side)

    def done(self) -> Matched:
        """The case with all that differs."""
        found = list(self._findings())
        more, derived = gathered(self._observations(), self._telling, self.sides, self.letters)
        broken = dict.fromkeys(f"{run.member.path}: {why}" for run in self.runs for why in run.reading.broken)
        return replace(self.case, differences=(*found, *more), compared=self.compared, noise=self.noise,
                       chance=self.chance, derived=derived, broken=tuple(broken)[:40],
                       digest=self._digest(), apart=self._apart())  # fmt: skip

    # -- digests ---------------------------------------------------------------------------------

    def _digest(self) -> str:
        """The digest of all runs, if they have the same one."""
        found = {run.digest and (run.digest.scheme, run.digest.sha256) for run in self.runs}
        one = found.pop()
        return one[1] if one and not found else ""

    def _apart(self) -> tuple[str, ...]:
        """The parts in which digests differ of runs that are repeats, which should have the same."""
        found: dict[str, None] = {}
        for group in self.repeats:
            digests = [run.digest for run in group if run.digest]
            for other in digests[1:]:
                if other.scheme == digests[0].scheme:
                    found.update(dict.fromkeys(take.differences(digests[0], other)))
        return tuple(found)

    # -- findings --------------------------------------------------------------------------------

    def _ids(self) -> list[str]:
        return list(dict.fromkeys(name for run in self.runs for name in run.findings))

    def _findings(self) -> Iterable[Difference]:
        for name in self._ids():
            self.compared += 1
            by_side = [[run.findings.get(name) for run in side] for side in self.sides]
            forms = [{form(one) for one in side} for side in by_side if side]
            if any(one != forms[0] for one in forms):
                yield self._finding(name, by_side)

    def _finding(self, name: str, by_side: Sequence[Sequence[Finding | None]]) -> Difference:
        there = self._there(name)
        one = next(found for _, side in there for found in side)
        spots = (Spot(one.at, tuple(map(_words, by_side))), *self._values(name))
        forms = [(letter, {form(found) for found in side}) for letter, side in there]
        known = reasons.holding(reasons.of_forms(there), [forms]) if _explained(there) else ()
        lines = tuple((letter, operand.evidence[0]) for letter, side in there for found in side[:1]
                      for operand in found.operands if operand.evidence)  # fmt: skip
        return Difference(Topic.FINDING, name, spots, one.claim, name, (), known, lines[:12])

    def _values(self, name: str) -> Iterable[Spot]:
        """The operands of a check that does not come out alike, with the values that are not alike."""
        if len({one.check for run in self.runs if (one := run.findings.get(name))}) > 1:
            return
        for key in self._operands.get(name, ()):
            values = tuple(_joined([run.seen(key) for run in side]) for side in self.sides)
            if len(set(values)) > 1:
                yield Spot(f"{VALUE_OF}{key[2].partition(': ')[2]}", values)

    @cached_property
    def _operands(self) -> dict[str, dict[Name, None]]:
        """The operands that are no mere chance, by finding."""
        found: dict[str, dict[Name, None]] = {}
        for key in (key for run in self.runs for key in run.values):
            finding, _, operand = key[2].partition(": ")
            if not BY_CHANCE.search(operand):
                found.setdefault(finding, {})[key] = None
        return found

    def _there(self, name: str) -> list[tuple[str, list[Finding]]]:
        """What each side's runs found for an expectation."""
        return [(letter, [run.findings[name] for run in side if name in run.findings])
                for letter, side in zip(self.letters, self.sides, strict=True) if side]  # fmt: skip

    @cached_property
    def _telling(self) -> dict[str, list[tuple[str, list[Finding]]]]:
        """The expectations that hold in several forms here, by id."""
        found = {name: self._there(name) for name in self._ids()}
        return {name: there for name, there in found.items()
                if _explained(there) and len({form(one) for _, side in there for one in side}) > 1}  # fmt: skip

    # -- observations ----------------------------------------------------------------------------

    def _observations(self) -> Items:
        """What differs, by topic and thing: each place, with an example of each side."""
        found: Items = {}
        names = list(dict.fromkeys(name for run in self.runs for name in (*run.observations, *self._same_form(run))))
        varying = self._varying(names)
        for name in names:
            seen = [[run.seen(name) for run in side] for side in self.sides]
            if self._skipped(name, seen, varying):
                continue
            self.compared += 1
            values = [{one.value if one else ABSENT for one in side} for side in seen if side]
            if all(value == values[0] for value in values) or self._limited(name, values):
                continue
            topic, at, what = name
            if topic is Topic.VALUE:  # of one finding together: the operand takes the place of the checkpoint
                what, _, at = what.partition(": ")
            elif topic is Topic.TRACE:  # of one function together: the window takes it
                at, _, what = what.partition(": ")
            examples = [next((one for one in side if one), None) for side in seen]
            found.setdefault((topic, what), []).append((Spot(at, tuple(map(_joined, seen))), examples))
        return found

    def _same_form(self, run: Subject) -> Iterable[Name]:
        """The values in findings of the same form on all sides: of others the finding itself is the difference."""
        return (name for name in run.values if name[2].partition(": ")[0] in self._alike)

    @cached_property
    def _alike(self) -> set[str]:
        """The findings of the same form in all runs, by id."""
        return {name for name in self._ids() if len({form(one.findings.get(name)) for one in self.runs}) == 1}

    def _varying(self, names: Sequence[Name]) -> set[Name]:
        """What varies between repeats. That something is not there is no value: it may be evidence that is gone."""
        found = {name for name in names for group in self.repeats
                 if len({one.value for run in group if (one := run.seen(name))}) > 1}  # fmt: skip
        everywhere = {(topic, what) for topic, _, what in found if topic in _EVERYWHERE}
        return found | {name for name in names if (name[0], name[2]) in everywhere}

    def _skipped(self, name: Name, seen: Sequence[Sequence[Seen | None]], varying: set[Name]) -> bool:
        """Whether it is not to be compared, and counts why."""
        if self.copies or name[0] in _ALWAYS:
            return False
        every = [one for side in seen for one in side]
        if name[0] is Topic.VALUE and BY_CHANCE.search(name[2].partition(": ")[2]):
            self.noise += 1
            return True
        if name in varying:
            if name[0] in _PRESENCE and not all(every):
                return False
            self.noise += 1
            return True
        if all(one.steady for one in every if one) or self.repeated:
            return False
        self.chance += 1
        return True

    def _limited(self, name: Name, values: Sequence[set[str]]) -> bool:
        """Whether printk's limit of lines a second left out some of a kernel log, and what is there does not differ."""
        if name[0] is not Topic.LOG or self.copies or not any(run.reading.limited for run in self.runs):
            return False
        shapes = [{shape for value in side for shape in value.split(" | ")} - {ABSENT} for side in values]
        return any(not one or not other or one & other for place, one in enumerate(shapes) for other in shapes[:place])


def _explained(there: Sequence[tuple[str, Sequence[Finding]]]) -> bool:
    """Whether forms say why: all that were evaluated pass, in forms of their own, or are skipped with a reason."""
    every = [one for _, side in there for one in side]
    if any(one.outcome in (Outcome.FAIL, Outcome.ERROR) for one in every):
        return False
    passed = {form(one) for one in every if one.outcome is Outcome.PASS}
    return len(passed) > 1 or any(one.outcome is Outcome.SKIP and one.message for one in every)


def _joined(side: Sequence[Seen | None]) -> str:
    """What a side's runs saw; several values are those of repeats."""
    return " / ".join(sorted({one.value if one else NOT_THERE for one in side})) if any(side) else ABSENT


def _words(findings: Sequence[Finding | None]) -> str:
    """What a side's runs say of one expectation: "PASS", "FAIL: does not hold", "2 × PASS / SKIP: …"."""
    counts: dict[str, int] = {}
    for one in findings:
        text = "not evaluated" if one is None else one.outcome.value
        if one is not None and one.message:
            text += f": {one.message}"
        if one is not None and one.when and one.outcome in (Outcome.PASS, Outcome.FAIL):
            text += f", when {one.when}"
        counts[text[:MAX_SHOWN]] = counts.get(text[:MAX_SHOWN], 0) + 1
    return " / ".join(text if len(counts) == 1 else f"{count} × {text}" for text, count in counts.items())
