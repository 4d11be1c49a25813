"""The ledger as a page: claims × kernel × glibc, where verdicts change, and behind each cell its evidence. Pure, but
for the run directories that the ledger names."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.claims import LEVELS
from orchestrator.ledger import Ledger, Row, Word
from orchestrator.report import claims_words as words
from orchestrator.report.html import embed, ledger_data, shell
from orchestrator.report.html.ledger_data import Cell
from orchestrator.report.text import plural

MARKS = {  # a sign and a class for each word; the word itself stands beside it
    Word.CONFIRMED: ("✓", "is-pass"), Word.DIFFERS: ("≈", "is-differs"), Word.REFUTED: ("≠", "is-refuted"),
    Word.FAILED: ("✗", "is-fail"), Word.ERROR: ("!", "is-warn"), Word.SKIPPED: ("–", "is-none"),
    Word.NOT_RUN: ("○", "is-none"),
}  # fmt: skip
MEANING = {
    Word.CONFIRMED: "what the statement says was seen", Word.DIFFERS: "it holds in several forms, or in another one",
    Word.REFUTED: "it does not hold, and what really happens was seen", Word.FAILED: "an expectation did not hold",
    Word.ERROR: "an expectation could not be evaluated", Word.SKIPPED: "the guest lacks what is needed",
    Word.NOT_RUN: "nothing that proves it was run",
}  # fmt: skip


@dataclass(frozen=True)
class Line:
    """A claim as its row of the table takes it."""

    row: Row
    cells: tuple[Cell, ...]
    levels: str
    splits: bool  # whether anything changes between its cells


def render(ledger: Ledger) -> str:
    """The page as one HTML file."""
    topics: dict[str, list[Line]] = {}
    for row in ledger.rows:
        found = tuple(ledger_data.cells(row, ledger))
        line = Line(row, found, words.levels(row), any(cell.rule for cell in found))
        topics.setdefault(row.claim.topic, []).append(line)
    kernels: dict[str, list[str]] = {}
    for pair in ledger.pairs:
        kernels.setdefault(pair.kernel, []).append(pair.glibc)
    data = ledger_data.data(ledger)
    body = shell.render(
        "ledger.html", ledger=ledger, topics=topics, kernels=kernels, marks=MARKS, meaning=MEANING, levels=LEVELS,
        prose=shell.prose,
        counts=ledger.count(), counted=words.counted(ledger), data=embed.data(data), left=data["left"],
        seen=plural(len(ledger.pairs), "pair") + " of kernel and glibc", runs=plural(len(ledger.runs), "run"),
    )  # fmt: skip
    return shell.document("The ledger", body, (), ("ledger.css",), ("ledger.js",))
