"""The ledger for a terminal: each claim, its verdict by kernel and glibc, and the findings behind it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from orchestrator.ledger import Form, Ledger, LeftOut, Proof, Result, Row, Word
from orchestrator.model import Verdict
from orchestrator.report import claims_words as words
from orchestrator.report.text import Paint, clean, flow, plural, wrap

_COLOURS = {
    Word.CONFIRMED: "green", Word.DIFFERS: "cyan", Word.REFUTED: "magenta", Word.FAILED: "red", Word.ERROR: "red",
    Word.SKIPPED: "yellow", Word.NOT_RUN: "dim",
}  # fmt: skip
_MARGIN, _INNER = " " * 4, " " * 6


def render(ledger: Ledger, *, width: int = 80, colour: bool = False, verbose: bool = False) -> str:
    """Every claim under its topic, then what the table is made of. ``verbose``: every finding, with its reason."""
    page = _Page(ledger, width, Paint(colour), verbose)
    return "\n".join([*page.claims(), *page.summary()]) + "\n"


def summary(ledger: Ledger, *, width: int = 80) -> str:
    """Only what the table is made of, and what is not in it."""
    return "\n".join(_Page(ledger, width, Paint(False), False).summary()).lstrip("\n") + "\n"


class _Page:
    """One rendering."""

    def __init__(self, ledger: Ledger, width: int, paint: Paint, verbose: bool) -> None:
        self.ledger, self.width, self.paint, self.verbose = ledger, width, paint, verbose

    def claims(self) -> Iterator[str]:
        names = max((len(clean(row.claim.id)) for row in self.ledger.rows), default=0)
        topic = None
        for row in self.ledger.rows:
            if row.claim.topic != topic:
                topic = row.claim.topic
                yield ("" if row is self.ledger.rows[0] else "\n") + self.paint(clean(topic), "bold")
            yield from self.row(row, names)

    def row(self, row: Row, names: int) -> Iterator[str]:
        verdict = row.verdict
        name = clean(row.claim.id).ljust(names)
        yield f"  {name}  {self.paint(verdict.value.ljust(9), _COLOURS[verdict])}  {words.levels(row)}".rstrip()
        yield from wrap(clean(row.claim.statement, 2000), self.width, _MARGIN)[: None if row.claim.statement else 0]
        for word, pairs in words.by_word(row, self.ledger).items():
            head = f"{_MARGIN}{word.value:11}"
            here = wrap(clean(words.where(pairs, self.ledger.pairs), 2000), self.width, head)
            yield here[0].replace(word.value, self.paint(word.value, _COLOURS[word]), 1)
            yield from here[1:]
            if not self.verbose:
                yield from self.link(row, word)
        for proof in row.telling() if not self.verbose else ():
            yield from self.forms(proof)
        for proof in row.proofs if self.verbose else ():
            yield from self.proof(proof)

    def link(self, row: Row, word: Word) -> Iterator[str]:
        """Where a verdict comes from: a run, the findings in it, how many more runs say so."""
        first: dict[str, dict[str, None]] = {}
        for proof in row.proofs:
            for result in proof.results:
                if result.word is word:
                    first.setdefault(self.run(proof, result), {})[proof.id] = None
        path, ids = next(iter(first.items()))
        more = [f"(+{plural(len(first) - 1, 'run')})"] if len(first) > 1 else []
        yield from flow([f"{clean(path)}:", *map(clean, ids), *more], self.width, f"{_INNER}-> ", gap=" ")

    def run(self, proof: Proof, result: Result) -> str:
        return self.ledger.runs.get((proof.scenario, result.pair)) or proof.scenario

    def forms(self, proof: Proof) -> Iterator[str]:
        """What really happens, and the boundary: which form of an expectation holds where, why, and since when."""
        used = proof.used()
        forms = f" in {len(used)} forms" if len(used) > 1 else ""
        yield f"{_MARGIN}{self.paint(clean(proof.id), 'bold')} ({clean(proof.scenario)}) holds{forms}:"
        for number, pairs in used.items():
            yield from wrap(clean(words.where(pairs, self.ledger.pairs)), self.width, _INNER)
            yield from self.form(proof.forms[number], _INNER + "  ")

    def form(self, form: Form, margin: str) -> Iterator[str]:
        if form.when:
            yield from wrap(clean(f"when {form.when}", 2000), self.width, margin)
        verdict = f"{form.verdict.value}: " if form.verdict is not Verdict.CONFIRMED else ""
        yield from wrap(clean(f"{verdict}{form.because}", 2000), self.width, margin)
        yield from wrap(clean(form.source, 2000), self.width, f"{margin}source ", f"{margin}       ")

    def proof(self, proof: Proof) -> Iterator[str]:
        """All of an expectation: its forms, then every run's finding."""
        at = f" at {proof.at}" if proof.at else ""
        yield f"{_MARGIN}{self.paint(clean(proof.id), 'bold')} ({clean(proof.scenario)}{clean(at)})"
        used = proof.used()
        for number, form in enumerate(proof.forms):
            if form.when:
                here = words.where(used[number], self.ledger.pairs) if number in used else "in no run here"
                yield from wrap(clean(here), self.width, _INNER)
            yield from self.form(form, _INNER + "  ")
        for result in proof.results:
            where = f"{result.pair.kernel} with {result.pair.glibc}"
            yield (f"{_INNER}{self.paint(result.word.value.ljust(9), _COLOURS[result.word])}  {clean(where)}  "
                   f"{clean(self.run(proof, result))}#{clean(proof.id)}")  # fmt: skip
            yield from wrap(clean(result.message), self.width, _INNER + "  ")[: None if result.message else 0]

    def summary(self) -> Iterator[str]:
        ledger = self.ledger
        yield ""
        yield from self.said(words.counted(ledger))
        if ledger.runs:
            kernels = ", ".join(f"{name} ({release or '?'})" for name, release in ledger.kernels.items())
            glibcs = ", ".join(f"{name} ({userland})" for name, userland in ledger.glibcs.items())
            older = f", and {plural(ledger.older, 'older one')} of the same cases" if ledger.older else ""
            yield from self.said(f"from {plural(len(ledger.runs), 'run')}{older}")
            yield from self.said(f"kernels: {kernels}")
            yield from self.said(f"glibc: {glibcs}")
        elif ledger.left_out:
            yield "no run that counts"
        else:
            yield "nothing was run: `lab run` and `lab matrix` leave their runs in runs/"
        yield from self.left_out(ledger.left_out)

    def left_out(self, items: Iterable[LeftOut]) -> Iterator[str]:
        """What is no evidence: by reason, with one of the runs; all of them with -v."""
        reasons: dict[str, list[str]] = {}
        for item in items:
            reasons.setdefault(item.reason, []).append(item.path)
        for reason, paths in reasons.items():
            shown = paths if self.verbose else paths[:1]
            more = f" (+{plural(len(paths) - 1, 'run')})" if len(shown) < len(paths) else ""
            for path in shown:
                text = f"{clean(path)}{more}: {clean(reason, 1000)}"
                yield from wrap(text, self.width, "left out  ", " " * 10)

    def said(self, text: str) -> list[str]:
        return wrap(clean(text, 2000), self.width, "", "  ")
