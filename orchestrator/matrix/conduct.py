"""A matrix while it runs: hands cases to workers, takes what became of them, keeps the record true."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

from orchestrator import judgement, progress, recording
from orchestrator.errors import LabError
from orchestrator.matrix.pool import Lost, Pool, Signals
from orchestrator.matrix.record import CaseRecord, MatrixDirectory, MatrixRecord, State, word
from orchestrator.matrix.schedule import Schedule, Task
from orchestrator.matrix.worker import Order, Result, Said
from orchestrator.model import Case, Ending, Outcome
from orchestrator.prepare import Prepared
from orchestrator.progress import Event
from orchestrator.rundir import RunDirectory

TICK = 1.0  # seconds between two looks at what runs, where nothing happens
NAMED = 5  # findings in the reason why a case is repeated
WIDTH = 80  # columns of a line for a case that ended, if possible
# Endings of a guest in trouble
TROUBLE = frozenset({
    Ending.PANIC, Ending.OOPS, Ending.BUG, Ending.WARNING, Ending.LOCKUP, Ending.HUNG_TASK, Ending.RCU_STALL,
    Ending.LOST_GUEST, Ending.HOST_ERROR,
})  # fmt: skip
INTERRUPTED = Result(ending=Ending.INTERRUPTED, detail="interrupted by the user", exit_code=130)


@dataclass(frozen=True)
class Unable:
    """A case that can't even be tried, and what is to be recorded of it. Without ``subject`` not all of its pieces
    are there, and it has no run directory."""

    subject: tuple[Case, Prepared] | None
    result: Result


class Conductor:
    """Conducts one matrix; a case goes by the name of its directory."""

    def __init__(self, directory: MatrixDirectory, record: MatrixRecord) -> None:
        self._directory = directory
        self._record = record
        self._cases = {case.directory: case for case in record.cases}
        self._subjects: dict[str, tuple[Case, Prepared]] = {}
        self._orders: dict[str, Order] = {}
        self._schedule = Schedule((), 1, time.monotonic)
        self._doing: dict[int, str] = {}  # what each worker said last
        self._news: list[tuple[CaseRecord, int, int]] = []  # to be told: a case, how many are done, and failed
        self._what = f"{len(record.cases)} cases"
        if record.shard is not None:
            self._what = f"shard {record.shard.name}: {len(record.cases)} of {record.shard.cases} cases"
        self._before = record.seconds
        self._begin = time.monotonic()

    def run(self, orders: Mapping[str, Order], unable: Mapping[str, Unable], jobs: int) -> None:
        """Until every case is done, or a signal asks to end. Raises LabError if the record can't be written."""
        self._orders = dict(orders)
        self._subjects = {name: (order.case, order.prepared) for name, order in orders.items()}
        tasks = [_task(name, self._cases[name].scenario, order) for name, order in orders.items()]
        self._schedule = Schedule(tasks, jobs, time.monotonic, self._known())
        with Signals() as signals, Pool(signals) as pool, progress.step(self._what):
            for name, why in unable.items():
                self._cannot(name, why)
            while not self._schedule.over and not signals.asked:
                if self._dispatch(pool):
                    self.save()
                self._tell()
                for worker, message in pool.messages(TICK):
                    if self._take(worker, message):
                        self.save()
                self._show()
            if not self._schedule.over:
                self._end_early(pool)
            self._tell()
            self.save()

    def save(self) -> None:
        """Writes the record with the time as it is now."""
        self._record.seconds = round(self._before + time.monotonic() - self._begin, 3)
        self._directory.save(self._record)

    def _known(self) -> dict[str, list[float]]:
        """How long the cases that are done already took, by scenario."""
        known: dict[str, list[float]] = {}
        for case in self._record.cases:
            if case.state is State.DONE and case.ending is Ending.COMPLETED:
                known.setdefault(case.scenario, []).append(case.seconds)
        return known

    def _cannot(self, name: str, why: Unable) -> None:
        if why.subject is not None:
            self._subjects[name] = why.subject
        self._directory.clear(self._cases[name])
        self._settle(self._cases[name], why.result)

    def _end_early(self, pool: Pool) -> None:
        self._record.state = State.INTERRUPTED
        for worker, message in pool.interrupt():
            self._take(worker, message)
        for case in self._record.cases:
            if case.state is State.RUNNING:  # whoever ran it had no time for a last word
                self._settle(case, INTERRUPTED)

    # -- cases go out ----------------------------------------------------------------------------

    def _dispatch(self, pool: Pool) -> int:
        """Gives idle workers what there is for them; how many it was."""
        before = len(self._schedule.running)
        for worker in self._schedule.idle:
            task = self._schedule.next(worker)
            if task is None:
                continue
            case = self._cases[task.case]
            order = replace(self._orders[task.case], boot=task.boot)
            self._directory.clear(case, keep=bool(order.remark))
            case.reset()
            case.state = State.RUNNING
            self._doing[worker] = ""
            pool.send(worker, order)
        return len(self._schedule.running) - before

    # -- results come in -------------------------------------------------------------------------

    def _take(self, worker: int, message: Said | Result | Lost) -> bool:
        """Takes a worker's word; whether a case ended by it."""
        task = self._schedule.running.get(worker)
        if task is None:  # a worker that ended when it had nothing to do
            return False
        if isinstance(message, Said):
            self._hear(worker, task, message)
            return False
        if isinstance(message, Lost):
            self._schedule.finished(worker, seconds=None, boot=None, up=False)
            case = self._cases[task.case]
            asked = self._record.state is State.INTERRUPTED
            self._settle(case, INTERRUPTED if asked else Result(detail=message.reason))
        else:
            completed = message.ending is Ending.COMPLETED
            self._schedule.finished(worker, seconds=message.seconds if completed else None,
                                    boot=message.boot_seconds, up=message.clean)  # fmt: skip
            self._record.boots += message.boots
            self._conclude(task, message)
        return True

    def _hear(self, worker: int, task: Task, said: Said) -> None:
        if said.kind == "note":
            case = self._cases[task.case]
            progress.note(f"{case.kernel} with {case.userland}: {said.text}")
        else:
            self._doing[worker] = said.text

    def _conclude(self, task: Task, result: Result) -> None:
        if result.up and result.ending in TROUBLE and result.exit_code == 4:
            self._schedule.isolate(task.scenario)
        if doubt := _doubt(result):
            progress.note(f"{task.case} is repeated in a fresh guest: {doubt}")
            first = "" if result.residue else word(result.ending, result.outcome)
            remark = f"repeated in a fresh guest: {doubt}"
            self._orders[task.case] = replace(self._orders[task.case], remark=remark, first=first)
            self._schedule.again(task)
            self._cases[task.case].reset()
            return
        self._cases[task.case].first = self._orders[task.case].first
        self._settle(self._cases[task.case], result)
        if result.boots and not result.up and result.ending is not Ending.INTERRUPTED:
            self._refuse(task, result)

    def _refuse(self, task: Task, result: Result) -> None:
        """What does not boot twice is not tried for every case of its group."""
        refused = self._schedule.refuse(task.recipe)
        for other in refused:
            self._directory.clear(self._cases[other.case])
            detail = f"not run, as its guest did not boot for {task.case}: {result.detail}"
            self._settle(self._cases[other.case], replace(result, detail=detail, boots=0, seconds=0.0, failing=()))

    def _settle(self, case: CaseRecord, result: Result) -> None:
        """The case is over: here, in its run directory, and for who watches."""
        interrupted = result.ending is Ending.INTERRUPTED
        case.state = State.INTERRUPTED if interrupted else State.DONE
        case.outcome, case.ending, case.detail = result.outcome, result.ending, result.detail
        case.exit_code, case.booted, case.seconds = result.exit_code, result.up, result.seconds
        case.counts, case.failing = dict(result.counts), list(result.failing)
        if result.ending is not Ending.COMPLETED:
            self._tell_directory(case, result)
        if not interrupted:
            done = self._done()
            self._news.append((case, len(done), _failed(done)))

    def _tell_directory(self, case: CaseRecord, result: Result) -> None:
        """Sees to it that the run directory of a case that ended early says how, whoever was to write that."""
        if case.directory not in self._subjects:
            return
        subject, prepared = self._subjects[case.directory]
        directory = RunDirectory(self._directory.case(case))
        with contextlib.suppress(LabError, OSError):
            if (directory.path / "run.json").is_file():
                record = directory.load()
            else:
                record = recording.new_record(subject, {"accelerator": prepared.accelerator.name,
                                                      "reason": prepared.accelerator.reason})  # fmt: skip
                RunDirectory.create(directory.path, record)
            if record.ending is Ending.UNFINISHED:
                record.ending, record.ending_detail = result.ending, result.detail
                record.exit_code, record.outcome = result.exit_code, Outcome.ERROR
                judgement.judge(record, directory, subject.scenario)
                directory.save(record)

    # -- for who watches -------------------------------------------------------------------------

    def _done(self) -> list[CaseRecord]:
        return [case for case in self._record.cases if case.state is State.DONE]

    def _tell(self) -> None:
        """A line for each case that ended: how, and where the matrix is by then."""
        left = "" if self._schedule.over else f", {duration(self._schedule.left())} left"
        for case, number, failed in self._news:
            head = f"{number}/{len(self._record.cases)} {case.word:5}"
            tail = f"; {len(self._schedule.running)} running, {failed} failed{left}"
            texts = [f"{head} {what}{tail}" for what in (f"{case.name} {case.seconds:.1f} s",
                                                         f"{case.short} {case.seconds:.1f} s", case.short)]  # fmt: skip
            text = next((text for text in texts if len(text) <= WIDTH), texts[-1])
            progress.send(Event("case", text, case.word))
        self._news.clear()

    def _show(self) -> None:
        done = self._done()
        failed = _failed(done)
        counts = f"{len(done)} done" + (f", {failed} failed" if failed else "")
        names = {worker: self._cases[task.case].short for worker, task in sorted(self._schedule.running.items())}
        running = [f"boots for {name}" if self._doing.get(worker, "").startswith("booting") else name
                   for worker, name in names.items()]  # fmt: skip
        progress.update(self._what, f"{counts}, {duration(self._schedule.left())} left: {', '.join(running)}")


