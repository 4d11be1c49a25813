"""Shards: how a matrix is split, what its record says, and what `lab report` makes of all, of some, of strangers."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
from results_samples import planned, ran
from synthetic_run import FAILED, GREW

from orchestrator import schema
from orchestrator.errors import UsageError
from orchestrator.matrix import experiments, preparation, record, shard
from orchestrator.matrix.record import MatrixDirectory, MatrixRecord, Options, ShardRecord, State
from orchestrator.matrix.selection import Pair
from orchestrator.matrix.shard import BOOT, Cost, Shard
from orchestrator.model import Scenario
from orchestrator.report import junit, ktap, markdown, matrix_table, results, results_json, results_terminal
from orchestrator.report.html import page
from orchestrator.report.results import Results, Verdict


@pytest.mark.parametrize(
    "text",
    ["", "1", "/", "0/3", "4/3", "-1/3", "1/0", "a/b", "1/3/4", "1.5/3", " 1/3", "1/3\n", "+1/3", "¹/³", "1/1001",
     "1/99999999999999999999"],
)  # fmt: skip
def test_what_is_no_shard(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        shard.parse(text)
    assert "--shard" in caught.value.message and "I/N" in caught.value.hint and caught.value.exit_code == 2


def test_a_shard_is_read() -> None:
    assert shard.parse("2/3") == Shard(2, 3) and str(shard.parse("1000/1000")) == "1000/1000"


def longest(costs: list[Cost], part: range) -> int:
    return sum(costs[place].tenths for place in part) + BOOT * len({costs[place].boot for place in part})


@pytest.mark.parametrize("seed", range(40))
def test_every_case_is_in_exactly_one_shard(seed: int) -> None:
    rng = random.Random(seed)
    pairs = rng.randint(1, 6)
    costs = [Cost(rng.randint(1, 300), str(pair)) for pair in range(pairs) for _ in range(rng.randint(1, 9))]
    for count in (1, 2, 3, 7, len(costs), len(costs) + 5):
        parts = shard.split(costs, count)
        assert len(parts) == count
        assert [place for part in parts for place in part] == list(range(len(costs)))
        assert [bool(part) for part in parts] == [number < len(costs) for number in range(count)], "none is idle"
        assert parts == shard.split(costs, count)


@pytest.mark.parametrize("seed", range(20))
def test_the_longest_shard_is_as_short_as_can_be(seed: int) -> None:
    rng = random.Random(seed)
    costs = [Cost(rng.randint(1, 300), str(pair)) for pair in range(3) for _ in range(rng.randint(1, 4))]
    best = min(max(longest(costs, range(first)), longest(costs, range(first, second)),
                   longest(costs, range(second, len(costs))))
               for first in range(1, len(costs) - 1) for second in range(first + 1, len(costs)))  # fmt: skip
    assert max(longest(costs, part) for part in shard.split(costs, 3)) == best


def test_no_case_no_shard() -> None:
    assert [list(part) for part in shard.split([], 3)] == [[], [], []]


def scenario(folder: Path, name: str, checkpoints: int, timeout: float = 30.0) -> Scenario:
    place = folder / name
    place.mkdir(parents=True, exist_ok=True)
    for file in ("scenario.yaml", "x.c"):
        (place / file).write_text(f"{name} {file}")
    return Scenario(name, "", place, (place / "x.c",), file=place / "scenario.yaml", timeout=timeout,
                    checkpoints=tuple(map(str, range(checkpoints))))  # fmt: skip


def test_what_a_case_is_expected_to_take(tmp_path: Path) -> None:
    few, many, slow = (scenario(tmp_path, "a", 2), scenario(tmp_path, "b", 30), scenario(tmp_path, "c", 2, 90.0))
    few, many, slow, own = (shard.cost(one, "p").tenths for one in (few, many, slow, replace(few, own_boot=True)))
    assert few < many < slow and own == few + BOOT
    assert shard.cost(scenario(tmp_path, "d", 2, 1.0), "p").tenths == few, "a short limit makes nothing quicker"


PAIRS = (Pair("5.10", "bullseye"), Pair("6.1", "bookworm"))


def cut(folder: Path, number: int, count: int, names: str = "abc", pieces: str = "0" * 20) -> MatrixRecord:
    found, named = experiments.plan([scenario(folder, name, 3) for name in names], PAIRS, Options())
    experiments.cut(found, named, Shard(number, count), pieces)
    return found


def test_the_record_of_a_shard(tmp_path: Path) -> None:
    found = [cut(tmp_path, number, 3) for number in (1, 2, 3)]
    whole = experiments.plan([scenario(tmp_path, name, 3) for name in "abc"], PAIRS, Options())[0]
    assert [case for one in found for case in one.cases] == whole.cases and whole.shard is None
    assert found[1].shard == ShardRecord(2, 3, 6, "0" * 20) and found[1].scenarios == whole.scenarios
    text = record.to_json(found[1])
    jsonschema.Draft202012Validator(schema.load("matrix")).validate(json.loads(text))
    assert record.from_json(text, "x") == found[1]
    old = json.loads(record.to_json(whole))
    del old["shard"]
    assert record.from_json(json.dumps(old), "x") == whole, "a record from before there were shards"


@pytest.mark.parametrize(
    "damage",
    [{"number": 4}, {"number": 0}, {"number": "2"}, {"number": True}, {"count": 5000}, {"cases": 7}, {"cases": None},
     {"pieces": 1}, {"more": 1}],
)  # fmt: skip
def test_a_damaged_shard_is_refused(tmp_path: Path, damage: dict[str, object]) -> None:
    data = json.loads(record.to_json(cut(tmp_path, 2, 3)))
    data["shard"].update(damage)
    with pytest.raises(UsageError, match="not a matrix record"):
        record.from_json(json.dumps(data), "x")


def test_only_the_pairs_of_a_shard_are_made_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Pair] = []
    carried: list[MatrixRecord] = []
    monkeypatch.setattr(experiments.selection, "find_scenarios",
                        lambda names: [scenario(tmp_path / "s", name, 3) for name in "abc"])  # fmt: skip
    monkeypatch.setattr(experiments.selection, "find_pairs", lambda *_: PAIRS)
    monkeypatch.setattr(preparation, "store", lambda options: None)
    monkeypatch.setattr(preparation, "pieces_key", lambda options, pairs: "k")
    monkeypatch.setattr(preparation, "prepare_pairs", lambda options, pairs: asked.extend(pairs) or {})
    monkeypatch.setattr(experiments, "_carry_out", lambda directory, found, *_: carried.append(found))
    for number in (1, 2):
        experiments.start(experiments.Request(output=tmp_path / f"m{number}", shard=Shard(number, 2)))
    assert asked == list(PAIRS) and [len(one.cases) for one in carried] == [3, 3]


def test_a_scenario_of_another_shard_may_change(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = cut(tmp_path, 1, 6)
    place = MatrixDirectory.create(tmp_path / "m")
    marks = {one.name: one.fingerprint for one in found.scenarios}
    said: list[str] = []
    from orchestrator import progress

    with progress.listening(lambda event: said.append(event.what)):
        experiments.renew(found, {**marks, "c": "1" * 64}, place)
        experiments.renew(found, {**marks, "a": "1" * 64}, place)
    assert [one for one in said if "changed" in one] == ["a has changed since: all its cases are run again"]


# -- reports ---------------------------------------------------------------------------------------


def shards(place: Path, count: int = 3, failing: str = "", **changes: object) -> list[Path]:
    """Directories of all shards of a matrix of brk, exec, fork on two pairs; all their cases have run."""
    folders = []
    for number in range(1, count + 1):
        found = planned("brk", "exec", "fork")
        parts = shard.split([Cost(100, "x")] * 6, count)
        found.shard = ShardRecord(number, count, 6, "0" * 20)
        found.cases = [found.cases[at] for at in parts[number - 1]]
        for name, value in changes.items():
            setattr(found, name, value)
        folder = place / f"shard-{number}"
        folder.mkdir(parents=True)
        for case in found.cases:
            ran(folder, case, FAILED if case.scenario == failing else GREW)
        found.exit_code = 1 if failing else 0
        MatrixDirectory(folder).save(found)
        folders.append(folder)
    return folders


def edit(folder: Path, change: Callable[[MatrixRecord], object]) -> None:
    found = MatrixDirectory(folder).load()
    change(found)
    MatrixDirectory(folder).save(found)


def words(found: Results) -> str:
    return " ".join(results_terminal.render(found).split())


def test_all_shards_are_the_matrix(tmp_path: Path) -> None:
    folders = shards(tmp_path)
    for paths in ([tmp_path], folders, folders[::-1]):
        found = results.read(paths)
        assert [case.verdict for case in found.cases] == [Verdict.PASS] * 6
        assert found.exit_code == 0 and not found.notes
    assert "PASS 6 cases: 6 passed" in words(results.read([tmp_path]))


def test_the_exit_code_is_that_of_the_worst_shard(tmp_path: Path) -> None:
    shards(tmp_path, failing="exec")
    found = results.read([tmp_path])
    assert found.exit_code == 1 and found.word == "FAIL" and found.count(Verdict.FAIL) == 2


def test_a_missing_shard_is_no_success(tmp_path: Path) -> None:
    folders = shards(tmp_path)
    found = results.read([folders[0], folders[2]])
    assert found.exit_code == 3 and found.count(Verdict.PASS) == 4
    lost = [case for case in found.cases if case.verdict is Verdict.NOT_RUN]
    assert [case.name for case in lost] == ["fork on 5.10 with bullseye", "brk on 6.1 with bookworm"]
    assert lost[0].detail == "its shard is missing: 2/3"
    assert len(found.notes) == 1 and "shard 2/3; 2 of its 6 cases did not run" in found.notes[0]
    assert "2 not run" in words(found) and "note missing of the matrix" in words(found)
    assert 'type="not-run"' in junit.render(found)
    one = results.read(folders[:1])
    assert one.exit_code == 3 and one.count(Verdict.NOT_RUN) == 4
    assert one.cases[-1].detail == "its shard is one of the missing: 2/3, 3/3"


def test_a_shard_that_failed_and_one_that_is_missing(tmp_path: Path) -> None:
    folders = shards(tmp_path, failing="brk")
    assert results.read(folders[:2]).exit_code == 1, "as in one matrix, FAIL is worse than ERROR"


def test_of_itself_a_shard_is_whole(tmp_path: Path) -> None:
    found = results.read([shards(tmp_path)[1]], whole=False)
    assert found.exit_code == 0 and len(found.cases) == 2 and not found.notes
    assert found.title == "shard 2/3: 2 scenarios on 2 pairs of kernel and userland"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda found: setattr(found, "lab", "0.2.0"), "other lab (0.2.0, not 0.1.0)"),
        (lambda found: setattr(found, "shard", replace(found.shard, pieces="1" * 20)), f"the lock ({'1' * 20}, not"),
        (lambda found: setattr(found.scenarios[0], "fingerprint", "2" * 64), "files of scenarios (+brk 222222222222,"),
        (lambda found: setattr(found, "options", Options(memory=512)), "option memory (512, not 768)"),
        (lambda found: setattr(found, "options", Options(cold=True)), "option cold (True, not False)"),
    ],
)
def test_shards_of_different_matrices(tmp_path: Path, change: Callable[[MatrixRecord], object], said: str) -> None:
    folders = shards(tmp_path)
    edit(folders[2], change)
    found = results.read([tmp_path])
    assert found.exit_code == 3
    odd = next(case for case in found.cases if case.verdict is Verdict.ERROR)
    assert said in odd.detail and f"not of one matrix with shard 1/3 in {folders[0]}" in odd.detail
    assert odd.name == f"shard 3/3 in {folders[2]}" and found.count(Verdict.PASS) == 6
    assert "shard 3/3" in found.notes[0]


def test_another_selection(tmp_path: Path) -> None:
    first = shards(tmp_path / "a", 2)
    second = shards(tmp_path / "b", 2)

    def fewer(found: MatrixRecord) -> None:
        found.scenarios.pop()
        found.cases = [case for case in found.cases if case.scenario != "fork"]
        found.shard = ShardRecord(2, 2, 4, "0" * 20)

    edit(second[1], fewer)
    found = results.read([first[0], second[1]])
    assert found.exit_code == 3
    odd = next(case for case in found.cases if case.verdict is Verdict.ERROR and case.name.startswith("shard"))
    assert "other scenarios (-fork)" in odd.detail
    assert [case.name for case in found.cases if case.verdict is Verdict.NOT_RUN] == ["fork on 6.1 with bookworm"]


def test_what_changes_no_result_may_differ(tmp_path: Path) -> None:
    folders = shards(tmp_path, options=Options(qemu="/home/one/qemu"))
    other = Options(qemu="/builds/7/qemu", jobs=8, mirror="http://x/debian")
    edit(folders[1], lambda found: setattr(found, "options", other))
    assert results.read([tmp_path]).exit_code == 0


def test_two_whole_matrices_in_shards_are_two(tmp_path: Path) -> None:
    shards(tmp_path / "a", 2)
    shards(tmp_path / "b", 3, options=Options(memory=512))
    found = results.read([tmp_path])
    assert found.exit_code == 0 and not any("missing" in note for note in found.notes)


def test_a_whole_matrix_does_not_hide_a_missing_shard_of_another(tmp_path: Path) -> None:
    shards(tmp_path / "old", 2, lab="0.0.9")
    new = shards(tmp_path / "new", 3)
    found = results.read([tmp_path / "old", new[0], new[1]])
    assert found.exit_code == 3 and found.count(Verdict.NOT_RUN) == 2
    assert {case.verdict for case in found.cases[-2:]} == {Verdict.NOT_RUN}
    assert len({case.name for case in found.cases}) == len(found.cases)


def test_a_shard_that_is_there_twice_is_said(tmp_path: Path) -> None:
    shards(tmp_path / "a")
    shards(tmp_path / "b")
    found = results.read([tmp_path])
    assert found.exit_code == 0 and len(found.cases) == 6
    assert sum("is there 2 times" in note for note in found.notes) == 3
    assert sum("2 runs; the newest counts" in note for note in found.notes) == 6


def test_an_empty_shard(tmp_path: Path) -> None:
    folders = shards(tmp_path, 8)
    found = results.read([folders[7]], whole=False)
    assert found.exit_code == 0 and found.word == "SKIP"
    assert "the shard is empty: the matrix has 6 cases" in junit.render(found)
    assert results.read([tmp_path]).exit_code == 0 and len(results.read([tmp_path]).cases) == 6
    assert results.read(folders[6:]).exit_code == 3, "of the others nothing is there"
    for render in (ktap.render, markdown.render, page.render, results_json.render):
        assert "the shard is empty: the matrix has 6 cases" in render(found)
    table = matrix_table.render(MatrixDirectory(folders[7]).load(), folders[7])
    assert table.startswith("SKIP  shard 8/8, 0 of 6 cases: ")


def test_an_empty_shard_is_told_when_it_is_planned(tmp_path: Path) -> None:
    from orchestrator import progress

    said: list[str] = []
    with progress.listening(lambda event: said.append(event.what)):
        assert not cut(tmp_path, 7, 7).cases and cut(tmp_path, 6, 7).cases
    assert said == ["shard 7/7 is empty: the matrix has 6 cases; nothing is run"]


def test_the_table_of_a_shard_has_what_is_its_own(tmp_path: Path) -> None:
    table = matrix_table.render(MatrixDirectory(shards(tmp_path)[0]).load(), tmp_path)
    head = table.partition("\n\n")[0]
    assert "bookworm" not in head and "fork" not in head and "shard 1/3, 2 of 6 cases: 2 passed" in table


def test_an_interrupted_shard_is_that(tmp_path: Path) -> None:
    folders = shards(tmp_path)
    edit(folders[0], lambda found: (found.cases[1].reset(), setattr(found, "state", State.INTERRUPTED)))
    assert results.read([tmp_path]).exit_code == 130
