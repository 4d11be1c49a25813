"""The ledger: claims × kernel × glibc → verdicts, from the findings of runs. Pure.

A cell is what the runs of one kernel with one glibc say of a claim. "failed" is not "refuted": refuted
means that an expectation which shows what really happens has passed. Where nothing was run, it says so.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from orchestrator import claims
from orchestrator.claims import Claim
from orchestrator.errors import UsageError
from orchestrator.model import Ending, Expectation, Finding, Outcome, Scenario, Variant, Verdict
from orchestrator.names import nearest
from orchestrator.rundir import RunRecord
from orchestrator.versions import Version, series


class Word(StrEnum):
    """What a cell says, or a whole claim; the first of these that any finding gives."""

    FAILED = "failed"
    ERROR = "error"
    REFUTED = "refuted"
    DIFFERS = "differs"
    CONFIRMED = "confirmed"
    SKIPPED = "skipped"
    NOT_RUN = "not run"


_VERDICTS = {Verdict.CONFIRMED: Word.CONFIRMED, Verdict.REFUTED: Word.REFUTED, Verdict.DIFFERS: Word.DIFFERS}
_OUTCOMES = {Outcome.FAIL: Word.FAILED, Outcome.ERROR: Word.ERROR, Outcome.SKIP: Word.SKIPPED}


@dataclass(frozen=True)
class Run:
    """A run with the scenario that it ran, as that is now."""

    path: Path
    record: RunRecord
    scenario: Scenario


@dataclass(frozen=True)
class LeftOut:
    """A run, a finding of it, or a scenario that is not in the ledger, and why."""

    path: str
    reason: str


@dataclass(frozen=True, order=True)
class Pair:
    """A kernel with a glibc, by their labels."""

    kernel: str
    glibc: str


@dataclass(frozen=True)
class Form:
    """A variant of an expectation: the condition, the mechanism, and how deep its check looks."""

    when: str
    because: str
    source: str
    verdict: Verdict
    levels: tuple[str, ...]


@dataclass(frozen=True)
class Result:
    """What a run found for an expectation."""

    pair: Pair
    word: Word
    form: int | None = None  # which of the forms matched; None where none did
    message: str = ""  # why it did not pass; or what a reader should know of it: functions that a kernel has inlined


@dataclass(frozen=True)
class Proof:
    """An expectation, and its results. ``digest`` is of what it checks."""

    scenario: str
    id: str
    at: str
    digest: str
    forms: tuple[Form, ...]
    results: tuple[Result, ...] = ()

    def used(self) -> dict[int, list[Pair]]:
        """The forms that passed, each with the pairs where, the oldest first."""
        found: dict[int, list[Pair]] = {}
        for result in self.results:
            if result.form is not None and result.word in _VERDICTS.values():
                found.setdefault(result.form, []).append(result.pair)
        return found


@dataclass(frozen=True)
class Row:
    """A claim and all that proves it."""

    claim: Claim
    proofs: tuple[Proof, ...] = ()

    def cells(self) -> dict[Pair, Word]:
        """What each pair that was run says."""
        found: dict[Pair, Word] = {}
        for result in (result for proof in self.proofs for result in proof.results):
            found[result.pair] = worst([result.word, found.get(result.pair, Word.NOT_RUN)])
        return found

    @property
    def verdict(self) -> Word:
        """The worst cell; a claim that is confirmed by other forms on other pairs differs between them."""
        found = worst(self.cells().values())
        return Word.DIFFERS if found is Word.CONFIRMED and self.boundaries() else found

    def boundaries(self) -> tuple[Proof, ...]:
        """The expectations that hold in several forms."""
        return tuple(proof for proof in self.proofs if len(proof.used()) > 1)

    def telling(self) -> tuple[Proof, ...]:
        """The expectations that say more than that the statement holds: boundaries, and what really happens."""
        def tells(proof: Proof) -> bool:
            used = proof.used()
            return len(used) > 1 or any(proof.forms[number].verdict is not Verdict.CONFIRMED for number in used)

        return tuple(proof for proof in self.proofs if tells(proof))

    @property
    def reached(self) -> tuple[str, ...]:
        """The levels of evidence that passing checks used on every pair that has a verdict."""
        used: dict[Pair, set[str]] = {}
        for proof in self.proofs:
            for form, pairs in proof.used().items():
                for pair in pairs:
                    used.setdefault(pair, set()).update(proof.forms[form].levels)
        return claims.ordered(set.intersection(*used.values())) if used else ()


@dataclass(frozen=True)
class Ledger:
    """Every claim, with the axes of its table and what was left out of it."""

    rows: tuple[Row, ...]
    kernels: Mapping[str, str]  # label → release, oldest first
    glibcs: Mapping[str, str]  # label → userland, oldest first
    runs: Mapping[tuple[str, Pair], str]  # (scenario, pair) → run directory
    programs: Mapping[str, str]  # scenario → the fingerprint of the program that ran
    left_out: tuple[LeftOut, ...] = ()
    older: int = 0
    lab: str = ""

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """The pairs that were run, oldest first."""
        there = {pair for _, pair in self.runs}
        return tuple(p for k in self.kernels for g in self.glibcs if (p := Pair(k, g)) in there)

    def only(self, patterns: Sequence[str]) -> Ledger:
        """The rows of these claims, by id or glob. Raises UsageError where one means none."""
        known = [row.claim.id for row in self.rows]
        for pattern in patterns:
            if not fnmatch.filter(known, pattern):
                raise UsageError(f"there is no claim {pattern!r}{nearest(pattern, known)}", "`lab claims` lists them")
        rows = tuple(r for r in self.rows if any(fnmatch.fnmatchcase(r.claim.id, pattern) for pattern in patterns))
        return replace(self, rows=rows)

    def published(self) -> Ledger:
        """The same without what belongs to one machine: the paths of runs, and what was left out."""
        return replace(self, runs=dict.fromkeys(self.runs, ""), left_out=(), older=0)

    def count(self) -> dict[Word, int]:
        """How many claims have each verdict; those that none has are left out."""
        verdicts = [row.verdict for row in self.rows]
        return {word: verdicts.count(word) for word in Word if word in verdicts}


def worst(words: Iterable[Word]) -> Word:
    """The word that counts, of several."""
    there = set(words)
    return next((word for word in Word if word in there), Word.NOT_RUN)


def digest(expectation: Expectation) -> str:
    """Of what an expectation checks: another digest, other evidence. Its reasons may be told in other words."""
    forms = [[v.when, v.check, v.verdict.value] for v in expectation.variants]
    text = json.dumps([expectation.id, expectation.claim, expectation.at, forms])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def build(catalogue: Mapping[str, Claim], scenarios: Sequence[Scenario], runs: Sequence[Run],
          left_out: Sequence[LeftOut] = (), older: int = 0) -> Ledger:
    """The ledger of these runs. ``scenarios``: those known besides, whose claims nothing may have run."""
    axes = _Axes(runs)
    runs = sorted(runs, key=lambda run: axes.order(axes.pair(run)))
    names = _names([*scenarios, *(run.scenario for run in runs)])
    by_name: dict[str, list[Run]] = {}
    for run in runs:
        by_name.setdefault(names[_source(run.scenario)][0], []).append(run)
    stale: dict[str, list[str]] = {}

    def results(name: str, expectation: Expectation) -> tuple[Result, ...]:
        found = {run.path: _result(expectation, run, axes.pair(run)) for run in by_name.get(name, ())}
        for path in (path for path, result in found.items() if result is None):
            stale.setdefault(str(path), []).append(expectation.id)
        return tuple(result for result in found.values() if result)

    rows = _rows(catalogue, list(names.values()), results)
    links = {(name, axes.pair(run)): str(run.path) for name, mine in by_name.items() for run in mine}
    programs = {name: str(mine[-1].record.case.get("fingerprint")) for name, mine in by_name.items()}
    lab = max((run.record.lab for run in runs), default="")
    changed = [LeftOut(path, f"changed since, run it again: {', '.join(ids)}") for path, ids in stale.items()]
    return Ledger(rows, axes.kernels, axes.glibcs, links, programs, (*left_out, *changed), older, lab)


def refreshed(old: Ledger, catalogue: Mapping[str, Claim], scenarios: Sequence[Scenario],
              programs: Mapping[str, str]) -> Ledger:
    """A ledger with claims and expectations as they are worded now. Results of an expectation that checks
    something else by now are gone, and those of a scenario that has another program (``programs``: by name)."""
    known = {(p.scenario, p.id, p.digest): p.results for row in old.rows for p in row.proofs
             if old.programs.get(p.scenario) == programs.get(p.scenario)}  # fmt: skip

    def results(name: str, expectation: Expectation) -> tuple[Result, ...]:
        return known.get((name, expectation.id, digest(expectation)), ())

    changed = [LeftOut(f"scenario {name}", f"the program or the settings of {name} have changed since: run it again")
               for name, program in old.programs.items() if programs.get(name, program) != program]  # fmt: skip
    rows = _rows(catalogue, list(_names(scenarios).values()), results)
    return replace(old, rows=rows, left_out=(*old.left_out, *changed))


def _rows(catalogue: Mapping[str, Claim], named: Sequence[tuple[str, Scenario]],
          results: Callable[[str, Expectation], tuple[Result, ...]]) -> tuple[Row, ...]:
    proofs: dict[str, list[Proof]] = {}
    for name, scenario in named:
        for expectation in scenario.expectations:
            proof = _proof(name, expectation, results(name, expectation))
            proofs.setdefault(expectation.claim, []).append(proof)
    every = {**catalogue, **_own(named, catalogue)}
    topics: dict[str, list[Claim]] = {}  # a scenario's own catalogue may add to a topic of the lab's
    for claim in every.values():
        topics.setdefault(claim.topic, []).append(claim)
    return tuple(Row(claim, tuple(proofs.get(claim.id, ()))) for topic in topics.values() for claim in topic)


def _source(scenario: Scenario) -> Path:
    return (scenario.file or scenario.directory).resolve()


def _names(scenarios: Iterable[Scenario]) -> dict[Path, tuple[str, Scenario]]:
    """Every scenario under a name of its own: of two with the same name, the later gets a number."""
    found: dict[Path, tuple[str, Scenario]] = {}
    for source, scenario in {_source(scenario): scenario for scenario in scenarios}.items():
        twins = sum(other.name == scenario.name for _, other in found.values())
        found[source] = (f"{scenario.name} #{twins + 1}" if twins else scenario.name, scenario)
    return found


def _own(named: Iterable[tuple[str, Scenario]], catalogue: Mapping[str, Claim]) -> dict[str, Claim]:
    """The claims that only scenarios name."""
    found: dict[str, Claim] = {}
    for name, scenario in named:
        for claim in dict.fromkeys((*scenario.claims, *(e.claim for e in scenario.expectations))):
            if claim not in catalogue:
                found.setdefault(claim, Claim(claim, "", f"Only in {name}"))
    return found


def _proof(name: str, expectation: Expectation, results: tuple[Result, ...]) -> Proof:
    forms = tuple(Form(v.when, v.because, v.source, v.verdict, claims.levels(v.check)) for v in expectation.variants)
    return Proof(name, expectation.id, expectation.at, digest(expectation), forms, results)


def _result(expectation: Expectation, run: Run, pair: Pair) -> Result | None:
    """What a run says of an expectation; None if what it evaluated was another one."""
    ending = run.record.ending
    finding = next((f for f in run.record.findings if f.id == expectation.id), None)
    if ending is not Ending.COMPLETED:
        return Result(pair, Word.ERROR, None, f"the run ended: {ending.value}")
    form = _form(expectation.variants, finding) if finding else None
    if finding is None or form is None or finding.at != expectation.at or finding.claim != expectation.claim:
        return None
    if finding.outcome is Outcome.PASS:
        remarks = dict.fromkeys(str(operand.remark) for operand in finding.operands if operand.remark)
        return Result(pair, _VERDICTS[expectation.variants[form].verdict], form, "; ".join(remarks))
    matched = form if finding.outcome is Outcome.FAIL else None
    return Result(pair, _OUTCOMES[finding.outcome], matched, str(finding.message))


def _form(variants: Sequence[Variant], finding: Finding) -> int | None:
    return next((n for n, v in enumerate(variants) if (v.when, v.check) == (finding.when, finding.check)), None)


class _Axes:
    """Labels for kernels and glibcs: the catalogue's names, or what a user's own piece measured as."""

    def __init__(self, runs: Sequence[Run]) -> None:
        kernels = _measured(runs, "kernel", "release")
        userlands = _measured(runs, "userland", "glibc")
        self._kernel = _labels(kernels, {name: name for name in kernels if not _is_path(name)})
        self._glibc = _labels(userlands, {name: found or name for name, found in userlands.items()
                                          if not _is_path(name)})  # fmt: skip
        by_age = sorted(kernels, key=lambda name: _age(kernels[name]))
        self.kernels = {self._kernel[name]: kernels[name] for name in by_age}
        by_age = sorted(userlands, key=lambda name: _age(userlands[name]))
        self.glibcs = {self._glibc[name]: "your own" if _is_path(name) else name for name in by_age}
        self._ranks = {label: n for n, label in enumerate((*self.kernels, *self.glibcs))}

    def pair(self, run: Run) -> Pair:
        case = run.record.case
        return Pair(self._kernel[str(case.get("kernel"))], self._glibc[str(case.get("userland"))])

    def order(self, pair: Pair) -> tuple[int, int]:
        return self._ranks[pair.kernel], self._ranks[pair.glibc]


def _measured(runs: Sequence[Run], choice: str, measured: str) -> dict[str, str]:
    """What was chosen → what the guests said it is; "" where none got far enough to say."""
    found: dict[str, str] = {}
    for run in runs:
        name = str(run.record.case.get(choice))
        found[name] = str(run.record.environment.get(measured) or found.get(name, ""))
    return found


def _is_path(name: str) -> bool:
    return "/" in name or name.startswith(".")


def _labels(measured: Mapping[str, str], named: Mapping[str, str]) -> dict[str, str]:
    """A label for each name, all different: the given one, else what was measured and the file's name."""
    found: dict[str, str] = {}
    for name, version in measured.items():
        label = named.get(name) or f"{series(version) if version else '?'} ({Path(name).name})"
        twins = sum(other == label or other.startswith(f"{label} #") for other in found.values())
        found[name] = f"{label} #{twins + 1}" if twins else label
    return found


def _age(version: str) -> tuple[int, Version | str]:
    try:
        return 0, Version(version)
    except ValueError:
        return 1, version
