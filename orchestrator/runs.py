"""Run directories on this disk: found below folders, and which of them are evidence for the ledger.

A run counts if it is the newest of its case, came to an end of its own, ran the program that the scenario
has now, and had no settings but the scenario's own: a mutation shows that an expectation can fail, and
nothing about its claim.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from orchestrator import claims, fingerprint, ledger
from orchestrator import scenario as scenarios
from orchestrator.claims import Claim
from orchestrator.errors import LabError, UsageError
from orchestrator.ledger import Ledger, LeftOut, Run
from orchestrator.model import OWN_CHECK, Ending, Scenario
from orchestrator.rundir import DEPTH, RunDirectory, RunRecord, inner_folders

OWN_FAULT = {  # endings that say nothing about the guest
    Ending.UNFINISHED: "it was never finished",
    Ending.INTERRUPTED: "it was interrupted",
    Ending.HOST_ERROR: "the host or the lab failed",
}


@dataclass
class Found:
    """The runs that count, and the others."""

    runs: list[Run] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    older: int = 0  # runs of cases that have a newer one
    idle: list[Scenario] = field(default_factory=list)  # not known otherwise, and all of whose runs are left out


def ledger_of(folders: Sequence[Path], strict: bool = False) -> Ledger:
    """The ledger of the runs there. Raises UsageError for a folder without any; ``strict``: also for a scenario
    that can't be read, which is left out otherwise."""
    for folder in folders:
        if not directories([folder]):
            raise UsageError(f"{folder}: no run directory, nor a folder of them",
                             "`lab run` and `lab matrix` make them")  # fmt: skip
    known, broken = known_scenarios(strict)
    found = evidence(directories(folders), known)
    if strict:
        _only(found, known)
    every = [*known, *found.idle]
    catalogue = catalogue_of([*every, *(run.scenario for run in found.runs)])
    return ledger.build(catalogue, every, found.runs, (*found.left_out, *broken), found.older)


def _only(found: Found, known: Iterable[Scenario]) -> None:
    """Leaves out the runs of scenarios that have no name here."""
    found.idle.clear()
    names = {_identity(one) for one in known}
    strange = [run for run in found.runs if _identity(run.scenario) not in names]
    found.runs = [run for run in found.runs if run not in strange]
    found.left_out += [LeftOut(str(run.path), f"not of the lab's scenario {run.scenario.name}") for run in strange]


def catalogue_of(wanted: Iterable[Scenario]) -> dict[str, Claim]:
    """The lab's catalogue, and what these scenarios bring."""
    return claims.catalogue([*scenarios.folders(), *(place for made in wanted for place in claims.beside(made))])


def refreshed(old: Ledger) -> Ledger:
    """A ledger of before with its claims and expectations as they are worded now."""
    known, _ = known_scenarios(strict=True)
    return ledger.refreshed(old, catalogue_of(known), known, {one.name: fingerprint.of_program(one) for one in known})


def known_scenarios(strict: bool) -> tuple[list[Scenario], list[LeftOut]]:
    """The scenarios that have a name here, and those that can't be read."""
    places = scenarios.folders()
    known, broken = [], []
    for name in scenarios.names(places):
        try:
            known.append(scenarios.find(name, places))
        except UsageError as error:
            if strict:
                raise
            broken.append(LeftOut(f"scenario {name}", error.message))
    return known, broken


def directories(folders: Iterable[Path]) -> list[Path]:
    """The run directories among and below the folders: a run, a matrix of runs, or a folder of either."""
    found = [path for folder in folders for path in _below(folder, DEPTH)]
    return list({path.resolve(): path for path in found}.values())


def _below(folder: Path, depth: int) -> Iterator[Path]:
    if (folder / "run.json").is_file():
        yield folder
    elif depth and os.access(folder, os.R_OK | os.X_OK) and folder.is_dir():
        for inner in inner_folders(folder):
            yield from _below(inner, depth - 1)


