"""What a look inside a guest costs: the first one of a run, a later one, and heaps of 10^4 and 10^6 chunks."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from subjects import Sample, Subject

from orchestrator import experiment, host, recording, session
from orchestrator.inspector import Inspector
from orchestrator.machine.guest import Guest
from orchestrator.model import Case, Inspect, Scenario
from orchestrator.prepare import Prepared
from orchestrator.rundir import RunDirectory

PROGRAM = Path(__file__).with_name("heap.c")
AIMS = {"first": "< 0.5 s", "later": "< 0.05 s", "small": "< 0.2 s", "large": "< 5 s"}
WORDS = {
    "first": "the first of a run, kernel objects", "later": "a later one, kernel objects",
    "small": "a heap of 10,000 chunks", "large": "a heap of more than 1,000,000 chunks",
}  # fmt: skip


@dataclass
class Timed(Inspector):
    """An inspector that times each look, by the name of the checkpoint."""

    taken: dict[str, Sample] = field(default_factory=dict)

    def look(self, guest: Guest, directory: RunDirectory, where: str, pids: Sequence[int],
             parts: Sequence[str]) -> float:
        wall, cpu = time.perf_counter(), time.process_time()
        paused = super().look(guest, directory, where, pids, parts)
        self.taken[where.rpartition("-")[2]] = Sample(time.perf_counter() - wall, time.process_time() - cpu)
        return paused


class Looks:
    """One run gives a sample of each; who asks for one a second time has it run again."""

    def __init__(self, prepared: Prepared, scratch: Path) -> None:
        self._prepared, self._scratch = prepared, scratch
        self._samples: dict[str, Sample] = {}
        self._runs = 0

    def sample(self, name: str) -> Sample:
        if name not in self._samples:
            self._samples = self._run()
        return self._samples.pop(name)

    def _run(self) -> dict[str, Sample]:
        self._runs += 1
        prepared = self._prepared
        inspect = Inspect(kernel=("first", "later"), heap=("small", "large"))
        wanted = Scenario("looks", "", PROGRAM.parent, (PROGRAM,), timeout=300, plain=True)
        case = Case(wanted, prepared.kernel, prepared.userland, prepared.emulator, wanted.settings, inspect=inspect)
        record = recording.new_record(case, {"accelerator": prepared.accelerator.name})
        directory = RunDirectory.create(self._scratch / f"looks-{self._runs}", record)
        inspector = Timed(prepared.find_symbols(), prepared.cache)
        limits = host.limits(wanted.timeout)
        with Guest(prepared.recipe, limits) as guest:
            program = experiment.compile_case(case, prepared)
            deadline = time.monotonic() + limits.total
            session.Session(case, directory, record, limits, deadline, inspector).run(guest, program)
        if inspector.left_out:
            raise RuntimeError(f"nothing was looked at: {inspector.left_out}")
        return inspector.taken


def looks(prepared: Prepared, scratch: Path) -> list[Subject]:
    """The index of symbols is in the cache: a first run, which is not measured, has made it."""
    source = Looks(prepared, scratch)
    source.sample("later")
    return [Subject(f"look inside: {WORDS[name]}", lambda name=name: source.sample(name),  # type: ignore[misc]
                    aims={"wall": aim}) for name, aim in AIMS.items()]  # fmt: skip
