"""What the page of the ledger needs: its table cell by cell, and for each cell the findings with their evidence. Pure,
but for the run directories that the ledger names.

Texts that come again and again (paths, values) stand once, in ``texts``; everything else names them by number.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator import claims
from orchestrator.errors import LabError
from orchestrator.ledger import Ledger, Pair, Proof, Row, Word
from orchestrator.model import Evidence, Finding
from orchestrator.report.html import embed
from orchestrator.report.html.sources import linked
from orchestrator.report.text import clean
from orchestrator.rundir import RunDirectory

MAX_TEXT = 600  # characters of a value or a line of evidence
LINES = 2  # of evidence for each operand
BUDGET = 2_200_000  # bytes of the values of all findings together; what is beyond is counted, and said
_PASSED = (Word.CONFIRMED, Word.REFUTED, Word.DIFFERS)


@dataclass(frozen=True)
class Cell:
    """What a pair says of a claim. ``form``: which of the row's kinds of cell it is, from 1; 0 where all are alike.
    ``rule``: whether something changes between it and the cell before it, in what proves both."""

    pair: Pair
    word: Word
    levels: str  # "P T"
    form: int
    rule: bool
    first: bool  # of its kernel


_Says = dict[tuple[str, str], tuple[Word, int | None]]  # of each proof that was run: its verdict, and its form


def cells(row: Row, ledger: Ledger) -> list[Cell]:
    """A row's cells, in the order of the columns."""
    words, pairs, says = row.cells(), ledger.pairs, _says(row, ledger.pairs)
    forms = _forms(says)
    found: list[Cell] = []
    for place, pair in enumerate(pairs):
        first = place == 0 or pairs[place - 1].kernel != pair.kernel
        rule = _kernel_differs(says, pairs, place) if first else _differs(says, pairs, place)
        found.append(Cell(pair, words.get(pair, Word.NOT_RUN), _levels(row, pair), forms.get(pair, 0), rule, first))
    return found


def _says(row: Row, pairs: Sequence[Pair]) -> dict[Pair, _Says]:
    """What each pair's proofs say. A form counts only where its expectation holds in several."""
    found: dict[Pair, _Says] = {pair: {} for pair in pairs}
    for proof in row.proofs:
        several = len(proof.used()) > 1
        for result in proof.results:
            if result.word is not Word.NOT_RUN and result.pair in found:
                found[result.pair][proof.scenario, proof.id] = result.word, result.form if several else None
    return found


def _change(one: _Says, other: _Says) -> bool | None:
    """Whether the proofs that both have say different things; None where they have none in common."""
    common = one.keys() & other.keys()
    return any(one[name] != other[name] for name in common) if common else None


def _forms(says: Mapping[Pair, _Says]) -> dict[Pair, int]:
    """The kinds of cell, numbered from 1 in the order of the columns; none where all are alike. Cells are of one kind
    if the proofs that they have in common say the same; those with the most proofs tell the kinds."""
    kinds: list[_Says] = []
    kind_of: dict[Pair, int] = {}
    for pair in sorted((pair for pair in says if says[pair]), key=lambda pair: -len(says[pair])):
        at = next((at for at, kind in enumerate(kinds) if _change(kind, says[pair]) is False), len(kinds))
        if at == len(kinds):
            kinds.append({})
        kinds[at].update(says[pair])
        kind_of[pair] = at
    numbers = {kind: number for number, kind in
               enumerate(dict.fromkeys(kind_of[pair] for pair in says if pair in kind_of), 1)}  # fmt: skip
    return {pair: numbers[kind] for pair, kind in kind_of.items()} if len(kinds) > 1 else {}


def _differs(says: Mapping[Pair, _Says], pairs: Sequence[Pair], place: int) -> bool:
    """Whether something changes between a cell and the nearest before it of its kernel that has a proof in common."""
    pair = pairs[place]
    before = (_change(says[pair], says[one]) for one in reversed(pairs[:place]) if one.kernel == pair.kernel)
    return next((change for change in before if change is not None), False)


