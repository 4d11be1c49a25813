"""matrix.json: written, read back, described by its schema, and what a resumed matrix runs."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from orchestrator import model, schema
from orchestrator.errors import UsageError
from orchestrator.matrix import experiments, preparation, record
from orchestrator.matrix.record import CaseRecord, Failing, MatrixDirectory, MatrixRecord, Options, State
from orchestrator.matrix.selection import Pair
from orchestrator.model import Ending, Outcome, Scenario, Settings

SCHEMA = schema.load("matrix")
SHAPES = {"case": CaseRecord, "failing": Failing, "scenario": record.ScenarioRecord, "pair": record.PairRecord,
          "options": Options, "settings": Settings}  # fmt: skip


def scenario(folder: Path, name: str) -> Scenario:
    place = folder / name
    place.mkdir(parents=True, exist_ok=True)
    for file in ("scenario.yaml", "x.c"):
        (place / file).write_text(f"{name} {file}")
    return Scenario(name, "", place, (place / "x.c",), file=place / "scenario.yaml")


def planned(folder: Path, *names: str, options: Options | None = None) -> MatrixRecord:
    scenarios = [scenario(folder / "scenarios", name) for name in names]
    pairs = (Pair("5.10", "bullseye"), Pair("/x/bzImage", "trixie"))
    return experiments.plan(scenarios, pairs, options or Options())[0]


def done(case: CaseRecord, place: Path, ending: Ending = Ending.COMPLETED) -> None:
    case.state, case.ending, case.exit_code, case.outcome, case.booted = State.DONE, ending, 0, Outcome.PASS, True
    (place / case.directory).mkdir(parents=True)
    (place / case.directory / "run.json").write_text("{}")


def test_the_plan_is_every_scenario_on_every_pair(tmp_path: Path) -> None:
    found = planned(tmp_path, "brk", "fork")
    assert [case.directory for case in found.cases] == [
        "brk-5.10-bullseye", "fork-5.10-bullseye", "brk-bzImage-trixie", "fork-bzImage-trixie"]
    assert {case.state for case in found.cases} == {State.WAITING}
    assert [pair.pair.kernel for pair in found.pairs] == ["5.10", "/x/bzImage"]


def test_equal_names_stay_apart(tmp_path: Path) -> None:
    pairs = (Pair("/a/bzImage", "trixie"), Pair("/b/bzImage", "trixie"))
    found, named = experiments.plan([scenario(tmp_path / "1", "brk"), scenario(tmp_path / "2", "brk")], pairs,
                                    Options())  # fmt: skip
    assert list(named) == ["brk", "brk.2"]
    assert [pair.kernel for pair in found.pairs] == ["bzImage", "bzImage.2"]
    assert len({case.directory for case in found.cases}) == 4


def test_the_record_is_read_back(tmp_path: Path) -> None:
    settings = Settings(sysctls=(("vm.x", "1"),), append=("nokaslr",))
    found = planned(tmp_path, "brk", options=Options(timeout=7.5, jobs=3, settings=settings))
    found.cases[0].failing = [Failing("a", "b.c", "", Outcome.FAIL, "does not hold")]
    found.cases[0].counts = {"FAIL": 1, "PASS": 3}
    text = record.to_json(found)
    jsonschema.Draft202012Validator(SCHEMA).validate(json.loads(text))
    assert record.from_json(text, "x") == found


def test_the_schema_describes_every_field() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    for name, cls in SHAPES.items():
        assert list(SCHEMA["$defs"][name]["properties"]) == [f.name for f in dataclasses.fields(cls)], name
    assert list(SCHEMA["properties"]) == SCHEMA["required"] == [f.name for f in dataclasses.fields(MatrixRecord)]
    words: tuple[tuple[str, type[StrEnum]], ...] = (("state", State), ("ending", Ending), ("outcome", Outcome))
    for name, enum in words:
        assert SCHEMA["$defs"][name]["enum"] == [word.value for word in enum]
    assert SCHEMA["$defs"]["settings"] == schema.load("run")["$defs"]["settings"]
    assert set(SCHEMA["properties"]["exit_code"]["enum"]) == set(record.SEVERITY)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data.update(schema=2),
        lambda data: data.update(state="fine"),
        lambda data: data.update(boots="many"),
        lambda data: data.update(more=1),
        lambda data: data["cases"][0].update(directory="../x"),
        lambda data: data["cases"][0].update(directory="a/b"),
        lambda data: data["cases"][0].update(directory=".."),
        lambda data: data["cases"][0].update(scenario="another"),
        lambda data: data["cases"][0].update(outcome="GOOD"),
        lambda data: data["cases"][0].update(exit_code="0"),
        lambda data: data["cases"][0].update(booted=1),
        lambda data: data["cases"][0].update(first=None),
        lambda data: data["cases"][0].update(detail=5),
        lambda data: data["cases"][0].update(seconds=math.inf),
        lambda data: data["cases"][0].update(counts={"PASS": "x"}),
        lambda data: data["cases"][0].update(failing=[
            {"id": 5, "claim": "", "at": "", "outcome": "FAIL", "message": ""}]),
        lambda data: data.update(seconds=math.nan),
        lambda data: data["pairs"].clear(),
        lambda data: data["options"].update(settings=None),
        lambda data: data.pop("cases"),
    ],
)
def test_what_is_no_record_is_refused(tmp_path: Path, damage: Any) -> None:
    data = json.loads(record.to_json(planned(tmp_path, "brk")))
    damage(data)
    with pytest.raises(UsageError, match="not a matrix record"):
        record.from_json(json.dumps(data), "x")


@pytest.mark.parametrize("text", ["", "[]", "{", "null", '{"schema": 1}', "[" * 100_000])
def test_garbage_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="not a matrix record"):
        record.from_json(text, "x")


@pytest.mark.parametrize(
    ("codes", "code"),
    [([0, 0], 0), ([0, 1], 1), ([1, 3], 1), ([2, 3], 3), ([2, 0], 2), ([1, 5, 3], 5), ([5, 4, 1], 4), ([4, 130], 130),
     ([], 0), ([77], 3), ([77, 1], 1)],
)  # fmt: skip
def test_the_exit_code_of_the_worst(codes: list[int], code: int) -> None:
    assert record.worst(codes) == code


def test_a_resumed_matrix_keeps_what_is_done(tmp_path: Path) -> None:
    found = planned(tmp_path, "a", "b", "c")
    place = MatrixDirectory.create(tmp_path / "m")
    done(found.cases[0], place.path)
    done(found.cases[1], place.path, Ending.PANIC)
    done(found.cases[2], place.path, Ending.HOST_ERROR)
    found.cases[2].exit_code = 3
    found.cases[3].state = State.RUNNING  # the lab was killed
    found.cases[4].state, found.cases[4].ending = State.INTERRUPTED, Ending.INTERRUPTED
    done(found.cases[5], place.path)
    (place.path / found.cases[5].directory / "run.json").unlink()  # the user wants it again
    assert record.undecided(found.cases[2])
    for ending in (Ending.PANIC, Ending.TIMEOUT, Ending.LOST_GUEST):
        case = replace(found.cases[1], ending=ending, exit_code=4)
        assert not record.undecided(case) and record.undecided(replace(case, booted=False)), "its guest did not boot"
    assert not record.undecided(replace(found.cases[2], exit_code=2)), "it does not compile, and still will not"
    same = {one.name: one.fingerprint for one in found.scenarios}
    experiments.renew(found, same, place)
    assert [case.state for case in found.cases] == [State.DONE, State.DONE, *[State.WAITING] * 4]
    assert found.cases[2] == CaseRecord("c-5.10-bullseye", "c", "5.10", "bullseye")


def test_a_changed_scenario_is_run_again(tmp_path: Path) -> None:
    found = planned(tmp_path, "a", "b")
    place = MatrixDirectory.create(tmp_path / "m")
    for case in found.cases:
        done(case, place.path)
    marks = {one.name: one.fingerprint for one in found.scenarios}
    experiments.renew(found, {**marks, "b": "0" * 64}, place)
    assert {case.directory for case in found.cases if case.state is State.WAITING} == {
        "b-5.10-bullseye", "b-bzImage-trixie"}
    assert found.scenarios[1].fingerprint == "0" * 64


def test_a_directory_is_new_and_used_by_one_lab(tmp_path: Path) -> None:
    place = MatrixDirectory.create(tmp_path / "m")
    with place.alone(), pytest.raises(UsageError, match="another lab"), MatrixDirectory(place.path).alone():
        pass
    place.save(MatrixRecord())
    with pytest.raises(UsageError) as caught:
        MatrixDirectory.create(place.path)
    assert "--resume" in caught.value.hint
    (tmp_path / "other/file").mkdir(parents=True)
    with pytest.raises(UsageError, match="not empty"):
        MatrixDirectory.create(tmp_path / "other")
    with pytest.raises(UsageError, match=r"matrix\.json"):
        MatrixDirectory.open(tmp_path / "other")


def test_a_matrix_that_is_resumed_is_locked_all_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = planned(tmp_path, "a")
    monkeypatch.setattr(experiments, "_again", lambda one: scenario(tmp_path / "scenarios", one.name))
    place = MatrixDirectory.create(tmp_path / "m")
    place.save(found)
    tried: list[str] = []

    def meanwhile(*_: object) -> dict[Pair, object]:
        with pytest.raises(UsageError, match="another lab is at work"):
            experiments.resume(place.path)
        tried.append("resume")
        raise UsageError("enough")

    for step in (preparation, "prepare_pairs"), (experiments, "_carry_out"):
        monkeypatch.setattr(*step, meanwhile)
        with pytest.raises(UsageError, match="enough"):
            experiments.resume(place.path)
        monkeypatch.setattr(preparation, "prepare_pairs", lambda *_: {})
    assert len(tried) == 2
    with place.alone():
        pass  # and is free again


def test_two_new_matrices_do_not_share_a_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    first, second = experiments._new_directory(), experiments._new_directory()
    assert first != second and first.is_dir() and second.is_dir()
    other = MatrixDirectory.create(tmp_path / "m")
    monkeypatch.setattr(experiments.selection, "find_scenarios", lambda names: (scenario(tmp_path / "scenarios", "a"),))
    monkeypatch.setattr(experiments.selection, "find_pairs", lambda *_: (Pair("5.10", "bullseye"),))
    monkeypatch.setattr(preparation, "store", lambda options: None)
    monkeypatch.setattr(preparation, "prepare_pairs", lambda *_: {})
    with other.alone(), pytest.raises(UsageError, match="another lab is at work"):
        experiments.start(experiments.Request(output=other.path))
    create = MatrixDirectory.create

    def late(path: Path) -> MatrixDirectory:
        made = create(path)
        made.save(MatrixRecord())  # another lab came between
        return made

    monkeypatch.setattr(MatrixDirectory, "create", late)
    with pytest.raises(UsageError, match="holds a matrix already"):
        experiments.start(experiments.Request(output=other.path))


def test_clearing_a_case(tmp_path: Path) -> None:
    place = MatrixDirectory.create(tmp_path / "m")
    case = CaseRecord("a-b-c", "a", "b", "c")
    place.clear(case)
    for keep in (True, True, False):
        place.case(case).mkdir()
        (place.case(case) / "x").write_text("x")
        place.clear(case, keep=keep)
        assert not place.case(case).exists()
        assert (place.path / record.FIRST_RUNS / "a-b-c/x").is_file() is keep, "the one that goes with the last run"


def test_words_of_a_case() -> None:
    case = CaseRecord("a-b-c", "a", "b", "c")
    assert case.word == "WAITING" and case.name == "a on b with c"
    case.state = State.DONE
    case.ending, case.outcome = Ending.COMPLETED, Outcome.FAIL
    assert case.word == "FAIL"
    case.ending = Ending.LOST_GUEST
    assert case.word == "LOST GUEST"
    case.ending, case.outcome = Ending.HOST_ERROR, Outcome.ERROR
    assert case.word == "ERROR"
    assert model.Ending.PANIC not in record.UNDECIDED
