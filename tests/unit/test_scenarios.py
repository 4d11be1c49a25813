"""Every scenario of the lab: it loads and lints, each expectation has a control, together they cover the claims."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from orchestrator import claims, lint, scenario

HOME = Path(__file__).parents[2] / "scenarios"
NAMES = scenario.names([HOME])
CATALOGUE = claims.catalogue([HOME, *(HOME / name for name in NAMES)])
# Claims wanted at level P or T that no scenario names yet: this list must only shrink.
NOT_YET: tuple[str, ...] = ()
OPENING = re.compile(r"(?:/\* SPDX-License-Identifier: MIT \*/|// SPDX-License-Identifier: MIT)\n/\*")
SOURCE = re.compile(r"\(\d?\w*\)|\.(?:[chS]|rst|txt)\b|\b[0-9a-f]{10,12}\b")  # f(), brk(2), mm/mmap.c, a commit


def test_there_are_scenarios() -> None:
    assert {"brk", "page-fault", "threads", "stack-overflow", "malloc", "malloc-stress"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_it_is_named_as_its_folder_and_says_what_it_shows(name: str) -> None:
    made = scenario.load(HOME / name)
    assert made.name == name
    assert len(made.summary) > 20 and made.sources
    for program in made.programs:
        assert OPENING.match(program.read_text()), f"{program.name} does not open by saying what it shows"


@pytest.mark.parametrize("name", NAMES)
def test_lint_finds_nothing(name: str) -> None:
    """Neither a mistake nor what looks like one: unknown names and macros, variants that leave a case out."""
    messages = lint.lint(scenario.load(HOME / name), CATALOGUE, None)
    assert [str(message) for message in messages] == []


@pytest.mark.parametrize("name", NAMES)
def test_every_expectation_has_a_control(name: str) -> None:
    without = scenario.without_control(scenario.load(HOME / name))
    assert len(without) == 0, f"{len(without)} expectations of {name} have no negative control: {', '.join(without)}"


@pytest.mark.parametrize("name", NAMES)
def test_every_fact_has_reason_and_source(name: str) -> None:
    for expectation in scenario.load(HOME / name).expectations:
        for variant in expectation.variants:
            assert len(variant.because) > 20, f"{expectation.id}: {variant.because}"
            assert SOURCE.search(variant.source), f"{expectation.id}: {variant.source}"


def test_every_claim_at_level_p_or_t_is_named_by_a_scenario() -> None:
    named = {claim for name in NAMES for claim in scenario.load(HOME / name).claims}
    wanted = {claim.id for claim in CATALOGUE.values() if {"P", "T"} & set(claim.wanted)}
    assert wanted - named == set(NOT_YET), "claims without a scenario; one that has one now leaves NOT_YET"


def test_every_claim_of_a_scenario_is_stated() -> None:
    assert {claim for name in NAMES for claim in scenario.load(HOME / name).claims} <= set(CATALOGUE)
