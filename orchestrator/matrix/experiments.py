"""`lab matrix` from end to end: a plan, its pieces and programs, the workers, the record."""

from __future__ import annotations

import contextlib
import datetime
import itertools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from orchestrator import fingerprint, progress, recording, scenario
from orchestrator.errors import LabError, UsageError
from orchestrator.matrix import preparation, selection, shard
from orchestrator.matrix.conduct import Conductor, Unable
from orchestrator.matrix.pool import default_jobs
from orchestrator.matrix.record import (
    CaseRecord,
    MatrixDirectory,
    MatrixRecord,
    Options,
    PairRecord,
    ScenarioRecord,
    ShardRecord,
    State,
    undecided,
    worst,
)
from orchestrator.matrix.selection import Pair
from orchestrator.matrix.shard import Shard
from orchestrator.matrix.worker import Order, Result
from orchestrator.model import Case, Scenario
from orchestrator.prepare import Prepared, counted
from orchestrator.toolchain import Program


@dataclass(frozen=True)
class Request:
    """What the user wants run. Empty: all scenarios that there are, the pairs of the images."""

    scenarios: tuple[str, ...] = ()
    kernels: tuple[str, ...] = ()
    userlands: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    options: Options = field(default_factory=Options)
    output: Path | None = None
    shard: Shard | None = None  # None: the whole matrix


@dataclass(frozen=True)
class Done:
    """A matrix that ended, one way or another."""

    record: MatrixRecord
    directory: MatrixDirectory


def start(request: Request) -> Done:
    """Runs a new matrix. What is wrong before its directory is made raises UsageError, PieceError or HostError;
    afterwards everything stands in the record."""
    if request.output is not None:
        MatrixDirectory.check(request.output)
    scenarios = selection.find_scenarios(request.scenarios)
    pairs = selection.find_pairs(preparation.store(request.options), request.kernels, request.userlands,
                                 request.images)  # fmt: skip
    record, named = plan(scenarios, pairs, request.options)
    if request.shard is not None:
        cut(record, named, request.shard, preparation.pieces_key(request.options, pairs))
        pairs = tuple(_pairs_of(record))
    prepared = preparation.prepare_pairs(request.options, pairs) if pairs else {}
    directory = MatrixDirectory.create(request.output or _new_directory())
    with directory.alone():
        MatrixDirectory.check(directory.path)  # another lab may have come first
        return _carry_out(directory, record, named, prepared)


def resume(path: Path, jobs: int | None = None) -> Done:
    """Goes on with a matrix: what has no result of its own yet (``undecided``) is run, and all cases of a scenario
    whose files have changed. Raises as start(), and UsageError while another lab is at work there."""
    directory = MatrixDirectory.open(path)
    with directory.alone():  # from the first look at its record to the last word
        record = directory.load()
        named = {one.name: _again(one) for one in record.scenarios}
        renew(record, {name: fingerprint.of_files(one) for name, one in named.items()}, directory)
        if jobs is not None:
            record.options = replace(record.options, jobs=jobs)
        pairs = _pairs_of(record)
        prepared = preparation.prepare_pairs(record.options, pairs) if pairs else {}
        return _carry_out(directory, record, named, prepared)


# -- the plan ------------------------------------------------------------------------------------


def plan(scenarios: Sequence[Scenario], pairs: Sequence[Pair], options: Options) -> \
        tuple[MatrixRecord, dict[str, Scenario]]:
    """All cases, waiting; and the scenarios by their labels in it."""
    kernels = selection.labels(pair.kernel for pair in pairs)
    userlands = selection.labels(pair.userland for pair in pairs)
    named: dict[str, Scenario] = {}
    for one in scenarios:
        named[selection.labels([one.name], named)[one.name]] = one
    record = MatrixRecord(
        lab=recording.version(), started=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        options=options,
        scenarios=[ScenarioRecord(name, str(fingerprint.source(one).resolve()), fingerprint.of_files(one))
                   for name, one in named.items()],
        pairs=[PairRecord(kernels[p.kernel], userlands[p.userland], p.kernel, p.userland) for p in pairs],
    )  # fmt: skip
    used: set[str] = set()
    for pair in record.pairs:
        for name in named:
            stem = f"{name}-{pair.kernel}-{pair.userland}"[:96]
            place = selection.labels([stem], used)[stem]
            used.add(place)
            record.cases.append(CaseRecord(place, name, pair.kernel, pair.userland))
    return record, named


