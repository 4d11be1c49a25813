"""Negative controls: under each, exactly the expectations that it names fail, on the oldest and the newest pair.

Controls that only change the program share a boot; those that change the guest have their own.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import NEWEST, OLDEST

from orchestrator import experiment, host, session
from orchestrator.machine.guest import Guest
from orchestrator.model import Case, Control, Outcome, Scenario, Settings
from orchestrator.prepare import Choice, Prepared, prepare
from orchestrator.rundir import RunDirectory

SCENARIOS = ("brk",)


def outcome_under(control: Control, scenario: Scenario, prepared: Prepared, guest: Guest, place: Path) -> set[str]:
    """The ids of the expectations that fail under the control; anything in error fails the test."""
    settings = session.merge(scenario.settings, control.settings)
    case = Case(scenario, prepared.kernel, prepared.userland, prepared.emulator, settings)
    directory = RunDirectory.create(place / control.name)
    record = session.new_record(case, {"accelerator": prepared.accelerator.name})
    limits = host.limits(scenario.timeout)
    with session.recorded(record, directory):
        program = experiment.compile_case(case, prepared)
        session.Session(case, directory, record, limits, time.monotonic() + limits.total).run(guest, program)
    experiment.judge(record, directory, scenario)
    assert record.ending_detail == "", record.ending_detail
    errors = {f.id: f.message for f in record.findings if f.outcome in (Outcome.ERROR, Outcome.SKIP)}
    assert not errors, errors
    return {f.id for f in record.findings if f.outcome is Outcome.FAIL}


@pytest.mark.parametrize(("kernel", "userland"), [OLDEST, NEWEST])
@pytest.mark.parametrize("name", SCENARIOS)
def test_each_control_fails_exactly_what_it_names(name: str, kernel: str, userland: str, tmp_path: Path) -> None:
    scenario = experiment.find_scenario(name)
    assert scenario.controls
    choice = Choice(kernel=kernel, userland=userland)
    prepared = prepare(choice)
    shared = [c for c in scenario.controls if not (c.settings.append or c.settings.sysctls)]
    wrong: dict[str, tuple[set[str], set[str]]] = {}

    def judge(control: Control, guest: Guest) -> None:
        failed = outcome_under(control, scenario, prepared, guest, tmp_path)
        if failed != set(control.fails):
            wrong[control.name] = (failed, set(control.fails))

    with Guest(prepared.recipe, host.limits()) as guest:
        for control in [Control("nothing-changed", (), Settings()), *shared]:
            judge(control, guest)
    for control in scenario.controls:
        if control not in shared:
            recipe = replace(prepared.recipe, append=session.merge(scenario.settings, control.settings).append)
            with Guest(recipe, host.limits()) as guest:
                judge(control, guest)
    assert wrong == {}, "control: (failed, should fail)"
