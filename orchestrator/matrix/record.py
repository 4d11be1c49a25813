"""The matrix record: what was planned, with which options, and how far each case came.

``matrix.json`` is rewritten atomically after every case, so that whatever ends the lab leaves a record to
resume from. Its shape is published in ``orchestrator/schema/matrix.schema.json``.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import math
import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from orchestrator.errors import LabError, UsageError
from orchestrator.matrix.selection import Pair
from orchestrator.matrix.shard import MAX_SHARDS
from orchestrator.model import Ending, Outcome, Settings
from orchestrator.rundir import FIRST_RUNS, safe, write_whole

SCHEMA = 1
FILE = "matrix.json"
MAX_RECORD = 64 << 20  # bytes
MAX_PLAN = 200_000  # cases of the matrix that a shard is of
# The worst first. As in a single run, how a guest ended is stronger than its findings, and FAIL than ERROR.
SEVERITY = (130, 4, 5, 1, 3, 2, 0)
# Endings that say nothing of the case itself
UNDECIDED = frozenset({Ending.UNFINISHED, Ending.INTERRUPTED, Ending.HOST_ERROR})


class State(StrEnum):
    """How far a case, or the whole matrix, has come."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True)
class Failing:
    """A finding that is not as it should be: what a reader of the table looks for next."""

    id: str
    claim: str
    at: str
    outcome: Outcome
    message: str


