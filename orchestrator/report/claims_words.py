"""Words that all forms of the ledger share: which pairs, which levels, how many. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from orchestrator.ledger import Ledger, Pair, Row, Word
from orchestrator.report.text import plural


def where(some: Collection[Pair], every: Sequence[Pair]) -> str:
    """Some of the pairs that were run, in the fewest words that mean exactly these."""
    if set(some) == set(every):
        return f"all {len(every)} pairs" if len(every) > 1 else "the one pair"
    kernels, glibcs = _kernels(some), _glibcs(some)
    by_kernel = {p for p in every if p.kernel in kernels} == set(some)
    by_glibc = {p for p in every if p.glibc in glibcs} == set(some)
    if by_kernel and not by_glibc:
        return f"kernel {', '.join(kernels)}"
    if by_glibc and not by_kernel:
        return f"glibc {', '.join(glibcs)}"
    if not by_kernel and {p for p in every if p.kernel in kernels and p.glibc in glibcs} == set(some):
        return f"kernel {', '.join(kernels)} with glibc {', '.join(glibcs)}"
    rows: dict[tuple[str, ...], list[str]] = {}  # kernels that have the same glibcs
    for kernel in kernels:
        rows.setdefault(_glibcs(p for p in some if p.kernel == kernel), []).append(kernel)
    return "; ".join(f"{', '.join(together)} with {', '.join(there)}" for there, together in rows.items())


def _kernels(pairs: Iterable[Pair]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(pair.kernel for pair in pairs))


def _glibcs(pairs: Iterable[Pair]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(pair.glibc for pair in pairs))


def by_word(row: Row, ledger: Ledger) -> dict[Word, list[Pair]]:
    """The pairs of each verdict of a claim, the worst verdict first; those not run are left out."""
    cells = row.cells()
    found = {word: [pair for pair in ledger.pairs if cells.get(pair) is word] for word in Word}
    return {word: pairs for word, pairs in found.items() if pairs}


def levels(row: Row) -> str:
    """The levels reached, and those wanted where they are more: "P", "P of P K", "none of K"."""
    reached, wanted = row.reached, row.claim.wanted
    if row.verdict is Word.NOT_RUN and wanted:
        return f"{' '.join(wanted)} wanted"
    if not set(wanted) - set(reached):
        return " ".join(reached)
    return f"{' '.join(reached) or 'none'} of {' '.join(wanted)}"


def counted(ledger: Ledger) -> str:
    """How many claims there are of each verdict, in words."""
    counts = [f"{number} {word}" for word, number in ledger.count().items()]
    return f"{plural(len(ledger.rows), 'claim')}: {', '.join(counts)}"
