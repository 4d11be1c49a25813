"""What the page of the ledger needs: its table cell by cell, and for each cell the findings with their evidence. Pure,
but for the run directories that the ledger names.

Texts that come again and again (paths, values) stand once, in ``texts``; everything else names them by number.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator import claims
from orchestrator.errors import LabError
from orchestrator.ledger import Ledger, Pair, Proof, Row, Word
from orchestrator.model import Evidence, Finding
from orchestrator.report.html.sources import linked
from orchestrator.report.text import clean
from orchestrator.rundir import RunDirectory

MAX_TEXT = 600  # characters of a value or a line of evidence
LINES = 2  # of evidence for each operand
BUDGET = 2_200_000  # bytes of all findings together; beyond it no more evidence, and that is said
_PASSED = (Word.CONFIRMED, Word.REFUTED, Word.DIFFERS)


@dataclass(frozen=True)
class Cell:
    """What a pair says of a claim. ``form``: which of the row's kinds of cell it is, from 1; 0 where all are alike.
    ``rule``: whether something changes between it and the cell before it."""

    pair: Pair
    word: Word
    levels: str  # "P T"
    form: int
    rule: bool
    first: bool  # of its kernel


def cells(row: Row, ledger: Ledger) -> list[Cell]:
    """A row's cells, in the order of the columns."""
    words = row.cells()
    signs = {pair: _sign(row, pair, words.get(pair, Word.NOT_RUN)) for pair in ledger.pairs}
    kinds = list(dict.fromkeys(signs.values()))
    found: list[Cell] = []
    for place, pair in enumerate(ledger.pairs):
        first = place == 0 or ledger.pairs[place - 1].kernel != pair.kernel
        rule = place > 0 and (_kernel_differs(signs, ledger, pair) if first
                              else signs[pair] != signs[ledger.pairs[place - 1]])  # fmt: skip
        form = kinds.index(signs[pair]) + 1 if len(kinds) > 1 else 0
        found.append(Cell(pair, words.get(pair, Word.NOT_RUN), _levels(row, pair), form, rule, first))
    return found


def _sign(row: Row, pair: Pair, word: Word) -> tuple[object, ...]:
    """What is alike in cells that say the same: the verdict, and the form of every expectation."""
    forms = tuple((proof.scenario, proof.id, result.form, result.word) for proof in row.proofs
                  for result in proof.results if result.pair == pair)  # fmt: skip
    return (word, *(form for form in forms if len(_proof(row, form).used()) > 1))


def _proof(row: Row, form: tuple[Any, ...]) -> Proof:
    return next(proof for proof in row.proofs if (proof.scenario, proof.id) == form[:2])


def _kernel_differs(signs: dict[Pair, tuple[object, ...]], ledger: Ledger, pair: Pair) -> bool:
    """Whether something changes between a kernel and the one before it, with a glibc that both were run with; where
    they have none in common, between the neighbours."""
    pairs = list(ledger.pairs)
    place = pairs.index(pair)
    before = pairs[place - 1].kernel
    same = [(signs[one], signs[Pair(before, one.glibc)]) for one in pairs
            if one.kernel == pair.kernel and Pair(before, one.glibc) in signs]  # fmt: skip
    return any(one != other for one, other in same or [(signs[pair], signs[pairs[place - 1]])])


def _levels(row: Row, pair: Pair) -> str:
    used: set[str] = set()
    for proof in row.proofs:
        for result in proof.results:
            if result.pair == pair and result.word in _PASSED and result.form is not None:
                used.update(proof.forms[result.form].levels)
    return " ".join(claims.ordered(used))


class _Texts:
    """Texts by number, each once."""

    def __init__(self) -> None:
        self.all: list[str] = []
        self._places: dict[str, int] = {}
        self.size = 0

    def __call__(self, text: object) -> int:
        text = clean(str(text), MAX_TEXT)  # a record may hold anything
        if text not in self._places:
            self._places[text] = len(self.all)
            self.all.append(text)
            self.size += len(text) + 8
        return self._places[text]


def data(ledger: Ledger) -> dict[str, Any]:
    """{"pairs": [[kernel, release, glibc, userland]], "texts": […], "claims": {id: {"statement", "proofs": […]}}}.

    A proof: {"scenario", "id", "at", "forms": [{"when", "because", "source", "verdict", "levels"}], "results":
    {pair's number: [word, form, message, run, [[operand, value, [[file, line, text]]]]]}}.
    """
    texts = _Texts()
    findings = _Findings(ledger)
    found: dict[str, Any] = {}
    for row in ledger.rows:
        proofs = [_of_proof(proof, ledger, texts, findings) for proof in row.proofs]
        found[row.claim.id] = {"statement": row.claim.statement, "proofs": proofs}
    pairs = [[pair.kernel, ledger.kernels.get(pair.kernel, ""), pair.glibc, ledger.glibcs.get(pair.glibc, "")]
             for pair in ledger.pairs]  # fmt: skip
    return {"pairs": pairs, "texts": texts.all, "claims": found, "whole": texts.size < BUDGET}


def _of_proof(proof: Proof, ledger: Ledger, texts: _Texts, findings: _Findings) -> dict[str, Any]:
    release, glibc = (next(reversed(list(axis)), "") for axis in (ledger.kernels.values(), ledger.glibcs))  # the newest
    forms = [{"when": form.when, "because": form.because, "verdict": form.verdict.value,
              "levels": " ".join(form.levels),
              "source": [[part.text, part.url] for part in linked(form.source, release, glibc)]}
             for form in proof.forms]  # fmt: skip
    results: dict[str, list[Any]] = {}
    pairs = list(ledger.pairs)
    for result in proof.results:
        path = ledger.runs.get((proof.scenario, result.pair), "")
        operands = _operands(findings.of(path, proof.id), texts) if texts.size < BUDGET else []
        results[str(pairs.index(result.pair))] = [result.word.value, result.form, texts(result.message), texts(path),
                                                  operands]  # fmt: skip
    return {"scenario": proof.scenario.partition(" #")[0], "id": proof.id, "at": proof.at, "forms": forms,
            "results": results}  # fmt: skip


def _operands(finding: Finding | None, texts: _Texts) -> list[list[Any]]:
    def line(one: Evidence) -> list[int]:
        return [texts(one.file), one.line if isinstance(one.line, int) else 0, texts(one.text)]

    return [[texts(one.text), texts(one.value), [line(evidence) for evidence in one.evidence[:LINES]]]
            for one in (finding.operands if finding else ())]  # fmt: skip


class _Findings:
    """The findings of the runs that a ledger names, each record read once."""

    def __init__(self, ledger: Ledger) -> None:
        self._known = {path: None for path in ledger.runs.values() if path}
        self._read: dict[str, dict[str, Finding]] = {}

    def of(self, path: str, name: str) -> Finding | None:
        """A finding of the run there; None where the run is not there any more, or the ledger names none."""
        if path not in self._known:
            return None
        if path not in self._read:
            self._read[path] = {one.id: one for one in _findings(Path(path))}
        return self._read[path].get(name)


def _findings(path: Path) -> Iterable[Finding]:
    try:
        return RunDirectory.open(path).load().findings
    except (LabError, OSError):
        return ()