def evidence(paths: Sequence[Path], known: Iterable[Scenario] = ()) -> Found:
    """Which of the run directories count. A run of a copy of a ``known`` scenario counts as one of that."""
    found = Found()
    reader = _Reader(known)
    newest: dict[tuple[str, str, str], Run] = {}
    for path in paths:
        run = reader.read(path)
        if isinstance(run, LeftOut):
            found.left_out.append(run)
            continue
        case = run.record.case
        key = (str(_identity(run.scenario)), str(case.get("kernel")), str(case.get("userland")))
        other = newest.get(key)
        found.older += other is not None
        if other is None or _age(run) >= _age(other):
            newest[key] = run
    found.runs = list(newest.values())
    used = {_identity(run.scenario) for run in found.runs}
    found.idle = [one for one in reader.strangers() if _identity(one) not in used]
    return found


def _age(run: Run) -> tuple[str, str]:
    return str(run.record.started), str(run.path)


def _identity(scenario: Scenario) -> Path:
    return (scenario.file or scenario.directory).resolve()


class _Reader:
    """Reads runs; each scenario file is loaded once."""

    def __init__(self, known: Iterable[Scenario]) -> None:
        self._known = {one.name: one for one in known}
        self._scenarios: dict[str, Scenario] = {}
        self._fingerprints: dict[Path, str] = {}

    def read(self, path: Path) -> Run | LeftOut:
        """The run, or why it does not count."""
        try:
            record = RunDirectory.open(path).load()
            if record.case.get("plain"):
                return LeftOut(str(path), "a plain program expects nothing")
            if record.ending in OWN_FAULT:
                return LeftOut(str(path), OWN_FAULT[record.ending])
            scenario = self._scenario(record)
            reason = self._stale(record, scenario)
        except (LabError, OSError) as error:
            return LeftOut(str(path), str(error).replace(f"{path}/", ""))
        if not reason and (changed := _changed(record, scenario)):
            reason = f"not the scenario's own settings: {', '.join(changed)}"
        return LeftOut(str(path), reason) if reason else Run(path, record, scenario)

    def strangers(self) -> list[Scenario]:
        """The scenarios of runs that have no name here."""
        return [one for one in self._scenarios.values() if one.name not in self._known]

    def _scenario(self, record: RunRecord) -> Scenario:
        """The scenario that ran: one known with the same program and all that was found, else the file that it was,
        else (a record from elsewhere) the lab's of that name."""
        name, source = str(record.case.get("scenario")), str(record.case.get("source"))
        known = self._known.get(name)
        found = {finding.id for finding in record.findings} - {OWN_CHECK}
        if known is not None and self._fingerprint(known) == record.case.get("fingerprint") and \
                found <= {expected.id for expected in known.expectations}:
            return known
        key = source if Path(source).is_file() else name
        if key not in self._scenarios:
            self._scenarios[key] = scenarios.find(key, scenarios.folders())
        return self._scenarios[key]

    def _stale(self, record: RunRecord, scenario: Scenario) -> str:
        """Why the evidence is not of the scenario as it is now; empty if it is."""
        ran = record.case.get("fingerprint")
        if ran is None:
            return "it does not say which version of its scenario it ran: run it again"
        if ran != self._fingerprint(scenario):
            return f"the program or the settings of {scenario.name} have changed since: run it again"
        return ""

    def _fingerprint(self, scenario: Scenario) -> str:
        identity = _identity(scenario)
        if identity not in self._fingerprints:
            self._fingerprints[identity] = fingerprint.of_program(scenario)
        return self._fingerprints[identity]


def _changed(record: RunRecord, scenario: Scenario) -> list[str]:
    """The kinds of setting in which a run differs from its scenario: what a user gave."""
    own = json.loads(json.dumps(asdict(scenario.settings)))
    had = record.case.get("settings")
    if not isinstance(had, dict):
        return ["settings"]
    return [name for name in own if had.get(name, own[name]) != own[name]]
