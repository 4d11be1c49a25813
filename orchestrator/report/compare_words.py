"""Words that all forms of a comparison share: what is one thing in several cases, claims in order, sums. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from orchestrator.comparison.model import NOT_THERE, VALUE_OF, Comparison, Difference, Matched, Side, Topic
from orchestrator.report.text import plural

CASES = 12  # that are named of those which have a difference in common


@dataclass(frozen=True)
class Shared:
    """The same difference in several cases: what is the same are the values, not the places."""

    cases: tuple[tuple[Matched, Difference], ...]  # two or more
    every: int  # cases that there are

    @property
    def difference(self) -> Difference:
        """That of the first case."""
        return self.cases[0][1]

    @property
    def alike(self) -> bool:
        """Whether the places are the same, too."""
        return all(groups(one) == groups(self.difference) for _, one in self.cases)


def _key(one: Difference) -> tuple[object, ...]:
    return one.topic, one.what, one.claim, one.reasons, tuple(dict.fromkeys(spot.values for spot in one.spots))


def shared(comparison: Comparison) -> list[Shared]:
    """What differs in the same way in two cases or more, and is no finding."""
    found: dict[tuple[object, ...], list[tuple[Matched, Difference]]] = {}
    for case in comparison.cases:
        for one in case.differences:
            if one.topic is not Topic.FINDING:
                found.setdefault(_key(one), []).append((case, one))
    return [Shared(tuple(items), len(comparison.cases)) for items in found.values() if len(items) > 1]


def own(comparison: Comparison, common: Iterable[Shared]) -> list[list[Difference]]:
    """The differences of each case but for those that others have in the same way."""
    keys = {_key(one.difference) for one in common}
    return [[one for one in case.differences if _key(one) not in keys] for case in comparison.cases]


def by_claim(differences: Iterable[Difference]) -> dict[str, list[Difference]]:
    """The differences by claim, in their order; those of which no claim speaks ("") last."""
    found: dict[str, list[Difference]] = {}
    for one in differences:
        found.setdefault(one.claim, []).append(one)
    rest = found.pop("", None)
    return found if rest is None else {**found, "": rest}


def side(one: Side) -> str:
    """A side in words: "6.1 with bookworm: Linux 6.1.0-50-cloud-amd64, glibc 2.36, 9 runs"."""
    releases = list(dict.fromkeys(run.release or f"{run.kernel} (not measured)" for run in one.members))
    glibcs = list(dict.fromkeys(run.glibc or f"{run.userland} (not measured)" for run in one.members))
    measured = f"Linux {', '.join(releases[:4])}, glibc {', '.join(glibcs[:4])}"
    return f"{one.name}: {measured}, {plural(len(one.members), 'run')}"


def digest(case: Matched) -> str:
    """What the digests say; "" for nothing: other kernels or settings are other cases, with another digest."""
    if case.digest:
        return f"digest {case.digest[:16]} in all runs: their findings and normalised evidence are equal"
    if not case.apart:
        return ""
    more = f" and {len(case.apart) - 6} more" if len(case.apart) > 6 else ""
    return f"digests of repeats differ in {plural(len(case.apart), 'part')}: {'; '.join(case.apart[:6])}{more}"


def unexplained(comparison: Comparison) -> int:
    """How many differences have no known reason."""
    return sum(one.unexplained for case in comparison.cases for one in case.differences)


def costs(one: Difference, spot: int = 0) -> str:
    """How a cost compares, where there are two sides: "+19 %"; else empty."""
    if one.topic is not Topic.COST:
        return ""
    numbers = [value.replace("\u00a0", "") for value in one.spots[spot].values]
    if len(numbers) != 2 or not all(value.isdigit() for value in numbers) or int(numbers[0]) == 0:
        return ""
    return f"{100 * (int(numbers[1]) / int(numbers[0]) - 1):+.0f} %"


def verdict(comparison: Comparison) -> str:
    """ "SAME", "DIFFERENT", or that it can't be said."""
    return {0: "SAME", 1: "DIFFERENT"}.get(comparison.exit_code, "NOT ALL READ")


