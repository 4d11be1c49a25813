"""A scenario, a catalogue of claims, and run directories of them, for the tests of the ledger."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from orchestrator import fingerprint, ledger, runs, scenario
from orchestrator.claims import Claim
from orchestrator.ledger import Ledger
from orchestrator.model import Ending, Expectation, Finding, Outcome, Scenario, Variant
from orchestrator.rundir import RunDirectory, RunRecord

OLD, NEW = ("5.10", "bullseye"), ("7.x", "testing")
GLIBC = {"bullseye": "2.31", "testing": "2.43"}
RELEASE = {"5.10": "5.10.0-32-cloud-amd64", "7.x": "7.3.4-cloud-amd64", "6.1": "6.1.0-50-cloud-amd64"}

YAML = """\
name: demo
summary: a demonstration
claims: [x.same, x.forms, x.wrong, x.mine]
checkpoints: [start]
sysctls: {vm.swappiness: 10}
expectations:
  - {id: same, claim: x.same, at: start, check: note("a") == 1, because: it_is, source: f()}
  - id: forms
    claim: x.forms
    at: start
    variants:
      - {when: kernel >= "6.4", check: note("b") == 2, because: since then, source: 0123456789ab (6.4)}
      - {when: kernel < "6.4", check: note("b") == 1, because: before it, source: mm/mmap.c}
      - {when: kernel < "2", check: note("b") == 0, because: long ago, source: mm/old.c}
  - {id: wrong, claim: x.wrong, check: exit_code == 0, because: it never was, source: a, verdict: refuted}
  - {id: other, claim: x.wrong, at: start, check: note("c") == 1, because: c, source: c, verdict: differs}
  - {id: mine, claim: x.mine, at: start, check: note("d") == 1, because: d, source: d}
"""
CATALOGUE = {
    "x.same": Claim("x.same", "it is always the `same`", "Things", ("P", "K")),
    "x.forms": Claim("x.forms", "it has | several forms", "Things", ("P",)),
    "x.wrong": Claim("x.wrong", "people say so", "More things", ("P",)),
    "x.far": Claim("x.far", "nobody has looked", "More things", ("H",)),
}


def demonstration(folder: Path) -> Scenario:
    """The scenario, written into a folder."""
    folder.mkdir(parents=True)
    (folder / "demo.c").write_text("int main(void) { return 0; }\n")
    (folder / "scenario.yaml").write_text(YAML)
    return scenario.load(folder)


def finding(expectation: Expectation, kernel: str, outcome: Outcome = Outcome.PASS) -> Finding:
    """As evaluate makes it on that kernel."""
    number = 0 if len(expectation.variants) == 1 or kernel == "7.x" else 1
    variant: Variant = expectation.variants[number]
    message = "" if outcome is Outcome.PASS else f"{outcome.value} of {expectation.id}"
    return Finding(expectation.id, expectation.claim, expectation.at, variant.check, variant.because, variant.source,
                   outcome, message, variant.when, (), variant.verdict)  # fmt: skip


def case_of(demo: Scenario, kernel: str, userland: str) -> dict[str, object]:
    """What a record says was asked for."""
    return {"scenario": demo.name, "source": str(demo.file), "plain": False, "kernel": kernel, "userland": userland,
            "fingerprint": fingerprint.of_program(demo), "settings": dataclasses.asdict(demo.settings)}  # fmt: skip


def make(demo: Scenario, place: Path, pair: tuple[str, str], started: str = "2026-01-01T00:00:00+00:00",
         outcomes: dict[str, Outcome] | None = None, **more: object) -> Path:
    """A run directory of the demonstration on a pair."""
    kernel, userland = pair
    record = RunRecord(
        lab="1.0", started=started, ending=Ending.COMPLETED,
        case=case_of(demo, kernel, userland),
        environment={"release": RELEASE.get(kernel, "6.9.1"), "glibc": GLIBC.get(userland, "2.40")},
        findings=[finding(e, kernel, (outcomes or {}).get(e.id, Outcome.PASS)) for e in demo.expectations],
    )  # fmt: skip
    for name, value in more.items():
        setattr(record, name, value)
    RunDirectory.create(place, record)
    return place


def built(demo: Scenario, *paths: Path) -> Ledger:
    """The ledger of these run directories."""
    found = runs.evidence(paths, [demo])
    return ledger.build(CATALOGUE, [demo], found.runs, found.left_out, found.older)


def row(made: Ledger, claim: str) -> ledger.Row:
    """The row of a claim."""
    return next(row for row in made.rows if row.claim.id == claim)
