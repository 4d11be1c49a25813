"""A comparison as a page: what differs, by case and claim, with the reason; and pictures side by side. Pure, but for
the run directories that the comparison names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from orchestrator.comparison.model import Comparison, Difference, Matched, Member, Reason
from orchestrator.errors import LabError
from orchestrator.report import compare_words as words
from orchestrator.report.html import compare_pictures, embed, shell
from orchestrator.report.html.sources import linked
from orchestrator.report.text import clean, plural

BUDGET = 2_400_000  # bytes of the page; cases beyond it are without pictures, which is said
GROUPS = 12  # of places of one difference
PICTURED_SIDES = 4


@dataclass(frozen=True)
class Part:
    """One case as the page has it. ``data``: of its pictures; ``trouble``: why there are none."""

    anchor: str
    case: Matched
    claims: dict[str, list[Difference]]
    shared: int  # differences that other cases have too
    data: Markup | None
    has_heap: bool
    trouble: str = ""


def render(comparison: Comparison) -> str:
    """The page as one HTML file."""
    common = words.shared(comparison)
    letters = [one.letter for one in comparison.sides]
    parts = _parts(comparison, common)
    body = shell.render(
        "compare.html", comparison=comparison, parts=parts, common=common, words=words, prose=shell.prose,
        linked=lambda reason, runs: _linked(reason, dict(zip(letters, runs, strict=True))),
        groups=GROUPS, verdict=words.verdict(comparison), counted=words.counted(comparison),
        left_out=words.left_out(comparison), letters=letters,
        unexplained=_unexplained, plural=plural,
    )  # fmt: skip
    names = " and ".join(clean(one.name, 80) for one in comparison.sides)
    nav = [shell.Link("sides", "Sides"), *([shell.Link("common", "In several cases")] if common else ()),
           *(shell.Link(part.anchor, part.case.name) for part in parts[:40])]
    return shell.document(f"{names} compared", body, nav, ("compare.css",), ("compare.js",))


def _parts(comparison: Comparison, common: Sequence[words.Shared]) -> list[Part]:
    """Every case, with pictures while there is room: first those that differ."""
    letters = [one.letter for one in comparison.sides]
    own = words.own(comparison, common)
    room = BUDGET
    parts: dict[int, Part] = {}
    order = sorted(enumerate(comparison.cases), key=lambda item: not item[1].differences)
    for number, case in order:
        mine = own[number]
        drawn, trouble = _drawn(case, letters)
        text = embed.data(drawn) if drawn else None
        if text is not None and len(text) > room:
            drawn, text, trouble = None, None, "the page is large enough without it; compare this case alone"
        room -= len(text or "")
        heap = drawn is not None and any(step["heap"] for step in drawn["steps"])
        parts[number] = Part(f"c{number}", case, words.by_claim(mine), len(case.differences) - len(mine), text, heap,
                             trouble)  # fmt: skip
    return [parts[number] for number in sorted(parts)]


def _drawn(case: Matched, letters: Sequence[str]) -> tuple[dict[str, Any], str] | tuple[None, str]:
    """The data of its pictures, or why there are none. Damaged evidence costs the pictures, not the page."""
    if len(letters) > PICTURED_SIDES:
        return None, f"pictures are made of at most {PICTURED_SIDES} sides"
    try:
        found = compare_pictures.data(case, letters)
    except (LabError, OSError, ValueError, TypeError, KeyError, ArithmeticError) as error:
        return None, f"the evidence can't be read: {error}"
    return (found, "") if found else (None, "no checkpoint has evidence of mappings or heaps")


def _unexplained(differences: Sequence[Difference]) -> int:
    return sum(not one.reasons for one in differences)


def _linked(reason: Reason, runs: Mapping[str, Sequence[Member]]) -> list[Any]:
    """A source with its links, in the versions of the newest of the sides of which it is said, in this case."""
    run = max((runs[letter][0] for letter in reason.sides if runs.get(letter)), key=_age, default=None)
    return list(linked(reason.source, run.release, run.glibc) if run else linked(reason.source, "", ""))


def _age(run: Member) -> tuple[list[int], list[int]]:
    return [int(number) for number in re.findall(r"\d{1,9}", run.release)], \
        [int(number) for number in re.findall(r"\d{1,9}", run.glibc)]
