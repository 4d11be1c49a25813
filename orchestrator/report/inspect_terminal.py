"""`lab inspect` for a terminal: the story of one address. Pure.

Each fact has its label on the left and where it was read at the right end, as file:line below the run's evidence.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from orchestrator.inspection.facts import Check, Fact, Neighbour, Story, Verdict, Where
from orchestrator.model import Evidence
from orchestrator.report.inspect_words import words
from orchestrator.report.text import Paint, clean, columns, wrap

LABEL = 10  # columns of what a line is about
LINES = 3  # places of evidence that are named for one fact
_LABELS = {"name": "called", "handled": "", "allocation": "took"}
_COLOURS = {Verdict.AGREE: "green", Verdict.DIFFER: "red", Verdict.UNKNOWN: "yellow"}


def render(story: Story, *, width: int = 80, colour: bool = False) -> str:
    """The story as text."""
    paint = Paint(colour)
    asked = f"{clean(story.asked, 120)} is " if story.asked.lower() != f"{story.address:#x}" else ""
    lines = [paint(f"{asked}{story.address:#x} at {clean(story.where.at, 64)}, process {story.where.pid}", "bold")]
    lines += heading(story.where, width, paint)
    lines += ["", *_facts(story.facts, width, paint)]
    lines += checked(story.checks, width, paint)
    for neighbour in story.neighbours:
        lines += ["", *_neighbour(neighbour, width, paint)]
    return "\n".join([*lines, *troubles(story.troubles, width, paint)]) + "\n"


def heading(where: Where, width: int, paint: Paint) -> list[str]:
    """Which run it is, and where the evidence lies."""
    run = f"{clean(where.scenario, 64)} on {clean(where.kernel, 64)} with glibc {clean(where.glibc, 32)}"
    return [paint(line, "dim") for line in (*wrap(run, width), *wrap(f"evidence: {clean(where.run)}/evidence/", width))]


def label(word: str) -> str:
    """The left column."""
    return f"{clean(word, 32):<{LABEL}}"


def _facts(facts: Iterable[Fact], width: int, paint: Paint) -> list[str]:
    lines: list[str] = []
    before = ""
    for fact in facts:
        word = "fault" if fact.values.get("by_kernel") else _LABELS.get(fact.topic, fact.topic)
        lines += item("" if word == before else word, words(fact), fact.evidence, width, paint)
        before = word
    return lines


def item(word: str, texts: Sequence[str], evidence: Sequence[Evidence], width: int, paint: Paint) -> list[str]:
    """One fact: its label, its lines, its evidence at the end of the last one, or on a line of its own."""
    lines: list[str] = []
    for text in texts:
        extra = len(text) - len(text.lstrip())
        first = label(word) if not lines else " " * LABEL
        lines += wrap(text.strip(), width, first + " " * extra, " " * (LABEL + extra + 2))
    places = [place(one) for one in evidence[:LINES]]
    if len(evidence) > LINES:
        places.append(f"and {len(evidence) - LINES} more")
    painted = [paint(line[:LABEL], "cyan") + line[LABEL:] for line in lines]
    for text in places:
        free = width - columns(lines[-1]) - columns(text)
        if free >= 2 and text is places[0]:
            painted[-1] += " " * free + paint(text, "dim")
        else:
            painted.append(" " * max(width - columns(text), LABEL) + paint(text, "dim"))
    return painted


def place(evidence: Evidence) -> str:
    """ "03-touched/kernel/96.jsonl:8"."""
    file = clean(evidence.file, 200).removeprefix("evidence/")
    return f"{file}:{evidence.line}" if evidence.line else file


def checked(checks: Sequence[Check], width: int, paint: Paint) -> list[str]:
    """The comparisons, each with the word that it came to."""
    if not checks:
        return []
    lines = ["", paint("Two sources of the same", "bold")]
    for check in checks:
        made = item(check.verdict.value, [f"{clean(check.what, 64)}: {clean(check.says, 600)}"], check.evidence, width,
                    Paint(False))  # fmt: skip
        lines += [paint(made[0][:LABEL], _COLOURS[check.verdict]) + made[0][LABEL:], *made[1:]]
    return lines


def _neighbour(neighbour: Neighbour, width: int, paint: Paint) -> list[str]:
    word = neighbour.which.capitalize()
    title = f"{word}, at {clean(neighbour.at, 64)}" if neighbour.at else word
    lines = [paint(title, "bold")]
    if neighbour.remark:
        lines += wrap(clean(neighbour.remark), width, "  ")
    if neighbour.at and not neighbour.facts and not neighbour.remark:
        lines.append("  nothing was otherwise")
    return [*lines, *_facts(neighbour.facts, width, paint)]


def troubles(found: Sequence[str], width: int, paint: Paint) -> list[str]:
    """Evidence that could not be read."""
    if not found:
        return []
    rows = [line for text in found for line in wrap(clean(text), width, "  ", "    ")]
    return ["", paint("Could not be read, or is not whole", "bold"), *(paint(line, "yellow") for line in rows)]
