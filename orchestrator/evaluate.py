"""Observations × expectations → findings. Pure.

A check that can't be evaluated is ERROR, never PASS or FAIL: an observation that is not there,
garbled evidence, a value that is not boolean, none or two variants that match. Only a check that
was evaluated to False is FAIL.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import simpleeval  # type: ignore[import-untyped]

from orchestrator import checks
from orchestrator.collect.lines import EvidenceError
from orchestrator.kernel_objects import WalkView
from orchestrator.model import (
    Checkpoint,
    Ending,
    Evidence,
    Expectation,
    Finding,
    Operand,
    Outcome,
    Scenario,
    Variant,
)  # fmt: skip
from orchestrator.names import signal_name
from orchestrator.observations import Observations
from orchestrator.observed import HasAttributes, LeftOut, ObservationError, Observed, Row, Rows, VmaView
from orchestrator.versions import Version

MAX_EVIDENCE = 12  # lines of one operand
MAX_SHOWN = 100  # characters of a value

_UNITS = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "unlimited": math.inf}
_BUILTINS: dict[str, Callable[..., Any]] = {
    "len": len, "min": min, "max": max, "sum": sum, "abs": abs, "sorted": sorted, "set": set,
    "any": any, "all": all, "int": int,
}  # fmt: skip
_OPERATORS = {
    node: function for node, function in simpleeval.DEFAULT_OPERATORS.items()
    if node not in (ast.Pow, ast.LShift, ast.RShift, ast.BitOr, ast.BitXor, ast.Invert)
}  # fmt: skip



def _modulo(left: object, right: object) -> object:
    """Of numbers only: on a text % would format, without a bound."""
    if not isinstance(left, int | float) or not isinstance(right, int | float):
        raise TypeError("% is for numbers")
    return left % right


_OPERATORS[ast.Mod] = _modulo

# what a wrong check, or simpleeval on it, raises
_CHECK_ERRORS = (
    simpleeval.InvalidExpression, checks.CheckError, TypeError, ValueError, ArithmeticError, KeyError, IndexError,
    AttributeError, RecursionError, MemoryError,
)  # fmt: skip


@dataclass(frozen=True)
class _Looked:
    """A part's value, and what was looked at for it."""

    value: object
    evidence: dict[Evidence, None]
    remarks: dict[str, None]


class _Evaluator(simpleeval.EvalWithCompoundTypes):  # type: ignore[misc]
    """simpleeval over one run at one checkpoint; remembers the evidence that was looked at, that of ``parts`` apart."""

    def __init__(self, run: Observations, at: str, parts: Sequence[ast.expr] = ()) -> None:
        self._run, self._at, self._parts = run, at, frozenset(parts)
        self.evidence: dict[Evidence, None] = {}  # in the order in which it was looked at, once each
        self.remarks: dict[str, None] = {}
        self.looked: dict[ast.expr, _Looked] = {}
        self._loops = 0  # comprehensions around what is evaluated: a part has many values there
        functions = {**_BUILTINS, **{name: functools.partial(self._call, name) for name in checks.OBSERVATIONS}}
        super().__init__(operators=_OPERATORS, functions=dict(functions), names=self._name)
        self.functions = functions  # EvalWithCompoundTypes adds list, tuple, dict
        self.ATTR_INDEX_FALLBACK = False

    def value(self, node: ast.expr) -> object:
        """The node's value. Raises ObservationError, EvidenceError, or one of _CHECK_ERRORS."""
        return self.eval("", previously_parsed=node)

    def _eval(self, node: ast.AST) -> object:
        if node not in self._parts or self._loops:
            return super()._eval(node)
        outside = self.evidence, self.remarks
        self.evidence, self.remarks = {}, {}
        try:
            value = super()._eval(node)
            self.looked[node] = _Looked(value, self.evidence, self.remarks)
            return value
        finally:
            inside = self.evidence, self.remarks
            self.evidence, self.remarks = {**outside[0], **inside[0]}, {**outside[1], **inside[1]}

    def _eval_comprehension(self, node: ast.AST) -> object:
        self._loops += 1
        try:
            return super()._eval_comprehension(node)
        finally:
            self._loops -= 1

    def _take(self, observed: Observed) -> object:
        self.evidence.update(dict.fromkeys(observed.evidence))
        if observed.remark:
            self.remarks[observed.remark] = None
        return observed.value

    def _call(self, name: str, *arguments: object, **named: object) -> object:
        if checks.OBSERVATIONS[name].at:
            arguments = (*arguments, named.pop("at", self._at))
        return self._take(getattr(self._run, name)(*arguments, **named))

    def _name(self, node: ast.Name) -> object:
        if node.id in _UNITS:
            return _UNITS[node.id]
        if node.id in checks.NAMES:
            return self._take(getattr(self._run, node.id)())
        raise simpleeval.NameNotDefined(node.id, "")

    def _eval_name(self, node: ast.Name) -> object:
        return self._name(node)

    def _eval_attribute(self, node: ast.Attribute) -> object:
        owner = self._eval(node.value)
        if isinstance(owner, HasAttributes):
            return self._take(owner.attribute(node.attr))
        what = "there is no such mapping" if owner is None else f"{show(owner)} has no attributes"
        raise ObservationError(f"{ast.unparse(node.value)}: {what}, so no {node.attr!r}")


