"""The ledger as a page in Markdown: docs/claims.md. Pure; no path of this machine is in it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from orchestrator.claims import LEVELS
from orchestrator.ledger import Form, Ledger, Pair, Proof, Row, Word
from orchestrator.report import claims_words as words
from orchestrator.report.text import clean, plural

_LIMIT = 4000  # characters of a text
_MEANING = {
    Word.CONFIRMED: "what the statement says was seen",
    Word.DIFFERS: "it holds, but not everywhere in the same form; the boundary is given",
    Word.REFUTED: "it does not hold somewhere, and what really happens there was seen",
    Word.FAILED: "an expectation did not hold",
    Word.ERROR: "an expectation could not be evaluated",
    Word.SKIPPED: "the guest lacks what the scenario needs",
    Word.NOT_RUN: "nothing that proves it was run",
}
_SURPRISES = {Word.REFUTED: "Refuted: what happens instead", Word.DIFFERS: "Differs: where, and since when"}
# What reads better as code: f(), f(arg), mm->brk, vm.x_y, __f, f_g, mm/mmap.c, /proc/PID/maps, and commits.
_CODE = re.compile(
    r"(?<![\w`/.>-])(?:"
    r"[A-Za-z_]\w*(?:->\w+)*\((?!s\))[\w+*, -]{0,30}\)"
    r"|[A-Za-z_]\w*(?:->\w+)+"
    r"|(?:[a-z]\w*\.)+\w*_\w*"
    r"|(?:[a-z0-9]+:)?\w+_\w*|_\w+"
    r"|\w[\w-]*(?:/[\w.-]+)*\.(?:[chS]|rst)\b"
    r"|/(?:proc|sys|dev)/[\w/.-]*\w"
    r"|[0-9a-f]{12}(?!\w))"
)


def render(ledger: Ledger) -> str:
    """The page, with a final newline."""
    parts = [*_head(ledger), *_surprises(ledger), *_table(ledger), *_details(ledger)]
    return "\n".join(parts).rstrip() + "\n"


def _head(ledger: Ledger) -> Iterator[str]:
    yield "# The ledger"
    yield ""
    yield "<!-- Not written by hand: `lab matrix -k '*' -o DIR`, then `lab claims DIR --publish docs`. -->"
    yield ""
    yield f"{words.counted(ledger)}. Seen on {plural(len(ledger.pairs), 'pair')} of kernel and glibc, in QEMU."
    yield ""
    yield "| | |"
    yield "|---|---|"
    yield f"| kernels | {_cell(', '.join(f'{name} ({release})' for name, release in ledger.kernels.items()))} |"
    yield f"| glibc | {_cell(', '.join(f'{name} ({userland})' for name, userland in ledger.glibcs.items()))} |"
    for word in ledger.count():
        yield f"| {_where_told(word)} | {_MEANING[word]}{_named(word, ledger)} |"
    for level, meaning in LEVELS.items():
        yield f"| {level} | evidence: {meaning} |"
    yield ""
    yield ("A verdict without a place holds on every pair; `A / B`: in one form on A, in another on B. Levels of "
           "evidence are those that passing checks used on every pair; `P of P K`: K is wanted as well, and not there "
           "yet.")


def _named(word: Word, ledger: Ledger) -> str:
    """The claims of a verdict that is not what one would expect, but for those with a section of their own."""
    if word in (Word.CONFIRMED, Word.NOT_RUN, *_SURPRISES):
        return ""
    return ": " + ", ".join(_link(row) for row in ledger.rows if row.verdict is word)


def _where_told(word: Word) -> str:
    return f"[{word.value}](#{_anchor(_SURPRISES[word])})" if word in _SURPRISES else word.value


def _surprises(ledger: Ledger) -> Iterator[str]:
    """What is not simply as stated: what happens instead, where, and since when."""
    for word, title in _SURPRISES.items():
        rows = [row for row in ledger.rows if row.verdict is word]
        if rows:
            yield from ("", f"## {title}", "")
        for row in rows:
            yield f"- {_link(row)}: {_prose(row.claim.statement or 'a claim of the scenario')}"
            for pairs, form in _told(row, ledger):
                yield f"  - **{_prose(words.where(pairs, ledger.pairs))}**: {_form(form, source=False)}"


def _told(row: Row, ledger: Ledger) -> list[tuple[list[Pair], Form]]:
    """The forms that say so; where each of them confirms the statement in its own way, all."""
    found = [(pairs, proof.forms[number]) for proof in row.telling() for number, pairs in proof.used().items()]
    found.sort(key=lambda one: ledger.pairs.index(one[0][0]))
    return [one for one in found if one[1].verdict.value == row.verdict.value] or found


def _link(row: Row) -> str:
    return f"[{row.claim.id}](#{_anchor(row.claim.id)})" if row.proofs else row.claim.id


def _table(ledger: Ledger) -> Iterator[str]:
    topic = None
    for row in ledger.rows:
        if row.claim.topic != topic:
            topic = row.claim.topic
            yield from ("", f"## {_prose(topic)}", "", "| claim | verdict | evidence | statement |", "|---" * 4 + "|")
        yield f"| {_link(row)} | {_summary(row, ledger)} | {words.levels(row)} | {_cell(row.claim.statement)} |"


def _summary(row: Row, ledger: Ledger) -> str:
    """The verdict, and where it is that where other cells say something else."""
    groups = words.by_word(row, ledger)
    verdict = f"**{row.verdict.value}**" if row.verdict is not Word.NOT_RUN else row.verdict.value
    there = groups.get(row.verdict, ())
    here = words.where(there, ledger.pairs) if there and len(there) < len(ledger.pairs) else ""
    if not there:
        here = _split(row, ledger)
    return f"{verdict}: {_cell(here)}" if here else verdict


def _split(row: Row, ledger: Ledger) -> str:
    """Where the forms of a claim hold that every form confirms."""
    splits = dict.fromkeys(
        " / ".join(words.where(pairs, ledger.pairs) for pairs in proof.used().values())
        for proof in row.boundaries()
    )
    return "; ".join(splits)


def _details(ledger: Ledger) -> Iterator[str]:
    yield from ("", "## What was seen")
    for row in ledger.rows:
        if row.proofs:
            yield from ("", f"### {row.claim.id}", "", f"> {_prose(row.claim.statement or 'A claim of the scenario.')}")
            yield from ("", f"{_verdict(row, ledger)}. Evidence: {words.levels(row) or 'none'}.")
            yield from _cells(row, ledger)
            yield ""
            telling = row.telling()
            for proof in sorted(row.proofs, key=lambda proof: proof not in telling):
                yield from _proof(proof, ledger)


def _verdict(row: Row, ledger: Ledger) -> str:
    """The verdict, and where, unless a table says that."""
    groups = words.by_word(row, ledger)
    if len(groups) != 1:
        return f"**{row.verdict.value}**"
    ((word, pairs),) = groups.items()
    here = f"on {_prose(words.where(pairs, ledger.pairs))}"
    if word is row.verdict:
        return f"**{word.value}** {here}"
    return f"**{row.verdict.value}**: {word.value} {here}, in several forms"


def _cells(row: Row, ledger: Ledger) -> Iterator[str]:
    """A table kernel × glibc in which equal rows and equal columns are one; a sentence where all is equal."""
    cells = row.cells()
    if len({cells.get(pair, Word.NOT_RUN) for pair in ledger.pairs}) < 2:
        return
    grid = {k: {g: cells.get(Pair(k, g), Word.NOT_RUN) for g in ledger.glibcs} for k in ledger.kernels}
    rows = _together([(k, tuple(grid[k].values())) for k in ledger.kernels])
    columns = _together([(g, tuple(grid[k][g] for k in ledger.kernels)) for g in ledger.glibcs])
    heads = " | ".join(_cell(", ".join(names)) for names in columns)
    yield from ("", f"| kernel \\ glibc | {heads} |", "|---" * (len(columns) + 1) + "|")
    for kernels in rows:
        found = [grid[kernels[0]][glibcs[0]].value for glibcs in columns]
        yield f"| {_cell(', '.join(kernels))} | {' | '.join(found)} |"


def _together(named: Sequence[tuple[str, tuple[Word, ...]]]) -> list[list[str]]:
    groups: dict[tuple[Word, ...], list[str]] = {}
    for name, content in named:
        groups.setdefault(content, []).append(name)
    return list(groups.values())


def _proof(proof: Proof, ledger: Ledger) -> Iterator[str]:
    name = proof.scenario.partition(" #")[0]
    at = f", at {_prose(proof.at)}" if proof.at else ""
    head = f"- **{_prose(proof.id)}** ([{name}](../scenarios/{name}/scenario.yaml){at})"
    used = proof.used()
    if len(proof.forms) == 1:
        yield f"{head}: {_form(proof.forms[0])}"
    else:
        yield head
        oldest = [*used, *(number for number in range(len(proof.forms)) if number not in used)]
        for number, form in ((number, proof.forms[number]) for number in oldest):
            here = words.where(used[number], ledger.pairs) if number in used else "not seen in these runs"
            yield f"  - **{_prose(here)}**, when `{_code(form.when)}`: {_form(form)}"
    for what, where, message in _remarks(proof, ledger):
        yield f"  - {what}{_prose(where)}: {_prose(message)}"


def _form(form: Form, *, source: bool = True) -> str:
    if not source:
        return _prose(form.because)
    verdict = "" if form.verdict.value == Word.CONFIRMED.value else f"**{form.verdict.value}.** "
    return f"{verdict}{_prose(form.because)} *{_prose(form.source)}*"


def _remarks(proof: Proof, ledger: Ledger) -> Iterator[tuple[str, str, str]]:
    """What did not pass and why, and what is to be known of what did, by the pairs where."""
    groups: dict[tuple[str, str], list[Pair]] = {}
    for result in proof.results:
        passed = result.word in (Word.CONFIRMED, Word.DIFFERS, Word.REFUTED)
        if result.message or not passed:
            what = "on " if passed else f"**{result.word.value}** on "
            groups.setdefault((what, result.message), []).append(result.pair)
    for (what, message), pairs in groups.items():
        yield what, words.where(pairs, ledger.pairs), message


def _anchor(text: str) -> str:
    """The anchor that a heading gets: letters, digits, hyphens and underscores of it."""
    return re.sub(r"[^\w -]", "", text.lower()).replace(" ", "-")


def _cell(text: str) -> str:
    return _prose(text).replace("|", "\\|")


def _code(text: str) -> str:
    return clean(text, _LIMIT).replace("`", "'")


def _prose(text: str) -> str:
    """Text of a scenario as Markdown prose: identifiers, paths and commits as code, nothing else with a meaning."""
    parts = clean(text, _LIMIT).split("`")
    if len(parts) % 2 == 0:  # a backtick without its twin
        parts = ["'".join(parts)]
    return "".join(f"`{part}`" if number % 2 else _words(part) for number, part in enumerate(parts) if part)


def _words(text: str) -> str:
    done, end = "", 0
    for found in _CODE.finditer(text):
        done += f"{_escape(text[end : found.start()])}`{found[0]}`"
        end = found.end()
    return done + _escape(text[end:])


def _escape(text: str) -> str:
    return re.sub(r"([\\*_\[\]#~])", r"\\\1", text).replace("<", "&lt;")
