"""The published schema says what the record holds: every field of every class, nothing else."""

from __future__ import annotations

import dataclasses
import json
from enum import StrEnum
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from synthetic_run import ERRED, FAILED, SKIPPED, brk

from orchestrator import model, rundir, schema
from orchestrator.report import json as json_report

SCHEMA = schema.load()
SHAPES = {
    "boot": rundir.Boot,
    "console_event": rundir.ConsoleEvent,
    "checkpoint": model.Checkpoint,
    "ended": model.Ended,
    "finding": model.Finding,
    "operand": model.Operand,
    "evidence": model.Evidence,
}


def validate(record: rundir.RunRecord) -> None:
    jsonschema.Draft202012Validator(SCHEMA).validate(json.loads(json_report.render(record)))


def full(path: Path) -> rundir.RunRecord:
    record = brk(path).record
    record.findings += [FAILED, SKIPPED, ERRED]
    record.boots.insert(0, rundir.Boot(1, "panic", 2.0, 1.9, "Kernel panic - not syncing: x"))
    record.console.append(rundir.ConsoleEvent("warning", "WARNING: CPU: 0", 4.2))
    record.messages.append("the guest was booted twice")
    record.case["settings"] = dataclasses.asdict(model.Settings(sysctls=(("kernel.x", "1"),), append=("nokaslr",)))
    record.pieces = [
        {"kind": "kernel", "name": "6.1", "version": "6.1.1", "key": "0" * 64, "packages": ["a=1"], "drift": ""}
    ]
    return record


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_records_are_valid(tmp_path: Path) -> None:
    validate(rundir.RunRecord())
    validate(full(tmp_path / "run"))
    for ending in model.Ending:
        validate(rundir.RunRecord(ending=ending, ended=model.Ended(signal=11)))


def test_json_is_read_back(tmp_path: Path) -> None:
    record = full(tmp_path / "run")
    assert json_report.render(rundir.from_json(json_report.render(record), "x")) == json_report.render(record)


@pytest.mark.parametrize("name", SHAPES)
def test_every_field_of_a_shape_is_described(name: str) -> None:
    described(SCHEMA["$defs"][name], SHAPES[name])


def test_every_field_of_the_record_is_described() -> None:
    described(SCHEMA, rundir.RunRecord)
    assert set(SCHEMA["$defs"]["settings"]["properties"]) == {f.name for f in dataclasses.fields(model.Settings)}
    assert SCHEMA["properties"]["schema"]["const"] == rundir.SCHEMA


def described(shape: dict[str, Any], cls: type) -> None:
    names = [field.name for field in dataclasses.fields(cls)]
    assert list(shape["properties"]) == names
    assert shape["required"] == names
    assert shape["additionalProperties"] is False


@pytest.mark.parametrize(("name", "words"), [("ending", model.Ending), ("outcome", model.Outcome)])
def test_words_are_the_enums(name: str, words: type[StrEnum]) -> None:
    assert SCHEMA["$defs"][name]["enum"] == [word.value for word in words]


@pytest.mark.parametrize(
    "damage",
    [
        {"outcome": "GOOD"}, {"ending": "fine"}, {"more": 1}, {"schema": 2}, {"exit_code": 7}, {"boots": [{}]},
        {"ended": {"code": None, "signal": None, "killed_by_lab": ""}},
        {"checkpoints": [
            {"index": 0, "name": "x", "kind": "named", "pid": 1, "directory": "../x", "seconds": 0, "signal": 0}]},
    ],
)  # fmt: skip
def test_what_is_no_record_is_refused(damage: dict[str, Any]) -> None:
    data = {**json.loads(json_report.render(rundir.RunRecord())), **damage}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(SCHEMA).validate(data)