def _kernel_differs(says: Mapping[Pair, _Says], pairs: Sequence[Pair], place: int) -> bool:
    """Whether something changes between a kernel and the nearest before it that has a proof in common: with a glibc
    that both were run with; where they have none, between the neighbours."""
    mine = [pair for pair in pairs if pair.kernel == pairs[place].kernel]
    for kernel in dict.fromkeys(pair.kernel for pair in reversed(pairs[:place])):
        same = [_change(says[one], says[before]) for one in mine if (before := Pair(kernel, one.glibc)) in says]
        beside = (_change(says[pairs[place]], says[one]) for one in reversed(pairs[:place]) if one.kernel == kernel)
        told = [one for one in same if one is not None] or [one for one in beside if one is not None][:1]
        if told:
            return any(told)
    return False


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
        self.size = 0  # bytes, as they stand on the page

    def __call__(self, text: object) -> int:
        text = clean(str(text), MAX_TEXT)  # a record may hold anything
        if text not in self._places:
            self._places[text] = len(self.all)
            self.all.append(text)
            self.size += len(embed.data(text)) + 1
        return self._places[text]


def data(ledger: Ledger) -> dict[str, Any]:
    """{"pairs": [[kernel, release, glibc, userland]], "texts": […], "claims": {id: {"statement", "proofs": […]}},
    "left": how many findings are without their values}.

    A proof: {"scenario", "id", "at", "forms": [{"when", "because", "source", "verdict", "levels"}], "results":
    {pair's number: [word, form, message, run, [[operand, value, [[file, line, text]]]] or null if left out]}}.
    """
    texts = _Texts()
    values, left = _values(ledger, texts)
    found: dict[str, Any] = {}
    for row in ledger.rows:
        proofs = [_of_proof(proof, ledger, texts, values) for proof in row.proofs]
        found[row.claim.id] = {"statement": row.claim.statement, "proofs": proofs}
    pairs = [[pair.kernel, ledger.kernels.get(pair.kernel, ""), pair.glibc, ledger.glibcs.get(pair.glibc, "")]
             for pair in ledger.pairs]  # fmt: skip
    return {"pairs": pairs, "texts": texts.all, "claims": found, "left": left}


_Values = dict[tuple[str, str, Pair], list[list[Any]] | None]  # by scenario, expectation and pair


def _values(ledger: Ledger, texts: _Texts) -> tuple[_Values, int]:
    """The operands of every finding while there is room, the worst first; and how many findings are without."""
    findings, order = _Findings(ledger), list(Word)
    every = [(order.index(result.word), proof, result) for row in ledger.rows for proof in row.proofs
             for result in proof.results]  # fmt: skip
    found: _Values = {}
    size = left = 0
    for _, proof, result in sorted(every, key=lambda item: item[0]):
        key = proof.scenario, proof.id, result.pair
        if key in found:
            continue
        finding = findings.of(ledger.runs.get((proof.scenario, result.pair), ""), proof.id)
        full = size + texts.size >= BUDGET
        found[key] = None if full and finding and finding.operands else _operands(finding, texts)
        left += found[key] is None
        size += len(json.dumps(found[key]))
    return found, left


def _of_proof(proof: Proof, ledger: Ledger, texts: _Texts, values: _Values) -> dict[str, Any]:
    forms = [{"when": form.when, "because": form.because, "verdict": form.verdict.value,
              "levels": " ".join(form.levels),
              "source": [[part.text, part.url] for part in linked(form.source, *_versions(proof, number, ledger))]}
             for number, form in enumerate(proof.forms)]  # fmt: skip
    results: dict[str, list[Any]] = {}
    pairs = {pair: number for number, pair in enumerate(ledger.pairs)}
    for result in proof.results:
        path = ledger.runs.get((proof.scenario, result.pair), "")
        results[str(pairs[result.pair])] = [result.word.value, result.form, texts(result.message), texts(path),
                                            values[proof.scenario, proof.id, result.pair]]  # fmt: skip
    return {"scenario": proof.scenario.partition(" #")[0], "id": proof.id, "at": proof.at, "forms": forms,
            "results": results}  # fmt: skip


def _versions(proof: Proof, form: int, ledger: Ledger) -> tuple[str, str]:
    """The release of the kernel and the glibc whose source a form speaks of: the newest on which it was seen, and the
    newest of all for one that was not."""
    seen = {result.pair for result in proof.results if result.form == form}
    pair = next((pair for pair in reversed(ledger.pairs) if pair in seen or not seen), None)
    return (ledger.kernels.get(pair.kernel, ""), pair.glibc) if pair else ("", "")


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
