"""`lab bisect` from end to end: the ends, one run after the other, and what is known by then on disk."""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from orchestrator import experiment, progress, recording
from orchestrator.bisection import candidates, question
from orchestrator.bisection.model import KERNEL, Bisection, Candidate, Trial
from orchestrator.bisection.question import Question
from orchestrator.bisection.search import Mark
from orchestrator.errors import LabError, UsageError
from orchestrator.matrix import selection
from orchestrator.model import Ending, Settings
from orchestrator.pieces import Store
from orchestrator.prepare import Choice, is_path
from orchestrator.progress import Event

Start = Callable[[experiment.Request], experiment.Done]
Keep = Callable[[Bisection], None]


@dataclass(frozen=True)
class Request:
    """What the user wants to know. ``choice`` names the side that is not searched; its modules and vmlinux go with an
    end that is a kernel given by path."""

    scenario: str
    good: str
    bad: str
    question: Question = field(default_factory=Question)
    choice: Choice = field(default_factory=Choice)
    settings: Settings = field(default_factory=Settings)
    timeout: float | None = None
    inspect: bool | None = None
    every: bool = False
    output: Path | None = None


def plan(request: Request, store: Store) -> Bisection:
    """The candidates, before anything was tried. Raises UsageError for what is wrong with the request."""
    wanted = experiment.scenario_of(_run(request))
    question.check(request.question, wanted)
    axis, found = candidates.between(store, request.good, request.bad)
    choice, other = request.choice, "--kernel" if axis == KERNEL else "--userland"
    if (choice.kernel if axis == KERNEL else choice.userland) is not None:
        raise UsageError(f"{other} is what is searched: --good and --bad are its ends", f"leave {other} out")
    own = [one for one in found if axis == KERNEL and is_path(one.name)]
    for option, value in (("--modules", choice.modules), ("--vmlinux", choice.vmlinux)):
        if value is not None and len(own) != 1:
            raise UsageError(f"{option} goes with one end that is the path of a kernel",
                             "a kernel of the catalogue brings its own")
    image = store.image(choice.image)
    beside = (choice.userland or image.userland) if axis == KERNEL else (choice.kernel or image.kernel)
    return Bisection(wanted.name, request.question, axis, beside, found, request.every, lab=recording.version())


def run(request: Request, store: Store, keep: Keep, start: Start = experiment.run) -> Bisection:
    """Searches. ``keep`` is told after each trial what is known, and has a directory to put it into. Ctrl-C ends the
    search, and what was found stays. Raises UsageError, PieceError or HostError for an end that can't be tried."""
    found = plan(request, store)
    found = replace(found, directory=_new_directory(request.output, found.scenario))
    keep(found)
    with progress.step(_what(found)):
        while (index := found.search.next) is not None and not found.interrupted:
            try:
                trial = _try(request, found, index, start)
            except KeyboardInterrupt:
                trial = None
            found = replace(found, interrupted=True) if trial is None else _told(found, trial)
            keep(found)
    return found


def _told(found: Bisection, trial: Trial) -> Bisection:
    found = replace(found, trials=(*found.trials, trial))
    one, search = found.candidates[trial.index], found.search
    left = f"; {search.steps} to try at most" if search.left else ""
    progress.send(Event("case", f"{one.label} is {trial.mark}: {trial.why}{left}", trial.mark))
    progress.update(_what(found), f"{len(found.trials)} tried{left}")
    return found


def _what(found: Bisection) -> str:
    first, last = found.candidates[0], found.candidates[-1]
    return f"searching between {first.label} and {last.label}"


def _try(request: Request, found: Bisection, index: int, start: Start) -> Trial | None:
    """One run; None if the user ended it. What can't even be started between the ends is skipped, with the reason."""
    one = found.candidates[index]
    assert found.directory is not None
    place = found.directory / _label(len(found.trials) + 1, one)
    try:
        done = start(replace(_run(request), choice=_choice(request, found, one), output=place))
    except LabError as error:
        if index in (0, len(found.candidates) - 1):
            raise
        return Trial(index, Mark.SKIP, error.message, exit_code=error.exit_code)
    record = done.record
    if record.ending is Ending.INTERRUPTED:
        return None
    first = found.trial(0)
    said = question.answer(request.question, record, first.variant if first else None)
    measured = record.environment
    return Trial(index, said.mark, said.why, done.directory.path, str(measured.get("release", "")),
                 str(measured.get("glibc", "")), record.exit_code, record.seconds, tuple(record.findings), said.variant)


def _run(request: Request) -> experiment.Request:
    asked = request.question
    return experiment.Request(request.scenario, settings=request.settings, timeout=request.timeout,
                              inspect=request.inspect, check=asked.check, at=asked.at)  # fmt: skip


def _choice(request: Request, found: Bisection, one: Candidate) -> Choice:
    choice = request.choice
    if found.axis != KERNEL:
        return replace(choice, image=None, kernel=found.beside, userland=one.name)
    own = is_path(one.name)
    return replace(choice, image=None, kernel=one.name, userland=found.beside,
                   modules=choice.modules if own else None, vmlinux=choice.vmlinux if own else None)  # fmt: skip


def _label(number: int, one: Candidate) -> str:
    return f"{number:02d}-{selection.labels([one.name])[one.name]}"


def _new_directory(output: Path | None, scenario: str) -> Path:
    """A new folder for the runs: the user's, or runs/TIME-bisect-SCENARIO."""
    stem = f"{datetime.datetime.now():%Y%m%d-%H%M%S}-bisect-{scenario}"
    names = itertools.chain([stem], (f"{stem}-{number}" for number in itertools.count(1)))
    path = output or next(Path("runs") / name for name in names if not (Path("runs") / name).exists())
    try:
        path.mkdir(parents=True, exist_ok=True)
        if any(path.iterdir()):
            raise UsageError(f"{path} is not empty", "give a new directory with --output")
    except OSError as error:
        raise UsageError(f"cannot write the directory {path}: {error.strerror}",
                         "give another directory with --output") from None
    return path
