"""Which runs stand against which: the sides of a comparison, and the cases that they have in common."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator import runs
from orchestrator.comparison.model import LETTERS, Matched, Member, Side
from orchestrator.errors import LabError, UsageError
from orchestrator.rundir import RunDirectory, RunRecord, machine, settings_words

Key = tuple[str, ...]
_LEVELS: tuple[tuple[str, Callable[[Member], Key]], ...] = (  # the finest first
    ("scenario, kernel and userland", lambda one: (one.kernel, one.userland)),
    ("scenario and userland", lambda one: (one.userland,)),
    ("scenario and kernel", lambda one: (one.kernel,)),
    ("scenario", lambda one: ()),
)


def member(path: Path, record: RunRecord) -> Member:
    """A run as a member of a side."""
    case, measured = record.case, record.environment
    return Member(path, str(case.get("scenario", "")), str(case.get("kernel", "")), str(case.get("userland", "")),
                  str(measured.get("release", "")), str(measured.get("glibc", "")), identity(record),
                  tuple(word[:200] for word in settings_words(record)))  # fmt: skip


def identity(record: RunRecord) -> str:
    """A hash of what shapes a run: program, settings, machine, and the very pieces. Runs with the same one are
    repeats."""
    case = record.case
    pieces = sorted((str(one.get("kind")), str(one.get("key"))) for one in record.pieces if isinstance(one, dict))
    what = [case.get("scenario"), case.get("fingerprint"), case.get("kernel"), case.get("userland"),
            case.get("settings"), record.program.get("sha256"), record.environment.get("version"), pieces,
            machine(record)]  # fmt: skip
    return hashlib.sha256(json.dumps(what, sort_keys=True, default=str).encode()).hexdigest()[:16]


def read(places: Sequence[Path]) -> tuple[tuple[Side, ...], tuple[tuple[str, str], ...]]:
    """A side for each place (a run, a matrix, a folder of runs), and the runs that are left out, with the reason.

    Raises UsageError for a place that has no run which came to an end.
    """
    found = []
    for place in places:
        paths = runs.directories([place])
        if not paths:
            raise UsageError(f"{place}: no run directory, nor a folder of them", "`lab run` and `lab matrix` make them")
        found.append((str(place), paths))
    return of_runs(found)


def of_runs(found: Sequence[tuple[str, Sequence[Path]]]) -> tuple[tuple[Side, ...], tuple[tuple[str, str], ...]]:
    """The same for (place, its run directories)."""
    if len(found) > len(LETTERS):
        raise UsageError(f"{len(found)} sides are too many to compare; at most {len(LETTERS)}")
    left_out: list[tuple[str, str]] = []
    return named([(place, _members(place, paths, left_out)) for place, paths in found]), tuple(left_out)


def _members(place: str, paths: Sequence[Path], left_out: list[tuple[str, str]]) -> tuple[Member, ...]:
    """The runs of a side: of each case those of the program, settings and pieces that ran last."""
    cases: dict[tuple[str, str, str], list[tuple[str, Member]]] = {}
    for path in paths:
        try:
            record = RunDirectory.open(path).load()
        except (LabError, OSError) as error:
            left_out.append((str(path), str(error)))
            continue
        if record.ending in runs.OWN_FAULT:
            left_out.append((str(path), runs.OWN_FAULT[record.ending]))
            continue
        one = member(path, record)
        cases.setdefault((one.scenario, one.kernel, one.userland), []).append((str(record.started), one))
    members: list[Member] = []
    for dated in cases.values():
        dated.sort(key=lambda item: (item[0], str(item[1].path)))
        newest = dated[-1][1].identity
        members += [one for _, one in dated if one.identity == newest]
        left_out += [(str(one.path), "an older one of its case: program, settings or pieces were others")
                     for _, one in dated if one.identity != newest]  # fmt: skip
    if not members:
        raise UsageError(f"{place}: no run there came to an end of its own", "run it again")
    return tuple(members)


def named(found: Sequence[tuple[str, tuple[Member, ...]]]) -> tuple[Side, ...]:
    """Sides with a letter and a name: what each has that the others have not, else where it is."""
    names = _names(found)
    common = set.intersection(*({one.settings for one in members} for _, members in found))
    return tuple(Side(LETTERS[at], names[at], place, members, _own_settings(members, common))
                 for at, (place, members) in enumerate(found))  # fmt: skip


def _own_settings(members: Sequence[Member], common: set[tuple[str, ...]]) -> tuple[str, ...]:
    """The settings that a side's runs have and those of the others have not."""
    return tuple(dict.fromkeys(f"{one.scenario}: {word}" for one in members if one.settings not in common
                               for word in one.settings))  # fmt: skip