def _task(name: str, scenario: str, order: Order) -> Task:
    """Cases of one pair and command line may share guests. A scenario that says so, or that has a command line of
    its own, has a boot of its own, and so has each case whose guest is deterministic; a user's own --append is the same
    for all."""
    case, deterministic = order.case, order.prepared.recipe.deterministic
    recipe = " ".join((case.kernel.name, "with", case.userland.name, *case.settings.append,
                       *(("deterministic",) if deterministic else ())))  # fmt: skip
    task = Task(name, scenario, recipe, recipe)
    return task.alone if deterministic or case.scenario.own_boot or case.scenario.settings.append else task


def _failed(done: list[CaseRecord]) -> int:
    return sum(case.exit_code != 0 for case in done)


def _doubt(result: Result) -> str:
    """Why a result may not be the case's own doing: it did not pass in a guest that had served others before. Empty
    if it is. What is wrong in the scenario or the options (exit code 2) is so in any guest."""
    if not result.before:
        return ""
    if result.residue:
        return f"{result.before[-1]} left something behind, which own_boot: true would tell: {result.residue}"
    if result.exit_code in (0, 2) or result.ending is Ending.INTERRUPTED:
        return ""
    ids = [failing.id for failing in result.failing]
    more = f" and {len(ids) - NAMED} more" if len(ids) > NAMED else ""
    what = f"{', '.join(ids[:NAMED])}{more}" if result.ending is Ending.COMPLETED else result.detail
    where = f"(in the guest that {', '.join(result.before)} had used)"
    return f"first {word(result.ending, result.outcome)}: {what or 'without a finding'} {where}"


def duration(seconds: float) -> str:
    """An estimate for people: "40 s", "3 min", "2 h 10 min"."""
    if seconds < 90:
        return f"{max(1, round(seconds / 5) * 5) if seconds > 10 else max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
