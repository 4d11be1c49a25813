"""What one worker process does: keeps a guest as long as it is clean, and runs in it what it is told.

It talks with the matrix over one connection: an Order comes in, ``Said`` lines and then a Result go out, until
the other end is closed. SIGTERM ends the running case as interrupted. QEMU is a child of this process, so it
dies with it; this process dies with the lab (``processes.tethered``).
"""

from __future__ import annotations

import contextlib
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType

from orchestrator import host, inspector, judgement, orders, progress, recording, session
from orchestrator.errors import LabError
from orchestrator.machine.guest import Guest
from orchestrator.matrix import residue
from orchestrator.matrix.record import Failing, word
from orchestrator.matrix.shared import SharedGuest
from orchestrator.model import Case, Ending, Outcome
from orchestrator.prepare import Prepared
from orchestrator.progress import Event
from orchestrator.rundir import RunDirectory, RunRecord
from orchestrator.toolchain import Program

MAX_FAILING = 100  # findings that a result names; the record of the run has them all


@dataclass(frozen=True)
class Order:
    """One case to run. Orders of one ``boot`` key may share a guest; ``crowd`` stretches the time limits where
    there are more guests than processors."""

    case: Case
    prepared: Prepared
    program: Program
    directory: Path
    timeout: float | None = None
    crowd: float = 1.0
    boot: str = ""
    remark: str = ""  # for the record: why this case runs again
    first: str = ""  # how it went in a guest that others had used


@dataclass(frozen=True)
class Said:
    """Something to show: a ``note`` that must be seen, or what the worker does now (``begin``)."""

    kind: str
    text: str


@dataclass(frozen=True)
class Result:
    """What became of a case. ``before`` are the cases that had used its guest, ``residue`` what the last of them
    left there (the case was not run then), ``up`` whether the guest came up, ``clean`` whether it can serve on."""

    outcome: Outcome = Outcome.ERROR
    ending: Ending = Ending.HOST_ERROR
    detail: str = ""
    exit_code: int = 3
    seconds: float = 0.0
    boot_seconds: float | None = None
    boots: int = 0
    before: tuple[str, ...] = ()
    residue: str = ""
    up: bool = False
    clean: bool = False
    counts: dict[str, int] = field(default_factory=dict)
    failing: tuple[Failing, ...] = ()


class Interruption:
    """SIGTERM as KeyboardInterrupt, once, and never while something is sent."""

    def __init__(self) -> None:
        self.asked = False
        self._sending = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        first, self.asked = not self.asked, True
        if first and not self._sending:
            raise KeyboardInterrupt

    @contextlib.contextmanager
    def held_off(self) -> Iterator[None]:
        """The block is not interrupted; who asked meanwhile is heard by looking at ``asked``."""
        self._sending = True
        try:
            yield
        finally:
            self._sending = False


def main() -> None:
    """The worker process; its connection is the descriptor that the first argument names."""
    interruption = Interruption()
    signal.signal(signal.SIGTERM, interruption)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(KeyboardInterrupt, EOFError, BrokenPipeError):
        Worker(Connection(int(sys.argv[1])), interruption).serve()


