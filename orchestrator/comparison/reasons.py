"""Which findings speak of an observation, and what mechanism they name for each side. Pure.

A finding speaks of what its operands cite: the same line of evidence, and, where a line holds many things, the same
word. A reason is known where a finding that speaks of it holds in another form on another side: then the forms'
``because`` and ``source`` are the reasons.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from orchestrator.comparison.model import Reason, Seen, Topic
from orchestrator.comparison.seen import Reading
from orchestrator.kernel_log import log_kind
from orchestrator.model import Evidence, Finding, Outcome

_FILES = (".so", ".so bss", "program")


class Citations:
    """What the findings of one run cite, by file."""

    def __init__(self, reading: Reading) -> None:
        self._findings = reading.run.record.findings
        self._by_file: dict[str, list[tuple[Finding, Evidence]]] = {}
        for finding in self._findings:
            for one in (one for operand in finding.operands for one in operand.evidence):
                self._by_file.setdefault(one.file, []).append((finding, one))

    def of(self, seen: Seen) -> list[str]:
        """The ids of the findings that speak of it, in the scenario's order."""
        if seen.evidence is None:
            return []
        cited = self._by_file.get(seen.evidence.file, ())
        found = {finding.id for finding, one in cited if _speaks(seen, finding, one)}
        if seen.topic is Topic.TRACE:
            found |= {one.id for one in self._findings if f'"{seen.word}"' in one.when}
        return [one.id for one in self._findings if one.id in found]


def _speaks(seen: Seen, finding: Finding, cited: Evidence) -> bool:
    assert seen.evidence is not None
    if seen.topic is Topic.LOG:
        return cited.line > 0 and log_kind(cited.text) == seen.what
    named = bool(seen.word) and re.search(rf"\b{re.escape(seen.word)}\b", finding.check) is not None
    first = seen.evidence.line
    if first == 0 or seen.topic is Topic.HEAP:  # of the whole file: only the word says what is meant
        return named
    return first <= cited.line <= max(first, seen.last) and (named or not seen.word)


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


def of_glibcs(seen: Seen, everywhere: bool, glibcs: Sequence[tuple[str, str]]) -> tuple[Reason, ...]:
    """Why a file's mappings have other sizes: it is another file, built for (letter, glibc); or why malloc's parameters
    have a field that is not ``everywhere``: their structure is another one."""
    versions: dict[str, list[str]] = {}
    for letter, glibc in glibcs:
        versions.setdefault(glibc or "unknown", []).append(letter)
    if len(versions) < 2:
        return ()
    if seen.topic in (Topic.MAPPING, Topic.RESIDENT) and seen.what.endswith(_FILES):
        return tuple(Reason(tuple(letters), f"The file is that of glibc {glibc}, or built against it.", "")
                     for glibc, letters in versions.items())  # fmt: skip
    if seen.topic is Topic.HEAP and seen.what.startswith("mp_.") and not everywhere:
        return (Reason(tuple(letter for letter, _ in glibcs), "The structure of malloc's parameters has this field in "
                       "some of these glibcs only.", "struct malloc_par, malloc/malloc.c (glibc)"),)
    return ()


def nearest(names: Sequence[str], claims: Mapping[str, str], word: str) -> list[str]:
    """Findings that speak of something, those first that are about it: by the words of their claim, and of their id."""
    plain = word.replace("_", "-")

    def apart(name: str) -> tuple[bool, bool, bool]:
        return not claims.get(name, "").endswith(f".{plain}"), not name.startswith(plain), plain not in name

    return sorted(names, key=apart) if plain else list(names)