def cut(record: MatrixRecord, named: Mapping[str, Scenario], wanted: Shard, pieces: str) -> None:
    """Leaves a planned matrix the cases of one shard, and says so where that has none."""
    costs = [shard.cost(named[case.scenario], f"{case.kernel} {case.userland}") for case in record.cases]
    record.shard = ShardRecord(wanted.number, wanted.count, len(record.cases), pieces)
    own = shard.split(costs, wanted.count)[wanted.number - 1]
    record.cases = record.cases[own.start : own.stop]
    if not record.cases:
        cases = "1 case" if record.shard.cases == 1 else f"{record.shard.cases} cases"
        progress.note(f"shard {wanted} is empty: the matrix has {cases}; nothing is run")


def renew(record: MatrixRecord, fingerprints: Mapping[str, str], directory: MatrixDirectory) -> None:
    """Makes ready to be run what has no result that counts, and says why where that is a surprise."""
    for one in record.scenarios:
        if one.fingerprint != fingerprints[one.name]:
            one.fingerprint = fingerprints[one.name]
            if changed := [case for case in record.cases if case.scenario == one.name]:  # else another shard has them
                progress.note(f"{one.name} has changed since: all its cases are run again")
            for case in changed:
                case.reset()
    for case in record.cases:
        if undecided(case) or not (directory.case(case) / "run.json").is_file():
            case.reset()


def _again(one: ScenarioRecord) -> Scenario:
    """A scenario of the record: the file that it was, else the lab's of that name."""
    return scenario.named(one.source if Path(one.source).is_file() else one.name)


def _pairs_of(record: MatrixRecord) -> list[Pair]:
    """The pairs on which something is yet to be run."""
    used = {(case.kernel, case.userland) for case in record.cases if undecided(case)}
    return [pair.pair for pair in record.pairs if (pair.kernel, pair.userland) in used]


# -- carrying it out -----------------------------------------------------------------------------


def _carry_out(directory: MatrixDirectory, record: MatrixRecord, named: Mapping[str, Scenario],
               prepared: Mapping[Pair, Prepared | LabError]) -> Done:
    """Who calls has the directory for itself."""
    conductor = Conductor(directory, record)
    record.state, record.exit_code = State.RUNNING, 3
    conductor.save()
    jobs = record.options.jobs or default_jobs(record.options.memory, record.options.cpus)
    try:
        orders, unable = _orders(directory, record, named, prepared, jobs)
        conductor.run(orders, unable, min(jobs, max(1, len(orders))))
    except KeyboardInterrupt:  # before the first guest
        record.state = State.INTERRUPTED
    interrupted = record.state is State.INTERRUPTED
    record.state = State.INTERRUPTED if interrupted else State.DONE
    record.exit_code = 130 if interrupted else worst(case.exit_code for case in record.cases)
    conductor.save()
    return Done(record, directory)


def _orders(directory: MatrixDirectory, record: MatrixRecord, named: Mapping[str, Scenario],
            prepared: Mapping[Pair, Prepared | LabError], jobs: int) -> tuple[dict[str, Order], dict[str, Unable]]:
    """What is to be run, by the directories of the cases, and what can't be."""
    options = record.options
    pairs = {(pair.kernel, pair.userland): pair.pair for pair in record.pairs}
    subjects: dict[str, tuple[Case, Prepared]] = {}
    unable: dict[str, Unable] = {}
    for one in filter(undecided, record.cases):
        pieces = prepared[pairs[one.kernel, one.userland]]
        if isinstance(pieces, Prepared):
            wanted = named[one.scenario]
            try:
                pieces = counted(pieces) if options.deterministic or wanted.deterministic else pieces
            except UsageError as error:
                unable[one.directory] = Unable(None, Result(detail=error.message, exit_code=error.exit_code))
                continue
            subjects[one.directory] = (preparation.case(wanted, pieces, options), pieces)
        else:
            unable[one.directory] = Unable(None, Result(detail=pieces.message, exit_code=pieces.exit_code))
    preparation.fetch_symbols(options, [case for case, _ in subjects.values()])
    orders: dict[str, Order] = {}
    crowd = max(1.0, jobs * options.cpus / len(os.sched_getaffinity(0)))
    for name, program in preparation.compile_cases(subjects, jobs).items():
        case, pieces = subjects[name]
        if isinstance(program, Program):
            orders[name] = Order(case, pieces, program, directory.path / name, options.timeout, crowd)
        else:
            unable[name] = Unable((case, pieces), Result(detail=program.message, exit_code=program.exit_code))
    return orders, unable


def _new_directory() -> Path:
    """Makes runs/TIME-matrix, with a number where that exists already."""
    stem = datetime.datetime.now().strftime("%Y%m%d-%H%M%S-matrix")
    for number in itertools.count():
        path = Path("runs") / (stem if number == 0 else f"{stem}-{number}")
        with contextlib.suppress(FileExistsError):  # of another lab, in the same second
            path.mkdir(parents=True)
            break
    return path
