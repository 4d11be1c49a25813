"""Negative controls: under each, exactly the expectations that it names fail.

Each runs on the oldest or the newest pair, in turn; on both if one of the expectations has variants, as another check
is to fail there. LAB_ALL_CONTROLS=1 (`make controls`) runs all of them on both. Controls share a boot (labrun restores
the sysctls that it changed); those with boot options have their own.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import NEWEST, OLDEST

from orchestrator import experiment, host, inspector, judgement, recording, scenario, session
from orchestrator.inspector import Inspector
from orchestrator.machine.guest import Guest
from orchestrator.model import Case, Control, Outcome, Scenario, Settings
from orchestrator.prepare import Choice, Prepared, prepare
from orchestrator.rundir import RunDirectory

ROOT = Path(__file__).parents[2]
FOLDERS = [*(ROOT / "scenarios" / name for name in scenario.names((ROOT / "scenarios",))), ROOT / "docs/life"]


def controls_on(wanted: Scenario, pair: tuple[str, str]) -> list[Control]:
    """Those that this pair is to have."""
    several = {expectation.id for expectation in wanted.expectations if len(expectation.variants) > 1}
    turn = (OLDEST, NEWEST).index(pair)
    return [control for number, control in enumerate(wanted.controls)
            if os.environ.get("LAB_ALL_CONTROLS") or number % 2 == turn or several & set(control.fails)]  # fmt: skip


def case_of(wanted: Scenario, prepared: Prepared, control: Control) -> Case:
    settings = recording.merge(wanted.settings, control.settings)
    return Case(wanted, prepared.kernel, prepared.userland, prepared.emulator, settings, inspect=wanted.inspect)


def outcome_under(case: Case, control: Control, prepared: Prepared, guest: Guest, looking: Inspector | None,
                  place: Path) -> set[str]:
    """The ids of the expectations that fail under the control; anything in error fails the test."""
    wanted = case.scenario
    directory = RunDirectory.create(place / control.name)
    record = recording.new_record(case, {"accelerator": prepared.accelerator.name})
    limits = host.limits(wanted.timeout)
    with recording.recorded(record, directory):
        program = experiment.compile_case(case, prepared)
        session.Session(case, directory, record, limits, time.monotonic() + limits.total, looking).run(guest, program)
    judgement.judge(record, directory, wanted)
    assert record.ending_detail == "", record.ending_detail
    errors = {f.id: f.message for f in record.findings if f.outcome in (Outcome.ERROR, Outcome.SKIP)}
    assert not errors, errors
    return {f.id for f in record.findings if f.outcome is Outcome.FAIL}


def in_guests_of_their_own(wanted: Scenario, controls: Sequence[Control], choice: Choice, place: Path) -> None:
    """The same for a scenario whose guests are deterministic: each has one case in it."""
    prepared = prepare(replace(choice, deterministic=True))
    for control in [Control("nothing-changed", (), Settings()), *controls]:
        case = case_of(wanted, prepared, control)
        directory = RunDirectory.create(place / control.name)
        record = recording.new_record(case, {"accelerator": "tcg"})
        program = experiment.compile_case(case, prepared)
        session.run_case(case, prepared.recipe, program, directory, record, host.limits(wanted.timeout))
        judgement.judge(record, directory, wanted)
        assert record.ending_detail == "", record.ending_detail
        found = {f.id: f.outcome for f in record.findings if f.outcome is not Outcome.PASS}
        assert found == dict.fromkeys(control.fails, Outcome.FAIL), control.name


@pytest.mark.timeout(3600)  # malloc has more than fifty controls, of five to thirty seconds each
@pytest.mark.parametrize(("kernel", "userland"), [OLDEST, NEWEST])
@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_each_control_fails_exactly_what_it_names(folder: Path, kernel: str, userland: str, tmp_path: Path) -> None:
    wanted = scenario.load(folder)
    controls = controls_on(wanted, (kernel, userland))
    assert controls
    choice = Choice(kernel=kernel, userland=userland, append=wanted.settings.append)
    if wanted.deterministic:
        in_guests_of_their_own(wanted, controls, choice, tmp_path)
        return
    prepared = prepare(choice)
    shared = [c for c in controls if not c.settings.append]
    wrong: dict[str, tuple[set[str], set[str]]] = {}

    @contextlib.contextmanager
    def looking_inside(control: Control) -> Iterator[Inspector | None]:
        """One inspector for each guest."""
        looking = inspector.make(case_of(wanted, prepared, control), prepared)
        with contextlib.ExitStack() as stack:
            if looking is not None:
                stack.callback(looking.close)
            yield looking

    def judge(control: Control, guest: Guest, looking: Inspector | None) -> None:
        failed = outcome_under(case_of(wanted, prepared, control), control, prepared, guest, looking, tmp_path)
        if failed != set(control.fails):
            wrong[control.name] = (failed, set(control.fails))

    unchanged = Control("nothing-changed", (), Settings())
    with Guest(prepared.recipe, host.limits()) as guest, looking_inside(unchanged) as looking:
        for control in [unchanged, *shared]:
            judge(control, guest, looking)
    for control in controls:
        if control not in shared:
            recipe = replace(prepared.recipe, append=recording.merge(wanted.settings, control.settings).append)
            with Guest(recipe, host.limits()) as guest, looking_inside(control) as looking:
                judge(control, guest, looking)
    assert wrong == {}, "control: (failed, should fail)"
