"""Findings: PASS, FAIL, SKIP and ERROR, operands with their evidence, and what is never guessed."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator import evaluate, observations
from orchestrator.evaluate import outcome_of, show
from orchestrator.model import Ended, Ending, Expectation, Finding, Needs, Outcome, Scenario, Variant
from orchestrator.observations import Observations

CAPTURE = Path(__file__).parents[1] / "data/brk"


@pytest.fixture
def run() -> Observations:
    return observations.load(CAPTURE)


def scenario_of(*variants: Variant, at: str = "touched", **more: object) -> Scenario:
    made = Scenario("s", "s", Path(), (), expectations=(Expectation("e", "c", at, variants),))
    return replace(made, **more)  # type: ignore[arg-type]


def finding(run: Observations, check: str, at: str = "touched") -> Finding:
    (found,) = evaluate.evaluate(scenario_of(Variant(check, "because", "source"), at=at), run)
    return found


@pytest.mark.parametrize(
    ("check", "outcome"),
    [
        ('vma("[heap]").rss == page_size', Outcome.PASS),
        ('vma("[heap]").rss == 2 * page_size', Outcome.FAIL),
        ('vma("[heap]", at="start") is None', Outcome.PASS),
        ('vma(note("brk") - 1).name == "[heap]"', Outcome.PASS),
        ('4 * KiB <= vma("[heap]").size < MiB', Outcome.PASS),
        ('"rw" in vma("[heap]").perms and not "x" in vma("[heap]").perms', Outcome.PASS),
        ("len(vmas()) > 5 and len(vmas()) < 1000", Outcome.PASS),
        ('limit("data") == unlimited and limit("data") > GiB', Outcome.PASS),
        ('kernel >= "6.1" and kernel < "6.20" and glibc == "2.36"', Outcome.PASS),
        ('"6.1" <= kernel < "6.2"', Outcome.FAIL),
        ("exit_code == 0 and exit_signal is None", Outcome.PASS),
        ('reached("random") and not reached("random#2")', Outcome.PASS),
        ('kernel_log("segfault at") == 1', Outcome.PASS),
        ('output == "hello" and "ell" in output', Outcome.PASS),
        ('max(notes("gap-", at="random")) <= GiB', Outcome.PASS),
        ('note("brk") in [1, 2]', Outcome.FAIL),
        ('sysctl("kernel.randomize_va_space") == 2', Outcome.PASS),
        ('kconfig("CONFIG_COMPAT_BRK") is None and kconfig("CONFIG_MMU") == "y"', Outcome.PASS),
        ('symbol("vma_find") and not symbol("find_vma_links")', Outcome.PASS),
        ('tunable("glibc.malloc.tcache_count") is None', Outcome.PASS),
        ('cmdline("quiet") and not cmdline("norandmaps")', Outcome.PASS),
        ('reached("start") or note("nothing") == 1', Outcome.PASS),  # the right side is not looked at
    ],
)
def test_checks(run: Observations, check: str, outcome: Outcome) -> None:
    found = finding(run, check)
    assert found.outcome is outcome, found.message
    assert (found.because, found.source, found.claim, found.at) == ("because", "source", "c", "touched")


@pytest.mark.parametrize(
    ("check", "message"),
    [
        ('note("brkk") == 1', "did you mean brk"),
        ('vma("[heap]").rs == 1', "did you mean rss"),
        ('vma("[heap]", at="start").rss == 0', "there is no such mapping"),
        ('note("brk", at="nowhere") == 1', "'nowhere' was not reached"),
        ('vma("/lab/case/program").rss == 0', "give an address"),
        ('status("VmPTE")', "not true or false"),
        ('vma("[heap]")', "not true or false"),
        ('cmdline("stack_guard_gap")', "'512', not true or false"),
        ('note("brk") < "x"', "can't be evaluated"),
        ('note("brk") / 0 > 1', "can't be evaluated"),
        ('kernel >= "new"', "can't be evaluated"),
        ('kernel.text == "6"', "has no attributes"),
        ("nothing == 1", "unknown name"),
        ('nte("brk") == 1', "unknown function 'nte'; did you mean note"),
        ("exit_cod == 0", "unknown name 'exit_cod'; did you mean exit_code"),
        ('status("VmPTR") == 1', "did you mean VmPTE"),
        ('len(faults("w")) == 0', "this run has no kernel trace"),
        ('chain("w", "f > g")', "this run has no kernel trace"),
        ("1 +", "not an expression"),
        ('int("x") == 1', "can't be evaluated"),
        ("len(1) == 1", "can't be evaluated"),
        ('"a" * 9999999 == "b"', "can't be evaluated"),
        ('max(notes("zzz", at="random")) == 1', "no note begins with"),
        ('symbol("handle_mm_fault")', "no looked-up symbol"),
    ],
)
def test_what_can_not_be_evaluated_is_an_error(run: Observations, check: str, message: str) -> None:
    found = finding(run, check)
    assert found.outcome is Outcome.ERROR
    assert message in found.message


def test_a_failure_explains_every_operand(run: Observations) -> None:
    found = finding(run, 'note("brk") - note("brk", at="start") == 2 * page_size and 1 < vma("[heap]").rss')
    assert found.outcome is Outcome.FAIL
    by_text = {operand.text: operand for operand in found.operands}
    assert list(by_text) == [
        'note("brk") - note("brk", at="start")', "2 * page_size", 'note("brk")', 'note("brk", at="start")',
        "page_size", 'vma("[heap]").rss',
    ]  # fmt: skip
    assert by_text['note("brk") - note("brk", at="start")'].value == "4096 (4 KiB)"
    assert [e.file for e in by_text['note("brk") - note("brk", at="start")'].evidence] == [
        "evidence/02-touched/notes", "evidence/00-start/notes",
    ]  # fmt: skip
    assert by_text['note("brk")'].value.startswith("0x")
    rss = by_text['vma("[heap]").rss'].evidence
    assert [e.text.split(":")[0] for e in rss if e.text.startswith("Rss")] == ["Rss"]
    for operand in found.operands:
        for line in operand.evidence:
            lines = (CAPTURE / line.file).read_text().split("\n")
            assert line.line == 0 or lines[line.line - 1] == line.text


def test_an_error_still_shows_what_was_seen(run: Observations) -> None:
    found = finding(run, 'note("brk") == note("missing")')
    assert [operand.text for operand in found.operands] == ['note("brk")']


def test_garbled_evidence_is_an_error_with_its_line(tmp_path: Path) -> None:
    copy = Path(shutil.copytree(CAPTURE, tmp_path / "run"))
    smaps = copy / "evidence/02-touched/proc/77/smaps"
    smaps.write_text(smaps.read_text().replace("[heap]\nSize:", "[heap]\nS!ze:"))
    found = finding(observations.load(copy), 'vma("[heap]").rss == 0')
    assert found.outcome is Outcome.ERROR
    assert "evidence/02-touched/proc/77/smaps:" in found.message


NEW, OLD = Variant("1 == 1", "b", "s", 'kernel >= "6"'), Variant("1 == 2", "b", "s", 'kernel < "6"')


def test_exactly_one_variant_must_match(run: Observations) -> None:
    def outcome(*variants: Variant) -> tuple[Outcome, str]:
        (found,) = evaluate.evaluate(scenario_of(*variants), run)
        return found.outcome, found.message

    assert outcome(NEW, OLD) == (Outcome.PASS, "")
    assert outcome(NEW, NEW) == (Outcome.ERROR, '2 variants match: kernel >= "6"; kernel >= "6"')
    assert outcome(OLD) == (Outcome.ERROR, 'no variant matches: kernel < "6"')
    assert outcome(replace(NEW, when="page_size"))[0] is Outcome.ERROR
    assert "when: no sysctl" in outcome(replace(NEW, when='sysctl("x") == 1'))[1]
    assert outcome(NEW, replace(OLD, when='note("x") == 1'))[0] is Outcome.ERROR  # not known to be the other one
    (found,) = evaluate.evaluate(scenario_of(NEW, OLD), run)
    assert found.when == 'kernel >= "6"'


@pytest.mark.parametrize(
    ("needs", "outcome", "message"),
    [
        (Needs(kconfig=("CONFIG_MMU", "CONFIG_QEMU_FW_CFG=m"), symbols=("vma_find",)), Outcome.PASS, ""),
        (Needs(kconfig=("CONFIG_COMPAT_BRK",)), Outcome.SKIP, "has CONFIG_COMPAT_BRK not set"),
        (Needs(kconfig=("CONFIG_QEMU_FW_CFG=y",)), Outcome.SKIP, "needs CONFIG_QEMU_FW_CFG=y; this kernel has"),
        (Needs(symbols=("find_vma_links",)), Outcome.SKIP, "needs the kernel symbol find_vma_links"),
        (Needs(symbols=("unknown",)), Outcome.ERROR, "no looked-up symbol"),
    ],
)
def test_needs(run: Observations, needs: Needs, outcome: Outcome, message: str) -> None:
    made = scenario_of(Variant('reached("start")', "b", "s"), needs=needs)
    found = evaluate.evaluate(made, run)
    assert [f.outcome for f in found] == [outcome]
    assert message in found[0].message
    assert outcome_of(found, made) is outcome


def test_checkpoints_not_reached(run: Observations) -> None:
    made = scenario_of(NEW, checkpoints=("start", "nowhere", "random"))
    found = evaluate.evaluate(made, run)
    assert [(f.id, f.outcome) for f in found[1:]] == [("checkpoint-nowhere", Outcome.FAIL)]
    assert "exit status 0" in found[1].message
    run.record.ended = Ended(signal=11)
    assert "SIGSEGV" in evaluate.evaluate(made, run)[1].message
    run.record.ended = Ended(signal=9, killed_by_lab="step limit")
    assert evaluate.evaluate(made, run)[1].outcome is Outcome.ERROR
    run.record.ended, run.record.ending = None, Ending.LOST_GUEST
    assert evaluate.evaluate(made, run)[1].outcome is Outcome.ERROR
    run.record.ended, run.record.ending = Ended(code=0), Ending.PANIC
    assert evaluate.evaluate(made, run)[1].outcome is Outcome.ERROR


def test_checkpoints_in_another_order(run: Observations) -> None:
    found = evaluate.evaluate(scenario_of(NEW, checkpoints=("random", "start")), run)
    assert [(f.id, f.outcome) for f in found[1:]] == [("checkpoint-start", Outcome.FAIL)]


def test_plain_programs_pass_when_they_return(run: Observations) -> None:
    made = replace(scenario_of(), plain=True, expectations=())

    def outcome(ended: Ended | None) -> Outcome:
        run.record.ended = ended
        return outcome_of(evaluate.evaluate(made, run), made)

    assert outcome(Ended(code=3)) is Outcome.PASS
    assert outcome(Ended(signal=11)) is Outcome.FAIL
    assert outcome(Ended(signal=9, killed_by_lab="limit")) is Outcome.ERROR
    assert outcome(None) is Outcome.ERROR


def test_outcome_of(run: Observations) -> None:
    made = scenario_of(NEW)
    (passed,) = evaluate.evaluate(made, run)

    def outcome(*outcomes: Outcome) -> Outcome:
        return outcome_of([replace(passed, outcome=o) for o in outcomes], made)

    assert outcome() is Outcome.ERROR
    assert outcome(Outcome.PASS, Outcome.SKIP) is Outcome.PASS
    assert outcome(Outcome.SKIP) is Outcome.SKIP
    assert outcome(Outcome.PASS, Outcome.ERROR) is Outcome.ERROR
    assert outcome(Outcome.ERROR, Outcome.FAIL, Outcome.PASS) is Outcome.FAIL
    assert outcome_of([replace(passed, id="checkpoint-x")], made) is Outcome.ERROR
    assert outcome_of([replace(passed, id="checkpoint-x", outcome=Outcome.SKIP)], made) is Outcome.ERROR
    none = replace(made, expectations=())
    assert outcome_of(evaluate.evaluate(none, run), none) is Outcome.ERROR, "a scenario that expects nothing"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "none"), (True, "true"), (0, "0"), (-12, "-12"), (100, "100"), (4096, "4096 (4 KiB)"),
        (4097, "4097"), (-8192, "-8192 (-8 KiB)"), (1 << 30, "1073741824 (1 GiB)"),
        (0x55D0C8A00000, "0x55d0c8a00000"), (float("inf"), "unlimited"), ("a\nb", "'a\\nb'"),
        ("x" * 200, "'" + "x" * 100 + "'… (200 characters)"), ([1, None], "[1, none]"), (1.5, "1.5"),
    ],
)  # fmt: skip
def test_values_are_short_and_readable(value: object, shown: str) -> None:
    assert show(value) == shown
