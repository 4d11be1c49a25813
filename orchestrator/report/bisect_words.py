"""Words that all forms of a search share: what came of it, in sentences. Pure."""

from __future__ import annotations

from orchestrator.bisection.model import KERNEL, Bisection, Candidate
from orchestrator.bisection.search import Flip, Mark, State


def headline(found: Bisection) -> str:
    """ "brk, the expectation random: kernels from 5.10 (good) to 7.x (bad) with trixie"."""
    first, last = found.candidates[0].label, found.candidates[-1].label
    return (f"{found.scenario}, {found.question.words}: {found.axis}s from {first} (good) to {last} (bad) with "
            f"{found.beside}")


def measured(found: Bisection, index: int) -> str:
    """ "6.1 (Linux 6.1.0-50-cloud-amd64)": what ran; else the version that it would have."""
    one, trial = found.candidates[index], found.trial(index)
    if found.axis == KERNEL:
        return f"{one.label} (Linux {trial.release if trial and trial.release else one.version})"
    return f"{one.label} (glibc {trial.glibc if trial and trial.glibc else one.version})"


def flip(found: Bisection, one: Flip) -> str:
    """ "between 6.1 (…), which is good, and 7.x (…), which is bad; 6.12 could not be judged"."""
    before, after = found.sides(one)
    text = (f"between {measured(found, one.before)}, which is {before.mark}, and {measured(found, one.after)}, "
            f"which is {after.mark}")
    skipped = [found.candidates[index] for index in one.between if found.trial(index)]
    untried = [found.candidates[index] for index in one.between if not found.trial(index)]
    if skipped:
        text += f"; {_listed(skipped)} could not be judged"
    if untried:
        text += f"; {_listed(untried)} {'was' if len(untried) == 1 else 'were'} not tried"
    return text


def verdict(found: Bisection) -> str:
    """The outcome in a word or two."""
    if found.interrupted:
        return "INTERRUPTED"
    return {State.FOUND: "FOUND", State.UNJUDGED: "UNJUDGED", State.OPEN: "NOT FINISHED"}.get(found.state,
                                                                                           "NO BOUNDARY")  # fmt: skip


def conclusion(found: Bisection) -> list[str]:
    """What came of it, a sentence each: every boundary, or why there is none."""
    flips = [f"The boundary lies {flip(found, one)}." if len(found.search.flips) == 1 else
             f"It changes {flip(found, one)}." for one in found.search.flips]  # fmt: skip
    first, last = found.candidates[0].label, found.candidates[-1].label
    state = found.state
    if state is State.OPEN or found.interrupted:
        return [*flips, f"{len(found.trials)} of {len(found.candidates)} were tried, and not all that matter."]
    if state is State.FOUND:
        return flips
    if state is State.UNJUDGED:
        marks = (found.search.marks.get(0), found.search.marks.get(len(found.candidates) - 1))
        ends = [end for end, mark in zip((first, last), marks, strict=True) if mark is Mark.SKIP]
        return [f"{' and '.join(ends)} could not be judged, so there is nothing to search between."]
    if state is State.REVERSED:
        return [f"--good {first} is bad, and --bad {last} is good: exchange them."]
    if found.question.variant:
        return [f"There is no boundary: the same variant applies on {first} and {last}."]
    both = f"There is no boundary: {first} and {last} are both {state}"
    return [f"{both}, and so is all that could be judged between them." if found.every else f"{both}."]


def _listed(some: list[Candidate]) -> str:
    names = [one.label for one in some]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def hints(found: Bisection) -> list[str]:
    """How to go on from here."""
    flips = found.search.flips
    where = [(before.directory, after.directory) for before, after in map(found.sides, flips)]
    said = [f"lab compare {before} {after}  shows what else differs" for before, after in where if before and after]
    if found.state is State.GOOD and not found.question.variant:
        said += [_variant_hint(found, one.id) for one, _ in found.other_forms()[:1]]
    inner = found.candidates[1:-1]
    if found.state in (State.GOOD, State.BAD) and inner and not found.every:
        said.append(f"--all tries what lies between too: {_listed(list(inner))}")
    return said


def _variant_hint(found: Bisection, name: str) -> str:
    ends = f"--good {found.candidates[0].name} --bad {found.candidates[-1].name}"
    beside = f"-u {found.beside}" if found.axis == KERNEL else f"-k {found.beside}"
    return (f"lab bisect {found.scenario} --expectation {name} --variant {ends} {beside}  finds where it begins to "
            "hold in another form")


def count(found: Bisection) -> str:
    """ "3 of 4 tried"."""
    return f"{len(found.trials)} of {len(found.candidates)} tried"
