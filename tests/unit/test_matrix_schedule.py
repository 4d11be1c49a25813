"""Who runs what next: boots shared, the long first, help only where it pays. Simulated, without a guest."""

from __future__ import annotations

import heapq
from collections import Counter

import pytest

from orchestrator.matrix.schedule import BOOT_SECONDS, CASE_SECONDS, Schedule, Task, makespan


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def task(scenario: str, pair: str = "A", alone: bool = False) -> Task:
    found = Task(f"{scenario}-{pair}", scenario, pair, pair)
    return found.alone if alone else found


def pairs(count: int, scenarios: int) -> list[Task]:
    return [task(f"s{number}", pair) for pair in "ABCDEFGHIJKLMNOP"[:count] for number in range(scenarios)]


def simulate(tasks: list[Task], jobs: int, took: dict[str, float], boot: float = 3.0) -> tuple[float, Counter[str]]:
    """When the last case ends, and the boots by recipe."""
    clock = Clock()
    schedule = Schedule(tasks, jobs, clock)
    guests: dict[int, str] = {}
    boots: Counter[str] = Counter()
    events: list[tuple[float, int, Task, float | None]] = []
    ran: Counter[str] = Counter()
    while not schedule.over:
        for worker in schedule.idle:
            found = schedule.next(worker)
            if found is None:
                continue
            fresh = guests.get(worker) != found.boot
            guests[worker] = found.boot
            boots[found.recipe] += fresh
            ran[found.case] += 1
            time = took[found.scenario] + (boot if fresh else 0.0)
            heapq.heappush(events, (clock.now + time, worker, found, boot if fresh else None))
        assert events, "nobody works, though something waits"
        clock.now, worker, found, booted = heapq.heappop(events)
        schedule.finished(worker, seconds=took[found.scenario], boot=booted, up=True)
    assert ran == Counter(t.case for t in tasks), "every case once"
    return clock.now, boots


def test_one_worker_boots_each_pair_once() -> None:
    tasks = pairs(4, 5)
    time, boots = simulate(tasks, 1, {f"s{n}": 2.0 for n in range(5)})
    assert boots == Counter("ABCD")
    assert time == pytest.approx(4 * 3 + 20 * 2)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 16])
def test_two_workers_take_about_half_the_time(count: int) -> None:
    took = {"s0": 8.0, "s1": 1.0, "s2": 4.0, "s3": 2.0, "s4": 5.0, "s5": 1.5, "s6": 3.0}
    tasks = pairs(count, 7)
    alone, _ = simulate(tasks, 1, took)
    both, boots = simulate(tasks, 2, took)
    slack = 3.0 + 8.0  # one more boot, and the longest case at the end
    assert both <= alone / 2 + slack / 2
    assert sum(boots.values()) <= count + 1


def test_a_boot_that_does_not_pay_is_not_made() -> None:
    schedule = Schedule(pairs(1, 3), 2, Clock(), {"s0": [0.5], "s1": [0.5], "s2": [0.5]})
    assert schedule.next(0) is not None
    schedule.finished(0, seconds=0.5, boot=3.0, up=True)
    assert schedule.next(0) is not None
    assert schedule.next(1) is None, "the other will be done before a guest is up"


def test_many_workers_share_one_pair_where_it_pays() -> None:
    time, boots = simulate(pairs(1, 12), 4, {f"s{n}": 10.0 for n in range(12)})
    assert sum(boots.values()) == 4 and time <= 3 + 30 + 10


def test_the_longest_comes_first_once_it_is_known() -> None:
    schedule = Schedule(pairs(1, 3), 1, Clock(), {"s0": [1.0], "s1": [9.0, 7.0], "s2": [3.0]})
    order = []
    while (found := schedule.next(0)) is not None:
        order.append(found.scenario)
        schedule.finished(0, seconds=1.0, boot=None, up=True)
    assert order == ["s1", "s2", "s0"]


def test_a_boot_of_its_own_is_shared_with_nobody() -> None:
    tasks = [task("a"), task("b", alone=True), task("c"), task("d", alone=True)]
    assert len({t.boot for t in tasks}) == 3
    _, boots = simulate(tasks, 1, dict.fromkeys("abcd", 1.0))
    assert boots == Counter({"A": 3})


def test_a_worker_without_its_guest_goes_on_with_a_fresh_one() -> None:
    schedule = Schedule(pairs(1, 3), 1, Clock())
    assert schedule.next(0) is not None
    schedule.finished(0, seconds=None, boot=3.0, up=False)
    found = schedule.next(0)
    assert found is not None and found.boot == "A"


def test_what_is_run_again_gets_a_boot_of_its_own() -> None:
    schedule = Schedule(pairs(1, 2), 1, Clock())
    first = schedule.next(0)
    assert first is not None
    schedule.finished(0, seconds=None, boot=None, up=False)
    schedule.again(first)
    schedule.isolate(first.scenario)
    left = [schedule.next(0)]
    schedule.finished(0, seconds=1.0, boot=3.0, up=True)
    left.append(schedule.next(0))
    found = {t.case: t.boot for t in left if t}
    assert found.keys() == {"s0-A", "s1-A"} and found[first.case] != "A"
    assert first.recipe == "A", "it still counts as a guest of its pair"


def test_isolating_a_scenario_leaves_the_others_together() -> None:
    schedule = Schedule(pairs(2, 3), 1, Clock())
    schedule.isolate("s1")
    found = []
    while (one := schedule.next(0)) is not None:
        found.append(one)
        schedule.finished(0, seconds=1.0, boot=None, up=True)
    assert Counter(one.boot for one in found) == Counter({"A": 2, "B": 2, "A for s1-A": 1, "B for s1-B": 1})


def test_refusing_takes_all_guests_made_of_the_same() -> None:
    tasks = [task("a"), task("b", alone=True), task("c", "B")]
    schedule = Schedule(tasks, 1, Clock())
    assert {t.case for t in schedule.refuse("A")} == {"a-A", "b-A"}
    assert schedule.next(0) == tasks[2]


def test_the_estimate_learns() -> None:
    clock = Clock()
    schedule = Schedule(pairs(2, 2), 1, clock)
    assert schedule.left() == pytest.approx(4 * CASE_SECONDS + 2 * BOOT_SECONDS)
    schedule.next(0)
    clock.now = 4.0
    schedule.finished(0, seconds=1.0, boot=3.0, up=True)
    assert schedule.left() == pytest.approx(3 * 1.0 + 3.0)
    assert not schedule.over


def test_makespan() -> None:
    assert makespan([0.0], []) == 0.0
    assert makespan([0.0, 0.0], [3.0, 2.0, 2.0]) == 4.0
    assert makespan([5.0, 0.0], [1.0]) == 5.0
