"""Negative controls: under each, exactly the expectations that it names fail, on the oldest and the newest pair.

Controls share a boot (labrun restores the sysctls that it changed); those with boot options have their own.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import NEWEST, OLDEST

from orchestrator import experiment, host, scenario, session
from orchestrator.machine.guest import Guest
from orchestrator.model import Case, Control, Outcome, Scenario, Settings
from orchestrator.prepare import Choice, Prepared, prepare
from orchestrator.rundir import RunDirectory

ROOT = Path(__file__).parents[2] / "scenarios"
SCENARIOS = scenario.names((ROOT,))


def outcome_under(control: Control, wanted: Scenario, prepared: Prepared, guest: Guest, place: Path) -> set[str]:
    """The ids of the expectations that fail under the control; anything in error fails the test."""
    settings = session.merge(wanted.settings, control.settings)
    case = Case(wanted, prepared.kernel, prepared.userland, prepared.emulator, settings)
    directory = RunDirectory.create(place / control.name)
    record = session.new_record(case, {"accelerator": prepared.accelerator.name})
    limits = host.limits(wanted.timeout)
    with session.recorded(record, directory):
        program = experiment.compile_case(case, prepared)
        session.Session(case, directory, record, limits, time.monotonic() + limits.total).run(guest, program)
    experiment.judge(record, directory, wanted)
    assert record.ending_detail == "", record.ending_detail
    errors = {f.id: f.message for f in record.findings if f.outcome in (Outcome.ERROR, Outcome.SKIP)}
    assert not errors, errors
    return {f.id for f in record.findings if f.outcome is Outcome.FAIL}


@pytest.mark.parametrize(("kernel", "userland"), [OLDEST, NEWEST])
@pytest.mark.parametrize("name", SCENARIOS)
def test_each_control_fails_exactly_what_it_names(name: str, kernel: str, userland: str, tmp_path: Path) -> None:
    wanted = scenario.load(ROOT / name)
    assert wanted.controls
    prepared = prepare(Choice(kernel=kernel, userland=userland, append=wanted.settings.append))
    shared = [c for c in wanted.controls if not c.settings.append]
    wrong: dict[str, tuple[set[str], set[str]]] = {}

    def judge(control: Control, guest: Guest) -> None:
        failed = outcome_under(control, wanted, prepared, guest, tmp_path)
        if failed != set(control.fails):
            wrong[control.name] = (failed, set(control.fails))

    with Guest(prepared.recipe, host.limits()) as guest:
        for control in [Control("nothing-changed", (), Settings()), *shared]:
            judge(control, guest)
    for control in wanted.controls:
        if control not in shared:
            recipe = replace(prepared.recipe, append=session.merge(wanted.settings, control.settings).append)
            with Guest(recipe, host.limits()) as guest:
                judge(control, guest)
    assert wrong == {}, "control: (failed, should fail)"
