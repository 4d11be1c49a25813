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
from orchestrator.ledger import Ledger, LeftOut, Pair, Word
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
    assert data["whole"]


def test_runs_that_are_gone_cost_the_values_only(demo: Scenario, tmp_path: Path) -> None:
    made = built(demo, with_values(demo, tmp_path / "a", OLD))
    (tmp_path / "a/run.json").unlink()
    assert ledger_data.data(made)["claims"]["x.same"]["proofs"][0]["results"]["0"][4] == []


def test_hostile_texts_stay_text(demo: Scenario, tmp_path: Path) -> None:
    made = built(demo, with_values(demo, tmp_path / "a", OLD, BAD))
    made = dataclasses.replace(made, kernels={"5.10": BAD}, left_out=(LeftOut(BAD, BAD),))
    page = ledger_page.render(made)
    assert not set(page) & FORBIDDEN and "<img" not in page and "</script></style>" not in page


def test_evidence_has_a_budget(demo: Scenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_data, "BUDGET", 10)
    data = ledger_data.data(built(demo, with_values(demo, tmp_path / "a", OLD)))
    assert not data["whole"]
    assert data["claims"]["x.mine"]["proofs"][0]["results"]["0"][4] == []


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
