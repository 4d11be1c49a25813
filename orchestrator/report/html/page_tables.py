"""The page-table walk of an address, level by level, at each checkpoint at which the lab looked inside.

Entries, tables and frames that come again at another checkpoint, or on the way of another address, stand once.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Hashable, Iterator
from functools import cached_property
from itertools import islice
from typing import Any

from orchestrator.collect.lines import EvidenceError
from orchestrator.collect.objects import FRAME, PAGE, PRESENT, Item, Step, Table, Walk
from orchestrator.errors import LabError
from orchestrator.inspection import bits, vmas
from orchestrator.inspection.moment import Moment, Run
from orchestrator.inspection.names import number

MAX_PLACES = 64  # a process at a checkpoint
MAX_PROCESSES = 4  # at one checkpoint
MAX_NOTES = 32  # addresses that the program reported
MAX_AREAS = 64  # first pages of mappings
MAX_READ = 5000  # notes that are looked at
MAX_CITED = 400  # lines of evidence
MAX_NAMES = 3  # of one address
LONG = 120  # characters of a guest's text


class Pool:
    """Values that are given by number; each one stands once."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._numbers: dict[Hashable, int] = {}

    def number(self, key: Hashable, value: Any) -> int:
        """The number of a value, which is known by its key."""
        if key not in self._numbers:
            self._numbers[key] = len(self.values)
            self.values.append(value)
        return self._numbers[key]


class Place:
    """A process at a checkpoint, with its mappings in order."""

    def __init__(self, step: int, moment: Moment) -> None:
        self.step = step
        self.moment = moment

    @cached_property
    def areas(self) -> list[Item]:
        """Its VMAs, by address."""
        return sorted(self.moment.kernel.vmas, key=lambda item: int(item.fields["start"]))

    @cached_property
    def _starts(self) -> list[int]:
        return [item.fields["start"] for item in self.areas]

    def area(self, address: int) -> Item | None:
        """The VMA that an address lies in, or that ends there, as the program break does."""
        place = bisect_right(self._starts, address) - 1
        return self.areas[place] if place >= 0 and address <= self.areas[place].fields["end"] else None

    @property
    def mm(self) -> object:
        """Which address space it is."""
        found = self.moment.kernel.mm
        return found.fields["address"] if found else None


def data(run: Run) -> dict[str, Any] | None:
    """Walks of the addresses that were reported and of each mapping's first page; None where no tables were read.

    Raises EvidenceError if none of what was read can be used.
    """
    places, troubles = _places(run)
    if not places:
        if troubles:
            raise EvidenceError("; ".join(troubles))
        return None
    addresses, more = _addresses(run, places)
    if not addresses:
        return None
    pools = {name: Pool() for name in ("entries", "tables", "frames", "walks", "areas")}
    shown = [_place(place, places[:at], list(addresses), pools) for at, place in enumerate(places)]
    named = [{"address": f"{address:#x}", **how} for address, how in addresses.items()]
    first = _first(shown, pools["walks"].values, len(named))
    return {
        "places": shown, "addresses": named, "first": first, "more": more, "troubles": troubles,
        **{name: pool.values for name, pool in pools.items()},
        "evidence": _lines(shown, pools["walks"].values, pools["frames"].values, first),
    }  # fmt: skip


def _lines(places: list[dict[str, Any]], walks: list[Any], frames: list[Any], at: int) -> list[list[Any]]:
    """The lines that the walks of the first address shown come from: [file, line]."""
    found = []
    for place in places:
        frame, *steps = walks[place["walks"][at]]
        lines = [line for line in steps[1::2] if line] + ([] if frame is None else [frames[frame].get("line", 0)])
        found += [[place["file"], line] for line in lines if line]
    return found[:MAX_CITED]


def _places(run: Run) -> tuple[list[Place], list[str]]:
    """Where kernel objects can be read, in the order of time; and why some can't."""
    found: list[Place] = []
    troubles: list[str] = []
    inspected = {checkpoint.index for checkpoint in run.inspected}
    for step, checkpoint in enumerate(run.record.checkpoints):
        pids = run.pids(checkpoint, "kernel") if checkpoint.index in inspected else []
        pids.sort(key=lambda pid: (pid != checkpoint.pid, pid))
        for pid in pids[:MAX_PROCESSES]:
            moment = run.at(checkpoint, pid)
            try:
                if moment.kernel.tables:
                    found.append(Place(step, moment))
            except LabError as error:
                troubles.append(error.message[:400])
    return found[:MAX_PLACES], troubles[:12]


# -- which addresses -------------------------------------------------------------------------------


def _addresses(run: Run, places: list[Place]) -> tuple[dict[int, dict[str, Any]], int]:
    """What there is to choose from, and how many mappings more there are."""
    found: dict[int, dict[str, Any]] = {}
    for key, address, at in islice(_notes(run), MAX_READ):
        if address in found:
            names = found[address]["names"]
            if len(names) < MAX_NAMES and key not in names:
                names.append(key)
        elif len(found) < MAX_NOTES and any(place.area(address) for place in places):
            found[address] = {"kind": "note", "names": [key], "at": at}
    areas: dict[int, str] = {}
    for place in places:
        for item in place.areas[:MAX_AREAS * 4]:
            areas.setdefault(item.fields["start"], _area(item))
    chosen = sorted(areas)[:MAX_AREAS]
    for start in chosen:
        found.setdefault(start, {"kind": "area", "names": [areas[start]], "at": ""})
    return found, len(areas) - len(chosen)


