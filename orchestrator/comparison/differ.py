"""What differs between the runs of one case on several sides. Pure.

Runs with the same identity are repeats, also across sides: what varies between them is noise, and compared nowhere in
that case. Never noise are the outcome and the form of a finding, how a run ended, which checkpoints it reached, and
whether a mapping is there at all. What is not steady is compared only where repeats show that it does not vary. Of a
copy of the same run everything is compared, as it stands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from orchestrator.comparison import reasons
from orchestrator.comparison.model import Comparison, Difference, Matched, Member, Seen, Side, Spot, Topic
from orchestrator.comparison.places import Regions, relative
from orchestrator.comparison.reasons import Citations
from orchestrator.comparison.seen import Reading
from orchestrator.errors import UsageError
from orchestrator.model import Evidence, Finding, Outcome

MAX_SHOWN = 2000  # characters of a value
ABSENT = ""
_ALWAYS = (Topic.ENDING, Topic.CHECKPOINT)
_PRESENCE = (Topic.MAPPING, Topic.THREAD)
# sums of what is listed by itself: of mappings, and of their resident pages
_OF_MAPPINGS = frozenset({"VmSize", "VmData", "VmStk", "VmExe", "VmLib", "mm.map_count"})
_OF_RESIDENT = frozenset({"VmRSS", "RssAnon", "RssFile", "RssShmem", "Rss (smaps_rollup)", "Anonymous (smaps_rollup)",
                          "mm.rss_anon", "mm.rss_file", "mm.rss_shmem"})  # fmt: skip

Name = tuple[Topic, str, str]  # topic, checkpoint, what


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


@dataclass
class _Run:
    """One run of a case, read."""

    member: Member
    reading: Reading

    @cached_property
    def citations(self) -> Citations:
        return Citations(self.reading)

    @cached_property
    def stamp(self) -> tuple[object, ...]:
        """What no two runs have in common."""
        record = self.reading.run.record
        return record.started, record.seconds, tuple(one.seconds for one in record.checkpoints)

    @cached_property
    def observations(self) -> dict[Name, Seen]:
        return {(one.topic, one.at, one.what): one for one in self.reading.seen}

    @cached_property
    def findings(self) -> dict[str, Finding]:
        return {one.id: one for one in self.reading.run.record.findings}

    @cached_property
    def values(self) -> dict[Name, Seen]:
        """The operands of findings, made comparable."""
        found: dict[Name, Seen] = {}
        for finding in self.findings.values():
            for operand in finding.operands:
                value = relative(operand.value, self._spaces(finding.at))
                evidence = operand.evidence[0] if operand.evidence else None
                name = f"{finding.id}: {operand.text}"
                found[Topic.VALUE, finding.at, name] = Seen(Topic.VALUE, name, finding.at, value, False, evidence)
        return found

    def _spaces(self, at: str) -> list[Regions]:
        spaces = self.reading.spaces
        return [*([spaces[at]] if at in spaces else ()), *(one for label, one in spaces.items() if label != at)]


class _Case:
    """One case of the comparison."""

    def __init__(self, case: Matched, letters: Sequence[str]) -> None:
        self.case = case
        self.letters = letters
        self.sides = [[_Run(one, Reading(one.path)) for one in members] for members in case.runs]
        self.runs = [run for side in self.sides for run in side]
        self.noise: set[Name] = set()
        self.compared = self.chance = self.derived = self.left = 0

    @cached_property
    def copies(self) -> bool:
        """Whether each side has the very same runs."""
        stamps = [{run.stamp for run in side} for side in self.sides]
        return all(stamp == stamps[0] for stamp in stamps[1:])

    @cached_property
    def repeats(self) -> list[list[_Run]]:
        """Runs that are repeats of each other, where there are two or more; a copy is no repeat."""
        groups: dict[str, dict[tuple[object, ...], _Run]] = {}
        for run in self.runs:
            groups.setdefault(run.member.identity, {})[run.stamp] = run
        return [list(group.values()) for group in groups.values() if len(group) > 1]

    def done(self) -> Matched:
        """The case with all that differs."""
        found = [*self._findings(), *self._observations()]
        broken = dict.fromkeys(f"{run.member.path}: {why}" for run in self.runs for why in run.reading.broken)
        return replace(self.case, differences=tuple(found), compared=self.compared, noise=self.left,
                       chance=self.chance, derived=self.derived, broken=tuple(broken)[:40])  # fmt: skip

    # -- findings --------------------------------------------------------------------------------

    def _findings(self) -> Iterable[Difference]:
        ids = dict.fromkeys(name for run in self.runs for name in run.findings)
        for name in ids:
            self.compared += 1
            by_side = [[run.findings.get(name) for run in side] for side in self.sides]
            forms = [{_form(one) for one in side} for side in by_side]
            if any(form != forms[0] for form in _present(forms)):
                yield self._finding(name, by_side)

    def _finding(self, name: str, by_side: Sequence[Sequence[Finding | None]]) -> Difference:
        there = [(letter, [one for one in side if one]) for letter, side in zip(self.letters, by_side, strict=True)]
        one = next(found for _, side in there for found in side)
        spot = Spot(one.at, tuple(_words(side, run) for side, run in zip(by_side, self.sides, strict=True)))
        known = reasons.of_forms(there) if self._explained(there) else ()
        lines = tuple((letter, e) for letter, side in there for f in side[:1] for o in f.operands for e in o.evidence[:1])
        return Difference(Topic.FINDING, name, (spot,), one.claim, name, (), known, lines[:12])

    @staticmethod
    def _explained(there: Sequence[tuple[str, Sequence[Finding]]]) -> bool:
        """Whether forms say why: all that were evaluated pass, in forms of their own, or are skipped with a reason."""
        every = [one for _, side in there for one in side]
        if any(one.outcome in (Outcome.FAIL, Outcome.ERROR) for one in every):
            return False
        passed = {(one.when, one.check) for one in every if one.outcome is Outcome.PASS}
        return len(passed) > 1 or any(one.outcome is Outcome.SKIP and one.message for one in every)

    @cached_property
    def _telling(self) -> dict[str, list[tuple[str, list[Finding]]]]:
        """The findings that hold in several forms, by id."""
        found = {}
        for name in dict.fromkeys(name for run in self.runs for name in run.findings):
            there = [(letter, [run.findings[name] for run in side if name in run.findings])
                     for letter, side in zip(self.letters, self.sides, strict=True)]  # fmt: skip
            if self._explained(there) and len({_form(one) for _, side in there for one in side}) > 1:
                found[name] = there
        return found

    # -- observations ----------------------------------------------------------------------------

    def _observations(self) -> list[Difference]:
        spots: dict[tuple[Topic, str], list[tuple[Spot, list[Seen | None]]]] = {}
        names = dict.fromkeys(name for run in self.runs for name in (*run.observations, *self._comparable(run)))
        varying = self._varying(names)
        for name in names:
            seen = [[self._of(run, name) for run in side] for side in self.sides]
            if self._skipped(name, seen, varying):
                continue
            self.compared += 1
            values = [{one.value if one else ABSENT for one in side} for side in seen if side]
            if all(value == values[0] for value in values[1:]) or self._limited(name, values):
                continue
            shown = tuple(" / ".join(sorted({one.value if one else "not there" for one in side})) if any(side) else ABSENT
                          for side in seen)  # fmt: skip
            spots.setdefault((name[0], name[2]), []).append(
                (Spot(name[1], shown), [next((one for one in side if one), None) for side in seen]))  # fmt: skip
        return self._gathered(self._underived(spots))

    def _of(self, run: _Run, name: Name) -> Seen | None:
        return run.values.get(name) if name[0] is Topic.VALUE else run.observations.get(name)

    def _comparable(self, run: _Run) -> Iterable[Name]:
        """The values in findings that have the same form on all sides: of others the finding itself is the difference."""
        return (name for name in run.values if len({_form(one.findings.get(name[2].partition(": ")[0]))
                                                    for one in self.runs}) == 1)  # fmt: skip

    def _varying(self, names: Iterable[Name]) -> set[Name]:
        """What varies between repeats; of what is not steady, then at every checkpoint."""
        found = {name for name in names for group in self.repeats
                 if len({one.value if (one := self._of(run, name)) else ABSENT for run in group}) > 1}  # fmt: skip
        everywhere = {(topic, what) for topic, at, what in found if topic in (Topic.RESIDENT, Topic.KERNEL)}
        return found | {name for name in names if (name[0], name[2]) in everywhere}

    def _skipped(self, name: Name, seen: Sequence[Sequence[Seen | None]], varying: set[Name]) -> bool:
        """Whether it is not to be compared, and counts why."""
        if self.copies or name[0] in _ALWAYS:
            return False
        every = [one for side in seen for one in side]
        if name in varying:
            if name[0] in _PRESENCE and not all(every):
                return False
            self.left += 1
            return True
        if all(one.steady for one in every if one) or self.repeats:
            return False
        self.chance += 1
        return True

    def _limited(self, name: Name, values: Sequence[set[str]]) -> bool:
        """Whether a kernel log is not whole, by printk's limit of lines a second, and what is there does not differ."""
        if name[0] is not Topic.LOG or self.copies or not any(run.reading.limited for run in self.runs):
            return False
        shapes = [{shape for value in side for shape in value.split(" | ")} - {ABSENT} for side in values]
        return any(not one or not other or one & other for one in shapes for other in shapes if one is not other)

    def _underived(self, spots: dict[tuple[Topic, str], list[tuple[Spot, list[Seen | None]]]]) -> \
            dict[tuple[Topic, str], list[tuple[Spot, list[Seen | None]]]]:
        """Without sums, where what they are made of is listed."""
        mapped = {spot.at for (topic, _), found in spots.items() if topic is Topic.MAPPING for spot, _ in found}
        resident = {spot.at for (topic, what), found in spots.items() if topic is Topic.RESIDENT and
                    what not in _OF_RESIDENT for spot, _ in found}  # fmt: skip
        kept = {}
        for (topic, what), found in spots.items():
            parts = mapped if what in _OF_MAPPINGS else resident if what in _OF_RESIDENT else set()
            left = [item for item in found if item[0].at not in parts]
            self.derived += len(found) - len(left)
            if left:
                kept[topic, what] = left
        return kept

    def _gathered(self, spots: dict[tuple[Topic, str], list[tuple[Spot, list[Seen | None]]]]) -> list[Difference]:
        """One difference for each thing, with all places; and what is known of it."""
        glibcs = [(letter, run.member.glibc) for letter, side in zip(self.letters, self.sides, strict=True)
                  for run in side[:1]]  # fmt: skip
        found = []
        for (topic, what), items in spots.items():
            cited = dict.fromkeys(name for _, seen in items for name in self._cited(seen))
            telling = [name for name in cited if name in self._telling]
            example = next(one for _, seen in items for one in seen if one)
            known = reasons.of_forms(self._telling[telling[0]]) if telling else reasons.of_files(example, glibcs)
            finding = what.partition(": ")[0] if topic is Topic.VALUE else ""
            claims = list(dict.fromkeys(self._claim(name) for name in [*telling, *cited, finding] if self._claim(name)))
            first = claims[0] if claims else ""
            found.append(Difference(topic, what, tuple(spot for spot, _ in items), first, finding, tuple(claims[1:]),
                                    known, self._lines(items)))  # fmt: skip
        return sorted(found, key=lambda one: list(Topic).index(one.topic))

    def _cited(self, seen: Sequence[Seen | None]) -> Iterable[str]:
        for side, one in zip(self.sides, seen, strict=True):
            if one is not None and one.topic is not Topic.VALUE:
                yield from side[0].citations.of(one)

    def _claim(self, finding: str) -> str:
        return next((run.findings[finding].claim for run in self.runs if finding in run.findings), "")

    def _lines(self, items: Sequence[tuple[Spot, Sequence[Seen | None]]]) -> tuple[tuple[str, Evidence], ...]:
        return tuple((letter, one.evidence) for _, seen in items[:1] for letter, one in
                     zip(self.letters, seen, strict=True) if one and one.evidence)  # fmt: skip


def _form(finding: Finding | None) -> tuple[str, ...]:
    return (finding.outcome.value, finding.when, finding.check) if finding else ()


def _present(forms: Sequence[set[tuple[str, ...]]]) -> Sequence[set[tuple[str, ...]]]:
    return [form for form in forms if form]


def _words(findings: Sequence[Finding | None], runs: Sequence[object]) -> str:
    """What a side's runs say of one expectation: "PASS", "FAIL: does not hold", "2 × PASS / SKIP: …"."""
    if not runs:
        return ABSENT
    counts: dict[str, int] = {}
    for one in findings:
        text = "not evaluated" if one is None else one.outcome.value
        if one is not None and one.message:
            text += f": {one.message}"
        if one is not None and one.when and one.outcome in (Outcome.PASS, Outcome.FAIL):
            text += f", when {one.when}"
        counts[text[:MAX_SHOWN]] = counts.get(text[:MAX_SHOWN], 0) + 1
    return " / ".join(text if len(counts) == 1 else f"{count} × {text}" for text, count in counts.items())

