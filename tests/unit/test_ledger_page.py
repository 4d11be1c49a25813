"""The ledger as a page: cells, where something changes, the evidence behind them, hostile texts, size."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from claims_samples import NEW, OLD, built, demonstration, finding, make, row
from hostile_run import BAD
from synthetic_run import GREW
from typer.testing import CliRunner

from orchestrator.cli.app import app
from orchestrator.ledger import Ledger, LeftOut, Pair, Proof, Word
from orchestrator.model import Evidence, Operand, Outcome, Scenario
from orchestrator.report import claims_json
from orchestrator.report.html import ledger_data, ledger_page

ROOT = Path(__file__).parents[2]
FORBIDDEN = set("\u202e\u2066\x1b\x07\x00\u2028\u2029")


@pytest.fixture
def demo(tmp_path: Path) -> Scenario:
    return demonstration(tmp_path / "scenarios/demo")


def with_values(demo: Scenario, place: Path, pair: tuple[str, str], text: str = "4096 (4 KiB)") -> Path:
    """A run whose findings have values and evidence."""
    operands = (Operand("note(\"b\")", text, (Evidence("evidence/00-start/notes", 3, f"b={text}"),)),)
    findings = [dataclasses.replace(finding(one, pair[0]), operands=operands) for one in demo.expectations]
    return make(demo, place, pair, findings=findings)


def test_a_rule_stands_where_a_form_changes(demo: Scenario, tmp_path: Path) -> None:
    made = built(demo, make(demo, tmp_path / "a", OLD), make(demo, tmp_path / "b", ("5.10", "testing")),
                 make(demo, tmp_path / "c", NEW))  # fmt: skip
    forms = ledger_data.cells(row(made, "x.forms"), made)
    assert [(cell.pair, cell.form, cell.rule, cell.first) for cell in forms] == [
        (Pair("5.10", "2.31"), 1, False, True), (Pair("5.10", "2.43"), 1, False, False),
        (Pair("7.x", "2.43"), 2, True, True)]  # fmt: skip
    assert [(cell.word, cell.form, cell.rule) for cell in ledger_data.cells(row(made, "x.wrong"), made)] == \
        [(Word.REFUTED, 0, False)] * 3
    assert forms[0].levels == "P"


def test_a_verdict_that_changes_is_a_rule_too(demo: Scenario, tmp_path: Path) -> None:
    made = built(demo, make(demo, tmp_path / "a", OLD),
                 make(demo, tmp_path / "b", ("5.10", "testing"), outcomes={"same": Outcome.FAIL}))  # fmt: skip
    cells = ledger_data.cells(row(made, "x.same"), made)
    assert [(cell.word, cell.rule) for cell in cells] == [(Word.CONFIRMED, False), (Word.FAILED, True)]


def without(made: Ledger, claim: str, pair: Pair, *names: str) -> Ledger:
    """The ledger as if these expectations of a claim had not been run on a pair."""
    def proof(one: Proof) -> Proof:
        results = tuple(result for result in one.results if result.pair != pair or one.id not in names)
        return dataclasses.replace(one, results=results)

    rows = (dataclasses.replace(one, proofs=tuple(map(proof, one.proofs))) if one.claim.id == claim else one
            for one in made.rows)  # fmt: skip
    return dataclasses.replace(made, rows=tuple(rows))


def test_what_was_not_run_is_no_change_and_no_form(demo: Scenario, tmp_path: Path) -> None:
    pairs = (OLD, ("5.10", "bookworm"), ("5.10", "testing"), NEW)
    made = built(demo, *(make(demo, tmp_path / str(place), pair) for place, pair in enumerate(pairs)))
    gap = Pair("5.10", "2.40")
    cells = ledger_data.cells(row(without(made, "x.same", gap, "same"), "x.same"), made)
    assert [cell.word for cell in cells] == [Word.CONFIRMED, Word.NOT_RUN, Word.CONFIRMED, Word.CONFIRMED]
    assert [(cell.rule, cell.form) for cell in cells] == [(False, 0)] * 4
    cells = ledger_data.cells(row(without(made, "x.forms", gap, "forms"), "x.forms"), made)
    assert [(cell.rule, cell.form) for cell in cells] == [(False, 1), (False, 0), (False, 1), (True, 2)]


def test_a_change_is_seen_across_what_was_not_run(demo: Scenario, tmp_path: Path) -> None:
    failed = {"same": Outcome.FAIL}
    made = built(demo, make(demo, tmp_path / "a", OLD), make(demo, tmp_path / "b", ("5.10", "bookworm")),
                 make(demo, tmp_path / "c", ("5.10", "testing"), outcomes=failed),
                 make(demo, tmp_path / "d", ("6.1", "testing")),
                 make(demo, tmp_path / "e", NEW))  # fmt: skip
    for pair in (Pair("5.10", "2.40"), Pair("6.1", "2.43")):
        made = without(made, "x.same", pair, "same")
    cells = ledger_data.cells(row(made, "x.same"), made)
    assert [(cell.word.value, cell.rule, cell.form) for cell in cells] == [
        ("confirmed", False, 1), ("not run", False, 0), ("failed", True, 2), ("not run", False, 0),
        ("confirmed", True, 1)]  # fmt: skip


def test_cells_are_compared_by_the_proofs_that_both_have(demo: Scenario, tmp_path: Path) -> None:
    """One of two expectations is missing on one pair: its verdict is another, and nothing has changed."""
    made = without(built(demo, make(demo, tmp_path / "a", OLD), make(demo, tmp_path / "b", ("5.10", "testing"))),
                   "x.wrong", Pair("5.10", "2.43"), "wrong")  # fmt: skip
    cells = ledger_data.cells(row(made, "x.wrong"), made)
    assert [(cell.word, cell.rule, cell.form) for cell in cells] == [
        (Word.REFUTED, False, 0), (Word.DIFFERS, False, 0)]  # fmt: skip


def test_sources_are_of_the_version_that_has_the_form(demo: Scenario, tmp_path: Path) -> None:
    made = built(demo, make(demo, tmp_path / "a", OLD), make(demo, tmp_path / "b", NEW))
    (proof,) = ledger_data.data(made)["claims"]["x.forms"]["proofs"]
    assert proof["forms"][1]["source"] == [
        ["mm/mmap.c", "https://elixir.bootlin.com/linux/v5.10/source/mm/mmap.c"]]  # fmt: skip
    assert "/linux/v7.3/" in proof["forms"][2]["source"][0][1]  # seen nowhere: the newest


def test_cells_have_their_evidence(demo: Scenario, tmp_path: Path) -> None:
    made = built(demo, with_values(demo, tmp_path / "a", OLD), with_values(demo, tmp_path / "b", NEW))
    data = ledger_data.data(made)
    (proof,) = data["claims"]["x.forms"]["proofs"]
    word, form, message, path, operands = proof["results"]["1"]
    texts = data["texts"]
    assert (word, proof["forms"][form]["because"], texts[message]) == ("confirmed", "since then", "")
    assert texts[path] == str(tmp_path / "b")
    ((text, value, ((file, line, shown),)),) = operands
    assert [texts[text], texts[value], texts[file], line, texts[shown]] == \
        ["note(\"b\")", "4096 (4 KiB)", "evidence/00-start/notes", 3, "b=4096 (4 KiB)"]
    assert proof["forms"][form]["source"][0] == ["0123456789ab", "https://git.kernel.org/torvalds/c/0123456789ab"]
    assert data["left"] == 0


def test_runs_that_are_gone_cost_the_values_only(demo: Scenario, tmp_path: Path) -> None:
    made = built(demo, with_values(demo, tmp_path / "a", OLD))
    (tmp_path / "a/run.json").unlink()
    assert ledger_data.data(made)["claims"]["x.same"]["proofs"][0]["results"]["0"][4] == []


def test_hostile_texts_stay_text(demo: Scenario, tmp_path: Path) -> None:
    made = built(demo, with_values(demo, tmp_path / "a", OLD, BAD))
    made = dataclasses.replace(made, kernels={"5.10": BAD}, left_out=(LeftOut(BAD, BAD),))
    page = ledger_page.render(made)
    assert not set(page) & FORBIDDEN and "<img" not in page and "</script></style>" not in page


def test_evidence_has_a_budget_and_what_is_left_out_is_said(demo: Scenario, tmp_path: Path,
                                                            monkeypatch: pytest.MonkeyPatch) -> None:
    made = built(demo, with_values(demo, tmp_path / "a", OLD))
    assert "are left out" not in ledger_page.render(made)
    monkeypatch.setattr(ledger_data, "BUDGET", 10)
    data = ledger_data.data(made)
    left = [result[4] for claim in data["claims"].values() for proof in claim["proofs"]
            for result in proof["results"].values()]  # fmt: skip
    assert data["left"] == left.count(None) == len(left) - 1
    assert f"evidence of {data['left']} findings are left out" in ledger_page.render(made)


def test_the_worst_findings_have_their_values_first(demo: Scenario, tmp_path: Path,
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    run = with_values(demo, tmp_path / "a", OLD)
    record = json.loads((run / "run.json").read_text())
    next(one for one in record["findings"] if one["id"] == "mine")["outcome"] = "FAIL"
    (run / "run.json").write_text(json.dumps(record))
    monkeypatch.setattr(ledger_data, "BUDGET", 10)
    data = ledger_data.data(built(demo, run))
    assert data["claims"]["x.mine"]["proofs"][0]["results"]["0"][4]
    assert data["claims"]["x.same"]["proofs"][0]["results"]["0"][4] is None


def test_the_budget_is_of_bytes(demo: Scenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An ideograph takes six of them in a script."""
    monkeypatch.setattr(ledger_data, "BUDGET", 2000)
    plain, wide = (ledger_data.data(built(demo, with_values(demo, tmp_path / name, OLD, text)))["left"]
                   for name, text in (("a", "x" * 500), ("b", "\u6f22" * 500)))  # fmt: skip
    assert plain == 0 and wide > 0


def test_the_published_ledger_is_a_page() -> None:
    text = (ROOT / "docs/claims.json").read_text()
    made: Ledger = claims_json.parse(text, "claims.json")
    page = ledger_page.render(made)
    assert len(page) < 3_000_000
    assert page.count("<tr class=\"row\"") == len(made.rows)
    assert page.count("<button type=\"button\" tabindex=\"-1\" data-pair") == len(made.rows) * len(made.pairs)


def test_an_empty_ledger_says_so() -> None:
    page = ledger_page.render(Ledger((), {}, {}, {}, {}))
    assert "nothing here was run" in page


def test_the_command_writes_it(tmp_path: Path) -> None:
    target = tmp_path / "ledger.html"
    result = CliRunner().invoke(app, ["claims", str(ROOT / "docs/claims.json"), "--html", str(target)])
    assert result.exit_code == 0 and result.output == ""
    assert target.read_text().startswith("<!DOCTYPE html>") and GREW.claim in target.read_text()
    assert json.loads(target.read_text().partition('id="ledger-data">')[2].partition("</script>")[0])["pairs"]