def counted(comparison: Comparison) -> str:
    """What came of it, in one sentence."""
    total, open_ = comparison.differences, unexplained(comparison)
    cases = plural(len(comparison.cases), "case")
    if not total:
        return f"no difference in {cases}"
    how = f"{plural(total, 'difference')} in {sum(bool(one.differences) for one in comparison.cases)} of {cases}"
    return f"{how}, {open_ or 'none'} of them unexplained"


def left_out(comparison: Comparison) -> list[str]:
    """What was not compared or not listed, and why; a sentence each."""
    cases = comparison.cases
    compared, noise, chance, derived = (sum(getattr(one, name) for one in cases)
                                        for name in ("compared", "noise", "chance", "derived"))  # fmt: skip
    found = [f"{plural(compared, 'finding and observation', 'findings and observations')} compared"]
    if noise:
        found.append(f"{plural(noise, 'value')} left out as noise: they vary between repeats, or are chance alone, as "
                     "page frames are")  # fmt: skip
    if chance:
        found.append(f"{plural(chance, 'value')} not compared: only repeats can tell them from chance (--repeat)")
    if derived:
        found.append(f"{plural(derived, 'value')} not listed: they only follow from what is")
    return found


def shown(value: str, topic: Topic | None = None) -> str:
    """What a side has, in words. Numbers of a cost are ours: their spaces may be such as a line can end at."""
    return (value.replace("\u00a0", " ") if topic is Topic.COST else value) or NOT_THERE


def counts(own: int, common: int) -> str:
    """How many differences a case has by itself, and in common with others."""
    if common and not own:
        return f"{plural(common, 'difference')}, as other cases have"
    return (plural(own, "difference") if own else "no difference") + \
        (f", and {common} that other cases have too" if common else "")


def groups(one: Difference) -> list[tuple[tuple[str, ...], list[str]]]:
    """The spots of a difference by what the sides have there: (values, places)."""
    found: dict[tuple[str, ...], list[str]] = {}
    for spot in one.spots:
        found.setdefault(spot.values, []).append(spot.at)
    return list(found.items())


def where(one: Difference, values: tuple[str, ...], ats: Sequence[str], limit: int = 4,
          common: Shared | None = None) -> list[str]:
    """The places of a group; a line for each case where it is ``common`` to several that have it in other places."""
    if common is None or common.alike:
        return [place for place in (places(one, ats, limit),) if place]
    found = [f"in {case.name} {places(other, dict(groups(other))[values], limit)}".rstrip()
             for case, other in common.cases[:CASES]]  # fmt: skip
    more = len(common.cases) - CASES
    return [*found, f"and in {plural(more, 'more case')}"] if more > 0 else found


def in_cases(common: Shared) -> str:
    """ "in brk, fork and 3 more cases"; "in all 9 cases"."""
    if len(common.cases) == common.every > 2:
        return f"in all {common.every} cases"
    names = [case.name for case, _ in common.cases]
    more = f" and {plural(len(names) - CASES, 'more case')}" if len(names) > CASES else ""
    return f"in {', '.join(names[:CASES])}{more}"


def places(one: Difference, ats: Sequence[str], limit: int = 4) -> str:
    """The places of a group in few words: "at start", "at start, grown and 9 more checkpoints"."""
    named = [at for at in ats if at]
    if not named:
        return ""
    if one.topic in (Topic.VALUE, Topic.TRACE) or named[0].startswith(VALUE_OF):
        kind, lead = "more", ""
    else:
        kind, lead = "more checkpoints", "at "
    shown = ", ".join(named[:limit])
    return f"{lead}{shown}{f' and {len(named) - limit} {kind}' if len(named) > limit else ''}"
