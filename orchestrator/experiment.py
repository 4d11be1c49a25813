"""`lab run` from end to end: scenario, pieces, program, guest, evidence, findings."""

from __future__ import annotations

import datetime
import importlib
import threading
from dataclasses import dataclass, field, replace
from pathlib import Path

from orchestrator import dry_run, fingerprint, host, inspector, recording, resources, scenario, session
from orchestrator.errors import UsageError
from orchestrator.machine import qemu
from orchestrator.machine.recipe import Recipe
from orchestrator.model import Case, Scenario, Settings
from orchestrator.names import nearest
from orchestrator.prepare import Choice, Prepared, prepare
from orchestrator.rundir import RECORD_LOG, RunDirectory, RunRecord
from orchestrator.stopwatch import Stopwatch
from orchestrator.toolchain import Program, compile_program


@dataclass(frozen=True)
class Request:
    """What the user wants run. ``timeout`` in seconds, for the whole run."""

    scenario: str
    choice: Choice = field(default_factory=Choice)
    settings: Settings = field(default_factory=Settings)
    output: Path | None = None
    timeout: float | None = None
    inspect: bool | None = None  # at every checkpoint, at none; None: as the scenario says
    vmcore: str | None = None  # the checkpoint at which the guest's memory is dumped; "failure"
    keep_record: bool = False  # QEMU's, so that the run can be replayed
    start_up: float | None = None  # seconds that the lab took until it came to this
    check: str = ""  # an expression of the user's own, evaluated with the expectations
    at: str = ""  # its checkpoint


@dataclass(frozen=True)
class Done:
    """A run that ended, one way or another."""

    record: RunRecord
    directory: RunDirectory


def run(request: Request) -> Done:
    """Runs one case; whatever happens after the directory is made stands in its record.

    Raises UsageError, PieceError or HostError for what is wrong before that.
    """
    watch = Stopwatch()
    wanted = scenario_of(request)
    _check_vmcore(request.vmcore, wanted, request.choice.deterministic or wanted.deterministic)
    settings = recording.merge(wanted.settings, request.settings)
    prepared = prepare(_choice(request.choice, wanted, settings), announce=False)
    watch.lap("prepare")
    case = Case(wanted, prepared.kernel, prepared.userland, prepared.emulator, settings,
                fingerprint.of_program(wanted), inspector.wanted(wanted, request.inspect), request.vmcore)
    looking = inspector.make(case, prepared)
    program = compile_case(case, prepared)
    watch.lap("compile")
    accelerator = prepared.accelerator
    record = recording.new_record(case, {"accelerator": accelerator.name, "reason": accelerator.reason})
    record.timings.update({} if request.start_up is None else {"start_up": request.start_up}, **watch.seconds)
    directory = RunDirectory.create(request.output or _new_directory(case), record)
    limits = host.limits(wanted.timeout, request.timeout)
    recipe = _recorded(prepared.recipe, directory) if request.keep_record else prepared.recipe
    # What judges is read while QEMU is busy: a twentieth of a run from a saved state.
    threading.Thread(target=importlib.import_module, args=("orchestrator.judgement",), daemon=True).start()
    session.run_case(case, recipe, program, directory, record, limits, prepared.fall_back, looking)
    from orchestrator import judgement

    watch = Stopwatch()
    judgement.judge(record, directory, wanted)
    watch.lap("evaluate")
    record.timings.update(watch.seconds)
    directory.save(record)
    return Done(record, directory)


def _recorded(recipe: Recipe, directory: RunDirectory) -> Recipe:
    """The same, of which QEMU keeps a record in the run directory."""
    log = directory.write(RECORD_LOG, b"")
    return replace(recipe, record=qemu.Record(str(log.resolve())))


def scenario_of(request: Request) -> Scenario:
    """The scenario, with the user's own check. Raises UsageError for what is wrong with either."""
    wanted = scenario.named(request.scenario)
    if not request.check:
        return wanted
    return scenario.with_check(wanted, request.check, request.at, inspector.wanted(wanted, request.inspect))


def _check_vmcore(name: str | None, wanted: Scenario, deterministic: bool) -> None:
    if name is not None and deterministic:
        raise UsageError("--vmcore does not go with --deterministic: a guest that stands still takes no orders, QEMU's "
                         "dump neither", "run it without, or look inside with --inspect")
    if name in (None, "failure", *wanted.checkpoints) or (name != "exit" and scenario.OWN.fullmatch(name or "")):
        return
    if not wanted.plain:
        near = nearest(str(name), wanted.checkpoints)
        raise UsageError(f"--vmcore {name}: the scenario has no such checkpoint{near}",
                         f"failure, or one of: {', '.join(wanted.checkpoints)}")


def command_line(request: Request) -> str:
    """The QEMU command of a request, or the two of one that makes a saved state first, for reading."""
    wanted = scenario.named(request.scenario)
    _check_vmcore(request.vmcore, wanted, request.choice.deterministic or wanted.deterministic)
    settings = recording.merge(wanted.settings, request.settings)
    recipe = prepare(_choice(request.choice, wanted, settings)).recipe
    if request.keep_record:
        recipe = replace(recipe, record=qemu.Record(str(request.output or Path("RUN")) + f"/{RECORD_LOG}"))
    return dry_run.text(recipe)


def _choice(choice: Choice, wanted: Scenario, settings: Settings) -> Choice:
    """What the user chose, with what the scenario says of its guest."""
    return replace(choice, append=settings.append, deterministic=choice.deterministic or wanted.deterministic)


def compile_case(case: Case, prepared: Prepared) -> Program:
    """The case's program for its userland. Raises UsageError with the compiler's words, or HostError."""
    defines = [f"-D{name}={value}" for name, value in case.settings.defines]
    return compile_program(case.scenario.programs, prepared.sysroot, prepared.sysroot_key, prepared.cache,
                           include=(resources.data("guest"),), flags=(*case.scenario.cflags, *defines))


def _new_directory(case: Case) -> Path:
    """runs/TIME-SCENARIO-KERNEL-USERLAND, with a number where that exists already."""
    now = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    names = (case.scenario.name, Path(case.kernel.name).name, Path(case.userland.name).name)
    stem = "-".join((now, *names))
    candidates = (Path("runs") / (stem if number == 0 else f"{stem}-{number}") for number in range(1000))
    return next(path for path in candidates if not path.exists())
