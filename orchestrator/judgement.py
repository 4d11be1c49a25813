"""`lab check` from end to end, and the last step of every run: evidence × scenario → findings and outcome."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from orchestrator import evaluate, fingerprint, random_batches, scenario
from orchestrator.collect import environment
from orchestrator.digest import take
from orchestrator.errors import LabError, UsageError
from orchestrator.inspection.moment import Run
from orchestrator.model import Digest, Ending, Outcome, Scenario
from orchestrator.observations import Observations
from orchestrator.observed import ObservationError
from orchestrator.rundir import RunDirectory, RunRecord
from orchestrator.versions import Version


def check(path: Path, name: str | None) -> tuple[RunRecord, RunDirectory]:
    """Evaluates a run directory again with the scenario as it is now. Writes nothing."""
    directory = RunDirectory.open(path)
    record = directory.load()
    recorded = record.digest
    wanted = _scenario_again(record) if name is None else scenario.named(name)
    judge(record, directory, wanted)
    if not wanted.plain and record.case.get("fingerprint") not in (None, fingerprint.of_program(wanted)):
        record.messages.append(f"the program or the settings of {wanted.name} have changed since: this is evidence of "
                               "what they were")
    record.messages += _doubt(recorded, record.digest)
    return record, directory


def _doubt(recorded: Digest | None, found: Digest | None) -> list[str]:
    """What to say of a digest that is not the recorded one: where they differ."""
    if recorded is None or recorded == found:
        return []
    if found is None:
        return ["the record has a digest, and a run that ended so has none"]
    where = take.words(recorded, found)
    return [f"the digest is not the recorded one, {recorded.sha256[:take.PART]}: {where}"] if where else []


def judge(record: RunRecord, directory: RunDirectory, wanted: Scenario) -> None:
    """Fills in findings, outcome and digest. A run that ended early keeps its exit code: a lost guest is
    never a failed expectation."""
    run = Run(directory, record)
    observed = run.observed
    record.environment = measured(observed)
    _name_shared_batches(record, observed)
    record.findings = evaluate.evaluate(wanted, observed)
    outcome = evaluate.outcome_of(record.findings, wanted)
    if record.ending is not Ending.COMPLETED:
        record.outcome = Outcome.ERROR
    else:
        record.outcome = outcome
        record.exit_code = {Outcome.PASS: 0, Outcome.SKIP: 0, Outcome.FAIL: 1, Outcome.ERROR: 3}[outcome]
    record.digest = take.digest(run)


def measured(observed: Observations) -> dict[str, Any]:
    """What the guest is, as measured in it; what could not be measured is left out."""
    found: dict[str, Any] = {}
    with contextlib.suppress(LabError, ObservationError):
        uname = environment.parse_uname(observed.document("evidence/environment/uname"))
        found.update(release=uname.release, version=uname.version, machine=uname.machine)
    for name, read in (("glibc", observed.glibc), ("page_size", observed.page_size)):
        with contextlib.suppress(LabError, ObservationError):
            value = read().value
            found[name] = value if isinstance(value, int) else str(value)
    return found


def _name_shared_batches(record: RunRecord, observed: Observations) -> None:
    """What guests from one saved state have in common depends on their kernel, which only its evidence tells."""
    same = record.restored.get("same")
    with contextlib.suppress(LabError, ObservationError):
        has_probe, kernel = observed.symbol(random_batches.PROBE).value, Version(str(observed.kernel().value))
        shared = random_batches.shared(has_probe is True, kernel)
        if isinstance(same, str) and shared and random_batches.SHARED not in same:
            record.restored["same"] = same + random_batches.SHARED


def _scenario_again(record: RunRecord) -> Scenario:
    """The scenario of a record: the file that it was, else the lab's of that name; a plain program needs none."""
    name, source = record.case.get("scenario"), record.case.get("source")
    if not isinstance(name, str) or not isinstance(source, str):
        raise UsageError("the record does not name its scenario", "give one with --scenario")
    if record.case.get("plain"):
        return Scenario(name=name, summary="", directory=Path(), programs=(), plain=True)
    return scenario.named(source if Path(source).is_file() else name)
