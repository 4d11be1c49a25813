"""Which findings speak of an observation, and what mechanism they name for each side. Pure.

A finding speaks of what its operands cite: the same line of evidence, and, where a line holds many things, the same
word. A reason is known where a finding that speaks of it holds in another form on another side: then the forms'
``because`` and ``source`` are the reasons. What is said of all sides alike is the reason for no difference, and all
sides that differ must be told apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations

from orchestrator.comparison.model import Reason, Seen, Topic
from orchestrator.comparison.seen import Reading, log_kind
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


def holding(found: Sequence[Reason], rows: Iterable[Sequence[tuple[str, object]]]) -> tuple[Reason, ...]:
    """The reasons, if they say of any two sides that differ in a row of (letter, what it has) different things; else
    none. What is said of all sides alike is left out."""
    said: dict[str, set[str]] = {}
    for letter, text in ((letter, one.because) for one in found for letter in one.sides if one.because):
        said.setdefault(letter, set()).add(text)
    letters: set[str] = set()
    for row in rows:
        letters.update(letter for letter, _ in row)
        for (one, has), (other, had) in combinations(row, 2):
            if has != had and (one not in said or other not in said or said[one] == said[other]):
                return ()
    alike = set.intersection(*(said.get(letter, set()) for letter in letters)) if letters else set()
    return tuple(one for one in found if one.because and one.because not in alike)


def of_glibcs(seen: Seen, there: Mapping[str, set[bool]], glibcs: Sequence[tuple[str, str]]) -> tuple[Reason, ...]:
    """Why a file's mappings have other sizes: it is another file, built for (letter, glibc); or why malloc's parameters
    lack a field: their structure is another one. ``there``: whether each side has it, at all its places. A file that is
    not mapped at all is so for another reason."""
    versions: dict[str, list[str]] = {}
    for letter, glibc in glibcs:
        versions.setdefault(glibc or "unknown", []).append(letter)
    if len(versions) < 2:
        return ()
    if seen.topic in (Topic.MAPPING, Topic.RESIDENT) and seen.what.endswith(_FILES):
        if any(there[letter] != {True} for letter, _ in glibcs):
            return ()
        return tuple(Reason(tuple(letters), f"The file is that of glibc {glibc}, or built against it.", "")
                     for glibc, letters in versions.items())  # fmt: skip
    if seen.topic is Topic.HEAP and seen.what.startswith("mp_."):
        return _of_fields(there, versions)
    return ()


def _of_fields(there: Mapping[str, set[bool]], versions: Mapping[str, Sequence[str]]) -> tuple[Reason, ...]:
    """Which sides' malloc has a parameter: known only where all runs with one glibc agree."""
    has = {glibc: set().union(*(there[letter] for letter in letters)) for glibc, letters in versions.items()}
    if any(len(one) != 1 for one in has.values()):
        return ()
    found = []
    for present, word in ((True, "this"), (False, "no such")):
        letters = [letter for glibc, ones in versions.items() if has[glibc] == {present} for letter in ones]
        found.append(Reason(tuple(letters), f"The structure of malloc's parameters has {word} field.",
                            "struct malloc_par, malloc/malloc.c (glibc)"))  # fmt: skip
    return tuple(one for one in found if one.sides)


def nearest(names: Sequence[str], claims: Mapping[str, str], word: str) -> list[str]:
    """Findings that speak of something, those first that are about it: by the words of their claim, and of their id."""
    plain = word.replace("_", "-")

    def apart(name: str) -> tuple[bool, bool, bool]:
        return not claims.get(name, "").endswith(f".{plain}"), not name.startswith(plain), plain not in name

    return sorted(names, key=apart) if plain else list(names)