def evaluate(scenario: Scenario, run: Observations) -> list[Finding]:
    """Every expectation's finding, in the scenario's order, then those for checkpoints not reached."""
    if scenario.plain:
        return [_plain(run), *(_expectation(expectation, run) for expectation in scenario.expectations)]
    missing = _needs(scenario, run)
    if missing is not None:
        outcome, reason = missing
        return [_finding(e, e.variants[0], outcome, reason) for e in scenario.expectations]
    findings = [_expectation(expectation, run) for expectation in scenario.expectations]
    return findings + _checkpoints(scenario.checkpoints, run)


def outcome_of(findings: Sequence[Finding], scenario: Scenario) -> Outcome:
    """The run's outcome: FAIL before ERROR before PASS before SKIP; no expectation evaluated is ERROR."""
    ids = {expectation.id for expectation in scenario.expectations}
    found = {finding.outcome for finding in findings}
    if not scenario.plain and not any(finding.id in ids for finding in findings):
        found.add(Outcome.ERROR)
    for outcome in (Outcome.FAIL, Outcome.ERROR, Outcome.PASS, Outcome.SKIP):
        if outcome in found:
            return outcome
    return Outcome.ERROR


def _expectation(expectation: Expectation, run: Observations) -> Finding:
    matching: list[Variant] = []
    for variant in expectation.variants:
        try:
            matches = not variant.when or _boolean(_Evaluator(run, expectation.at), checks.parse(variant.when).body)
        except LeftOut as error:
            return _finding(expectation, variant, Outcome.SKIP, str(error))
        except (ObservationError, EvidenceError, *_CHECK_ERRORS) as error:
            return _finding(expectation, variant, Outcome.ERROR, f"when: {_words(error)}")
        if matches:
            matching.append(variant)
    if len(matching) != 1:
        whens = "; ".join(variant.when or "(always)" for variant in matching or expectation.variants)
        what = "no variant matches" if not matching else f"{len(matching)} variants match"
        return _finding(expectation, expectation.variants[0], Outcome.ERROR, f"{what}: {whens}")
    return _check(expectation, matching[0], run)


def _check(expectation: Expectation, variant: Variant, run: Observations) -> Finding:
    try:
        tree = checks.parse(variant.check)
    except _CHECK_ERRORS as error:
        return _finding(expectation, variant, Outcome.ERROR, _words(error))
    parts = checks.operands(tree)
    evaluator = _Evaluator(run, expectation.at, parts)
    try:
        holds = _boolean(evaluator, tree.body)
    except LeftOut as error:
        return _finding(expectation, variant, Outcome.SKIP, str(error))
    except (ObservationError, EvidenceError, *_CHECK_ERRORS) as error:
        outcome, message = Outcome.ERROR, _words(error)
    else:
        outcome, message = (Outcome.PASS, "") if holds else (Outcome.FAIL, "does not hold")
    return _finding(expectation, variant, outcome, message, _operands(parts, evaluator, variant.check))


def _boolean(evaluator: _Evaluator, node: ast.expr) -> bool:
    value = evaluator.value(node)
    if not isinstance(value, bool):
        raise checks.CheckError(f"it is {show(value)}, not true or false")
    return value


def _operands(parts: Sequence[ast.expr], evaluator: _Evaluator, text: str) -> tuple[Operand, ...]:
    """The parts of the check with their values; a part that has none (yet) is left out."""
    operands = []
    for node in parts:
        if node not in evaluator.looked:  # and, or, if: nobody came to it
            with contextlib.suppress(ObservationError, EvidenceError, *_CHECK_ERRORS):
                evaluator.value(node)
        if looked := evaluator.looked.get(node):
            written = ast.get_source_segment(text.strip(), node) or ast.unparse(node)
            evidence = tuple(looked.evidence)[:MAX_EVIDENCE]
            operands.append(Operand(written, show(looked.value), evidence, "; ".join(looked.remarks)))
    return tuple(operands)


def _words(error: Exception) -> str:
    text = error.message if isinstance(error, EvidenceError) else str(error)
    if isinstance(error, ObservationError | EvidenceError | checks.CheckError):
        return text
    return f"the check can't be evaluated: {text or type(error).__name__}"


