"""What a search asks of each run, and how the run answers: good, bad, or that it can't be judged. Pure.

Without more said, the whole scenario is asked: good is that all expectations passed, bad that one failed or that the
kernel crashed while the program ran (an oops is what one searches for). An expectation, or a check of the user's own,
is asked alone: then only its outcome counts, and what comes before or after it in the run does not.
"""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.bisection.search import Mark
from orchestrator.errors import UsageError
from orchestrator.model import OWN_CHECK, Ending, Finding, Outcome, Scenario
from orchestrator.names import nearest
from orchestrator.rundir import RunRecord

NOT_STARTED = "the program was not started"


@dataclass(frozen=True)
class Question:
    """What decides. Nothing: the whole scenario. ``variant``: not the expectation's outcome, but which of its variants
    applies. ``check`` at the checkpoint ``at``: an expression of the user's own."""

    expectation: str = ""
    variant: bool = False
    check: str = ""
    at: str = ""

    @property
    def id(self) -> str:
        """The finding that decides; empty for all."""
        return OWN_CHECK if self.check else self.expectation

    @property
    def words(self) -> str:
        """The question for people."""
        if self.variant:
            return f"which variant of {self.expectation} applies"
        if self.check:
            return f"{self.check}{f' at {self.at}' if self.at else ''}"
        return f"the expectation {self.expectation}" if self.expectation else "all its expectations"


@dataclass(frozen=True)
class Answer:
    """What one run says. ``variant``: the condition of the one that applied, where that is asked."""

    mark: Mark
    why: str
    variant: str | None = None


def check(question: Question, wanted: Scenario) -> None:
    """Raises UsageError for a question that the scenario has no answer to."""
    if question.expectation and question.check:
        raise UsageError("--expectation and --check are two questions", "leave one of them out")
    if question.variant and not question.expectation:
        raise UsageError("--variant goes with --expectation ID: which of its variants applies")
    if not question.expectation:
        return
    known = {one.id: one for one in wanted.expectations}
    if question.expectation not in known:
        raise UsageError(f"--expectation {question.expectation}: {wanted.name} has none of that name"
                         f"{nearest(question.expectation, known)}",
                         f"there are: {', '.join(known)}" if known else "a plain C file has none; --check asks one")
    if question.variant and len(known[question.expectation].variants) == 1:
        raise UsageError(f"--variant: {question.expectation} has but one form, on every kernel and glibc",
                         f"`lab list {wanted.name}` shows them; leave out --variant to ask whether it holds")


def answer(question: Question, record: RunRecord, good: str | None = None) -> Answer:
    """What the run says. ``good``: which variant the good end has, once that is known."""
    if not question.id:
        return _whole(record)
    finding = next((one for one in record.findings if one.id == question.id), None)
    if finding is None or finding.outcome not in (Outcome.PASS, Outcome.FAIL):
        return Answer(Mark.SKIP, _unjudged(record, finding))
    if question.variant:
        same = good is None or finding.when == good
        return Answer(Mark.GOOD if same else Mark.BAD, f"{finding.outcome} when {_line(finding.when)}", finding.when)
    if finding.outcome is Outcome.PASS:
        return Answer(Mark.GOOD, "PASS")
    values = _line("; ".join(f"{one.text} = {one.value}" for one in finding.operands[:3]))
    return Answer(Mark.BAD, f"FAIL{f': {values}' if values else ''}")


def _unjudged(record: RunRecord, finding: Finding | None) -> str:
    if record.ending is not Ending.COMPLETED:
        return _ended(record)
    return "there is no such finding" if finding is None else f"{finding.outcome}: {_line(finding.message)}"


def _whole(record: RunRecord) -> Answer:
    if record.ending is not Ending.COMPLETED:
        crashed = record.exit_code == 4 and started(record)
        return Answer(Mark.BAD if crashed else Mark.SKIP, _ended(record))
    if record.outcome is Outcome.PASS:
        passed = sum(one.outcome is Outcome.PASS for one in record.findings)
        return Answer(Mark.GOOD, f"PASS: {passed} passed")
    of_kind = [one for one in record.findings if one.outcome is record.outcome]
    if record.outcome is Outcome.FAIL:
        return Answer(Mark.BAD, f"FAIL: {', '.join(one.id for one in of_kind)}")
    message = of_kind[0].message if of_kind else "no expectation was evaluated"
    return Answer(Mark.SKIP, f"{record.outcome}: {_line(message)}")


def started(record: RunRecord) -> bool:
    """Whether the program was started: what happened then can be its doing."""
    return "set_up" in record.timings


def _ended(record: RunRecord) -> str:
    before = "" if started(record) else f"{NOT_STARTED}: "
    return f"{before}{record.ending.value}{f': {_line(record.ending_detail)}' if record.ending_detail else ''}"


def _line(text: str) -> str:
    return " ".join(text.split())


# -- lab run --bisect ----------------------------------------------------------------------------

SKIP_CODE = 125  # git-bisect(1): "the current source code cannot be tested"
INTERRUPTED_CODE = 130  # above 127: git bisect run stops


def exit_code(found: Answer, record: RunRecord) -> int:
    """The code for `git bisect run`: 0 good, 1 bad, 4 bad by a crash, 125 skip, 130 stop."""
    if record.ending is Ending.INTERRUPTED:
        return INTERRUPTED_CODE
    if found.mark is Mark.BAD:
        return 4 if record.exit_code == 4 else 1
    return 0 if found.mark is Mark.GOOD else SKIP_CODE


def meaning(code: int, why: str) -> str:
    """The last line of a run: "exit 125: skip, as it can't be judged (…)"."""
    words = {0: "good", 1: "bad", 4: "bad, the guest crashed", SKIP_CODE: "skip, it can't be judged",
             INTERRUPTED_CODE: "interrupted, git bisect run stops here"}  # fmt: skip
    return f"exit {code}: {words[code]}{f' ({why})' if why else ''}"
