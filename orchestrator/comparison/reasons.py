"""Which findings speak of an observation, and what mechanism they name for each side. Pure.

A finding speaks of what its operands cite: the same line of evidence, and, where a line holds many things, the same
word. A reason is known where a finding that speaks of it holds in another form on another side: then the forms'
``because`` and ``source`` are the reasons.
"""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.comparison.model import Reason, Seen, Topic
from orchestrator.comparison.seen import Reading, log_kind
from orchestrator.model import Finding, Outcome

_FILES = (".so", ".so bss", "program", "program bss")


class Citations:
    """What the findings of one run cite, by file."""

    def __init__(self, reading: Reading) -> None:
        self._by_file: dict[str, list[tuple[int, int, str, str]]] = {}
        self.findings = reading.run.record.findings
        for number, finding in enumerate(self.findings):
            for operand in finding.operands:
                for one in operand.evidence:
                    item = (one.line, number, operand.text, one.text)
                    self._by_file.setdefault(one.file, []).append(item)

    def of(self, seen: Seen) -> list[str]:
        """The ids of the findings that speak of it, in the scenario's order."""
        if seen.evidence is None:
            return []
        found: set[int] = set()
        for line, number, operand, text in self._by_file.get(seen.evidence.file, ()):
            if _speaks(seen, line, operand, text):
                found.add(number)
        return [self.findings[number].id for number in sorted(found)]


def _speaks(seen: Seen, line: int, operand: str, text: str) -> bool:
    assert seen.evidence is not None
    if seen.topic is Topic.LOG:
        return line > 0 and log_kind(text) == seen.what
    named = bool(seen.word) and seen.word in operand
    first = seen.evidence.line
    if first == 0:  # of the whole file: only the word says what is meant
        return named
    within = first <= line <= max(first, seen.last)
    return within and (named or not seen.word)


def of_forms(forms: Sequence[tuple[str, Sequence[Finding]]]) -> tuple[Reason, ...]:
    """The mechanisms of a finding that holds in several forms: (letter, the findings of that side's runs)."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for letter, findings in forms:
        for one in findings:
            if one.outcome in (Outcome.PASS, Outcome.FAIL):
                key = one.because, one.source, one.when
            elif one.outcome is Outcome.SKIP and one.message:
                key = one.message, "", ""
            else:
                continue
            if letter not in found.setdefault(key, []):
                found[key].append(letter)
    return tuple(Reason(tuple(letters), *key) for key, letters in found.items())


def of_files(seen: Seen, glibcs: Sequence[tuple[str, str]]) -> tuple[Reason, ...]:
    """Why a file's mappings have other sizes: it is another file, built for (letter, glibc)."""
    if seen.topic not in (Topic.MAPPING, Topic.RESIDENT) or not seen.what.endswith(_FILES):
        return ()
    if len({glibc for _, glibc in glibcs}) < 2:
        return ()
    versions: dict[str, list[str]] = {}
    for letter, glibc in glibcs:
        versions.setdefault(glibc or "unknown", []).append(letter)
    return tuple(Reason(tuple(letters), f"The file is that of glibc {glibc}, or built against it.", "")
                 for glibc, letters in versions.items())  # fmt: skip
