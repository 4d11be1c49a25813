"""Shards of matrices put together: which are missing, which are not of one matrix, what was in no shard. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from orchestrator.matrix.record import MatrixRecord, ShardRecord
from orchestrator.report.results.model import CaseResult, Verdict, name_of
from orchestrator.report.text import plural

MAX_NAMED = 8  # in a list of shards, files, scenarios
_ELSEWHERE = ("jobs", "mirror")  # options which may differ from shard to shard: they change no result
_BY_NAME = ("qemu", "modules", "vmlinux")  # a file of the user's, which may lie elsewhere on another machine

Found = tuple[Path, MatrixRecord]
Plan = tuple[tuple[str, object], ...]


def put_together(matrices: Sequence[Found]) -> tuple[list[CaseResult], list[str]]:
    """What the shards among some matrices lack: cases that were planned and are in none of them, and shards that are
    not of one matrix with the others, each as a case that is no success; and notes for people."""
    groups: dict[str, list[Found]] = {}
    for found in matrices:
        if found[1].shard is not None:
            groups.setdefault(json.dumps(_plan(found[1]), default=str), []).append(found)
    notes = [note for group in groups.values() for note in _twice(group)]
    partial = sorted((group for group in groups.values() if _missing(group)), key=_missing_count)
    if not partial:
        return [], notes
    first, *others = partial
    strange = [_stranger(found, first[0]) for group in others for found in group]
    notes.append(_lacks(first))
    elsewhere = {triple for group in others for triple in _ran(group)}
    lost = [one for one in _never(first) if (one.scenario, one.kernel, one.userland) not in elsewhere]
    return [*strange, *lost], notes


def alone(folder: Path, record: MatrixRecord) -> list[CaseResult]:
    """What stands for a shard without a case in a report of its own: nothing was to be run, and that is said."""
    if record.shard is None or record.cases:
        return []
    name = f"shard {record.shard.name}"
    said = f"the shard is empty: the matrix has {plural(record.shard.cases, 'case')}"
    return [CaseResult(name, name, "?", "?", folder, None, Verdict.SKIP, said)]


def _shard(found: Found) -> ShardRecord:
    shard = found[1].shard
    assert shard is not None  # only such are put together
    return shard


def _plan(record: MatrixRecord) -> Plan:
    """What all shards of one matrix have in common, each with its name for people."""
    shard, options = record.shard, asdict(record.options)
    for name in _BY_NAME:
        options[name] = Path(options[name]).name if options[name] else None
    return (
        ("shards", shard.count if shard else 0),
        ("lab", record.lab),
        ("pieces by the lock", shard.pieces if shard else ""),
        ("scenarios", sorted(one.name for one in record.scenarios)),
        ("files of scenarios", sorted(f"{one.name} {one.fingerprint[:12]}" for one in record.scenarios)),
        ("pairs", sorted(f"{one.kernel} with {one.userland}" for one in record.pairs)),
        *((f"option {name}", value) for name, value in options.items() if name not in _ELSEWHERE),
    )


def _missing(group: Sequence[Found]) -> list[int]:
    there = {_shard(found).number for found in group}
    return [number for number in range(1, _shard(group[0]).count + 1) if number not in there]


def _missing_count(group: Sequence[Found]) -> int:
    return len(_missing(group))


def _twice(group: Sequence[Found]) -> Iterator[str]:
    places: dict[str, list[Path]] = {}
    for found in group:
        places.setdefault(_shard(found).name, []).append(found[0])
    for name, folders in places.items():
        if len(folders) > 1:
            yield f"shard {name} is there {len(folders)} times, the newest run of a case counts: {_named(folders)}"


def _lacks(group: Sequence[Found]) -> str:
    shard, left = _shard(group[0]), len(list(_never(group)))
    return (f"missing of the matrix in {group[0][0]}: shard {_missing_names(group)}; {left} of its "
            f"{plural(shard.cases, 'case')} did not run")  # fmt: skip


def _missing_names(group: Sequence[Found]) -> str:
    return _named([f"{number}/{_shard(group[0]).count}" for number in _missing(group)])


def _ran(group: Iterable[Found]) -> set[tuple[str, str, str]]:
    return {(case.scenario, case.kernel, case.userland) for _, record in group for case in record.cases}


def _never(group: Sequence[Found]) -> Iterator[CaseResult]:
    """The cases of the plan that no shard of the group has."""
    record, ran = group[0][1], _ran(group)
    what = "its shard is missing" if len(_missing(group)) == 1 else "its shard is one of the missing"
    detail = f"{what}: {_missing_names(group)}"
    for pair in record.pairs:
        for scenario in record.scenarios:
            if (scenario.name, pair.kernel, pair.userland) not in ran:
                name = name_of(scenario.name, pair.kernel, pair.userland)
                yield CaseResult(name, scenario.name, pair.kernel, pair.userland, None, None, Verdict.NOT_RUN, detail)


def _stranger(found: Found, other: Found) -> CaseResult:
    """A shard that is of another matrix, which is not there as a whole either."""
    shard = f"shard {_shard(found).name}"
    differ = [f"other {what}{_values(mine, its)}" for (what, mine), (_, its) in
              zip(_plan(found[1]), _plan(other[1]), strict=True) if mine != its]  # fmt: skip
    detail = f"not of one matrix with shard {_shard(other).name} in {other[0]}: {'; '.join(differ)}"
    return CaseResult(f"{shard} in {found[0]}", shard, "?", "?", found[0], None, Verdict.ERROR, detail)


def _values(mine: object, other: object) -> str:
    """ " (0.2.0, not 0.1.0)"; of lists what only one has."""
    if isinstance(mine, list) and isinstance(other, list):
        differ = [*(f"+{one}" for one in mine if one not in other), *(f"-{one}" for one in other if one not in mine)]
        return f" ({_named(differ)})"
    if isinstance(mine, str | int | float | None) and isinstance(other, str | int | float | None):
        return f" ({mine}, not {other})"
    return ""


def _named(items: Sequence[object]) -> str:
    more = f" and {len(items) - MAX_NAMED} more" if len(items) > MAX_NAMED else ""
    return ", ".join(map(str, items[:MAX_NAMED])) + more
