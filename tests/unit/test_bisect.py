"""`lab bisect` without guests: what is asked, between which candidates, by runs that answer as scripted; its report."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
from claims_samples import GLIBC, RELEASE, demonstration, finding
from hostile_run import BAD as EVIL
from pieces_samples import bzimage, images
from synthetic_run import FAILED, GREW
from typer.testing import CliRunner

from orchestrator import experiment, progress, schema
from orchestrator.bisection import candidates, question, trials
from orchestrator.bisection.model import KERNEL, USERLAND, Bisection, Candidate, Trial
from orchestrator.bisection.question import Answer, Question
from orchestrator.bisection.search import Mark, State
from orchestrator.cli.app import app
from orchestrator.errors import PieceError, UsageError
from orchestrator.model import OWN_CHECK, Ending, Finding, Outcome, Scenario
from orchestrator.pieces import Store
from orchestrator.progress import Event
from orchestrator.report import bisect_json, bisect_terminal
from orchestrator.rundir import RunDirectory, RunRecord

Golden = Callable[[str, str], None]
KERNELS = ("5.10", "6.1", "6.12", "7.x")


@pytest.fixture
def demo(tmp_path: Path) -> Scenario:
    return demonstration(tmp_path / "demo")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(cache=tmp_path / "cache", images=images(tmp_path))


# -- what a run says -----------------------------------------------------------------------------


def record(*findings: Finding, ending: Ending = Ending.COMPLETED, code: int = 0, started: bool = True) -> RunRecord:
    outcomes = [one.outcome for one in findings]
    outcome = next((one for one in (Outcome.FAIL, Outcome.ERROR, Outcome.PASS, Outcome.SKIP) if one in outcomes),
                   Outcome.ERROR)  # fmt: skip
    return RunRecord(ending=ending, outcome=outcome if ending is Ending.COMPLETED else Outcome.ERROR, exit_code=code,
                     findings=list(findings), timings={"set_up": 0.1} if started else {})  # fmt: skip


def of(outcome: Outcome, **more: str) -> Finding:
    return replace(GREW, id="x", outcome=outcome, **more)


PASSED, FELL, SKIPPED, ERRED = map(of, (Outcome.PASS, Outcome.FAIL, Outcome.SKIP, Outcome.ERROR))
ONE = Question("x")


@pytest.mark.parametrize(
    ("asked", "run", "mark", "code"),
    [
        (Question(), record(PASSED, GREW), Mark.GOOD, 0),
        (Question(), record(FELL, GREW, code=1), Mark.BAD, 1),
        (Question(), record(ERRED, GREW, code=3), Mark.SKIP, 125),
        (Question(), record(ERRED, FELL, code=1), Mark.BAD, 1),
        (Question(), record(SKIPPED), Mark.SKIP, 125),  # exit 0 otherwise: what does not apply is not good
        (Question(), record(code=3), Mark.SKIP, 125),
        (Question(), record(PASSED, ending=Ending.OOPS, code=4), Mark.BAD, 4),
        (Question(), record(ending=Ending.LOST_GUEST, code=4), Mark.BAD, 4),
        (Question(), record(ending=Ending.PANIC, code=4, started=False), Mark.SKIP, 125),  # it did not even boot
        (Question(), record(ending=Ending.TIMEOUT, code=5), Mark.SKIP, 125),
        (Question(), record(ending=Ending.HOST_ERROR, code=3), Mark.SKIP, 125),
        (Question(), record(ending=Ending.HOST_ERROR, code=2), Mark.SKIP, 125),
        (Question(), record(PASSED, ending=Ending.INTERRUPTED, code=130), Mark.SKIP, 130),
        (ONE, record(PASSED, FAILED, code=1), Mark.GOOD, 0),
        (ONE, record(FELL, GREW, code=1), Mark.BAD, 1),
        (ONE, record(SKIPPED, GREW), Mark.SKIP, 125),
        (ONE, record(ERRED, FAILED, code=1), Mark.SKIP, 125),
        (ONE, record(GREW), Mark.SKIP, 125),
        (ONE, record(ERRED, ending=Ending.PANIC, code=4), Mark.SKIP, 125),  # only its outcome counts
        (ONE, record(PASSED, ending=Ending.OOPS, code=4), Mark.GOOD, 0),
        (ONE, record(FELL, ending=Ending.OOPS, code=4), Mark.BAD, 4),
    ],
)  # fmt: skip
def test_what_is_good_and_what_git_is_told(asked: Question, run: RunRecord, mark: Mark, code: int) -> None:
    said = question.answer(asked, run)
    assert (said.mark, question.exit_code(said, run)) == (mark, code)
    assert said.why
    assert question.meaning(code, said.why).startswith(f"exit {code}: ")


def test_no_answer_is_a_code_that_git_takes_for_something_else() -> None:
    for mark in Mark:
        for ending in Ending:
            for code in (0, 1, 2, 3, 4, 5, 126, 127, 130):
                found = question.exit_code(Answer(mark, ""), RunRecord(ending=ending, exit_code=code))
                assert found in (0, 1, 4, 125, 130)
                assert (found == 0) == (mark is Mark.GOOD and ending is not Ending.INTERRUPTED)


def test_a_variant_is_good_where_it_is_that_of_the_good_end() -> None:
    asked = Question("x", variant=True)
    old, new = of(Outcome.PASS, when="kernel < 6"), of(Outcome.FAIL, when="kernel >= 6")
    first = question.answer(asked, record(old))
    assert first == Answer(Mark.GOOD, "PASS when kernel < 6", "kernel < 6")
    assert question.answer(asked, record(old), first.variant).mark is Mark.GOOD
    assert question.answer(asked, record(new), first.variant).mark is Mark.BAD
    assert question.answer(asked, record(ERRED), first.variant).mark is Mark.SKIP


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (Question("sam"), "did you mean same"),
        (Question("same", variant=True), "but one form"),
        (Question(variant=True), "--expectation ID"),
        (Question("same", check="exit_code == 0"), "two questions"),
    ],
)
def test_a_question_without_an_answer_is_refused(demo: Scenario, asked: Question, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        question.check(asked, demo)


# -- between which candidates --------------------------------------------------------------------


def names(store: Store, good: str, bad: str) -> tuple[str, list[str]]:
    axis, found = candidates.between(store, good, bad)
    return axis, [one.label for one in found]


def test_candidates_are_in_the_order_of_their_versions(store: Store) -> None:
    assert names(store, "5.10", "7.x") == (KERNEL, list(KERNELS)), "5.10 is not in the lock: its name says it"
    assert names(store, "7.3.4", "6.1.176") == (KERNEL, ["7.x", "6.12", "6.1"]), "the good end may be the newer one"
    assert names(store, "6.1", "6.12") == (KERNEL, ["6.1", "6.12"])


def test_a_kernel_of_ones_own_may_be_an_end(store: Store, tmp_path: Path) -> None:
    own = tmp_path / "bzImage"
    own.write_bytes(bzimage("6.6.0-rc1"))
    assert names(store, "5.10", str(own)) == (KERNEL, ["5.10", "6.1", "bzImage"])
    assert names(store, str(own), "7.x") == (KERNEL, ["bzImage", "6.12", "7.x"])


def test_the_files_of_a_kernel_of_ones_own_go_with_it(store: Store, demo: Scenario, tmp_path: Path) -> None:
    own = tmp_path / "bzImage"
    own.write_bytes(bzimage("6.6.0"))
    asked: list[experiment.Request] = []
    request = replace(wanted(demo, tmp_path, "6.1", str(own)), choice=trials.Choice(modules=tmp_path, cold=True))
    trials.run(request, store, lambda _: None, scripted(demo, {"6.1": "pass", str(own): "fail"}, asked))
    assert [one.choice.modules for one in asked] == [None, tmp_path]
    assert all(one.choice.cold and one.choice.userland == "trixie" for one in asked)
    with pytest.raises(UsageError, match="--modules goes with one end"):
        trials.plan(replace(request, bad="6.12"), store)


@pytest.mark.parametrize(
    ("good", "bad", "said"),
    [
        ("6.1", "bookworm", "a kernel, --bad bookworm a userland"),
        ("6.1", "6.1.176", "the same kernel: 6.1"),
        ("6.13", "6.1", "no kernel, nor a userland"),
        ("6.*", "5.10", "means several: 6.1, 6.12"),
        ("bookworm", "trixie", "its version is not known"),  # not in this lock
        ("./nothing", "6.1", "no such file"),
    ],
)
def test_ends_that_are_none(store: Store, good: str, bad: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        candidates.between(store, good, bad)


def test_what_is_searched_can_not_be_chosen_as_well(store: Store, demo: Scenario, tmp_path: Path) -> None:
    request = replace(wanted(demo, tmp_path), choice=trials.Choice(kernel="6.1"))
    with pytest.raises(UsageError, match="--kernel is what is searched"):
        trials.plan(request, store)


# -- from end to end -----------------------------------------------------------------------------


def wanted(demo: Scenario, folder: Path, good: str = "5.10", bad: str = "7.x",
           asked: Question | None = None) -> trials.Request:
    return trials.Request(str(demo.directory), good, bad, asked or Question(), output=folder / "out")


def scripted(demo: Scenario, answers: Mapping[str, str],
             asked: list[experiment.Request] | None = None) -> trials.Start:
    """Stands for `lab run`: a run directory with what a kernel is told to answer."""

    def start(request: experiment.Request) -> experiment.Done:
        kernel = str(request.choice.kernel)
        answer = answers[kernel]
        if asked is not None:
            asked.append(request)
        if answer == "lacking":
            raise PieceError(f"{kernel} can't be had")
        if answer == "ctrl-c":
            raise KeyboardInterrupt
        outcome = Outcome.FAIL if answer == "fail" else Outcome.PASS
        form = "7.x" if kernel == "7.x" else "5.10"
        found = (finding(one, form, outcome if one.id == "same" else Outcome.PASS) for one in demo.expectations)
        made = record(*found, code=int(answer == "fail"))
        if answer in ("panic", "interrupted"):
            made = record(ending=Ending(answer), code=130 if answer == "interrupted" else 4, started=answer != "panic")
        made.environment = {"release": RELEASE.get(kernel, "6.12.107"), "glibc": GLIBC["bullseye"]}
        assert request.output is not None
        return experiment.Done(made, RunDirectory.create(request.output, made))

    return start


def searched(demo: Scenario, store: Store, folder: Path, answers: str, asked: Question | None = None,
             **more: bool) -> Bisection:
    """A search over the four kernels, and what was kept on the way."""
    kept: list[Bisection] = []
    request = replace(wanted(demo, folder, asked=asked), **more)  # type: ignore[arg-type]
    found = trials.run(request, store, kept.append, scripted(demo, dict(zip(KERNELS, answers.split(), strict=True))))
    assert kept[-1] == found, "what is known is always kept"
    assert [len(one.trials) for one in kept][:2] == [0, 1]
    return found


def tried(found: Bisection) -> list[str]:
    return [found.candidates[one.index].name for one in found.trials]


def test_a_boundary_is_found_and_every_run_is_kept(demo: Scenario, store: Store, tmp_path: Path) -> None:
    told: list[Event] = []
    with progress.listening(told.append):
        found = searched(demo, store, tmp_path, "pass pass fail fail")
    assert found.state is State.FOUND and found.exit_code == 0
    assert tried(found) == ["5.10", "7.x", "6.1", "6.12"]
    (flip,) = found.search.flips
    assert [(one.id, other.outcome) for one, other in found.changed(flip) if one and other] == [("same", Outcome.FAIL)]
    assert [str(one.directory) for one in found.trials] == [
        str(tmp_path / "out" / name) for name in ("01-5.10", "02-7.x", "03-6.1", "04-6.12")]  # fmt: skip
    assert all(RunDirectory.open(one.directory).load() for one in found.trials if one.directory)
    assert [event.detail for event in told if event.kind == "case"] == ["good", "bad", "good", "bad"]


@pytest.mark.parametrize(
    ("answers", "between", "tried_"),
    [("pass panic fail fail", ("6.1",), 4), ("pass lacking panic fail", ("6.1", "6.12"), 4),
     ("pass fail pass fail", (), 3)],
)
def test_what_can_not_be_judged_is_gone_around(demo: Scenario, store: Store, tmp_path: Path, answers: str,
                                               between: tuple[str, ...], tried_: int) -> None:
    found = searched(demo, store, tmp_path, answers)
    (flip,) = found.search.flips
    assert tuple(found.candidates[index].name for index in flip.between) == between
    assert len(found.trials) == tried_ and found.exit_code == 0
    text = bisect_terminal.render(found)
    assert ("could not be judged" in text) == bool(between)


def test_a_crash_while_the_program_runs_is_bad(demo: Scenario, store: Store, tmp_path: Path) -> None:
    assert searched(demo, store, tmp_path, "pass pass pass fail").trials[1].mark is Mark.BAD
    found = trials.run(replace(wanted(demo, tmp_path), output=tmp_path / "again"), store, lambda _: None,
                       lambda request: oops(demo, request))  # fmt: skip
    assert [one.mark for one in found.trials] == [Mark.BAD, Mark.BAD] and found.exit_code == 1


def oops(demo: Scenario, request: experiment.Request) -> experiment.Done:
    made = record(ending=Ending.OOPS, code=4)
    assert request.output is not None
    return experiment.Done(made, RunDirectory.create(request.output, made))


@pytest.mark.parametrize(
    ("answers", "state", "code", "said"),
    [
        ("pass fail fail pass", State.GOOD, 1, "5.10 and 7.x are both good"),
        ("fail pass pass fail", State.BAD, 1, "5.10 and 7.x are both bad"),
        ("fail pass pass pass", State.REVERSED, 1, "exchange them"),
        ("pass pass pass panic", State.UNJUDGED, 3, "7.x could not be judged"),
    ],
)
def test_ends_that_are_alike_are_told_with_what_was_found(demo: Scenario, store: Store, tmp_path: Path, answers: str,
                                                          state: State, code: int, said: str) -> None:
    found = searched(demo, store, tmp_path, answers)
    assert (found.state, found.exit_code, tried(found)) == (state, code, ["5.10", "7.x"])
    assert said in " ".join(bisect_terminal.render(found).split())


def test_all_shows_what_changes_more_than_once(demo: Scenario, store: Store, tmp_path: Path) -> None:
    found = searched(demo, store, tmp_path, "pass fail pass pass", every=True)
    assert found.exit_code == 0 and len(found.trials) == 4
    text = bisect_terminal.render(found)
    assert text.count("It changes between") == 2


@pytest.mark.parametrize("how", ["ctrl-c", "interrupted"])
def test_ctrl_c_keeps_what_was_found(demo: Scenario, store: Store, tmp_path: Path, how: str) -> None:
    found = searched(demo, store, tmp_path, f"pass {how} fail fail")
    assert found.interrupted and found.exit_code == 130
    assert tried(found) == ["5.10", "7.x"]
    text = " ".join(bisect_terminal.render(found).split())
    assert "6.1 and 6.12 were not tried" in text and "INTERRUPTED" in text


def test_an_end_that_can_not_be_had_ends_the_search(demo: Scenario, store: Store, tmp_path: Path) -> None:
    with pytest.raises(PieceError, match=r"7\.x can't be had"):
        searched(demo, store, tmp_path, "pass pass pass lacking")


def test_ends_that_hold_in_other_forms_are_told_with_their_sources(demo: Scenario, store: Store, tmp_path: Path,
                                                                   golden: Golden) -> None:
    asked = Question("forms")
    alike = searched(demo, store, tmp_path, "pass pass pass pass", asked)
    assert alike.exit_code == 1
    text = bisect_terminal.render(replace(alike, directory=Path("runs/x"), trials=placed(alike)))
    assert "lab bisect demo --expectation forms --variant --good 5.10 --bad 7.x -u trixie" in " ".join(text.split())
    golden("bisect-alike.txt", text)
    there = searched(demo, store, tmp_path / "more", "pass pass pass pass", replace(asked, variant=True))
    assert there.exit_code == 0 and there.search.flips[0].before == 2
    golden("bisect-variant.txt", bisect_terminal.render(replace(there, directory=Path("runs/x"), trials=placed(there))))


def placed(found: Bisection) -> tuple[Trial, ...]:
    """The trials as if they lay below runs/x."""
    return tuple(replace(one, directory=Path("runs/x") / one.directory.name if one.directory else None)
                 for one in found.trials)  # fmt: skip


def test_a_directory_that_is_used_is_refused(demo: Scenario, store: Store, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/file").touch()
    with pytest.raises(UsageError, match="not empty"):
        searched(demo, store, tmp_path, "pass pass pass fail")


# -- how it is told ------------------------------------------------------------------------------


def sample() -> Bisection:
    """A search with a skip, a failure with values, and a candidate that was not tried."""
    row = tuple(Candidate(name, name) for name in ("5.10", "6.1", "6.6", "6.12", "7.1"))
    made = (
        Trial(0, Mark.GOOD, "PASS: 2 passed", Path("runs/x/01-5.10"), RELEASE["5.10"], "2.41", 0, 1.5, (GREW,)),
        Trial(4, Mark.BAD, "FAIL: grow-one-page", Path("runs/x/02-7.1"), "7.1.0", "2.41", 1, 1.4, (FAILED,)),
        Trial(2, Mark.SKIP, "the kernel 6.6 can't be had"),
        Trial(1, Mark.GOOD, "PASS: 2 passed", Path("runs/x/04-6.1"), RELEASE["6.1"], "2.41", 0, 1.5, (GREW,)),
        Trial(3, Mark.BAD, "FAIL: grow-one-page", Path("runs/x/05-6.12"), "6.12.107", "2.41", 1, 1.4, (FAILED,)),
    )
    return Bisection("brk", Question(), KERNEL, "trixie", row, False, made, False, Path("runs/x"), "0.1.0")


def test_terminal(golden: Golden) -> None:
    text = bisect_terminal.render(sample())
    golden("bisect.txt", text)
    assert all(len(line) <= 80 for line in text.splitlines())
    assert "\x1b[1m" in bisect_terminal.render(sample(), colour=True)
    assert "smaps:41" in bisect_terminal.render(sample(), verbose=True), "the evidence of each value"


def hostile() -> Bisection:
    evil = replace(FAILED, id=EVIL, claim=EVIL, at=EVIL, check=EVIL, because=EVIL, source=EVIL, message=EVIL, when=EVIL)
    made = tuple(replace(one, why=EVIL, release=EVIL, glibc=EVIL, directory=Path(EVIL[:50]),
                         findings=(replace(evil, outcome=Outcome.PASS if one.mark is Mark.GOOD else Outcome.FAIL),))
                 for one in sample().trials)  # fmt: skip
    return replace(sample(), scenario=EVIL, beside=EVIL, trials=made, question=Question(check=EVIL, at=EVIL))


def test_hostile_text_stays_text() -> None:
    text = bisect_terminal.render(hostile(), verbose=True)
    assert not set(text) & set("\u202e\u2066\x1b\x07\x00\u2028\u2029")


def test_json_is_as_published(demo: Scenario, store: Store, tmp_path: Path) -> None:
    published = schema.load("bisect")
    jsonschema.Draft202012Validator.check_schema(published)
    run = schema.load("run")["$defs"]
    assert all(published["$defs"][name] == run[name] for name in ("finding", "operand", "evidence", "outcome"))
    assert published["properties"]["state"]["enum"] == [one.value for one in State]
    open_ = replace(sample(), trials=sample().trials[:1])
    variant = searched(demo, store, tmp_path, "pass pass pass pass", Question("forms", variant=True))
    for one in (sample(), open_, replace(open_, interrupted=True), replace(open_, trials=()), hostile(), variant):
        jsonschema.Draft202012Validator(published).validate(json.loads(bisect_json.render(one)))
    data = json.loads(bisect_json.render(sample()))
    (boundary,) = data["boundaries"]
    assert (boundary["before"], boundary["after"], boundary["exact"]) == ("6.1", "6.12", False)
    assert boundary["between"] == [{"candidate": "6.6", "tried": True}]
    assert boundary["changed"][0]["after"]["operands"][0]["value"] == "8192"


def test_userlands_are_told_by_their_glibc() -> None:
    row = (Candidate("bookworm", "2.36"), Candidate("trixie", "2.41"))
    made = (Trial(0, Mark.GOOD, "PASS", glibc="2.36"), Trial(1, Mark.BAD, "FAIL", glibc="2.41"))
    text = bisect_terminal.render(Bisection("malloc", Question("x"), USERLAND, "6.12", row, trials=made))
    assert "bookworm (glibc 2.36), which is good, and trixie (glibc 2.41), which is bad" in " ".join(text.split())


def test_a_check_of_ones_own_counts_alone() -> None:
    size = replace(FAILED.operands[0], text="vma('[heap]')\n.size")
    mine = replace(FAILED, id=OWN_CHECK, operands=(size,))
    said = question.answer(Question(check="vma('[heap]').size == 4096", at="grown"), record(mine, GREW, code=1))
    assert (said.mark, said.why) == (Mark.BAD, "FAIL: vma('[heap]') .size = 8192"), "one line, the last of lab run's"


def test_the_known_reason_speaks_of_a_value_that_makes_the_difference() -> None:
    value = FAILED.operands[:1]
    mine = [replace(GREW, id=OWN_CHECK, operands=value, outcome=outcome) for outcome in (Outcome.PASS, Outcome.FAIL)]
    whens = ("kernel < 6", "kernel >= 6")
    known = [replace(GREW, id="size", when=when, operands=value) for when in whens]
    other = [replace(GREW, id="other", when=when, operands=FAILED.operands[2:]) for when in whens]
    made = tuple(Trial(index, mark, "", findings=(mine[index], known[index], other[index]))
                 for index, mark in enumerate((Mark.GOOD, Mark.BAD)))  # fmt: skip
    found = Bisection("brk", Question(check="x"), KERNEL, "trixie", (Candidate("5.10", "5"), Candidate("6.1", "6")),
                      trials=made)  # fmt: skip
    (flip,) = found.search.flips
    assert found.known(flip) == (tuple(known),)
    assert "What the scenario knows of it:" in bisect_terminal.render(found)


def test_the_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[trials.Request] = []

    def run(request: trials.Request, store: Store, keep: trials.Keep) -> Bisection:
        asked.append(request)
        found = replace(sample(), directory=tmp_path)
        keep(found)
        return found

    monkeypatch.setattr(trials, "run", run)
    words = ["bisect", "brk", "--good", "5.10", "--bad", "7.1", "-q", "--all", "-D", "X", "-i", "bookworm"]
    done = CliRunner().invoke(app, [*words, "--json", "-"])
    assert done.exit_code == 0
    assert done.stdout == bisect_json.render(replace(sample(), directory=tmp_path)), "alone on stdout"
    assert (tmp_path / "bisect.json").read_text() == done.stdout
    done = CliRunner().invoke(app, [*words, "--json", str(tmp_path / "found.json"), "--check", "exit_code == 0"])
    assert done.stdout.startswith("brk, all its expectations: kernels from 5.10 (good) to 7.1 (bad) with trixie\n")
    assert (tmp_path / "found.json").read_text() == (tmp_path / "bisect.json").read_text()
    request = asked[1]
    assert (request.scenario, request.good, request.bad, request.every) == ("brk", "5.10", "7.1", True)
    assert request.question == Question(check="exit_code == 0") and request.settings.defines == (("X", "1"),)
    assert request.choice.image == "bookworm"
    done = CliRunner().invoke(app, [*words, "--json", str(tmp_path / "missing/x.json")])
    assert isinstance(done.exception, UsageError) and len(asked) == 2, "before the work, not after it"