class Worker:
    """Serves orders until there are no more."""

    def __init__(self, connection: Connection, interruption: Interruption) -> None:
        self._connection = connection
        self._interruption = interruption
        self._shared: SharedGuest | None = None

    def serve(self) -> None:
        """Reads orders and answers each, until the other end is closed or SIGTERM comes."""
        try:
            with progress.listening(self._forward):
                while not self._interruption.asked:
                    order = self._connection.recv()
                    self._send(self._answer(order))
        finally:
            self._discard()

    def _answer(self, order: Order) -> Result:
        try:
            return self._run(order)
        except KeyboardInterrupt:
            self._discard()
            return Result(ending=Ending.INTERRUPTED, detail="interrupted by the user", exit_code=130)
        except LabError as error:  # it could not even be recorded
            self._discard()
            return Result(detail=error.message, exit_code=error.exit_code)
        except OSError as error:  # the host's: a full disk, a limit on the size of files
            self._discard()
            return Result(detail=str(error))
        except Exception as error:  # a mistake of ours costs one case
            self._discard()
            return Result(detail=f"{type(error).__name__}: {error}\n{traceback.format_exc()[-2000:]}")

    def _send(self, message: Said | Result) -> None:
        with self._interruption.held_off():
            self._connection.send(message)

    def _forward(self, event: Event) -> None:
        if event.kind in ("begin", "note"):
            self._send(Said(event.kind, event.what))

    def _discard(self) -> None:
        shared, self._shared = self._shared, None
        if shared is not None:
            shared.close()

    # -- a case ----------------------------------------------------------------------------------

    def _run(self, order: Order) -> Result:
        before = self._fit_for(order)
        record = _record(order, before)
        directory = RunDirectory.create(order.directory, record)
        begin = time.monotonic()
        left = ""
        try:
            with contextlib.suppress(LabError), recording.recorded(record, directory):  # which has recorded it
                left = self._in_guest(order, record, directory)
            judgement.judge(record, directory, order.case.scenario)
            _compare(order.first, record)
            directory.save(record)
        except KeyboardInterrupt:
            record.ending, record.outcome, record.exit_code = Ending.INTERRUPTED, Outcome.ERROR, 130
            record.digest = None
            directory.save(record)
            raise
        took = time.monotonic() - begin - record.timings.get("boot", 0.0)
        return _result(record, took, before, left, self._shared is not None)

    def _fit_for(self, order: Order) -> tuple[str, ...]:
        """The cases that the guest at hand has served, if it can serve this one as well; else it is ended."""
        shared = self._shared
        if shared is not None and shared.key == order.boot:
            trouble = shared.trouble()
            if not trouble:
                return tuple(shared.served)
            progress.note(f"after {shared.served[-1]} {trouble}: its guest is not used again")
        self._discard()
        host.slowdown.cache_clear()  # a matrix lasts: the limits follow how busy the host is by now
        return ()

    def _in_guest(self, order: Order, record: RunRecord, directory: RunDirectory) -> str:
        """Runs the program, in the guest at hand or in a fresh one; what was left there by the case before.

        The guest stays for the next case unless something went wrong.
        """
        limits = _limits(order)
        deadline = time.monotonic() + limits.total
        self._shared = shared = self._shared or _guest(order, directory, limits, deadline)
        fine = False
        try:
            begin = time.monotonic()
            if not shared.up:
                shared.boot()
                record.timings["boot"] = round(time.monotonic() - begin, 3)
                record.timings.update(shared.guest.timings)
                begin = time.monotonic()
            shared.inspector = shared.inspector or inspector.make(order.case, order.prepared)
            session.Session(order.case, directory, record, limits, deadline, shared.inspector).run(
                shared.guest, order.program)
            record.timings["run"] = round(time.monotonic() - begin, 3)
            left = shared.residue(directory, frozenset(name for name, _ in order.case.settings.sysctls))
            fine = not (left or shared.trouble() or residue.kernel_trouble(directory.path))
            fine = fine and not shared.guest.recipe.deterministic  # which has its one case in it
            shared.served.append(order.directory.name)
            return left
        finally:
            if not fine:
                shared.stop()  # which lets a kernel in trouble finish its report
            shared.keep(record, directory)
            recording.keep_digest(shared.guest, record, directory, order.case.inspect)
            if not fine:
                self._discard()


def _guest(order: Order, directory: RunDirectory, limits: host.Limits, deadline: float) -> SharedGuest:
    recipe = orders.recipe(order.prepared.recipe, order.case, order.program)
    log = directory.path / "console.log"
    return SharedGuest(order.boot, Guest(recipe, limits, log, order.prepared.fall_back, deadline, ssh_at_once=False))


def _limits(order: Order) -> host.Limits:
    """As in a single run; but limits that the user did not give are longer where guests share processors."""
    limits = host.limits(order.case.scenario.timeout, order.timeout)
    if order.timeout is not None:
        return limits
    return host.Limits(*(getattr(limits, part.name) * order.crowd for part in fields(limits)))


def _record(order: Order, before: Sequence[str]) -> RunRecord:
    accelerator = order.prepared.accelerator
    record = recording.new_record(order.case, {"accelerator": accelerator.name, "reason": accelerator.reason})
    record.program = {"sha256": order.program.sha256, "compiler": order.program.compiler,
                      "command": list(order.program.command)}  # fmt: skip
    if order.remark:
        record.messages.append(order.remark)
    if before:
        record.messages.append(f"the guest had served before: {', '.join(before)}")
    return record


def _compare(first: str, record: RunRecord) -> None:
    """Says whether a fresh guest confirms what a used one made of the case."""
    if now := word(record.ending, record.outcome) if first else "":
        differs = f"the fresh guest says {now}, which counts: what others had left made it {first}"
        record.messages.append(f"the fresh guest confirms {now}" if now == first else differs)


def _result(record: RunRecord, took: float, before: tuple[str, ...], left: str, clean: bool) -> Result:
    early = record.ending is not Ending.COMPLETED  # then that nothing could be evaluated is no news
    bad = (Outcome.FAIL,) if early else (Outcome.FAIL, Outcome.ERROR)
    failing = [Failing(f.id, f.claim, f.at, f.outcome, f.message) for f in record.findings if f.outcome in bad]
    guests = [boot for boot in record.boots if boot.how != "saved" or boot.outcome != "ready"]
    up = any(boot.outcome == "ready" for boot in guests)
    counts = Counter(finding.outcome.value for finding in record.findings)
    return Result(
        outcome=record.outcome, ending=record.ending, detail=record.ending_detail, exit_code=record.exit_code,
        seconds=round(took, 3), boot_seconds=record.timings.get("boot"), boots=0 if before else len(guests),
        before=before, residue=left, up=up, clean=clean,
        counts=dict(counts), failing=tuple(failing[:MAX_FAILING]),
    )  # fmt: skip