@dataclass
class CaseRecord:
    """One case. ``directory`` is its run directory's name; what follows ``state`` holds when it is done."""

    directory: str
    scenario: str
    kernel: str
    userland: str
    state: State = State.WAITING
    outcome: Outcome = Outcome.ERROR
    ending: Ending = Ending.UNFINISHED
    detail: str = ""  # the ending in words
    exit_code: int = 3
    booted: bool = False  # its guest came up: what happened then is the case's own
    first: str = ""  # what it was in a guest that others had used, if it was repeated in a fresh one: "FAIL"
    seconds: float = 0.0  # of the program and its evaluation; a boot is nobody's own
    counts: dict[str, int] = field(default_factory=dict)  # findings by outcome
    failing: list[Failing] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The case for people."""
        return f"{self.scenario} on {self.kernel} with {self.userland}"

    @property
    def short(self) -> str:
        """The case where there is little room."""
        return f"{self.scenario} {self.kernel}/{self.userland}"

    @property
    def word(self) -> str:
        """How it went, in one word: the outcome, or the ending of a run that ended early."""
        return word(self.ending, self.outcome) if self.state is State.DONE else self.state.value.upper()

    @property
    def unconfirmed(self) -> bool:
        """Whether it went otherwise in a fresh guest than in one that others had used."""
        return self.state is State.DONE and self.first not in ("", self.word)

    def reset(self) -> None:
        """As if it had never run."""
        fresh = CaseRecord(self.directory, self.scenario, self.kernel, self.userland)
        self.__dict__.update(fresh.__dict__)


@dataclass
class ScenarioRecord:
    """One scenario: its label in the cases, where it is, and the hash of its files when its cases ran."""

    name: str
    source: str
    fingerprint: str


@dataclass
class PairRecord:
    """One pair: labels as in the cases, and what the user chose (a catalogue's name or a path)."""

    kernel: str
    userland: str
    kernel_choice: str
    userland_choice: str

    @property
    def pair(self) -> Pair:
        """What was chosen."""
        return Pair(self.kernel_choice, self.userland_choice)


@dataclass(frozen=True)
class Options:
    """What holds for all cases. ``jobs`` None: as many as this host has room for."""

    qemu: str | None = None
    modules: str | None = None
    vmlinux: str | None = None
    accel: str = "auto"
    memory: int = 768  # MiB
    cpus: int = 1
    mirror: str | None = None
    locked: bool = False
    cold: bool = False
    deterministic: bool = False
    timeout: float | None = None  # seconds a case
    jobs: int | None = None
    settings: Settings = field(default_factory=Settings)
    inspect: bool | None = None  # at every checkpoint, at none; None: as the scenario says


@dataclass(frozen=True)
class ShardRecord:
    """Which part of a matrix this is. Its scenarios and pairs are those of the whole, its cases are its own."""

    number: int  # from 1
    count: int
    cases: int  # of the whole matrix: every scenario on every pair
    pieces: str  # the lock's key of all that the pairs are made of; "" for what the lock does not name

    @property
    def name(self) -> str:
        """The shard as it is typed: "2/3"."""
        return f"{self.number}/{self.count}"


@dataclass
class MatrixRecord:
    """Everything that ``matrix.json`` holds."""

    schema: int = SCHEMA
    lab: str = ""
    started: str = ""  # ISO 8601, UTC
    state: State = State.WAITING
    seconds: float = 0.0  # wall time, all sittings
    boots: int = 0  # guests that were booted or restored, failed attempts too
    exit_code: int = 3
    options: Options = field(default_factory=Options)
    scenarios: list[ScenarioRecord] = field(default_factory=list)
    pairs: list[PairRecord] = field(default_factory=list)
    cases: list[CaseRecord] = field(default_factory=list)
    shard: ShardRecord | None = None  # None: the whole matrix


def word(ending: Ending, outcome: Outcome) -> str:
    """How a case went, in one word: the outcome, or the ending of a run that ended early."""
    if ending in (Ending.COMPLETED, Ending.HOST_ERROR):
        return outcome.value
    return ending.value.replace("-", " ").upper()


def worst(codes: Iterable[int]) -> int:
    """The exit code of a set of cases: that of the worst."""
    found = set(codes)
    unknown = 3 if found - set(SEVERITY) else 0
    return next((code for code in SEVERITY if code in found), unknown)


def undecided(case: CaseRecord) -> bool:
    """Whether a case has yet to be run (again): it was not started or interrupted, its guest did not boot, or the lab
    or the host failed. What came of a guest that booted is its result. What the scenario itself is wrong about (exit
    code 2) stays so until its files change."""
    no_result = case.ending in UNDECIDED or not (case.booted or case.ending is Ending.COMPLETED)
    return case.state is not State.DONE or (no_result and case.exit_code != 2)


def to_json(record: MatrixRecord) -> str:
    """The record as indented JSON with a final newline; enums as their words."""
    return json.dumps(asdict(record), indent=1, ensure_ascii=True) + "\n"


def from_json(text: str, where: str) -> MatrixRecord:
    """The record from the text of a matrix.json. Raises UsageError naming ``where`` if it is not one."""
    try:
        data = json.loads(text)
        if not isinstance(data, dict) or data.get("schema") != SCHEMA:
            found = data.get("schema") if isinstance(data, dict) else type(data).__name__
            raise ValueError(f"schema {SCHEMA} expected, found {found!r}")
        return _record(data)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise UsageError(f"{where} is not a matrix record: {error}",
                         "give a directory that `lab matrix` wrote") from None


def _record(data: dict[str, Any]) -> MatrixRecord:
    data = {**data, "state": State(data["state"]), "options": _options(data["options"])}
    data["scenarios"] = [ScenarioRecord(**one) for one in data["scenarios"]]
    data["pairs"] = [PairRecord(**one) for one in data["pairs"]]
    data["cases"] = [_case(one) for one in data["cases"]]
    if not all(isinstance(data[name], int | float) and math.isfinite(data[name])
               for name in ("seconds", "boots", "exit_code")):  # fmt: skip
        raise TypeError("seconds, boots or exit_code is no number")
    names = {one.name for one in data["scenarios"]}
    pairs = {(one.kernel, one.userland) for one in data["pairs"]}
    for case in data["cases"]:
        if case.scenario not in names or (case.kernel, case.userland) not in pairs:
            raise ValueError(f"the case {case.directory!r} is not of its plan")
    if data.get("shard") is not None:
        data["shard"] = _shard(data["shard"], len(data["scenarios"]) * len(data["pairs"]))
    return MatrixRecord(**data)


def _shard(data: dict[str, Any], planned: int) -> ShardRecord:
    shard = ShardRecord(**data)
    if not all(type(number) is int for number in (shard.number, shard.count, shard.cases)):
        raise TypeError("a number of the shard is none")
    if not (isinstance(shard.pieces, str) and 1 <= shard.number <= shard.count <= MAX_SHARDS):
        raise ValueError(f"the shard {shard.name}")
    if shard.cases != planned or planned > MAX_PLAN:
        raise ValueError(f"the shard is of {shard.cases} cases, its plan has {planned}")
    return shard


def _options(data: dict[str, Any]) -> Options:
    settings: dict[str, Any] = {
        name: tuple(tuple(item) if isinstance(item, list) else item for item in value)
        for name, value in data["settings"].items()
    }
    return Options(**{**data, "settings": Settings(**settings)})


def _case(data: dict[str, Any]) -> CaseRecord:
    failing = [Failing(**{**one, "outcome": Outcome(one["outcome"])}) for one in data["failing"]]
    case = CaseRecord(**{
        **data, "state": State(data["state"]), "outcome": Outcome(data["outcome"]), "ending": Ending(data["ending"]),
        "failing": failing,
    })  # fmt: skip
    if "/" in case.directory or not safe(case.directory):  # it will be removed and made anew
        raise ValueError(f"the case directory {case.directory!r}")
    texts = [case.scenario, case.kernel, case.userland, case.detail, case.first,
             *(text for one in failing for text in (one.id, one.claim, one.at, one.message))]  # fmt: skip
    if not all((isinstance(case.exit_code, int), isinstance(case.seconds, int | float), isinstance(case.booted, bool),
                math.isfinite(case.seconds), *(isinstance(text, str) for text in texts),
                *(isinstance(count, int) for count in case.counts.values()))):  # fmt: skip
        raise TypeError(f"the result of {case.directory}")
    return case


class MatrixDirectory:
    """A matrix directory on disk: matrix.json and one run directory for each case."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, path: Path) -> MatrixDirectory:
        """A new one. Raises UsageError if something is already there."""
        cls.check(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"cannot write the matrix directory {path}: {error.strerror}",
                             "give another directory with --output") from None
        return cls(path)

    @classmethod
    def check(cls, path: Path) -> None:
        """Raises UsageError if something is already there."""
        if (path / FILE).is_file():
            raise UsageError(f"{path} holds a matrix already", f"go on with --resume {path}, or give another --output")
        if path.is_dir() and any(path.iterdir()):
            raise UsageError(f"{path} is not empty", "give a new directory with --output")

    @classmethod
    def open(cls, path: Path) -> MatrixDirectory:
        """An existing one. Raises UsageError if it has no matrix.json."""
        if not (path / FILE).is_file():
            raise UsageError(f"{path} is not a matrix directory: it has no {FILE}",
                             "give a directory that `lab matrix` wrote")
        return cls(path)

    def load(self) -> MatrixRecord:
        """Reads matrix.json. Raises UsageError if it is not a record of a known schema."""
        file = self.path / FILE
        if file.stat().st_size > MAX_RECORD:
            raise UsageError(f"{file} is too large to be a matrix record")
        return from_json(file.read_text(encoding="utf-8", errors="replace"), str(file))

    def save(self, record: MatrixRecord) -> None:
        """Writes matrix.json atomically. Raises LabError if the disk does not take it."""
        hint = f"free some space, then go on: lab matrix --resume {self.path}"
        write_whole(self.path / FILE, to_json(record), hint)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Keeps other labs from working in this directory. Raises UsageError if one does."""
        descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UsageError(f"another lab is at work in {self.path}",
                                 "wait until it has ended, or end it with Ctrl-C") from None
            yield
        finally:
            os.close(descriptor)

    def case(self, case: CaseRecord) -> Path:
        """The run directory of a case."""
        return self.path / case.directory

    def clear(self, case: CaseRecord, *, keep: bool = False) -> None:
        """Removes the run directory of a case, or with ``keep`` puts it aside below ``first-runs``."""
        place, aside = self.case(case), self.path / FIRST_RUNS / case.directory
        try:
            shutil.rmtree(aside, ignore_errors=True)  # of a repetition before this one
            if not place.is_dir():
                return
            if keep:
                aside.parent.mkdir(exist_ok=True)
                place.rename(aside)
            else:
                shutil.rmtree(place)
        except OSError as error:
            raise LabError(f"cannot clear {place}: {error.strerror}") from None
