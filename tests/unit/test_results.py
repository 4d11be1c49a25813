"""Results as read from directories: every case once, none lost, each verdict its own."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
from results_samples import CODES, UNSEEN, everything, planned, ran, saved
from synthetic_run import ERRED, FAILED, GREW, SKIPPED

from orchestrator import schema
from orchestrator.errors import UsageError
from orchestrator.matrix.record import MatrixDirectory, Options, State
from orchestrator.model import Ending, Finding, Settings
from orchestrator.report import junit, ktap, markdown, results, results_json, results_terminal, terminal
from orchestrator.report.results import CaseResult, Results, Verdict


def only(path: Path) -> CaseResult:
    (case,) = results.read([path]).cases
    return case


def by_scenario(found: Results) -> dict[str, CaseResult]:
    return {case.scenario: case for case in found.cases}


@pytest.mark.parametrize(
    ("findings", "verdict", "code"),
    [
        ((GREW,), Verdict.PASS, 0), ((GREW, SKIPPED), Verdict.PASS, 0), ((SKIPPED,), Verdict.SKIP, 0),
        ((GREW, FAILED), Verdict.FAIL, 1), ((FAILED, ERRED), Verdict.FAIL, 1), ((GREW, ERRED), Verdict.ERROR, 3),
        ((), Verdict.ERROR, 3),
    ],
)  # fmt: skip
def test_what_the_findings_say_counts(tmp_path: Path, findings: tuple[Finding, ...], verdict: Verdict,
                                      code: int) -> None:
    saved(tmp_path / "run", *findings)  # each record says PASS of itself
    found = results.read([tmp_path / "run"])
    assert found.cases[0].verdict is verdict
    assert found.exit_code == code
    assert bool(found.cases[0].detail) is (verdict is not Verdict.PASS)


@pytest.mark.parametrize("ending", [ending for ending in Ending if ending is not Ending.COMPLETED])
def test_every_ending_has_a_word_and_a_code(tmp_path: Path, ending: Ending) -> None:
    saved(tmp_path / "run", FAILED, ending=ending)
    case = only(tmp_path / "run")
    assert case.exit_code == CODES.get(ending, 4)
    assert case.verdict not in (Verdict.PASS, Verdict.SKIP, Verdict.FAIL)
    expected = {Ending.HOST_ERROR: "ERROR"}.get(ending, ending.value.replace("-", " ").upper())
    assert case.word == expected


def test_a_matrix_has_every_case_that_was_planned(tmp_path: Path) -> None:
    everything(tmp_path / "m")
    found = results.read([tmp_path / "m"])
    cases = by_scenario(found)
    assert {name: case.word for name, case in cases.items()} == {
        "pass": "PASS", "fail": "FAIL", "skip": "SKIP", "error": "ERROR", "panic": "PANIC", "lost": "LOST GUEST",
        "timeout": "TIMEOUT", "halted": "INTERRUPTED", "never": "NOT RUN", "worker": "ERROR", "gone": "FAIL",
        "broken": "ERROR",
    }  # fmt: skip
    assert found.exit_code == 130 and found.seconds == 61.5 and found.lab == "0.1.0"
    assert found.title == "12 scenarios on 1 pair of kernel and userland"
    assert [finding.id for finding in cases["gone"].findings] == ["grow-one-page"], "matrix.json kept what failed"
    assert "run.json" in cases["broken"].detail and "it was PASS" in cases["broken"].detail
    assert cases["worker"].directory is None and cases["worker"].detail == "its worker was ended by signal 9"
    assert cases["fail"].remark == "it was PASS in a guest that others had used"
    assert cases["pass"].release == "6.1.0-50-cloud-amd64" and cases["pass"].glibc == "2.36"


def test_nothing_that_ran_is_no_success(tmp_path: Path) -> None:
    record = planned("brk")
    for state, code in ((State.DONE, 3), (State.INTERRUPTED, 130)):
        record.state = state
        place = MatrixDirectory(tmp_path / state)
        place.path.mkdir()
        place.save(record)
        found = results.read([place.path])
        assert [case.verdict for case in found.cases] == [Verdict.NOT_RUN] * 2
        assert found.exit_code == code
    record.cases, record.scenarios, record.exit_code = [], [], 0
    MatrixDirectory(tmp_path / State.DONE).save(record)
    empty = results.read([tmp_path / State.DONE])
    assert empty.exit_code == 3 and not empty.cases
    assert results_terminal.render(empty) == "NOT RUN  nothing ran\n"


def test_the_word_for_all(tmp_path: Path) -> None:
    assert Results("", tmp_path, ()).word == "NOT RUN"
    for name, finding in (("a", GREW), ("b", SKIPPED), ("c", SKIPPED)):
        saved(tmp_path / name, finding, scenario=name)
    assert results.read([tmp_path]).word == "PASS" and results.read([tmp_path]).exit_code == 0
    skipped = results.read([tmp_path / "b", tmp_path / "c"])
    assert skipped.word == "SKIP" and skipped.counted == "2 cases: 2 skipped"
    for ending, word in ((Ending.PANIC, "CRASHED"), (Ending.TIMEOUT, "TIMEOUT"), (Ending.UNFINISHED, "ERROR")):
        saved(tmp_path / ending / "a", ending=ending)
        saved(tmp_path / ending / "b", GREW, scenario="b")
        assert results.read([tmp_path / ending]).word == word
    assert results.read([tmp_path / "panic/a"]).word == "PANIC"


def test_a_folder_that_can_not_be_looked_into_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b"):
        saved(tmp_path / name, GREW, scenario=name)
    is_file = Path.is_file

    def refused(path: Path) -> bool:
        if path.parent.name == "b":
            raise PermissionError(13, "Permission denied", str(path))
        return is_file(path)

    monkeypatch.setattr(Path, "is_file", refused)
    found = results.read([tmp_path])
    assert [case.verdict for case in found.cases] == [Verdict.PASS, Verdict.ERROR]
    assert found.cases[1].detail == f"{tmp_path / 'b' / 'matrix.json'}: Permission denied"


def test_a_lab_that_was_killed_leaves_unfinished_cases(tmp_path: Path) -> None:
    record = planned("brk", "exec", "fork", "mmap", pairs=(("6.1", "bookworm"),))
    started, told, empty, finished = record.cases
    ran(tmp_path, started, UNSEEN, ending=Ending.UNFINISHED)
    ran(tmp_path, told, UNSEEN, ending=Ending.UNFINISHED)
    ran(tmp_path, finished, GREW)
    started.state = empty.state = finished.state = State.RUNNING
    told.state, told.ending, told.detail = State.DONE, Ending.LOST_GUEST, "its run directory was full"
    record.state = State.RUNNING
    MatrixDirectory(tmp_path).save(record)
    found = results.read([tmp_path])
    assert [case.word for case in found.cases] == ["UNFINISHED", "LOST GUEST", "UNFINISHED", "PASS"]
    assert found.cases[1].detail == "its run directory was full"
    assert found.exit_code == 4


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda run: (run / "run.json").unlink(), "no run.json"),
        (lambda run: (run / "run.json").write_text("{"), "not a run record"),
        (lambda run: (run / "run.json").write_text('{"schema": 99}'), "schema 1 expected"),
        (lambda run: (run / "run.json").write_bytes(b"\xff\xfe\x00"), "not a run record"),
        (lambda run: edit(run, findings=[{}]), "not a run record"),
        (lambda run: ((run / "run.json").unlink(), (run / "run.json").symlink_to("run.json")), "no run.json"),
        (lambda run: edit(run, seconds="x"), "seconds"),
        (lambda run: edit(run, ending="fine"), "fine"),
        (lambda run: edit_finding(run, id=5), "id"),
        (lambda run: edit_finding(run, operands=[{"text": "x", "value": 5, "evidence": []}]), "value"),
        (lambda run: edit(run, environment={"release": ["x"]}), ""),
        (lambda run: edit(run, seconds=1e999), "seconds"),
        (lambda run: edit(run, case={"settings": 5, "scenario": {}}), ""),
        (lambda run: edit(run, case={"settings": {"sysctls": 5, "append": [[1]]}, "scenario": "b"}), ""),
        (lambda run: edit(run, timings={"boot": "x"}), "timings"),
        (lambda run: edit(run, messages=[5]), "messages"),
    ],
)  # fmt: skip
def test_one_bad_directory_does_not_hide_the_others(tmp_path: Path, damage: Callable[[Path], object], why: str) -> None:
    for name in ("a", "b", "c"):
        saved(tmp_path / name, GREW, scenario=name).directory.write("console.log", b"")
    damage(tmp_path / "b")
    found = results.read([tmp_path])
    assert len(found.cases) == 3
    bad = found.cases[1]
    if why:
        assert bad.verdict is Verdict.ERROR and why in bad.detail and bad.directory == tmp_path / "b"
    assert [found.cases[0].verdict, found.cases[2].verdict] == [Verdict.PASS] * 2
    assert "b" in results_terminal.render(found)
    if bad.record is not None:
        assert "PASS" in terminal.render(bad.record, tmp_path / "b", verbose=True)
    for render in (junit.render, ktap.render, markdown.render):
        assert "not a run record" in render(found) if "record" in bad.detail else render(found)
    jsonschema.Draft202012Validator(schema.load("results")).validate(json.loads(results_json.render(found)))


def edit(run: Path, **changes: object) -> None:
    data = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(data | changes))


def edit_finding(run: Path, **changes: object) -> None:
    data = json.loads((run / "run.json").read_text())
    data["findings"][0] |= changes
    (run / "run.json").write_text(json.dumps(data))


def test_a_matrix_whose_plan_is_gone_is_an_error_beside_its_runs(tmp_path: Path) -> None:
    everything(tmp_path / "m")
    (tmp_path / "m/matrix.json").write_text("[]")
    found = results.read([tmp_path / "m"])
    assert found.cases[0].verdict is Verdict.ERROR and "not a matrix record" in found.cases[0].detail
    assert {"pass", "fail", "panic"} <= set(by_scenario(found))
    assert "never" not in by_scenario(found), "what was planned is not known any more"


def test_shards_become_one(tmp_path: Path) -> None:
    for shard in (0, 1):
        record = planned("brk", "exec")
        (tmp_path / str(shard)).mkdir()
        for number, case in enumerate(record.cases):
            if number % 2 == shard:
                ran(tmp_path / str(shard), case, GREW)
        MatrixDirectory(tmp_path / str(shard)).save(record)
    for paths in ([tmp_path], [tmp_path / "0", tmp_path / "1"], [tmp_path / "1", tmp_path, tmp_path / "0"]):
        found = results.read(paths)
        assert [case.verdict for case in found.cases] == [Verdict.PASS] * 4
        assert not found.notes and found.exit_code == 0
    one = results.read([tmp_path / "0"])
    assert one.count(Verdict.NOT_RUN) == 2 and one.exit_code == 3
    shutil.copytree(tmp_path / "0", tmp_path / "again")
    twice = results.read([tmp_path / "0", tmp_path / "again"])
    assert twice.count(Verdict.NOT_RUN) == 2 and len(twice.cases) == 4
    assert len(twice.notes) == 2 and all("2 runs" in note for note in twice.notes)


def test_other_options_are_another_matrix(tmp_path: Path) -> None:
    first, second = planned("brk", pairs=(("6.1", "bookworm"),)), planned("brk", pairs=(("6.1", "bookworm"),))
    second.options = Options(settings=Settings(defines=(("MUTATE", "1"),)))
    for name, record in (("a", first), ("b", second)):
        (tmp_path / name).mkdir()
        MatrixDirectory(tmp_path / name).save(record)
    ran(tmp_path / "a", first.cases[0], GREW)
    MatrixDirectory(tmp_path / "a").save(first)
    found = results.read([tmp_path])
    assert [case.verdict for case in found.cases] == [Verdict.PASS, Verdict.NOT_RUN]
    assert len({case.name for case in found.cases}) == 2


def test_the_newest_of_a_case_counts_and_it_is_said(tmp_path: Path) -> None:
    for number, finding in enumerate((GREW, FAILED, GREW)):
        run = saved(tmp_path / f"{2 - number}", finding)
        run.record.started = f"2025-11-0{number + 1}T00:00:00+00:00"
        run.directory.save(run.record)
    found = results.read([tmp_path])
    assert len(found.cases) == 1 and found.cases[0].directory == tmp_path / "0"
    (note,) = found.notes
    assert "3 runs" in note and str(tmp_path / "0") in note
    assert results_terminal.render(found).startswith("note  brk on 6.1 with bookworm: 3 runs")
    data = json.loads(results_json.render(found))
    assert data["notes"] == [note] and data["cases"][0]["older"] == 2
    assert found.cases[0].remark == "2 older runs of it do not count"


def test_other_settings_are_another_case(tmp_path: Path) -> None:
    plain = {"sysctls": [], "defines": []}
    saved(tmp_path / "a", GREW, settings=plain)
    saved(tmp_path / "b", FAILED, settings={**plain, "defines": [["MUTATE_TOUCH", "1"]]})
    saved(tmp_path / "c", GREW, settings={**plain, "defines": "odd"})
    found = results.read([tmp_path])
    assert [case.name for case in found.cases][:2] == [
        "brk on 6.1 with bookworm", "brk on 6.1 with bookworm, -DMUTATE_TOUCH=1"]
    assert len({case.name for case in found.cases}) == 3
    table = results_terminal.render(found)
    assert "brk, -DMUTATE_TOUCH=1" in table and "PASS 1" in table and "FAIL 1/1" in table


def test_another_machine_is_another_case(tmp_path: Path) -> None:
    """A newer run that passed elsewhere must not hide one that failed."""
    for name, finding, command in (("a", FAILED, "qemu -m 768M -smp 4"), ("b", GREW, "qemu -m 768M -smp 1")):
        run = saved(tmp_path / name, finding)
        run.record.emulator["command"] = command
        run.record.started = f"2026-01-0{1 + (name == 'b')}T00:00:00+00:00"
        run.directory.save(run.record)
    found = results.read([tmp_path])
    assert {case.verdict.value for case in found.cases} == {"PASS", "FAIL"} and found.exit_code == 1
    assert len({case.name for case in found.cases}) == 2


def test_first_runs_and_links_are_not_cases(tmp_path: Path) -> None:
    saved(tmp_path / "a", GREW)
    shutil.copytree(tmp_path / "a", tmp_path / "first-runs/a")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    found = results.read([tmp_path])
    assert len(found.cases) == 1 and not found.notes


def test_a_folder_without_any_is_refused(tmp_path: Path) -> None:
    (tmp_path / "deep/er/than/that").mkdir(parents=True)
    saved(tmp_path / "deep/er/than/that/run", GREW)
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(UsageError, match="no run directory"):
            results.read([path])
    assert len(results.read([tmp_path / "deep/er/than"]).cases) == 1


def test_json_is_the_record_where_that_says_all(tmp_path: Path) -> None:
    run = saved(tmp_path / "run", GREW)
    assert json.loads(results_json.render(results.of_run(run.record, run.directory.path)))["ending"] == "completed"
    assert results_json.render(results.read([tmp_path / "run"])) == (tmp_path / "run/run.json").read_text()
    record = planned("brk", pairs=(("6.1", "bookworm"),))
    (tmp_path / "m").mkdir()
    ran(tmp_path / "m", record.cases[0], GREW)
    record.exit_code = 0
    MatrixDirectory(tmp_path / "m").save(record)
    assert results_json.render(results.read([tmp_path / "m"])) == (tmp_path / "m/matrix.json").read_text()
    (tmp_path / "m" / record.cases[0].directory / "run.json").unlink()
    damaged = json.loads(results_json.render(results.read([tmp_path / "m"])))
    assert damaged["kind"] == "results" and damaged["exit_code"] == 3, "matrix.json alone would say PASS"


def test_the_schema_of_results(tmp_path: Path, golden: Callable[[str, str], None]) -> None:
    shape = schema.load("results")
    jsonschema.Draft202012Validator.check_schema(shape)
    everything(tmp_path / "m")
    text = results_json.render(results.read([tmp_path / "m"]))
    golden("results.json", text.replace(str(tmp_path / "m"), "runs/m"))
    data = json.loads(text)
    jsonschema.Draft202012Validator(shape).validate(data)
    assert data["counts"] == {"PASS": 1, "FAIL": 2, "SKIP": 1, "ERROR": 3, "LOST": 2, "TIMEOUT": 1, "INTERRUPTED": 1,
                              "NOT RUN": 1}  # fmt: skip
    assert shape["$defs"]["verdict"]["enum"] == [verdict.value for verdict in Verdict]
    run = schema.load("run")["$defs"]
    assert all(shape["$defs"][name] == run[name] for name in ("finding", "operand", "evidence", "outcome", "ending"))
    for damage in ({"schema": 2}, {"kind": "run"}, {"exit_code": 7}, {"more": 1}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.Draft202012Validator(shape).validate({**data, **damage})


def test_the_table_of_a_matrix_is_what_the_matrix_shows(tmp_path: Path) -> None:
    everything(tmp_path / "m")
    table = results_terminal.render(results.read([tmp_path / "m"]))
    for words in ("PANIC", "LOST GUEST", "TIMEOUT", "INTERRUPTED", "FAIL 1/2*", "ERROR 1/2", "SKIP 1"):
        assert words in table
    assert f"to go on: lab matrix --resume {tmp_path / 'm'}" in table
    assert table.splitlines()[-2].strip().startswith(("1 timed", "exit", str(tmp_path)))
    assert results_terminal.summary(results.read([tmp_path / "m"]), "x.html") == (
        "INTERRUPTED  12 cases: 1 passed, 1 skipped, 2 failed, 3 in error, 2 crashed, 1 timed out, 1 interrupted, "
        "1 not run -> x.html\n")


def test_an_exit_code_of_usage_stays_that(tmp_path: Path) -> None:
    run = saved(tmp_path / "run", ending=Ending.HOST_ERROR)
    run.record.exit_code = 2
    case = results.of_run(run.record, run.directory.path).cases[0]
    assert case.exit_code == 2 and case.verdict is Verdict.ERROR
    assert replace(case, verdict=Verdict.LOST).exit_code == 4
