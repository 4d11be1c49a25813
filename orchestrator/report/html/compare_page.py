"""A comparison as a page: what differs, by case and claim, with the reason; and pictures side by side. Pure, but for
the run directories that the comparison names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from orchestrator.comparison.model import Comparison, Difference, Matched, Member, Reason, Topic
from orchestrator.errors import LabError
from orchestrator.report import compare_words as words
from orchestrator.report.html import compare_pictures, embed, shell
from orchestrator.report.html.sources import linked
from orchestrator.report.text import clean, plural

BUDGET = 2_400_000  # bytes of the differences and pictures; what is beyond is counted, and said
ROWS_BUDGET = 1_400_000  # bytes of the differences
GROUPS = 12  # of places of one difference
PICTURED_SIDES = 4
MAX_CASES = 1000
MAX_LISTED = 200  # cases without a counterpart, and runs that were left out


@dataclass(frozen=True)
class Part:
    """One case as the page has it. ``data``: of its pictures; ``trouble``: why there are none."""

    anchor: str
    case: Matched
    claims: dict[str, list[Markup]]  # its own differences
    shared: int  # differences that other cases have too
    left: int  # own ones that are not on the page
    data: Markup | None
    has_heap: bool
    trouble: str = ""


def render(comparison: Comparison) -> str:
    """The page as one HTML file."""
    every = words.shared(comparison)
    rows = _Rows(comparison)
    parts, common = _parts(comparison, every, rows)
    body = shell.render(
        "compare.html", comparison=comparison, parts=parts, common=common, common_left=len(every) - len(common),
        parts_left=len(comparison.cases) - len(parts), words=words, prose=shell.prose, most=MAX_LISTED,
        unlisted=(("more case without a counterpart", "more cases without a counterpart", len(comparison.alone)),
                  ("more run left out", "more runs left out", len(comparison.left_out))),
        verdict=words.verdict(comparison), counted=words.counted(comparison), left_out=words.left_out(comparison),
        letters=rows.letters, unexplained=_unexplained, plural=plural,
    )  # fmt: skip
    names = " and ".join(clean(one.name, 80) for one in comparison.sides)
    nav = [shell.Link("sides", "Sides"), *([shell.Link("common", "In several cases")] if every else ()),
           *(shell.Link(part.anchor, part.case.name) for part in parts[:40])]
    return shell.document(f"{names} compared", body, nav, ("compare.css",), ("compare.js",))


class _Rows:
    """Differences as rows of a table, while there is room for them."""

    def __init__(self, comparison: Comparison) -> None:
        self.letters = [one.letter for one in comparison.sides]
        self.size = 0  # bytes
        self._row = shell.environment().get_template("difference.html")

    def __call__(self, one: Difference, runs: Sequence[Sequence[Member]], common: words.Shared | None = None) -> \
            Markup | None:
        """The rows of one; None where there is no room left."""
        if self.size > ROWS_BUDGET:
            return None
        sides = dict(zip(self.letters, runs, strict=True))
        made = Markup(self._row.render(one=one, common=common, words=words, prose=shell.prose, groups=GROUPS,
                                       letters=self.letters, linked=lambda reason: _linked(reason, sides)))  # fmt: skip
        self.size += len(made.encode())
        return made


def _parts(comparison: Comparison, every: Sequence[words.Shared], rows: _Rows) -> tuple[list[Part], list[Markup]]:
    """Every case with its differences, and what several share; pictures while there is room. What is unexplained
    comes first, as a finding is that does not hold."""
    own = words.own(comparison, every)
    order = sorted(range(len(comparison.cases)), key=lambda number: -len(comparison.cases[number].differences))
    taken = sorted(order[:MAX_CASES])
    made = _made(comparison, own, taken, rows)
    common = [row for one in every if (row := rows(one.difference, one.cases[0][0].runs, one)) is not None]
    room = BUDGET - rows.size - _SECTION * len(taken)
    parts: dict[int, Part] = {}
    for number in order[:MAX_CASES]:
        case = comparison.cases[number]
        drawn, trouble = _drawn(case, rows.letters) if room > 0 else (None, _FULL)
        text = embed.data(drawn) if drawn else None
        if text is not None and len(text) > room:
            drawn, text, trouble = None, None, _FULL
        room -= len(text or "")
        heap = drawn is not None and any(step["heap"] for step in drawn["steps"])
        here = [(one, made[id(one)]) for one in own[number] if id(one) in made]
        claims = {claim: [made[id(one)] for one in found]
                  for claim, found in words.by_claim(one for one, _ in here).items()}  # fmt: skip
        parts[number] = Part(f"c{number}", case, claims, len(case.differences) - len(own[number]),
                             len(own[number]) - len(here), text, heap, trouble)  # fmt: skip
    return [parts[number] for number in taken], common


_SECTION = 1200  # bytes of a case without its differences and pictures
_FULL = "the page is large enough without it; compare this case alone"


def _made(comparison: Comparison, own: Sequence[Sequence[Difference]], taken: Sequence[int],
          rows: _Rows) -> dict[int, Markup]:
    """The rows of the cases' own differences, by identity: as many as there is room for, the weightiest first."""
    every = [(one, comparison.cases[number]) for number in taken for one in own[number]]
    every.sort(key=lambda item: (bool(item[0].reasons), item[0].topic not in (Topic.ENDING, Topic.FINDING)))
    found: dict[int, Markup] = {}
    for one, case in every:
        row = rows(one, case.runs)
        if row is None:
            break
        found[id(one)] = row
    return found


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
    return sum(one.unexplained for one in differences)


def _linked(reason: Reason, runs: Mapping[str, Sequence[Member]]) -> list[Any]:
    """A source with its links, in the versions of the newest of the sides of which it is said, in this case."""
    run = max((runs[letter][0] for letter in reason.sides if runs.get(letter)), key=_age, default=None)
    return list(linked(reason.source, run.release, run.glibc) if run else linked(reason.source, "", ""))


def _age(run: Member) -> tuple[list[int], list[int]]:
    return [int(number) for number in re.findall(r"\d{1,9}", run.release)], \
        [int(number) for number in re.findall(r"\d{1,9}", run.glibc)]
