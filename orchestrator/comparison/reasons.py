"""Which findings speak of an observation, and what mechanism they name for each side. Pure.

A finding speaks of what its operands cite: the same line of evidence, and, where a line holds many things, the same
word. A reason is known where a finding that speaks of it holds in another form on another side: then the forms'
``because`` and ``source`` are the reasons. What is said of all sides alike is the reason for no difference, and all
sides that differ must be told apart.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations

from orchestrator.comparison.model import Reason, Seen, Topic
from orchestrator.comparison.seen import Reading
from orchestrator.kernel_log import log_kind
from orchestrator.model import Evidence, Finding, Outcome

_FILES = (".so", ".so bss", "program")


class Citations:
    """What the findings of one run cite, found without looking at every one of them."""

    def __init__(self, reading: Reading) -> None:
        self._ids = [one.id for one in reading.run.record.findings]
        self._checks = [one.check for one in reading.run.record.findings]
        self._lines: dict[str, list[tuple[int, int]]] = {}  # by file: line, number of the finding
        self._kinds: dict[str, set[int]] = {}  # by kind of line of the kernel log
        self._words: dict[str, set[int]] = {}  # by word of a check
        self._asked: dict[str, set[int]] = {}  # by name in a condition
        for number, one in enumerate(reading.run.record.findings):
            for cited in (cited for operand in one.operands for cited in operand.evidence):
                self._lines.setdefault(cited.file, []).append((cited.line, number))
                if cited.file == "kernel.log" and cited.line > 0 and cited.text:
                    self._kinds.setdefault(log_kind(cited.text), set()).add(number)
            for word in re.findall(r"\w+", one.check):
                self._words.setdefault(word, set()).add(number)
            for name in re.findall(r'"([^"]*)"', one.when):
                self._asked.setdefault(name, set()).add(number)
        for lines in self._lines.values():
            lines.sort()
        self._files = {file: {number for _, number in lines} for file, lines in self._lines.items()}

    def of(self, seen: Seen) -> list[str]:
        """The ids of the findings that speak of it, in the scenario's order."""
        if seen.evidence is None:
            return []
        found = self._speaking(seen, seen.evidence)
        if seen.topic is Topic.TRACE:
            found = found | self._asked.get(seen.word, set())
        return [self._ids[number] for number in sorted(found)]

    def _speaking(self, seen: Seen, evidence: Evidence) -> set[int]:
        if seen.topic is Topic.LOG:
            return self._kinds.get(seen.what, set())
        lines, first = self._lines.get(evidence.file, []), evidence.line
        if first == 0 or seen.topic is Topic.HEAP:  # of the whole file: only the word says what is meant
            return self._named(seen.word) & self._files.get(evidence.file, set()) if seen.word else set()
        begin, end = (bisect_left(lines, (line, 0)) for line in (first, max(first, seen.last) + 1))
        found = {number for _, number in lines[begin:end]}
        return found & self._named(seen.word) if seen.word else found

    def _named(self, word: str) -> set[int]:
        """The findings whose check has a word."""
        parts = re.findall(r"\w+", word)
        if parts != [word] and word not in self._words:
            having = [self._words.get(part, set()) for part in parts]
            able = set.intersection(*having) if having else set()  # only they can have all of it
            pattern = re.compile(rf"\b{re.escape(word)}\b")
            self._words[word] = {number for number in able if pattern.search(self._checks[number])}
        return self._words.get(word, set())


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
