"""The pictures of a comparison: address space and heap of each side at the same checkpoint. Pure.

A row is what has the same name on the sides; its bars are sizes in bytes. Of repeats the first run is drawn, and what
differs is what the comparison says differs: what is noise to it is none here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from typing import Any

from orchestrator import costs
from orchestrator.collect.heap_values import STATES
from orchestrator.comparison.model import Matched, Topic
from orchestrator.comparison.places import named
from orchestrator.errors import LabError
from orchestrator.inspection.moment import Moment, Run
from orchestrator.model import Vma
from orchestrator.report.html.address_space import kind
from orchestrator.report.text import clean

MAX_STEPS = 80  # checkpoints
MAX_ROWS = 60  # of one checkpoint's mappings, and of its chunks
CLOSED = "no access"  # anonymous mappings without any permission
# a chunk's states in the order of the rows, with the class of their colour
CHUNKS = {"u": "inuse", "m": "mmapped", "t": "tcache", "f": "fastbin", "n": "free", "s": "free", "l": "free",
          "T": "top", "p": "free", "?": "free"}  # fmt: skip
Bar = dict[str, Any]  # {"size", "part": resident bytes or None, "says"}
Rows = dict[str, tuple[str, Bar]]  # by name: colour class, bar


def data(case: Matched, letters: Sequence[str]) -> dict[str, Any] | None:
    """{"sides": letters, "steps": [{"name", "differs", "space": rows, "heap": rows, "left": rows not drawn}], "left":
    checkpoints not drawn}; None where no side has a checkpoint.

    A row: {"name", "kind", "bars": [bar or None by side], "differs"}. "costs" beside them: what was counted in
    instructions.
    """
    runs = [_open(members[0].path) if members else None for members in case.runs]
    moments = [dict(_moments(run)) if run else {} for run in runs]
    labels = list(dict.fromkeys(label for one in moments for label in one))
    listed = {(one.topic, one.what, spot.at) for one in case.differences for spot in one.spots}
    telling = {at for _, _, at in listed}
    drawn = set(sorted(labels, key=lambda label: label not in telling)[:MAX_STEPS])
    steps = []
    for label in (label for label in labels if label in drawn):
        there = [one.get(label) for one in moments]
        space = _rows([_space(moment) if moment else {} for moment in there], partial(_space_differs, listed, label))
        heap = _rows([_heap(moment) if moment else {} for moment in there], partial(_heap_differs, listed, label))
        if space or heap:
            kept = [_kept(rows) for rows in (space, heap)]
            steps.append({"name": label, "differs": any(row["differs"] for rows in kept for row in rows),
                          "space": kept[0], "heap": kept[1],
                          "left": len(space) + len(heap) - sum(map(len, kept))})  # fmt: skip
    if not steps:
        return None
    counted = _costs(runs, {what for topic, what, _ in listed if topic is Topic.COST})
    return {"sides": list(letters), "steps": steps, "left": len(labels) - len(drawn), "costs": counted}


def _costs(runs: Sequence[Run | None], differing: Collection[str]) -> list[dict[str, Any]]:
    """What was counted in instructions: {"name", "counts": [number or None by side], "differs"}."""
    sides = [{one.name: one.instructions for one in costs.of_run(run)} if run else {} for run in runs]
    names = dict.fromkeys(name for side in sides for name in side)
    return [{"name": clean(name, 64), "counts": [side.get(name) for side in sides], "differs": name in differing}
            for name in names]  # fmt: skip


_Listed = set[tuple[Topic, str, str]]  # topic, thing and checkpoint of all that the comparison says differs


def _space_differs(listed: _Listed, at: str, name: str, bars: Sequence[Bar | None]) -> bool:
    """Whether the comparison says so of the mappings of a row."""
    what = "anonymous" if name == CLOSED else name
    if not any((topic, what, at) in listed for topic in (Topic.MAPPING, Topic.RESIDENT)):
        return False
    return what != "anonymous" or any(bar != bars[0] for bar in bars)  # two rows are one thing to it


def _heap_differs(listed: _Listed, at: str, name: str, bars: Sequence[Bar | None]) -> bool:
    """The same of chunks."""
    states = [state.name for state in STATES.values() if state.short == name]
    return any((Topic.HEAP, f"chunks: {state}", at) in listed for state in states)


def _kept(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """As many rows as are drawn, in their order: those that differ before others."""
    best = sorted(range(len(rows)), key=lambda place: not rows[place]["differs"])[:MAX_ROWS]
    return [rows[place] for place in sorted(best)]


def _open(path: Any) -> Run | None:
    try:
        return Run.open(path)
    except (LabError, OSError):
        return None


def _moments(run: Run) -> Iterator[tuple[str, Moment]]:
    for checkpoint in run.record.checkpoints:
        if checkpoint.kind != "exit":
            yield run.label(checkpoint), run.at(checkpoint, checkpoint.pid)


def _rows(sides: Sequence[Rows], differs: Callable[[str, Sequence[Bar | None]], bool]) -> list[dict[str, Any]]:
    """The rows of all sides, in the order of the first side that has each."""
    found = []
    for name in _merged(sides):
        bars = [side[name][1] if name in side else None for side in sides]
        style = next(side[name][0] for side in sides if name in side)
        found.append({"name": name, "kind": style, "bars": bars, "differs": differs(name, bars)})
    return found


def _merged(sides: Sequence[Rows]) -> list[str]:
    """The names of all sides: each that a side adds follows the one before it there."""
    follows: dict[str, list[str]] = {}  # "" is the beginning
    known: set[str] = set()
    for side in sides:
        before = ""
        added: list[str] = []
        for name in side:
            if name in known:
                _add(follows, before, added)
                before, added = name, []
            else:
                known.add(name)
                added.append(name)
        _add(follows, before, added)
    found: list[str] = []
    left = follows.get("", [])[::-1]
    while left:
        found.append(left.pop())
        left += follows.get(found[-1], [])[::-1]
    return found


def _add(follows: dict[str, list[str]], before: str, added: list[str]) -> None:
    if added:
        follows[before] = added + follows.get(before, [])


def _space(moment: Moment) -> Rows:
    """The mappings, the highest address first, those of one name together."""
    if moment.mappings is None:
        return {}
    groups: dict[str, list[Vma]] = {}
    for name, vma in reversed(list(named(moment.mappings[1]))):
        closed = name == "anonymous" and vma.perms.startswith("---")
        groups.setdefault(CLOSED if closed else name, []).append(vma)
    return {name: (_kind(group), _mapped(group)) for name, group in groups.items()}


def _kind(group: Sequence[Vma]) -> str:
    """The kind of most of its bytes."""
    sizes: Counter[str] = Counter()
    for vma in group:
        sizes[kind(vma)] += vma.size
    return sizes.most_common(1)[0][0]


def _mapped(group: Sequence[Vma]) -> Bar:
    resident = [dict(vma.fields).get("Rss") for vma in group]
    known = None if any(value is None for value in resident) else sum(value or 0 for value in resident)
    rights = ", ".join(f"{count} × {perms}" if count > 1 else perms
                       for perms, count in Counter(vma.perms for vma in group).items())  # fmt: skip
    return {"size": sum(vma.size for vma in group), "part": known, "says": rights}


def _heap(moment: Moment) -> Rows:
    """The chunks of all arenas by state, those that the program has first."""
    if moment.heap is None:
        return {}
    counts: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    for (letter, length), count in moment.heap[1].sums().items():
        counts[letter] += count
        sizes[letter] += length * count
    return {STATES[letter].short: (f"c-{style}", _chunks(counts[letter], sizes[letter]))
            for letter, style in CHUNKS.items() if counts[letter]}  # fmt: skip


def _chunks(count: int, size: int) -> Bar:
    return {"size": size, "part": None, "says": f"{count} chunk{'s' if count != 1 else ''}"}
