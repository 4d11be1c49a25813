"""The ledger as it is shown: on a terminal, as a page, as JSON and back; and the published one."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest
from claims_samples import CATALOGUE, NEW, OLD, YAML, built, demonstration, make, row
from typer.testing import CliRunner

from orchestrator import claims, ledger, scenario, schema
from orchestrator.claims import Claim
from orchestrator.cli.app import app
from orchestrator.errors import UsageError
from orchestrator.ledger import Ledger, Pair, Word
from orchestrator.model import Ending, Outcome, Scenario
from orchestrator.report import claims_json, claims_markdown, claims_terminal, claims_words

K, G = ("5.10", "6.1", "7.x"), ("2.31", "2.36")
EVERY = tuple(Pair(k, g) for k in K for g in G)


@pytest.mark.parametrize(
    ("some", "every", "words"),
    [
        (EVERY, EVERY, "all 6 pairs"),
        (EVERY[:1], EVERY[:1], "the one pair"),
        (EVERY[:4], EVERY, "kernel 5.10, 6.1"),
        (EVERY[1::2], EVERY, "glibc 2.36"),
        ((Pair("6.1", "2.36"), Pair("7.x", "2.36")), EVERY, "kernel 6.1, 7.x with glibc 2.36"),
        (EVERY[1:], EVERY, "5.10 with 2.36; 6.1, 7.x with 2.31, 2.36"),
        ((Pair("5.10", "2.31"), Pair("6.1", "2.36")), (Pair("5.10", "2.31"), Pair("6.1", "2.36"), Pair("7.x", "2.43")),
         "5.10 with 2.31; 6.1 with 2.36"),
    ],
)  # fmt: skip
def test_where(some: tuple[Pair, ...], every: tuple[Pair, ...], words: str) -> None:
    assert claims_words.where(some, every) == words


@pytest.fixture
def demo(tmp_path: Path) -> Scenario:
    return demonstration(tmp_path / "scenarios/demo")


@pytest.fixture
def shown(demo: Scenario, tmp_path: Path) -> Ledger:
    """A ledger with everything in it, and paths that do not change."""
    outcomes = {"mine": Outcome.FAIL, "same": Outcome.SKIP}
    made = built(demo, make(demo, tmp_path / "old", OLD), make(demo, tmp_path / "new", NEW, outcomes=outcomes),
                 make(demo, tmp_path / "cut", NEW, "2027", ending=Ending.INTERRUPTED))  # fmt: skip
    paths = {key: path.replace(str(tmp_path), "runs") for key, path in made.runs.items()}
    left = tuple(dataclasses.replace(item, path=item.path.replace(str(tmp_path), "runs")) for item in made.left_out)
    return dataclasses.replace(made, runs=paths, left_out=left)


def test_terminal(shown: Ledger, golden: Callable[[str, str], None]) -> None:
    golden("claims.txt", claims_terminal.render(shown))
    golden("claims-verbose.txt", claims_terminal.render(shown.only(["x.forms", "x.mine"]), verbose=True))
    assert "\x1b[" in claims_terminal.render(shown, colour=True)


def test_markdown(shown: Ledger, golden: Callable[[str, str], None]) -> None:
    golden("claims.md", claims_markdown.render(shown))


def test_json_is_read_back(shown: Ledger, golden: Callable[[str, str], None]) -> None:
    text = claims_json.render(shown)
    golden("claims.json", text)
    again = claims_json.parse(text, "x")
    assert again == shown and claims_json.render(again) == text
    cells = {claim["id"]: claim["cells"] for claim in json.loads(text)["claims"]}
    assert cells["x.mine"] == {"5.10": {"2.31": "confirmed"}, "7.x": {"2.43": "failed"}}
    assert json.loads(text)["runs"]["demo"]["7.x"]["2.43"] == "runs/new"


def test_json_is_as_the_schema_says(shown: Ledger) -> None:
    shape = schema.load("claims")
    jsonschema.Draft202012Validator.check_schema(shape)
    assert shape["$defs"]["word"]["enum"] == [word.value for word in Word]
    assert shape["$defs"]["levels"]["items"]["enum"] == list(claims.LEVELS)
    for made in (shown, shown.published(), ledger.build({}, [], [])):
        jsonschema.Draft202012Validator(shape).validate(json.loads(claims_json.render(made)))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": 2}', '{"schema": 1}', '{"schema": 1, "claims": 3}'])
def test_what_is_no_ledger_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="x is no ledger"):
        claims_json.parse(text, "x")


def test_texts_can_not_forge_a_page(demo: Scenario, tmp_path: Path) -> None:
    hostile = "x\x1b[2J | <script> [a](http://b) **b** _c_ `"
    text = YAML.replace("because: it_is", f"because: {json.dumps(hostile)}")
    (demo.directory / "scenario.yaml").write_text(text)
    made = built(scenario.load(demo.directory), make(scenario.load(demo.directory), tmp_path / "r", NEW))
    page = claims_markdown.render(made)
    assert "\x1b" not in page + claims_terminal.render(made, verbose=True)
    assert "<script>" not in page and "](http" not in page.replace("\\](", "") and "**b**" not in page


def test_what_is_published_has_no_path(shown: Ledger) -> None:
    text = claims_json.render(shown.published())
    assert "runs/" not in text and json.loads(text)["left_out"] == []


def test_a_published_ledger_follows_the_words_of_its_scenarios(demo: Scenario, shown: Ledger) -> None:
    assert demo.file is not None
    text = YAML.replace("before it", "in other words").replace('note("a") == 1', 'note("a") == 2')
    demo.file.write_text(text)
    catalogue = {**CATALOGUE, "x.new": Claim("x.new", "new", "Things", ("P",))}
    old = claims_json.parse(claims_json.render(shown), "x")
    again = ledger.refreshed(old, catalogue, [scenario.load(demo.directory)], old.programs)
    assert [form.because for form in row(again, "x.forms").proofs[0].forms][1] == "in other words"
    assert row(again, "x.forms").verdict is Word.DIFFERS
    assert row(again, "x.same").verdict is Word.NOT_RUN and row(again, "x.new").verdict is Word.NOT_RUN
    assert ledger.refreshed(shown, CATALOGUE, [demo], shown.programs) == shown


def test_a_published_ledger_is_not_of_a_program_that_has_changed(demo: Scenario, shown: Ledger) -> None:
    again = ledger.refreshed(shown, CATALOGUE, [demo], {"demo": "another"})
    assert {r.verdict for r in again.rows} == {Word.NOT_RUN}
    assert again.left_out[-1].reason == "the program or the settings of demo have changed since: run it again"


def test_a_topic_stands_together(demo: Scenario) -> None:
    catalogue = {**CATALOGUE, "x.late": Claim("x.late", "late", "Things", ("P",))}
    topics = [r.claim.topic for r in ledger.build(catalogue, [demo], []).rows]
    assert topics == sorted(topics, key=topics.index) and topics.count("Things") == 3


def test_a_label_can_not_forge_a_table(demo: Scenario, tmp_path: Path) -> None:
    own = make(demo, tmp_path / "own", ("/x/a|b *zz*\x1b[2J", "testing"), outcomes={"same": Outcome.FAIL})
    made = built(demo, own, make(demo, tmp_path / "new", NEW))
    page = claims_markdown.render(made)
    assert "\x1b" not in page and "*zz*" not in page and "\\*zz\\*" in page
    rows = [line.replace("\\|", "") for line in page.splitlines() if line.startswith("| ")]
    assert {row.count("|") for row in rows if "a" in row} <= {3, 5}, rows


def test_lines_fit_the_terminal(demo: Scenario, tmp_path: Path) -> None:
    pairs = [(f"6.{k}", f"u{g}") for k in range(7) for g in range(7) if (k, g) != (3, 3)]
    made = built(demo, *(make(demo, tmp_path / f"{k}-{g}", (k, g), environment={"release": k, "glibc": f"2.{g[1:]}"},
                              outcomes={"same": Outcome.FAIL} if (k, g) == ("6.1", "u1") else None)
                         for k, g in pairs))  # fmt: skip
    text = claims_terminal.render(dataclasses.replace(made, runs=dict.fromkeys(made.runs, "r")))
    assert [line for line in text.splitlines() if len(line) > 80] == []


def test_runs_that_do_not_count_are_not_nothing(demo: Scenario, tmp_path: Path) -> None:
    made = built(demo, make(demo, tmp_path / "cut", NEW, ending=Ending.INTERRUPTED))
    text = claims_terminal.render(made)
    assert "no run that counts" in text and "was interrupted" in text and "nothing was run" not in text


def test_nothing_was_run(demo: Scenario) -> None:
    made = built(demo)
    assert {r.verdict for r in made.rows} == {Word.NOT_RUN}
    assert "nothing was run" in claims_terminal.render(made)
    assert "not run" in claims_markdown.render(made)


# -- the command ------------------------------------------------------------------------------------------------


def run(*words: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["claims", *map(str, words)], catch_exceptions=True)
    return (2 if isinstance(done.exception, UsageError) else done.exit_code), done.output or str(done.exception)


def test_the_command(demo: Scenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, output = run()
    assert code == 0 and "nothing was run" in output and "brk.grow" in output
    make(demo, tmp_path / "runs/one", NEW)
    code, output = run("-c", "x.*")
    assert code == 0 and "-> runs/one: same" in output and "Only in demo" in output
    assert run("runs/one", "--json", "a.json", "--markdown", "-")[1].startswith("# The ledger")
    assert claims_json.parse(Path("a.json").read_text(), "x").runs == {("demo", Pair("7.x", "2.43")): "runs/one"}
    code, output = run("--publish", ".")
    assert code == 0 and "claims: " in output and "left out" not in output
    assert "runs/one" not in Path("claims.json").read_text() and Path("claims.md").read_text().startswith("# The")
    page = Path("claims.md").read_text()
    assert run("claims.json", "--publish", ".")[0] == 0 and Path("claims.md").read_text() == page
    assert "differs" in run("claims.json", "-c", "x.wrong", "-v")[1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nowhere",), "no run directory"), (("--json", "nowhere/x"), "cannot write"), (("-c", "brk.grwo"), "brk.grow"),
        (("--publish", "nowhere"), "cannot write"), (("--publish", ".", "-c", "brk.*"), "the whole ledger"),
        (("scenarios/demo/demo.c",), "is no ledger"),
    ],
)  # fmt: skip
def test_usage(
    demo: Scenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    code, output = run(*words)
    assert code == 2 and said in output


def test_a_scenario_that_can_not_be_read_is_left_out_but_not_published(
    demo: Scenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (demo.directory / "scenario.yaml").write_text("name: [")
    code, output = run()
    assert code == 0 and "left out scenario demo: " in " ".join(output.split())
    assert run("--publish", ".")[0] == 2 and not Path("claims.md").exists()
