"""A matrix while it runs, with workers that answer as scripted: what is run again, refused, interrupted, recorded."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator import progress
from orchestrator.accelerator import Accelerator
from orchestrator.errors import LabError
from orchestrator.machine.guest import Recipe
from orchestrator.matrix import conduct, experiments
from orchestrator.matrix.conduct import Conductor, Unable
from orchestrator.matrix.pool import Lost, Signals, default_jobs
from orchestrator.matrix.record import FIRST_RUNS, Failing, MatrixDirectory, MatrixRecord, Options, State, undecided
from orchestrator.matrix.selection import Pair
from orchestrator.matrix.worker import Order, Result, Said
from orchestrator.model import Case, Emulator, Ending, Kernel, Outcome, Scenario, Settings, Userland
from orchestrator.prepare import Prepared
from orchestrator.progress import Event
from orchestrator.rundir import RunDirectory, RunRecord
from orchestrator.toolchain import Program

Answer = Callable[[Order, tuple[str, ...]], Result | Lost | None]
PASSED = Result(Outcome.PASS, Ending.COMPLETED, "", 0, 1.0, None, up=True, clean=True, counts={"PASS": 3})


def scenario(place: Path, name: str, **more: object) -> Scenario:
    place.mkdir(exist_ok=True)
    (place / f"{name}.c").touch()
    return Scenario(name, "", place, (place / f"{name}.c",), plain=True, **more)  # type: ignore[arg-type]


class Matrix:
    """Plans scenarios on one or two pairs, and conducts them with workers that ``answer``."""

    def __init__(self, place: Path, *scenarios: Scenario, pairs: int = 1) -> None:
        both = (Pair("5.10", "bullseye"), Pair("7.x", "testing"))[:pairs]
        self.record, named = experiments.plan(scenarios, both, Options())
        self.directory = MatrixDirectory.create(place / "matrix")
        self.orders = {one.directory: self.order(one.directory, named[one.scenario], one.kernel, one.userland)
                       for one in self.record.cases}  # fmt: skip
        self.sent: list[Order] = []
        self.notes: list[str] = []

    def order(self, name: str, wanted: Scenario, kernel: str, userland: str) -> Order:
        k, u = Kernel(kernel, Path("k"), None, None, ""), Userland(userland, "2.31", Path("u"), None)
        e = Emulator("q", ("q",), "10")
        recipe, tcg = Recipe(k, u, Path("a"), e), Accelerator("tcg", "test")
        prepared = Prepared(k, u, e, tcg, recipe, Path("s"), "key", Path("c"), "auto")
        return Order(Case(wanted, k, u, e, wanted.settings), prepared, Program(Path("p"), "0", "cc", ()),
                     self.directory.path / name)  # fmt: skip

    def run(self, monkeypatch: pytest.MonkeyPatch, answer: Answer, jobs: int = 1,
            unable: dict[str, Unable] | None = None) -> None:
        matrix = self

        class Workers:
            """Runs nothing: writes a run directory, and answers."""

            def __init__(self, signals: Signals) -> None:
                self.signals = signals
                self.guests: dict[int, tuple[str, tuple[str, ...]]] = {}
                self.waiting: dict[int, Result | Lost] = {}
                self.silent: list[int] = []

            def __enter__(self) -> Workers:
                return self

            def __exit__(self, *_: object) -> None:
                pass

            def send(self, worker: int, order: Order) -> None:
                matrix.sent.append(order)
                key, served = self.guests.get(worker, ("", ()))
                served = served if key == order.boot else ()
                RunDirectory.create(order.directory, RunRecord())
                found = answer(order, served)
                alive = isinstance(found, Result) and found.clean
                self.guests[worker] = (order.boot, (*served, order.directory.name)) if alive else ("", ())
                if found is None:
                    self.silent.append(worker)
                else:
                    self.waiting[worker] = found

            def messages(self, timeout: float) -> Iterator[tuple[int, Said | Result | Lost]]:
                for worker in list(self.waiting):
                    yield worker, Said("begin", "booting")
                    yield worker, self.waiting.pop(worker)

            def interrupt(self) -> Iterator[tuple[int, Said | Result | Lost]]:
                for worker in self.silent:
                    yield worker, conduct.INTERRUPTED

        monkeypatch.setattr(conduct, "Pool", Workers)
        with progress.listening(self.hear):
            Conductor(self.directory, self.record).run(self.orders, unable or {}, jobs)

    def hear(self, event: Event) -> None:
        if event.kind in ("note", "case"):
            self.notes.append(event.what)

    def words(self) -> dict[str, str]:
        return {case.directory: case.word for case in self.record.cases}

    def read(self, name: str) -> RunRecord:
        return RunDirectory.open(self.directory.path / name).load()


def test_everything_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = Matrix(tmp_path, *(scenario(tmp_path, name) for name in "abc"), pairs=2)
    matrix.run(monkeypatch, lambda order, served: PASSED, jobs=2)
    assert set(matrix.words().values()) == {"PASS"}
    assert len({order.boot for order in matrix.sent}) == 2
    assert matrix.notes[-1].startswith("6/6 PASS") and " left" in matrix.notes[0]
    assert matrix.directory.load().cases == matrix.record.cases


def test_own_boots_are_not_shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = scenario(tmp_path, "c", settings=Settings(append=("nokaslr",)))
    matrix = Matrix(tmp_path, scenario(tmp_path, "a"), scenario(tmp_path, "b", own_boot=True), own,
                    scenario(tmp_path, "d"))  # fmt: skip
    matrix.run(monkeypatch, lambda order, served: PASSED)
    boots = {order.case.scenario.name: order.boot for order in matrix.sent}
    assert boots["a"] == boots["d"] and len(set(boots.values())) == 3


def test_a_crash_in_a_used_guest_is_tried_in_a_fresh_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(order: Order, served: tuple[str, ...]) -> Result:
        if order.case.scenario.name == "c" and served:
            return Result(ending=Ending.PANIC, detail="Kernel panic", exit_code=4, up=True, before=served)
        return PASSED

    matrix = Matrix(tmp_path, *(scenario(tmp_path, name) for name in "abcd"))
    matrix.run(monkeypatch, answer)
    assert set(matrix.words().values()) == {"PASS"}
    again = [order for order in matrix.sent if order.case.scenario.name == "c"]
    assert len(again) == 2 and again[1].boot != again[0].boot and "Kernel panic" in again[1].remark
    assert (matrix.directory.path / FIRST_RUNS / "c-5.10-bullseye/run.json").is_file()
    assert again[1].first == "PANIC" and matrix.record.cases[2].first == "PANIC" and matrix.record.cases[2].unconfirmed
    assert any("repeated in a fresh guest" in note for note in matrix.notes)


@pytest.mark.parametrize("fresh", ["FAIL", "PASS", "ERROR"])
@pytest.mark.parametrize("first", ["FAIL", "ERROR", "TIMEOUT"])
def test_what_does_not_pass_in_a_used_guest_is_confirmed_in_a_fresh_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: str, fresh: str
) -> None:
    failing = (Failing("x", "a.b", "", Outcome.FAIL, "no"),)
    results = {
        "PASS": PASSED, "FAIL": replace(PASSED, outcome=Outcome.FAIL, exit_code=1, failing=failing),
        "ERROR": replace(PASSED, outcome=Outcome.ERROR, exit_code=3, failing=failing),
        "TIMEOUT": replace(PASSED, outcome=Outcome.ERROR, ending=Ending.TIMEOUT, detail="too long", exit_code=5),
    }  # fmt: skip

    def answer(order: Order, served: tuple[str, ...]) -> Result:
        if order.case.scenario.name == "c":
            return replace(results[first], before=served) if served else results[fresh]
        return replace(PASSED, before=served)

    matrix = Matrix(tmp_path, *(scenario(tmp_path, name) for name in "abcd"))
    matrix.run(monkeypatch, answer)
    assert matrix.words() == {f"{n}-5.10-bullseye": fresh if n == "c" else "PASS" for n in "abcd"}
    again = [order for order in matrix.sent if order.case.scenario.name == "c"]
    case = matrix.directory.load().cases[2]
    assert len(again) == 2 and again[1].boot not in {order.boot for order in matrix.sent if order is not again[1]}
    assert case.first == first and case.unconfirmed is (first != fresh)
    why = "too long" if first == "TIMEOUT" else "x"
    assert f"first {first}: {why} (in the guest that" in again[1].remark and again[1].first == first
    assert (matrix.directory.path / FIRST_RUNS / "c-5.10-bullseye/run.json").is_file()


@pytest.mark.parametrize(("code", "outcome"), [(0, Outcome.SKIP), (2, Outcome.ERROR)])
def test_a_result_that_any_guest_would_give_is_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, outcome: Outcome
) -> None:
    matrix = Matrix(tmp_path, *(scenario(tmp_path, name) for name in "abc"))
    matrix.run(monkeypatch, lambda order, served: replace(PASSED, outcome=outcome, exit_code=code, before=served))
    assert len(matrix.sent) == 3


def test_a_line_for_each_case_says_how_far_the_matrix_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(order: Order, served: tuple[str, ...]) -> Result:
        return replace(PASSED, outcome=Outcome.FAIL, exit_code=1) if order.case.scenario.name == "b" else PASSED

    matrix = Matrix(tmp_path, *(scenario(tmp_path, name) for name in "abcd"), scenario(tmp_path, "long" * 8))
    matrix.run(monkeypatch, answer, jobs=2)
    lines = [note for note in matrix.notes if re.match(r"\d/5 ", note)]
    assert [line[:2] for line in lines] == ["1/", "2/", "3/", "4/", "5/"] and all(len(line) <= 80 for line in lines)
    pattern = r"\d/5 (PASS |FAIL ) \w+ (on 5.10 with bullseye 1\.0 s|5.10/bullseye( 1\.0 s)?); [012] running, "
    assert all(re.match(pattern + r"[01] failed", line) for line in lines), lines
    assert "; 2 running, 0 failed, " in lines[0] and lines[0].endswith(" left")
    assert lines[-1].endswith("; 0 running, 1 failed")


def test_a_crash_in_a_fresh_guest_counts_and_costs_only_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(order: Order, served: tuple[str, ...]) -> Result:
        if order.case.scenario.name == "b":
            return Result(ending=Ending.PANIC, detail="Kernel panic", exit_code=4, up=True, boots=1, before=served)
        return PASSED

    matrix = Matrix(tmp_path, *(scenario(tmp_path, name) for name in "abcd"), pairs=2)
    matrix.run(monkeypatch, answer)
    words = matrix.words()
    assert {name for name, word in words.items() if word != "PASS"} == {"b-5.10-bullseye", "b-7.x-testing"}
    assert [order.boot for order in matrix.sent if "b-7.x" in str(order.directory)] == [
        "7.x with testing for b-7.x-testing"]
    assert matrix.read("b-7.x-testing").ending is Ending.PANIC


def test_residue_is_not_held_against_who_found_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(order: Order, served: tuple[str, ...]) -> Result:
        if served and order.case.scenario.name == "b":
            return Result(Outcome.FAIL, Ending.COMPLETED, "", 1, before=served, residue="vm.x is 1, was 0", up=True)
        return PASSED

    matrix = Matrix(tmp_path, scenario(tmp_path, "a"), scenario(tmp_path, "b"))
    matrix.run(monkeypatch, answer)
    assert set(matrix.words().values()) == {"PASS"}
    assert any("a-5.10-bullseye" in note and "own_boot" in note for note in matrix.notes)


def test_a_guest_that_does_not_boot_is_not_tried_for_every_case(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(order: Order, served: tuple[str, ...]) -> Result:
        if order.case.kernel.name == "7.x":
            return Result(ending=Ending.PANIC, detail="no init", exit_code=4, boots=2, up=False)
        return PASSED

    own = scenario(tmp_path, "d", own_boot=True)
    matrix = Matrix(tmp_path, *(scenario(tmp_path, name) for name in "abc"), own, pairs=2)
    matrix.run(monkeypatch, answer)
    tried = [order for order in matrix.sent if order.case.kernel.name == "7.x"]
    assert len(tried) == 1 and matrix.record.boots == 2
    for name, word in matrix.words().items():
        assert word == ("PANIC" if "7.x" in name else "PASS")
        if "7.x" in name:
            record = matrix.read(name)
            assert record.ending is Ending.PANIC and record.exit_code == 4 and "no init" in record.ending_detail
    assert {case.kernel for case in filter(undecided, matrix.record.cases)} == {"7.x"}, "--resume tries it again"


def test_a_worker_that_dies_costs_one_case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = Matrix(tmp_path, *(scenario(tmp_path, name) for name in "abc"))
    lost = Lost("killed by signal 9")
    matrix.run(monkeypatch, lambda order, served: lost if order.case.scenario.name == "b" else PASSED)
    assert list(matrix.words().values()) == ["PASS", "ERROR", "PASS"]
    assert matrix.record.cases[1].detail == "killed by signal 9" and matrix.record.cases[1].exit_code == 3
    assert matrix.read("b-5.10-bullseye").ending is Ending.HOST_ERROR


def test_what_cannot_be_tried_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = Matrix(tmp_path, *(scenario(tmp_path, name) for name in "abc"))
    compiles_not = matrix.orders.pop("a-5.10-bullseye")
    del matrix.orders["b-5.10-bullseye"]
    unable = {
        "a-5.10-bullseye": Unable((compiles_not.case, compiles_not.prepared), Result(detail="x.c: no", exit_code=2)),
        "b-5.10-bullseye": Unable(None, Result(detail="no package", exit_code=3)),
    }
    matrix.run(monkeypatch, lambda order, served: PASSED, unable=unable)
    assert [case.exit_code for case in matrix.record.cases] == [2, 3, 0]
    assert matrix.read("a-5.10-bullseye").ending_detail == "x.c: no"
    assert not (matrix.directory.path / "b-5.10-bullseye").exists()


def test_an_interrupt_keeps_what_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(order: Order, served: tuple[str, ...]) -> Result | None:
        if order.case.scenario.name == "b":
            signal.raise_signal(signal.SIGINT)
            return None
        return PASSED

    matrix = Matrix(tmp_path, *(scenario(tmp_path, name) for name in "abc"))
    matrix.run(monkeypatch, answer)
    assert [case.state for case in matrix.record.cases] == [State.DONE, State.INTERRUPTED, State.WAITING]
    assert matrix.record.state is State.INTERRUPTED
    assert matrix.read("b-5.10-bullseye").ending is Ending.INTERRUPTED
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_record_that_cannot_be_written_ends_the_matrix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = Matrix(tmp_path, scenario(tmp_path, "a"))
    broken = MatrixDirectory(tmp_path / "gone")
    matrix.directory = broken
    with pytest.raises(LabError, match=r"matrix\.json"):
        matrix.run(monkeypatch, lambda order, served: PASSED)


@pytest.mark.parametrize(
    ("cores", "available", "memory", "cpus", "jobs"),
    [(2, 23 << 30, 768, 1, 2), (8, 23 << 30, 768, 4, 2), (64, 8 << 30, 768, 1, 7), (4, 1 << 30, 768, 1, 1),
     (4, 0, 768, 1, 4), (1, 23 << 30, 768, 2, 1)],
)  # fmt: skip
def test_as_many_guests_as_there_is_room(
    monkeypatch: pytest.MonkeyPatch, cores: int, available: int, memory: int, cpus: int, jobs: int
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(cores)))
    monkeypatch.setattr("orchestrator.host.memory_available", lambda: available)
    assert default_jobs(memory, cpus) == jobs


def test_durations_for_people() -> None:
    assert [conduct.duration(n) for n in (0.2, 7, 43, 100, 3700, 8000)] == ["1 s", "7 s", "45 s", "2 min", "62 min",
                                                                            "2 h 13 min"]  # fmt: skip


def test_matrix_record_is_a_fresh_one() -> None:
    assert MatrixRecord().exit_code == 3, "an error until proved otherwise"
