"""One run of a case, read: its findings, its observations, and the values in its findings. Pure."""

from __future__ import annotations

import re
from functools import cached_property

from orchestrator.comparison.model import Member, Seen, Topic
from orchestrator.comparison.places import Everywhere, Places, relative
from orchestrator.comparison.reasons import Citations
from orchestrator.comparison.seen import Reading
from orchestrator.model import Digest, Finding

Name = tuple[Topic, str, str]  # topic, checkpoint, what


def form(finding: Finding | None) -> tuple[str, ...]:
    """What must be the same for two findings to be: the outcome, and what was checked under which condition."""
    return (finding.outcome.value, finding.when, finding.check) if finding else ()


# Operands that are nothing but chance, even where repeats agree, as those that go on from one saved guest may: which
# frame or inode number something got, entries of page tables, which hold frames, and how many tables it takes, which is
# decided by where mappings were placed
BY_CHANCE = re.compile(r"\.(?:frame|pfn|entry|pgd|p4d|pud|pmd|pte|ino|inode|anon_vma|address)\b|frame\b"
                       r"|\btables\(|\bVmPTE\b|\bpgtables_bytes\b")
_OF_PROCESSES = re.compile(r"\b(?:tid|pid|tgid|child|parent|Pid|Tgid|PPid)\b|-pid\b|-tid\b")
_NUMBER = re.compile(r"(?<![\w.])\d{1,7}(?![\w.])")


class Subject:
    """A member of a side with all that its directory says."""

    def __init__(self, member: Member) -> None:
        self.member = member
        self.reading = Reading(member.path)

    @cached_property
    def citations(self) -> Citations:
        """What its findings cite."""
        return Citations(self.reading)

    @cached_property
    def stamp(self) -> tuple[object, ...]:
        """What no two runs have in common, and copies of one have."""
        record = self.reading.run.record
        return (self.member.identity, record.started, record.seconds,
                tuple(one.seconds for one in record.checkpoints))  # fmt: skip

    @property
    def digest(self) -> Digest | None:
        """The digest that was recorded; older records have none."""
        return self.reading.run.record.digest

    @cached_property
    def findings(self) -> dict[str, Finding]:
        """Its findings, by id."""
        return {one.id: one for one in self.reading.run.record.findings}

    @cached_property
    def observations(self) -> dict[Name, Seen]:
        """What was seen, by name; of what has the same name the first."""
        found: dict[Name, Seen] = {}
        for one in self.reading.seen:
            found.setdefault((one.topic, one.at, one.what), one)
        return found

    @cached_property
    def values(self) -> dict[Name, Seen]:
        """The operands of findings ("FINDING: OPERAND"), made comparable. Chance may decide any of them."""
        found: dict[Name, Seen] = {}
        for finding in self.findings.values():
            for operand in finding.operands:
                value = relative(operand.value, self._spaces(finding.at))
                if _OF_PROCESSES.search(operand.text):
                    value = _NUMBER.sub(self._process, value)
                evidence = operand.evidence[0] if operand.evidence else None
                name = f"{finding.id}: {operand.text}"
                found[Topic.VALUE, finding.at, name] = Seen(Topic.VALUE, name, finding.at, value, False, evidence)
        return found

    def seen(self, name: Name) -> Seen | None:
        """What it saw under that name."""
        return self.values.get(name) if name[0] is Topic.VALUE else self.observations.get(name)

    def _process(self, match: re.Match[str]) -> str:
        """A process or thread by its place among all of the run."""
        place = self.reading.pids.get(int(match[0]))
        return f"process {place}" if place else match[0]

    @cached_property
    def _everywhere(self) -> Everywhere:
        return Everywhere(list(self.reading.spaces.values()))

    def _spaces(self, at: str) -> list[Places]:
        """The address space there, then all of them, the first one first."""
        own = self.reading.spaces.get(at)
        return [*([own] if own else ()), self._everywhere]
