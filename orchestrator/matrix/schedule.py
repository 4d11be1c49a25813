"""Who runs which case next: pure, with a clock given from outside.

Cases of one boot key may share a guest. A worker whose guest is up stays with its key as long as there are
cases of it; then it takes the largest key that nobody works on, at last it helps others with theirs, if that
ends the matrix earlier though it costs another boot. Within a key the longest case comes first. Durations are
what the same scenario took before, elsewhere the mean of all.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from statistics import fmean

CASE_SECONDS, BOOT_SECONDS = 4.0, 4.0  # until something was measured


@dataclass(frozen=True)
class Task:
    """A case as the schedule sees it. ``recipe`` names what its guest is made of, ``boot`` is the key under which
    it may share one; a key that no other case has means a boot of its own."""

    case: str
    scenario: str
    recipe: str
    boot: str

    @property
    def alone(self) -> Task:
        """The same case, with a boot of its own."""
        return replace(self, boot=f"{self.recipe} for {self.case}")


@dataclass
class _Worker:
    boot: str = ""  # the key of its guest, or of the one that it is about to boot
    task: Task | None = None  # what it runs
    since: float = 0.0
    up: bool = False  # the guest is there, as far as known


@dataclass
class Schedule:
    """The tasks that wait, and who does what. ``jobs`` is the number of workers."""

    tasks: Iterable[Task]
    jobs: int
    clock: Callable[[], float]
    known: Mapping[str, Iterable[float]] = field(default_factory=dict)  # scenario -> seconds that it took before
    _waiting: list[Task] = field(init=False)
    _workers: dict[int, _Worker] = field(init=False, default_factory=dict)
    _took: dict[str, list[float]] = field(init=False)
    _boots: list[float] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self._waiting = list(self.tasks)
        self._took = {scenario: list(times) for scenario, times in self.known.items()}
        self._workers = {number: _Worker() for number in range(self.jobs)}

    # -- what happens ----------------------------------------------------------------------------

    def next(self, worker: int) -> Task | None:
        """What an idle worker is to run now; it counts as running from here on. None: nothing that helps."""
        me = self._workers[worker]
        key = me.boot if me.up and self._of(me.boot) else self._another(worker)
        if key is None:
            return None
        task = max(self._of(key), key=self.estimate)
        self._waiting.remove(task)
        me.up = me.up and key == me.boot
        me.boot, me.task, me.since = key, task, self.clock()
        return task

    def finished(self, worker: int, *, seconds: float | None, boot: float | None, up: bool) -> None:
        """A worker's case has ended. ``seconds`` and ``boot`` are what case and boot took, None where that tells
        nothing of the next ones; ``up`` whether its guest can serve another case."""
        me = self._workers[worker]
        if me.task is not None and seconds is not None:
            self._took.setdefault(me.task.scenario, []).append(seconds)
        if boot is not None:
            self._boots.append(boot)
        me.task, me.up = None, up

    def again(self, task: Task) -> None:
        """A case is to be run once more, in a boot of its own."""
        self._waiting.append(replace(task, boot=f"{task.recipe} again for {task.case}"))

    def isolate(self, scenario: str) -> None:
        """A scenario is bad for its guest: what waits of it gets boots of its own."""
        self._waiting = [task.alone if task.scenario == scenario else task for task in self._waiting]

    def refuse(self, recipe: str) -> list[Task]:
        """Takes away all that waits for such a guest."""
        refused = [task for task in self._waiting if task.recipe == recipe]
        self._waiting = [task for task in self._waiting if task.recipe != recipe]
        return refused

    # -- what is known ---------------------------------------------------------------------------

    @property
    def idle(self) -> list[int]:
        """The workers that run nothing, those with a guest first."""
        free = [number for number, worker in self._workers.items() if worker.task is None]
        return sorted(free, key=lambda number: not self._workers[number].up)

    @property
    def running(self) -> dict[int, Task]:
        """What each busy worker runs."""
        return {number: worker.task for number, worker in self._workers.items() if worker.task is not None}

    @property
    def over(self) -> bool:
        """Whether nothing waits and nothing runs."""
        return not self._waiting and not self.running

    def estimate(self, task: Task) -> float:
        """Seconds that a case will take, without a boot."""
        times = self._took.get(task.scenario) or [t for times in self._took.values() for t in times]
        return fmean(times) if times else CASE_SECONDS

    def left(self) -> float:
        """Seconds until all is done."""
        ready = [self._remaining(worker) for worker in self._workers.values()]
        served = {worker.boot for worker in self._workers.values() if worker.up or worker.task}
        boots = [self._boot_seconds()] * len({task.boot for task in self._waiting} - served)
        return makespan(ready, [*map(self.estimate, self._waiting), *boots])

    # -- how it decides --------------------------------------------------------------------------

    def _of(self, boot: str) -> list[Task]:
        return [task for task in self._waiting if task.boot == boot]

    def _another(self, worker: int) -> str | None:
        """The key of which an idle worker takes its next case."""
        keys = dict.fromkeys(task.boot for task in self._waiting)
        free = [key for key in keys if not self._on(key, worker)]
        if free:
            return max(free, key=lambda key: sum(map(self.estimate, self._of(key))))
        gains = {key: self._gain(key, worker) for key in keys}
        best = max(gains, key=gains.__getitem__, default=None)
        return best if best is not None and gains[best] > 0 else None

    def _on(self, key: str, besides: int) -> list[_Worker]:
        """The other workers that are with that key."""
        return [w for number, w in self._workers.items() if number != besides and w.boot == key and (w.up or w.task)]

    def _gain(self, key: str, worker: int) -> float:
        """By how many seconds a key ends earlier if this worker boots a guest for it as well."""
        ready = [self._remaining(other) for other in self._on(key, worker)]
        times = [self.estimate(task) for task in self._of(key)]
        return makespan(ready, times) - makespan([*ready, self._boot_seconds()], times)

    def _remaining(self, worker: _Worker) -> float:
        if worker.task is None:
            return 0.0
        boot = 0.0 if worker.up else self._boot_seconds()
        return max(0.0, boot + self.estimate(worker.task) - (self.clock() - worker.since))

    def _boot_seconds(self) -> float:
        return fmean(self._boots) if self._boots else BOOT_SECONDS


def makespan(ready: Iterable[float], times: Iterable[float]) -> float:
    """When the last of some jobs ends, the longest given first to whoever is ready first."""
    heap = list(ready)
    heapq.heapify(heap)
    for time in sorted(times, reverse=True):
        heapq.heapreplace(heap, heap[0] + time)
    return max(heap)
