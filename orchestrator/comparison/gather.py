"""What differs, as a reader wants it: one difference for one thing, without what only follows from another one, and
with the reason where one is known. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from orchestrator.comparison import known, reasons
from orchestrator.comparison.model import NOT_THERE, Difference, Seen, Spot, Topic
from orchestrator.comparison.subject import Subject
from orchestrator.model import Evidence, Finding

Item = tuple[Spot, Sequence[Seen | None]]  # a place, and an example of each side
Items = dict[tuple[Topic, str], list[Item]]
Telling = Mapping[str, Sequence[tuple[str, Sequence[Finding]]]]

# What is only a sum of what is listed by itself, by the topic of that
_SUMS: dict[Topic, re.Pattern[str]] = {
    Topic.MAPPING: re.compile(r"Vm(Size|Data|Stk|Exe|Lib)$|mm\.map_count$"),
    Topic.RESIDENT: re.compile(r"VmRSS$|Rss(Anon|File|Shmem)$|.* \(smaps_rollup\)$|mm\.rss_|pages mapped: "),
}  # fmt: skip
# The same for operands of findings
_OPERANDS: dict[Topic, re.Pattern[str]] = {
    Topic.MAPPING: re.compile(r"\b(vmas|vm_areas)\(|map_count|total_vm|data_vm|exec_vm|Vm(Size|Data|Stk|Exe|Lib)\b"),
    Topic.RESIDENT: re.compile(r"\.rss\b|rss_\w+|VmRSS|Rss|\"Anonymous\"|\bpages\("),
}  # fmt: skip
_IN_FILE = re.compile(r"(?:end of )?([\w.+-]+\.so|program)( bss)?(\+0x[0-9a-f]+)?")


def gathered(items: Items, telling: Telling, sides: Sequence[Sequence[Subject]], letters: Sequence[str]) -> \
        tuple[list[Difference], int]:
    """(the differences in the order of topics, how many values only follow from them)."""
    glibcs = [(letter, run.member.glibc) for letter, side in zip(letters, sides, strict=True) for run in side[:1]]
    kept, derived = _underived(items, len({glibc for _, glibc in glibcs}) > 1)
    releases = [(letter, run.member.release) for letter, side in zip(letters, sides, strict=True) for run in side[:1]]
    claims = {one.id: one.claim for side in sides for run in side for one in run.findings.values()}
    logged = {what: _there(_rows(places, sides, letters)) for (topic, what), places in kept.items()
              if topic is Topic.LOG}  # fmt: skip
    found = []
    for (topic, what), places in kept.items():
        cited = list(dict.fromkeys(_cited(places, sides)))
        example = next(one for _, seen in places for one in seen if one)
        tells = reasons.nearest([name for name in cited if name in telling], claims, example.word)
        rows = _rows(places, sides, letters)
        there = _there(rows)
        forms = {name: why for name in tells if (why := reasons.holding(reasons.of_forms(telling[name]), rows))}
        tells.sort(key=lambda name: name not in forms)
        why = reasons.holding(reasons.of_glibcs(example, there, glibcs), rows) or (
            next(iter(forms.values())) if forms else known.reasons(topic, what, there, releases, glibcs, logged))
        finding = what if topic is Topic.VALUE else ""
        named = list(dict.fromkeys(claims[name] for name in (*tells, *cited, finding) if claims.get(name)))
        found.append(Difference(topic, what, tuple(spot for spot, _ in places), named[0] if named else "", finding,
                                tuple(named[1:]), why, _lines(places, letters)))  # fmt: skip
    order = list(Topic)
    return sorted(found, key=lambda one: order.index(one.topic)), derived


def _rows(places: Sequence[Item], sides: Sequence[Sequence[Subject]], letters: Sequence[str]) -> \
        list[list[tuple[str, str]]]:
    """What each side that has runs has at each place: (letter, value)."""
    return [[(letter, value) for letter, value, side in zip(letters, spot.values, sides, strict=True) if side]
            for spot, _ in places]  # fmt: skip


def _there(rows: Sequence[Sequence[tuple[str, str]]]) -> dict[str, set[bool]]:
    """Whether each side has it, at all places; both where its repeats do not agree."""
    found: dict[str, set[bool]] = {}
    for letter, value in (item for row in rows for item in row):
        parts = value.split(" / ")
        found.setdefault(letter, set()).update(part not in ("", NOT_THERE) for part in parts)
    return found


def _underived(items: Items, other_files: bool) -> tuple[Items, int]:
    """Without what follows from another difference at the same checkpoint, and how much that was."""
    where = {topic: _places(items, topic) for topic in _SUMS}
    mapped = {(what, spot.at) for (topic, what), places in items.items() if topic is Topic.MAPPING
              for spot, _ in places}  # fmt: skip
    kept: Items = {}
    derived = 0
    for (topic, what), places in items.items():
        left = [item for item in places if not _follows(topic, what, item, where, mapped, other_files)]
        derived += len(places) - len(left)
        if left:
            kept[topic, what] = left
    return kept, derived


def _places(items: Items, topic: Topic) -> set[str]:
    """The checkpoints at which something of that topic differs that is no sum itself."""
    sums = re.compile("|".join(pattern.pattern for pattern in _SUMS.values()))
    return {spot.at for (other, what), places in items.items() if other is topic and not sums.match(what)
            for spot, _ in places}  # fmt: skip


def _follows(topic: Topic, what: str, item: Item, where: Mapping[Topic, set[str]], mapped: set[tuple[str, str]],
             other_files: bool) -> bool:
    spot, seen = item
    if topic is not Topic.VALUE:
        if topic is Topic.RESIDENT and (what, spot.at) in mapped:
            return True
        return any(sums.match(what) and spot.at in where[parts] for parts, sums in _SUMS.items())
    if other_files and len({_IN_FILE.sub(r"\1", value) for value in spot.values}) == 1:
        return True
    at = next(one.at for one in seen if one)
    return any(named.search(spot.at) and (at in where[parts] or (where[parts] and not at))
               for parts, named in _OPERANDS.items())  # fmt: skip


def _cited(places: Sequence[Item], sides: Sequence[Sequence[Subject]]) -> Iterable[str]:
    """The findings that speak of it, on any side at any of its places. Of a function the evidence is the same in every
    window of a trace: it is looked for once."""
    asked: set[tuple[object, ...]] = set()
    for _, seen in places:
        for number, (side, one) in enumerate(zip(sides, seen, strict=True)):
            if not side or one is None or one.topic is Topic.VALUE or one.evidence is None:
                continue
            where = number, one.evidence.file, one.evidence.line, one.last, one.word
            if where not in asked:
                asked.add(where)
                yield from side[0].citations.of(one)


def _lines(places: Sequence[Item], letters: Sequence[str]) -> tuple[tuple[str, Evidence], ...]:
    """A line of evidence for each side, of the first place."""
    return tuple((letter, one.evidence) for _, seen in places[:1] for letter, one in zip(letters, seen, strict=True)
                 if one and one.evidence)  # fmt: skip