def _finding(
    expectation: Expectation, variant: Variant, outcome: Outcome, message: str, operands: tuple[Operand, ...] = ()
) -> Finding:
    return Finding(
        expectation.id, expectation.claim, expectation.at, variant.check, variant.because, variant.source,
        outcome, message, variant.when, operands, variant.verdict,
    )  # fmt: skip


def _needs(scenario: Scenario, run: Observations) -> tuple[Outcome, str] | None:
    """Why the scenario can't run on this guest; None if it can."""
    try:
        for need in scenario.needs.kconfig:
            name, equals, wanted = need.partition("=")
            value = run.kconfig(name).value
            if value is None or (equals and value != wanted):
                return Outcome.SKIP, f"needs {need}; this kernel has {name} {'not set' if value is None else value}"
        for name in scenario.needs.symbols:
            if not run.symbol(name).value:
                return Outcome.SKIP, f"needs the kernel symbol {name}, which this kernel does not have"
    except (ObservationError, EvidenceError) as error:
        return Outcome.ERROR, f"needs: {_words(error)}"
    return None


def _checkpoints(declared: Sequence[str], run: Observations) -> list[Finding]:
    """A finding for the first declared checkpoint that was not reached, and for each reached before its turn."""
    reached = [c for c in run.record.checkpoints if c.kind != "exit"]
    findings = []
    for index, name in enumerate(declared):
        first = _first(name, reached)
        if first is None:
            findings.append(_not_reached(name, run))
            break  # those after it were not reached either, for the same reason
        if any(_comes_after(other, first, reached) for other in declared[:index]):
            message = f"{name!r} was reached before a checkpoint that is declared before it"
            findings.append(_built_in(f"checkpoint-{name}", name, Outcome.FAIL, message, "checkpoints are in order"))
    return findings


def _first(name: str, reached: Iterable[Checkpoint]) -> Checkpoint | None:
    return next((c for c in reached if c.name == name), None)


def _comes_after(other: str, checkpoint: Checkpoint, reached: Iterable[Checkpoint]) -> bool:
    first = _first(other, reached)
    return first is not None and first.index > checkpoint.index


def _not_reached(name: str, run: Observations) -> Finding:
    """FAIL if the program came to its own end without it; ERROR if the run did not get that far."""
    check = f"reached({name!r})"
    try:
        ended = run.ended()
    except ObservationError as error:
        return _built_in(f"checkpoint-{name}", name, Outcome.ERROR, f"not reached: {error}", check)
    if run.record.ending is not Ending.COMPLETED:
        message = f"not reached: the run ended with {run.record.ending.value}"
        return _built_in(f"checkpoint-{name}", name, Outcome.ERROR, message, check)
    end = f"exit status {ended.code}" if ended.signal is None else signal_name(ended.signal)
    return _built_in(f"checkpoint-{name}", name, Outcome.FAIL, f"the program ended ({end}) without reaching it", check)


def _plain(run: Observations) -> Finding:
    """A plain C file passes when the program returned by itself, whatever it returned."""
    check = "exit_signal is None"
    try:
        ended = run.ended()
    except ObservationError as error:
        return _built_in("program-ended", "", Outcome.ERROR, str(error), check)
    if ended.signal is not None:
        return _built_in("program-ended", "", Outcome.FAIL, f"killed by {signal_name(ended.signal)}", check)
    return _built_in("program-ended", "", Outcome.PASS, f"exit status {ended.code}", check)


def _built_in(name: str, at: str, outcome: Outcome, message: str, check: str) -> Finding:
    because = "a program is expected to come to its declared checkpoints, in order, and to its own end"
    return Finding(name, "", at, check, because, "scenarios/README.md", outcome, message)


def show(value: object) -> str:
    """A value as a person reads it: addresses in hex, sizes with their unit, long ones cut."""
    match value:
        case bool() | None:
            return {True: "true", False: "false", None: "none"}[value]
        case int():
            return _show_int(value)
        case float() if value == math.inf:
            return "unlimited"
        case Version() | VmaView() | WalkView() | Row() | Rows():
            return str(value)
        case list() | tuple() | set():
            items = [show(item) for item in list(value)[:8]]
            return f"[{', '.join(items)}{', …' if len(value) > 8 else ''}]"
        case str():
            return repr(value) if len(value) <= MAX_SHOWN else f"{value[:MAX_SHOWN]!r}… ({len(value)} characters)"
    return repr(value)[:MAX_SHOWN]


def _show_int(value: int) -> str:
    size = abs(value)
    if size >= 1 << 32:
        return hex(value)
    for unit, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if size >= unit and size % unit == 0:
            return f"{value} ({value // unit} {name})"
    return str(value)
