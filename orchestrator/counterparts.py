"""The runs that a comparison of kernels or glibcs needs: those that are there already, and the others made.

A run that is there counts if it is of the program that the scenario has now, had the same settings and machine, and
came to an end. What is missing is run by `lab matrix`, a matrix for each round of repeats.
"""

from __future__ import annotations

import datetime
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from orchestrator import fingerprint, progress, recording, runs
from orchestrator.comparison import sides
from orchestrator.errors import HostError, LabError, UsageError
from orchestrator.matrix import experiments, preparation, selection
from orchestrator.matrix.record import Options
from orchestrator.matrix.selection import Pair
from orchestrator.model import Scenario
from orchestrator.rundir import RunDirectory, RunRecord, machine

Found = dict[tuple[str, Pair], list[Path]]  # by scenario's name and pair, the newest first
Start = Callable[[experiments.Request], experiments.Done]


@dataclass(frozen=True)
class Wanted:
    """What the user wants compared. ``repeat`` runs of each case; ``looked``: folders where runs may be already."""

    scenarios: tuple[str, ...]
    kernels: tuple[str, ...] = ()
    userlands: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    repeat: int = 1
    options: Options = field(default_factory=Options)
    output: Path = Path("runs")
    looked: tuple[Path, ...] = (Path("runs"),)
    made: tuple[Path, ...] = ()  # matrices that were run for this comparison


def runs_of(wanted: Wanted, start: Start = experiments.start) -> list[tuple[str, list[Path]]]:
    """A side for each pair of kernel and userland: its name, and the run directories of its cases.

    Raises UsageError for names that mean nothing, or that mean one pair only; KeyboardInterrupt where the user ended
    it; HostError where a pair has no run in the end.
    """
    scenarios = selection.find_scenarios(wanted.scenarios)
    pairs = _pairs(wanted)
    found = there(wanted, scenarios, pairs)
    for some, kernels, userlands in missing(found, scenarios, pairs, wanted.repeat):
        progress.note(f"not there yet: {', '.join(one.name for one in some)} on {', '.join(kernels)} with "
                      f"{', '.join(userlands)}")  # fmt: skip
        sources = tuple(str(fingerprint.source(one) if one.plain else one.directory) for one in some)
        done = start(experiments.Request(sources, kernels, userlands, (), wanted.options, _new(wanted.output)))
        if done.record.exit_code == 130:
            raise KeyboardInterrupt
        wanted = replace(wanted, made=(*wanted.made, done.directory.path))
    found = there(wanted, scenarios, pairs)
    return [(f"{pair.kernel} with {pair.userland}", _of(found, scenarios, pair)) for pair in pairs]


def _of(found: Found, scenarios: Sequence[Scenario], pair: Pair) -> list[Path]:
    paths = [path for one in scenarios for path in found.get((one.name, pair), ())]
    if not paths:
        raise HostError(f"no run on {pair.kernel} with {pair.userland} came to an end of its own",
                        "the matrix directory says why: `lab report DIR`")
    return paths


def _pairs(wanted: Wanted) -> tuple[Pair, ...]:
    """The pairs; the side that is left out is that of the default image, as in `lab run`."""
    store = preparation.store(wanted.options)
    kernels, userlands = wanted.kernels, wanted.userlands
    if not wanted.images:
        image = store.image(None)
        kernels, userlands = kernels or (image.kernel,), userlands or (image.userland,)
    pairs = selection.find_pairs(store, kernels, userlands, wanted.images)
    if len(pairs) < 2:
        raise UsageError(f"there is only {pairs[0].kernel} with {pairs[0].userland} to compare with itself",
                         "give two --kernel, two --userland or two --image")
    return pairs


def _new(output: Path) -> Path:
    """A folder for a matrix that is not there yet."""
    stem = f"{datetime.datetime.now():%Y%m%d-%H%M%S}-compare"
    names = itertools.chain([stem], (f"{stem}-{number}" for number in itertools.count(1)))
    return next(output / name for name in names if not (output / name).exists())


# -- what is there -------------------------------------------------------------------------------


def there(wanted: Wanted, scenarios: Sequence[Scenario], pairs: Sequence[Pair]) -> Found:
    """The runs that count, of each case no more than ``repeat``, the newest first."""
    known = {(one.name, pair): one for one in scenarios for pair in pairs}
    dated: dict[tuple[str, Pair], list[tuple[str, str, Path]]] = {}
    for path, record in _records(runs.directories(one for one in (*wanted.looked, *wanted.made) if one.is_dir())):
        case = record.case
        key = str(case.get("scenario")), Pair(str(case.get("kernel")), str(case.get("userland")))
        ours = any(path.is_relative_to(one) for one in wanted.made)
        if key in known and _counts(record, known[key], wanted.options) and (ours or _looked_inside(record, wanted)):
            dated.setdefault(key, []).append((str(record.started), sides.identity(record), path))
    return {key: _newest(items, wanted.repeat) for key, items in dated.items()}


def _newest(items: list[tuple[str, str, Path]], most: int) -> list[Path]:
    """Of those with the identity of the newest one the newest."""
    items.sort(key=lambda item: item[0], reverse=True)
    return [path for _, identity, path in items if identity == items[0][1]][:most]


def _records(paths: Iterable[Path]) -> Iterator[tuple[Path, RunRecord]]:
    for path in paths:
        try:
            yield path, RunDirectory.open(path).load()
        except (LabError, OSError):
            continue


def _counts(record: RunRecord, scenario: Scenario, options: Options) -> bool:
    settings = json.loads(json.dumps(asdict(recording.merge(scenario.settings, options.settings))))
    had = machine(record)
    return (record.ending not in runs.OWN_FAULT and record.case.get("settings") == settings
            and record.case.get("fingerprint") == fingerprint.of_program(scenario)
            and options.accel in ("auto", had.accelerator)
            and (had.memory, had.processors) == (f"{options.memory}M", str(options.cpus)))


def _looked_inside(record: RunRecord, wanted: Wanted) -> bool:
    """Whether the lab looked into that guest where the scenario says, which is what is wanted by default; of a run that
    was made with another wish it can't be known."""
    return wanted.options.inspect is None and recording.NOT_ASKED not in record.left_out.values()


# -- what is missing -----------------------------------------------------------------------------

Round = tuple[list[Scenario], tuple[str, ...], tuple[str, ...]]  # scenarios × kernels × userlands


def missing(found: Found, scenarios: Sequence[Scenario], pairs: Sequence[Pair], repeat: int) -> list[Round]:
    """The matrices that make every case have ``repeat`` runs: each a product of scenarios, kernels and userlands."""
    rounds: list[Round] = []
    for number in range(repeat):
        lacking: dict[tuple[str, tuple[str, ...]], list[str]] = {}  # userland and scenarios → kernels
        for pair in pairs:
            names = tuple(one.name for one in scenarios if repeat - len(found.get((one.name, pair), ())) > number)
            if names:
                lacking.setdefault((pair.userland, names), []).append(pair.kernel)
        products: dict[tuple[tuple[str, ...], tuple[str, ...]], list[str]] = {}
        for (userland, names), kernels in lacking.items():
            products.setdefault((tuple(kernels), names), []).append(userland)
        for (kernels_, names), userlands in products.items():
            rounds.append(([one for one in scenarios if one.name in names], kernels_, tuple(userlands)))
    return rounds
