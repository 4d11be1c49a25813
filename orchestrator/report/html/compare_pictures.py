"""The pictures of a comparison: address space and heap of each side at the same checkpoint. Pure.

A row is what has the same name on the sides; its bars are sizes in bytes. Of repeats the first run is drawn.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from orchestrator.collect.heap_values import STATES
from orchestrator.comparison.model import Matched, Topic
from orchestrator.comparison.places import named
from orchestrator.errors import LabError
from orchestrator.inspection.moment import Moment, Run
from orchestrator.model import Vma
from orchestrator.report.html.address_space import kind

MAX_STEPS = 80  # checkpoints
MAX_ROWS = 60  # of one checkpoint
# a chunk's states in the order of the rows, with the class of their colour
CHUNKS = {"u": "inuse", "m": "mmapped", "t": "tcache", "f": "fastbin", "n": "free", "s": "free", "l": "free",
          "T": "top", "p": "free", "?": "free"}  # fmt: skip
Bar = dict[str, Any]  # {"size", "part": resident bytes or None, "says"}
Rows = dict[str, tuple[str, Bar]]  # by name: colour class, bar


def data(case: Matched, letters: Sequence[str]) -> dict[str, Any] | None:
    """{"sides": letters, "steps": [{"name", "space": rows, "heap": rows}]}; None where no side has a checkpoint.

    A row: {"name", "kind", "bars": [bar or None by side], "differs"}.
    """
    runs = [_open(members[0].path) if members else None for members in case.runs]
    moments = [dict(_moments(run)) if run else {} for run in runs]
    labels = list(dict.fromkeys(label for one in moments for label in one))
    differing = {spot.at for one in case.differences if one.topic in _DRAWN for spot in one.spots}
    steps = []
    for label in labels[:MAX_STEPS]:
        there = [one.get(label) for one in moments]
        space = _rows([_space(moment) if moment else {} for moment in there])
        heap = _rows([_heap(moment) if moment else {} for moment in there])
        if space or heap:
            steps.append({"name": label, "differs": label in differing, "space": space, "heap": heap})
    return {"sides": list(letters), "steps": steps} if steps else None


_DRAWN = (Topic.MAPPING, Topic.RESIDENT, Topic.HEAP, Topic.THREAD)


def _open(path: Any) -> Run | None:
    try:
        return Run.open(path)
    except (LabError, OSError):
        return None


def _moments(run: Run) -> Iterator[tuple[str, Moment]]:
    for checkpoint in run.record.checkpoints:
        if checkpoint.kind != "exit":
            yield run.label(checkpoint), run.at(checkpoint, checkpoint.pid)


def _rows(sides: Sequence[Rows]) -> list[dict[str, Any]]:
    """The rows of all sides, in the order of the first side that has each."""
    names: list[str] = []
    for side in sides:
        place = 0
        for name in side:
            if name in names:
                place = names.index(name) + 1
            else:
                names.insert(place, name)
                place += 1
    found = []
    for name in names[:MAX_ROWS]:
        bars = [side[name][1] if name in side else None for side in sides]
        style = next(side[name][0] for side in sides if name in side)
        sizes = {bar["size"] if bar else None for bar in bars}
        found.append({"name": name, "kind": style, "bars": bars, "differs": len(sizes) > 1})
    return found


def _space(moment: Moment) -> Rows:
    """The mappings, the highest address first, those of one name together."""
    if moment.mappings is None:
        return {}
    groups: dict[str, list[Vma]] = {}
    for name, vma in reversed(list(named(moment.mappings[1]))):
        closed = name == "anonymous" and vma.perms.startswith("---")
        groups.setdefault("no access" if closed else name, []).append(vma)
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