def _notes(run: Run) -> Iterator[tuple[str, int, str]]:
    """Numbers that the program reported: name, value, checkpoint."""
    for checkpoint in run.record.checkpoints:
        moment = run.at(checkpoint, checkpoint.pid)
        for note, _ in moment.notes:
            value = number(note.value)
            if value is not None and PAGE <= value < 1 << 57:
                yield note.key[:LONG], value, moment.at


def _area(item: Item) -> str:
    return f"{str(item.fields['name'])[:LONG] or 'anonymous'} {vmas.perms(item.fields['flags'])}"


# -- walks -----------------------------------------------------------------------------------------


def _place(place: Place, before: list[Place], addresses: list[int], pools: dict[str, Pool]) -> dict[str, Any]:
    moment = place.moment
    earlier = [at for at, one in enumerate(before) if one.moment.pid == moment.pid and one.step < place.step]
    remark = ""
    if not earlier:
        remark = f"the lab had not looked inside process {moment.pid} before"
    elif before[earlier[-1]].mm != place.mm:
        remark = "the process had another address space before: execve() makes a new one"
    return {
        "step": place.step, "at": moment.at, "pid": moment.pid, "levels": list(moment.kernel.levels),
        "file": moment.document.file, "before": None if remark else earlier[-1], "remark": remark,
        "walks": [_walk(place, address, pools) for address in addresses],
        "areas": [_mapping(place.area(address), address, pools["areas"]) for address in addresses],
        "broken": str(moment.kernel.broken.get("tables", ""))[:400],
    }  # fmt: skip


def _mapping(item: Item | None, address: int, areas: Pool) -> int | None:
    """The mapping that the address lies in, if it does, with the key by which other pictures know it."""
    if item is None or address >= item.fields["end"]:
        return None
    start, end = item.fields["start"], item.fields["end"]
    shown = {"text": _area(item), "size": end - start, "key": f"vma:{start:#x}-{end:#x}"}
    return areas.number(tuple(shown.values()), shown)


def _walk(place: Place, address: int, pools: dict[str, Pool]) -> int:
    """[number of the frame or None, then for each level the number of its entry and the line of its table]."""
    moment = place.moment
    walk = moment.kernel.walk(address)
    shown: list[int | None] = [_frame(moment, walk, pools["frames"])]
    for step in walk.steps:
        shown += _entry(moment, walk, step, pools), step.line
    return pools["walks"].number(tuple(shown), shown)


def _entry(moment: Moment, walk: Walk, step: Step, pools: dict[str, Pool]) -> int:
    """One entry: where it lies (physical address), its value, what it says."""
    value = step.value
    leaf = walk.leaf is step
    table = _tables(moment).get(step.line)
    if table is None:
        key: Hashable = (step.level, step.index)
        return pools["entries"].number(key, {"level": step.level, "index": step.index, "state": "no table"})
    occupied = sum(1 << index for index, word in table.entries.items() if word and 0 <= index < 512)
    of = pools["tables"].number((table.level, table.phys, occupied),
                                {"phys": f"{table.phys:#x}", "used": f"{occupied:0128x}"})  # fmt: skip
    shown: dict[str, Any] = {"level": step.level, "index": step.index, "table": of, "value": f"{value or 0:#x}",
                             "address": f"{table.phys + 8 * step.index:#x}"}  # fmt: skip
    shown |= _meaning(value or 0, step.level, leaf, walk)
    return pools["entries"].number((of, step.index, value, leaf and walk.frame), shown)


def _tables(moment: Moment) -> dict[int, Table]:
    """The tables by the line that has them."""
    return moment.run.once(f"tables by line {moment.checkpoint.index} {moment.pid}",
                           lambda: {table.line: table for table in moment.kernel.tables.values()})  # fmt: skip


def _meaning(value: int, level: str, leaf: bool, walk: Walk) -> dict[str, Any]:
    if not value:
        return {"state": "empty"}
    if not value & PRESENT:
        return {"state": "not present", "bits": bits.marker(value)}
    to = f"frame {walk.frame:#x}" if leaf and walk.frame is not None else f"table {value & FRAME:#x}"
    return {"state": "present", "bits": bits.entry(value, level, leaf), "to": to, "leaf": leaf}


def _frame(moment: Moment, walk: Walk, frames: Pool) -> int | None:
    if walk.frame is None:
        return None
    first = walk.frame // (walk.size // PAGE) * (walk.size // PAGE)  # the struct page that a huge page's counts are in
    found = moment.kernel.frames.get(walk.frame) or moment.kernel.frames.get(first)
    shown: dict[str, Any] = {"frame": f"{walk.frame:#x}", "kind": walk.kind or "other", "size": walk.size,
                             "physical": f"{walk.frame * PAGE + walk.address % PAGE:#x}"}  # fmt: skip
    if found is not None:
        shown |= {"refcount": found.refcount, "mapcount": found.mapcount, "flags": f"{found.flags:#x}",
                  "line": found.line, "of": "" if found.pfn == walk.frame else f"{found.pfn:#x}"}  # fmt: skip
    return frames.number(tuple(shown.values()), shown)


def _first(places: list[dict[str, Any]], walks: list[list[int | None]], count: int) -> int:
    """The address to begin with: the first whose page is touched between two looks that are near to each other."""
    found: list[tuple[int, int]] = []  # how many checkpoints lie between the looks; address
    for place in places:
        if place["before"] is None:
            continue
        before = places[place["before"]]
        for at in range(count):
            if walks[before["walks"][at]][0] is None and walks[place["walks"][at]][0] is not None:
                found.append((place["step"] - before["step"], at))
    return min(found)[1] if found else 0
