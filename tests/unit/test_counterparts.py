"""`lab compare -k A -k B`: which runs are there, which are made, by a matrix that answers as scripted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from claims_samples import YAML, demonstration
from compare_samples import edited, make

from orchestrator import counterparts, fingerprint, recording
from orchestrator.counterparts import Wanted
from orchestrator.errors import HostError, UsageError
from orchestrator.matrix import experiments
from orchestrator.matrix.record import MatrixDirectory, MatrixRecord, Options
from orchestrator.model import Scenario, Settings

SETTINGS: dict[str, Any] = {
    "append": [], "sysctls": [["vm.swappiness", "10"]], "tunables": [], "ulimits": [], "environment": [],
    "defines": [],
}  # fmt: skip
COMMAND = {"name": "trixie-10.0", "version": "10.0.13", "command": "qemu -m 768M -smp 1 -append x"}


@pytest.fixture
def demo(tmp_path: Path) -> Scenario:
    assert "vm.swappiness: 10" in YAML
    return demonstration(tmp_path / "scenarios/demo")


def there(demo: Scenario, place: Path, kernel: str, userland: str = "trixie", *, started: str = "2026-01-01",
          emulator: dict[str, str] | None = None, settings: dict[str, Any] | None = None) -> Path:
    """A run of the demonstration that counts, unless told otherwise."""
    path = make(place, kernel, userland, started=started, scenario="demo", fingerprint=fingerprint.of_program(demo),
                settings=settings or SETTINGS)  # fmt: skip
    return edited(path, emulator=emulator or COMMAND)


class Matrices:
    """Stands for `lab matrix`: leaves a run for each case that it is asked for."""

    def __init__(self, demo: Scenario, exit_code: int = 0, leaves: bool = True) -> None:
        self.demo, self.exit_code, self.leaves = demo, exit_code, leaves
        self.asked: list[tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = []

    def __call__(self, request: experiments.Request) -> experiments.Done:
        self.asked.append((tuple(Path(name).name for name in request.scenarios), request.kernels, request.userlands))
        assert request.output is not None
        request.output.mkdir(parents=True)
        for kernel in request.kernels if self.leaves else ():
            for userland in request.userlands:
                number = len(self.asked)
                there(self.demo, request.output / f"demo-{kernel}-{userland}", kernel, userland,
                      started=f"2026-02-0{number}")  # fmt: skip
        return experiments.Done(MatrixRecord(exit_code=self.exit_code), MatrixDirectory(request.output))


def wanted(demo: Scenario, folder: Path, **more: Any) -> Wanted:
    return Wanted((str(demo.directory),), **{"kernels": ("6.1", "6.12"), "output": folder, "looked": (folder,), **more})


def test_what_is_missing_is_run_and_no_more(demo: Scenario, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    there(demo, runs / "old", "6.1")
    matrices = Matrices(demo)
    found = counterparts.runs_of(wanted(demo, runs), matrices)
    assert matrices.asked == [(("demo",), ("6.12",), ("trixie",))]
    assert [(name, len(paths)) for name, paths in found] == [("6.1 with trixie", 1), ("6.12 with trixie", 1)]
    again = Matrices(demo)
    counterparts.runs_of(wanted(demo, runs), again)
    assert again.asked == []


def test_repeats_are_matrices_of_their_own(demo: Scenario, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    there(demo, runs / "old", "6.1")
    matrices = Matrices(demo)
    found = counterparts.runs_of(wanted(demo, runs, repeat=3), matrices)
    assert matrices.asked == [(("demo",), ("6.1", "6.12"), ("trixie",))] * 2 + [(("demo",), ("6.12",), ("trixie",))]
    assert [len(paths) for _, paths in found] == [3, 3]


def test_userlands_and_pairs(demo: Scenario, tmp_path: Path) -> None:
    matrices = Matrices(demo)
    found = counterparts.runs_of(
        wanted(demo, tmp_path / "runs", kernels=("6.1", "6.12"), userlands=("bookworm", "trixie")), matrices)
    assert matrices.asked == [(("demo",), ("6.1", "6.12"), ("bookworm", "trixie"))]
    assert len(found) == 4
    natives = Matrices(demo)
    counterparts.runs_of(wanted(demo, tmp_path / "more", kernels=(), images=("default", "newest")), natives)
    assert len(natives.asked) == 2  # no product of the two


@pytest.mark.parametrize(
    "other",
    [
        {"settings": {**SETTINGS, "defines": [["MUTATE_X", "1"]]}},
        {"emulator": {**COMMAND, "command": "qemu -m 256M -smp 1 -append x"}},
    ],
)
def test_runs_with_other_settings_do_not_count(demo: Scenario, tmp_path: Path, other: dict[str, Any]) -> None:
    runs = tmp_path / "runs"
    there(demo, runs / "old", "6.1", **other)
    matrices = Matrices(demo)
    counterparts.runs_of(wanted(demo, runs), matrices)
    assert matrices.asked[0][1] == ("6.1", "6.12")


def test_settings_of_the_users_count_with_the_scenarios(demo: Scenario, tmp_path: Path) -> None:
    mine = Options(settings=Settings(defines=(("MUTATE_X", "1"),)))
    there(demo, tmp_path / "runs/a", "6.1", settings={**SETTINGS, "defines": [["MUTATE_X", "1"]]})
    there(demo, tmp_path / "runs/b", "6.12")
    matrices = Matrices(demo, leaves=False)
    with pytest.raises(HostError, match=r"no run on 6\.12 with trixie"):
        counterparts.runs_of(wanted(demo, tmp_path / "runs", options=mine), matrices)
    assert matrices.asked == [(("demo",), ("6.12",), ("trixie",))]


def test_what_was_made_counts_whether_or_not_the_lab_could_look_inside(demo: Scenario, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    edited(there(demo, runs / "a", "6.1"), left_out={"kernel": "no symbols for this kernel"})
    edited(there(demo, runs / "b", "6.12"), left_out={"kernel": recording.NOT_ASKED})
    matrices = Matrices(demo)
    counterparts.runs_of(wanted(demo, runs), matrices)
    assert matrices.asked == [(("demo",), ("6.12",), ("trixie",))]
    inside = Matrices(demo)
    found = counterparts.runs_of(wanted(demo, runs, options=Options(inspect=True)), inside)
    assert inside.asked == [(("demo",), ("6.1", "6.12"), ("trixie",))] and len(found) == 2


def test_one_pair_is_not_enough_and_an_interruption_is_one(demo: Scenario, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="to compare with itself"):
        counterparts.runs_of(wanted(demo, tmp_path, kernels=("6.1",)), Matrices(demo))
    interrupted: Callable[[experiments.Request], experiments.Done] = Matrices(demo, exit_code=130)
    with pytest.raises(KeyboardInterrupt):
        counterparts.runs_of(wanted(demo, tmp_path / "x"), interrupted)
