"""`--check EXPR --at CHECKPOINT`: a check of the user's own beside a scenario's, or of a plain C file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import synthetic_run
from claims_samples import demonstration

from orchestrator import evaluate, experiment, runs, scenario
from orchestrator.cli import options
from orchestrator.errors import UsageError
from orchestrator.model import OWN_CHECK, Inspect, Outcome, Scenario
from orchestrator.observations import Observations
from orchestrator.report import terminal


@pytest.fixture
def demo(tmp_path: Path) -> Scenario:
    return demonstration(tmp_path / "demo")


@pytest.fixture
def plain(tmp_path: Path) -> Scenario:
    (tmp_path / "mine.c").write_text("int main(void) { return 0; }\n")
    return scenario.plain(tmp_path / "mine.c")


def test_it_is_one_more_expectation(demo: Scenario) -> None:
    request = experiment.Request(str(demo.directory), check='note("a") < 2 and symbol("do_brk_flags")', at="start")
    wanted = experiment.scenario_of(request)
    assert [one.id for one in wanted.expectations] == ["same", "forms", "wrong", "other", "mine", OWN_CHECK]
    assert scenario.symbols(wanted) == ("do_brk_flags",), "what it names is looked up in the guest"
    assert experiment.scenario_of(replace(request, check="", at="")) == demo


@pytest.mark.parametrize(
    ("check", "at", "said"),
    [
        ('note("a") == 1', "", "no|none is named"),
        ('note("a") == 1', "strt", "did you mean start"),
        ('note("a", at="strt") == 1', "start", "unknown checkpoint 'strt'"),
        ('nte("a") == 1', "start", "unknown function 'nte'"),
        ('note("a") = 1', "start", "not an expression"),
        ('faults("window")', "start", "records none"),
        ("mm().brk > 0", "start", "does not ask for that"),
        ("__import__('os')", "start", "unknown function"),
    ],
)
def test_what_could_not_be_evaluated_is_refused_before_the_run(demo: Scenario, check: str, at: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        scenario.with_check(demo, check, at, demo.inspect)


def test_with_inspect_it_may_look_inside(demo: Scenario) -> None:
    wanted = scenario.with_check(demo, "mm().brk > 0", "start", Inspect(("all",), ("all",)))
    assert wanted.expectations[-1].id == OWN_CHECK


def test_a_plain_program_may_have_any_checkpoint(plain: Scenario, tmp_path: Path) -> None:
    run = synthetic_run.brk(tmp_path / "run")
    run.record.case["plain"] = True
    for check, at, outcome in (
        ('vma("[heap]").size == 4096', "grown", Outcome.PASS),
        ('vma("[heap]").size == 8192', "grown", Outcome.FAIL),
        ('vma("[heap]").size == vma("[heap]", at="more").size - 4096', "grown", Outcome.PASS),
        ('vma("[heap]").size == 4096', "nowhere", Outcome.ERROR),
    ):
        wanted = scenario.with_check(plain, check, at, None)
        ended, own = evaluate.evaluate(wanted, Observations(run.directory, run.record))
        assert (ended.id, own.id, own.outcome) == ("program-ended", OWN_CHECK, outcome)
        run.record.findings = [ended, own]
        shown = terminal.render(run.record, run.directory.path)
        assert "--check at" in shown and "program-ended" not in shown


def test_a_run_with_one_still_counts_for_the_ledger(demo: Scenario, tmp_path: Path) -> None:
    from claims_samples import OLD, finding, make

    own = scenario.with_check(demo, 'note("a") == 1', "start", None).expectations[-1]
    found = [*(finding(one, OLD[0]) for one in demo.expectations), finding(own, OLD[0])]
    path = make(demo, tmp_path / "run", OLD, findings=found)
    (run,) = runs.evidence([path], [demo]).runs
    assert run.scenario is demo


def test_the_options_go_together() -> None:
    assert options.own_check(None, None) == ("", "")
    assert options.own_check("exit_code == 0", None) == ("exit_code == 0", "")
    for check, at in ((None, "start"), (" ", "start")):
        with pytest.raises(UsageError):
            options.own_check(check, at)