def _names(found: Sequence[tuple[str, tuple[Member, ...]]]) -> list[str]:
    kernels = [{one.kernel for one in members} for _, members in found]
    userlands = [{one.userland for one in members} for _, members in found]
    differ = [len(set(map(frozenset, axis))) > 1 and all(len(one) == 1 for one in axis)
              for axis in (kernels, userlands)]  # fmt: skip
    names = []
    for (place, _), kernel, userland in zip(found, kernels, userlands, strict=True):
        parts = [*(kernel if differ[0] else ()), *(userland if differ[1] else ())]
        names.append(" with ".join(parts) or place)
    return names if len(set(names)) == len(names) else [place for place, _ in found]


def match(sides: Sequence[Side]) -> tuple[str, list[Matched], list[tuple[str, str]]]:
    """(the rule in words, cases that two sides or more have, what stands alone).

    The finest of scenario × kernel × userland, scenario × userland, scenario × kernel, scenario counts at which any
    case of one side has just one counterpart in another. Raises UsageError if there is no such case.
    """
    for words, key in _LEVELS:
        rows: dict[tuple[str, Key], list[dict[tuple[str, str], list[Member]]]] = {}
        for at, side in enumerate(sides):
            for one in side.members:
                row = rows.setdefault((one.scenario, key(one)), [{} for _ in sides])
                row[at].setdefault((one.kernel, one.userland), []).append(one)
        good = {name: row for name, row in rows.items()
                if sum(map(bool, row)) > 1 and all(len(cases) < 2 for cases in row)}  # fmt: skip
        if good:
            cases = [_matched(name, row) for name, row in good.items()]
            alone = [(side.letter, _title(one)) for at, side in enumerate(sides)
                     for one in _firsts(side) if (one.scenario, key(one)) not in good]  # fmt: skip
            alone += [(", ".join(side.letter for side, members in zip(sides, case.runs, strict=True) if members),
                       case.name) for case in cases if not all(case.runs)]  # fmt: skip
            return f"matched by {words}", cases, alone
    had = "; ".join(f"{side.letter} has {', '.join(map(_title, _firsts(side)[:4]))}" for side in sides)
    raise UsageError(f"no case of one side has just one counterpart in another: {had}",
                     "give runs or folders with the same scenario, and one kernel or one userland each")


def _firsts(side: Side) -> list[Member]:
    """A member of each case."""
    found: dict[tuple[str, str, str], Member] = {}
    for one in side.members:
        found.setdefault((one.scenario, one.kernel, one.userland), one)
    return list(found.values())


def _title(one: Member) -> str:
    return f"{one.scenario} on {one.kernel} with {one.userland}"


def _matched(name: tuple[str, Key], row: Sequence[Mapping[Any, list[Member]]]) -> Matched:
    scenario, key = name
    runs_of = tuple(tuple(one for members in cases.values() for one in members) for cases in row)
    every = [one for members in runs_of for one in members]
    common = [names.pop() for names in ({one.kernel for one in every}, {one.userland for one in every})
              if len(names) == 1]  # fmt: skip
    return Matched(f"{scenario} with {' and '.join(common)}" if common and key else scenario, scenario, runs_of)
