"""The ledger: the catalogue of claims, which runs count, what cells and claims say."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
from claims_samples import NEW, OLD, RELEASE, YAML, built, case_of, demonstration, finding, make, row

from orchestrator import claims, ledger, runs, scenario
from orchestrator.claims import Claim
from orchestrator.errors import UsageError
from orchestrator.ledger import Ledger, Pair, Word
from orchestrator.model import Ending, Operand, Outcome, Scenario, Settings
from orchestrator.report import claims_json, claims_markdown, claims_terminal

ROOT = Path(__file__).parents[2]


@pytest.fixture
def demo(tmp_path: Path) -> Scenario:
    return demonstration(tmp_path / "scenarios/demo")


@pytest.fixture
def both(demo: Scenario, tmp_path: Path) -> Ledger:
    return built(demo, make(demo, tmp_path / "old", OLD), make(demo, tmp_path / "new", NEW))


# -- the catalogue ---------------------------------------------------------------------------------------------


def test_the_catalogue_has_every_claim() -> None:
    found = claims.load(ROOT / "scenarios/claims.yaml")
    assert len(found) >= 49
    assert found["pf.chain"].wanted == ("T",) and found["brk.grow"].wanted == ("P", "T", "K")
    assert found["th.struct"].wanted == ("K", "H"), "in the order of the levels, as they are written or not"
    assert all(len(claim.statement) > 20 for claim in found.values() if claim.id != "brk.read")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("A:\n  a.b:\n    statement: x\n    evidence: [Q]\n", r":4: A.a.b.evidence\[0\]: 'Q' is not possible"),
        ("A:\n  a.b:\n    statement: x\n    evidence: []\n", ":4: A.a.b.evidence: none"),
        ("A:\n  a.b:\n    statement: x\n    evidence: [P, P]\n", ":4: A.a.b.evidence: none, or one of them twice"),
        ("A:\n  a.b:\n    statement: x\n", ":3: A.a.b: the key 'evidence' is missing"),
        ("A:\n  a.b:\n    statment: x\n    evidence: [P]\n", "did you mean statement"),
        ("A:\n  a b:\n    statement: x\n    evidence: [P]\n", ":3: A.a b: 'a b' is no claim's id"),
        ("A: [x]\n", ":1: A: it is a list"),
        ("A:\n  a.b: {statement: x, evidence: [P]}\nB:\n  a.b: {statement: y, evidence: [P]}\n", ":4: .* there twice"),
    ],
)
def test_mistakes_in_a_catalogue(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "claims.yaml").write_text(text)
    with pytest.raises(UsageError, match=said):
        claims.load(tmp_path / "claims.yaml")


def test_catalogues_are_merged_and_the_first_counts(tmp_path: Path) -> None:
    for name in ("one", "two", "none"):
        (tmp_path / name).mkdir()
    (tmp_path / "one/claims.yaml").write_text("A:\n  a.b: {statement: one, evidence: [P]}\n")
    (tmp_path / "two/claims.yaml").write_text(
        "B:\n  a.b: {statement: two, evidence: [T]}\n  a.c: {statement: c, evidence: [H]}\n"
    )
    found = claims.catalogue([tmp_path / "one", tmp_path / "none", tmp_path / "two", tmp_path / "one/../one"])
    assert {name: claim.statement for name, claim in found.items()} == {"a.b": "one", "a.c": "c"}


@pytest.mark.parametrize(
    ("check", "levels"),
    [
        ('note("a") == 1', ("P",)), ("exit_code == 0", ("P",)), ('len(faults("w")) == 1', ("T",)),
        ('len(faults("w", page=note("a"))) == 1', ("P", "T")), ("1 == 1", ()), ('kernel >= "6.1"', ()),
        ('sysctl("vm.x") == page_size and symbol("f")', ()), ("no such", ()),
    ],
)  # fmt: skip
def test_the_level_of_a_check(check: str, levels: tuple[str, ...]) -> None:
    assert claims.levels(check) == levels


# -- which runs count -------------------------------------------------------------------------------------------


def test_runs_are_found_one_matrix_deep(demo: Scenario, tmp_path: Path) -> None:
    place = tmp_path / "runs"
    wanted = [make(demo, place / "a", OLD), make(demo, place / "matrix/b", NEW)]
    make(demo, place / "too/deep/c", NEW)
    (place / "a/evidence/x").mkdir()
    (place / "file").write_text("x")
    assert sorted(runs.directories([place])) == wanted
    assert runs.directories([place, place / "a", place / "matrix"]) == wanted
    assert runs.directories([place / "none"]) == []
    with pytest.raises(UsageError, match="no run directory"):
        runs.ledger_of([place / "file"])


def test_the_newest_run_of_a_case_counts(demo: Scenario, tmp_path: Path) -> None:
    first = make(demo, tmp_path / "z", OLD, "2026-01-01T00:00:00+00:00", {"same": Outcome.FAIL})
    last = make(demo, tmp_path / "a", OLD, "2026-01-02T00:00:00+00:00")
    for paths in ((first, last), (last, first)):
        made = built(demo, *paths)
        assert row(made, "x.same").verdict is Word.CONFIRMED
        assert list(made.runs.values()) == [str(last)] and made.older == 1


def test_runs_with_a_users_settings_do_not_count(demo: Scenario, tmp_path: Path) -> None:
    changed = dataclasses.asdict(Settings(sysctls=(("vm.swappiness", "10"),), defines=(("MUTATE_X", "1"),)))
    case = {**case_of(demo, *NEW), "settings": changed}
    mutated = make(demo, tmp_path / "mutated", NEW, "2027", {"same": Outcome.FAIL}, case=case)
    made = built(demo, make(demo, tmp_path / "new", NEW), mutated)
    assert row(made, "x.same").verdict is Word.CONFIRMED
    assert [(item.path, item.reason) for item in made.left_out] == [
        (str(mutated), "not the scenario's own settings: defines")
    ]


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"ending": Ending.INTERRUPTED}, "interrupted"), ({"ending": Ending.UNFINISHED}, "never finished"),
        ({"ending": Ending.HOST_ERROR}, "the lab failed"), ({"case": {"plain": True}}, "expects nothing"),
        ({"case": {"scenario": "gone", "source": "/nowhere/gone"}}, "no scenario"), ({"case": {}}, "no scenario"),
    ],
)  # fmt: skip
def test_what_is_no_evidence_is_named(demo: Scenario, tmp_path: Path, more: dict[str, object], reason: str) -> None:
    made = built(demo, make(demo, tmp_path / "bad", NEW, "2027", **more), make(demo, tmp_path / "good", NEW))
    assert row(made, "x.same").verdict is Word.CONFIRMED
    (left,) = made.left_out
    assert left.path == str(tmp_path / "bad") and reason in left.reason


def test_a_garbled_record_is_named(demo: Scenario, tmp_path: Path) -> None:
    (make(demo, tmp_path / "bad", NEW) / "run.json").write_text("{")
    made = built(demo, tmp_path / "bad")
    assert row(made, "x.same").verdict is Word.NOT_RUN
    assert made.left_out[0].reason.startswith("run.json is not a run record: ")


def test_a_hostile_record_does_no_harm(demo: Scenario, tmp_path: Path) -> None:
    place = make(demo, tmp_path / "bad", NEW, outcomes={"same": Outcome.FAIL})
    data = json.loads((place / "run.json").read_text())
    data["started"], data["environment"] = 5, {"release": ["x"], "glibc": {}}
    data["case"]["kernel"], data["case"]["userland"] = "7.x\x1b[2J|", None
    for found in data["findings"]:
        found.update(message=["\x1b[31m"], operands=[{"text": 1, "value": 2, "evidence": [], "remark": 3}])
    (place / "run.json").write_text(json.dumps(data))
    made = built(demo, place, make(demo, tmp_path / "good", OLD))
    for text in (claims_terminal.render(made, verbose=True), claims_markdown.render(made)):
        assert "\x1b" not in text
    assert claims_json.parse(claims_json.render(made), "x") == made


def test_findings_of_another_version_do_not_count(demo: Scenario, tmp_path: Path) -> None:
    old = make(demo, tmp_path / "old", OLD)
    assert demo.file is not None
    demo.file.write_text(YAML.replace('note("a") == 1', 'note("a") == 2').replace("because: d", "because: other words"))
    made = built(scenario.load(demo.directory), old)
    assert row(made, "x.same").verdict is Word.NOT_RUN
    assert row(made, "x.mine").verdict is Word.CONFIRMED, "the same check, in other words"
    assert [item.reason for item in made.left_out] == ["changed since, run it again: same"]


@pytest.mark.parametrize("changed", [False, True])
def test_a_changed_copy_of_a_scenario_is_another_one(demo: Scenario, tmp_path: Path, changed: bool) -> None:
    shutil.copytree(demo.directory, tmp_path / "copy")
    if changed:
        (tmp_path / "copy/demo.c").write_text("int main(void) { return 1; }\n")
    copy = scenario.load(tmp_path / "copy")
    made = built(demo, make(demo, tmp_path / "r", NEW), make(copy, tmp_path / "s", NEW, "2027", {"same": Outcome.FAIL}))
    found = {proof.scenario: proof.results[0].word for proof in row(made, "x.same").proofs}
    assert found == ({"demo": Word.CONFIRMED, "demo #2": Word.FAILED} if changed else {"demo": Word.FAILED})


def test_a_copy_with_more_expectations_is_another_one(demo: Scenario, tmp_path: Path) -> None:
    shutil.copytree(demo.directory, tmp_path / "copy")
    more = "  - {id: more, claim: x.mine, check: exit_code == 0, because: b, source: s}\n"
    (tmp_path / "copy/scenario.yaml").write_text(YAML + more)
    made = built(demo, make(scenario.load(tmp_path / "copy"), tmp_path / "s", NEW))
    assert {proof.scenario for proof in row(made, "x.mine").proofs if proof.results} == {"demo #2"}


@pytest.mark.parametrize(
    ("file", "before", "after"),
    [("demo.c", "return 0", "return 1"), ("scenario.yaml", "checkpoints:", "cflags: [-O2]\ncheckpoints:"),
     ("scenario.yaml", "vm.swappiness: 10", "vm.swappiness: 20"),
     ("scenario.yaml", "checkpoints:", "trace: {}\ncheckpoints:"), ("demo.h", "", "#define X\n")],
)  # fmt: skip
def test_a_run_of_another_program_does_not_count(
    demo: Scenario, tmp_path: Path, file: str, before: str, after: str
) -> None:
    old = make(demo, tmp_path / "old", OLD)
    assert row(built(demo, old), "x.same").verdict is Word.CONFIRMED
    text = (demo.directory / file).read_text() if before else ""
    assert before in text
    (demo.directory / file).write_text(text.replace(before, after) if before else after)
    made = built(scenario.load(demo.directory), old)
    assert row(made, "x.same").verdict is Word.NOT_RUN and not made.runs
    reason = "the program or the settings of demo have changed since: run it again"
    assert [(item.path, item.reason) for item in made.left_out] == [(str(old), reason)]
    assert reason in " ".join(claims_terminal.render(made).split())
    assert [str(old), reason] in json.loads(claims_json.render(made))["left_out"]


def test_a_run_that_does_not_say_what_it_ran_does_not_count(demo: Scenario, tmp_path: Path) -> None:
    case = {name: value for name, value in case_of(demo, *NEW).items() if name != "fingerprint"}
    made = built(demo, make(demo, tmp_path / "r", NEW, case=case))
    assert row(made, "x.same").verdict is Word.NOT_RUN and "which version" in made.left_out[0].reason


def test_an_older_run_counts_where_the_newest_is_of_another_program(demo: Scenario, tmp_path: Path) -> None:
    first, text = make(demo, tmp_path / "a", NEW), (demo.directory / "demo.c").read_text()
    (demo.directory / "demo.c").write_text("int main(void) { return 1; }\n")
    changed = make(demo, tmp_path / "b", NEW, "2027", {"same": Outcome.FAIL})
    (demo.directory / "demo.c").write_text(text)
    made = built(demo, first, changed)
    assert row(made, "x.same").verdict is Word.CONFIRMED and made.left_out[0].path == str(changed)


def test_a_record_from_elsewhere_finds_its_scenario_by_name(tmp_path: Path) -> None:
    brk = scenario.load(ROOT / "scenarios/brk")
    case = {**case_of(brk, *NEW), "source": "/build/of/someone/scenarios/brk/scenario.yaml"}
    made = make(brk, tmp_path / "run", NEW, case=case)
    assert [run.scenario.name for run in runs.evidence([made]).runs] == ["brk"]


# -- cells and claims -------------------------------------------------------------------------------------------


def test_cells(both: Ledger) -> None:
    old, new = Pair("5.10", "2.31"), Pair("7.x", "2.43")
    assert both.pairs == (old, new)
    assert both.kernels == {"5.10": RELEASE["5.10"], "7.x": RELEASE["7.x"]}
    assert both.glibcs == {"2.31": "bullseye", "2.43": "testing"}
    assert row(both, "x.same").cells() == {old: Word.CONFIRMED, new: Word.CONFIRMED}
    assert row(both, "x.wrong").cells() == {old: Word.REFUTED, new: Word.REFUTED}
    assert row(both, "x.far").cells() == {}
    assert {r.claim.id: r.verdict for r in both.rows} == {
        "x.same": Word.CONFIRMED, "x.forms": Word.DIFFERS, "x.wrong": Word.REFUTED, "x.far": Word.NOT_RUN,
        "x.mine": Word.CONFIRMED,
    }  # fmt: skip
    assert row(both, "x.mine").claim == Claim("x.mine", "", "Only in demo")


def test_a_boundary_is_where_another_form_holds(both: Ledger) -> None:
    (proof,) = row(both, "x.forms").boundaries()
    used = {proof.forms[number].because: pairs for number, pairs in proof.used().items()}
    assert used == {"before it": [Pair("5.10", "2.31")], "since then": [Pair("7.x", "2.43")]}
    assert row(both, "x.same").boundaries() == ()


@pytest.mark.parametrize(
    ("outcome", "word"), [(Outcome.FAIL, Word.FAILED), (Outcome.ERROR, Word.ERROR), (Outcome.SKIP, Word.REFUTED)]
)
def test_what_counts_in_a_cell(demo: Scenario, tmp_path: Path, outcome: Outcome, word: Word) -> None:
    made = built(demo, make(demo, tmp_path / "r", NEW, outcomes={"other": outcome}))
    assert row(made, "x.wrong").verdict is word
    only = built(demo, make(demo, tmp_path / "s", NEW, outcomes={"same": outcome, "wrong": outcome}))
    assert row(only, "x.wrong").verdict is (Word.DIFFERS if outcome is Outcome.SKIP else word)
    assert row(only, "x.same").verdict is {Outcome.SKIP: Word.SKIPPED}.get(outcome, word)


def test_the_order_of_the_words() -> None:
    order = ["failed", "error", "refuted", "differs", "confirmed", "skipped", "not run"]
    assert [word.value for word in Word] == order
    for number, word in enumerate(order):
        assert ledger.worst(map(Word, order[number:])).value == word
    assert ledger.worst([]) is Word.NOT_RUN


@pytest.mark.parametrize("ending", [Ending.PANIC, Ending.LOST_GUEST, Ending.TIMEOUT])
def test_a_run_that_did_not_end_well_proves_nothing(demo: Scenario, tmp_path: Path, ending: Ending) -> None:
    made = built(demo, make(demo, tmp_path / "r", NEW, ending=ending))
    assert {cell for r in made.rows for cell in r.cells().values()} == {Word.ERROR}
    none = built(demo, make(demo, tmp_path / "s", NEW, ending=ending, findings=[]))
    assert row(none, "x.same").verdict is Word.ERROR, "no finding at all is not `not run`"


def test_a_level_is_reached_where_every_pair_has_it(demo: Scenario, tmp_path: Path) -> None:
    text = YAML.replace('check: note("b") == 2', "check: exit_code == 0 and len(faults('w')) == 1")
    (demo.directory / "scenario.yaml").write_text(text + "trace: {}\n")
    deeper = scenario.load(demo.directory)
    one = built(deeper, make(deeper, tmp_path / "new", NEW))
    assert row(one, "x.forms").reached == ("P", "T")
    two = built(deeper, make(deeper, tmp_path / "old", OLD), tmp_path / "new")
    assert row(two, "x.forms").reached == ("P",)
    failed = built(deeper, make(deeper, tmp_path / "bad", NEW, outcomes={"forms": Outcome.FAIL}))
    assert row(failed, "x.forms").reached == ()


def test_a_users_own_kernel_has_its_version_as_label(demo: Scenario, tmp_path: Path) -> None:
    paths = [make(demo, tmp_path / str(n), pair) for n, pair in enumerate(
        [OLD, ("./a/bzImage", "testing"), ("/b/bzImage", "./rootfs"), NEW])]  # fmt: skip
    made = built(demo, *paths)
    assert list(made.kernels) == ["5.10", "6.9 (bzImage)", "6.9 (bzImage) #2", "7.x"]
    assert list(made.glibcs) == ["2.31", "2.40 (rootfs)", "2.43"]
    assert made.glibcs["2.40 (rootfs)"] == "your own"
    assert len(made.pairs) == 4


def test_only_some_claims(both: Ledger) -> None:
    assert [r.claim.id for r in both.only(["x.f*", "x.same"]).rows] == ["x.same", "x.forms", "x.far"]
    with pytest.raises(UsageError, match=r"did you mean x\.forms"):
        both.only(["x.same", "x.form"])


def test_remarks_reach_the_ledger(demo: Scenario, tmp_path: Path) -> None:
    operand = Operand("chain(…)", "true", (), "inlined: f")
    said = dataclasses.replace(finding(demo.expectations[0], "7.x"), operands=(operand,))
    made = built(demo, make(demo, tmp_path / "r", NEW, findings=[said]))
    assert row(made, "x.same").proofs[0].results[0].message == "inlined: f"
    assert "on the one pair: inlined: f" in claims_markdown.render(made)
