"""docs/claims.md and docs/claims.json: the ledger of the last full matrix, as the scenarios are now."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from orchestrator import claims, fingerprint, ledger, scenario
from orchestrator.errors import UsageError
from orchestrator.ledger import Ledger, Pair, Word
from orchestrator.model import Scenario
from orchestrator.pieces import catalogue as images
from orchestrator.pieces import lock
from orchestrator.report import claims_json, claims_markdown
from orchestrator.versions import series

ROOT = Path(__file__).parents[2]
JSON, PAGE = ROOT / "docs/claims.json", ROOT / "docs/claims.md"
AGAIN = "run `lab matrix -k '*' -o DIR`, then `lab claims DIR --publish docs`"
WORDS = "only words or claims have changed, no check: run `lab claims docs/claims.json --publish docs` (no guest)"
# Claims that no scenario proves at their level P or T yet; this list must only shrink.
NOT_YET: tuple[str, ...] = ()


@pytest.fixture(scope="module")
def published() -> Ledger:
    try:
        return claims_json.parse(JSON.read_text(encoding="utf-8"), str(JSON))
    except (OSError, UsageError) as error:
        pytest.fail(f"{AGAIN}; {error}")


def scenarios() -> list[Scenario]:
    return [scenario.load(file.parent) for file in sorted((ROOT / "scenarios").glob("*/scenario.yaml"))]


def catalogue_pairs() -> list[Pair]:
    """All kernels with all glibcs of images/."""
    known = images.load(ROOT / "images")
    locked = lock.read(ROOT / "images" / images.LOCK)
    glibcs = [series(locked[f"userland/{name}"].version) for name in known.userlands]
    return [Pair(kernel, glibc) for kernel in known.kernels for glibc in glibcs]


def test_the_page_is_what_the_data_says(published: Ledger) -> None:
    assert PAGE.read_text(encoding="utf-8") == claims_markdown.render(published), WORDS
    assert JSON.read_text(encoding="utf-8") == claims_json.render(published), WORDS


def test_the_claims_and_expectations_are_those_of_the_scenarios(published: Ledger) -> None:
    programs = {made.name: fingerprint.of_program(made) for made in scenarios()}
    changed = {name for name, program in programs.items() if published.programs.get(name) != program}
    assert not changed, f"{AGAIN}; with another program, settings or trace since: {sorted(changed)}"
    here = {(e.claim, made.name, e.id, ledger.digest(e)) for made in scenarios() for e in made.expectations}
    there = {(row.claim.id, p.scenario, p.id, p.digest) for row in published.rows for p in row.proofs}
    assert here == there, f"{AGAIN}; not the same in docs/claims.json: {sorted({name[:3] for name in here ^ there})}"
    catalogue = claims.catalogue([ROOT / "scenarios", *(made.directory for made in scenarios())])
    now = ledger.refreshed(published, catalogue, scenarios(), programs)
    assert now == published, WORDS


def test_every_claim_that_can_be_proved_has_a_verdict_everywhere(published: Ledger) -> None:
    wrong = []
    for row in published.rows:
        if not {"P", "T"} & set(row.claim.wanted) or row.claim.id in NOT_YET:
            continue
        cells = row.cells()
        for pair in catalogue_pairs():
            word = cells.get(pair, Word.NOT_RUN)
            if word in (Word.FAILED, Word.ERROR, Word.NOT_RUN):
                wrong.append(f"{row.claim.id} on {pair.kernel} with {pair.glibc}: {word.value}")
    assert not wrong, f"{AGAIN}; {len(wrong)} cells without a verdict: {', '.join(wrong[:20])}"


def test_claims_that_are_not_yet_proved_are_named_only_as_long(published: Ledger) -> None:
    proved = {row.claim.id for row in published.rows if row.proofs}
    assert not proved & set(NOT_YET)


def test_no_path_of_a_machine_is_in_it() -> None:
    for file in (JSON, PAGE):
        text = file.read_text(encoding="utf-8")
        found = re.search(r"(?:^|[\s\"'`(])/(?:home|root|work|tmp|mnt|srv|usr/local|var|opt|Users)/", text)
        assert found is None, found


def test_every_link_of_the_page_leads_somewhere() -> None:
    text = PAGE.read_text(encoding="utf-8")
    heads = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}
    for target in set(re.findall(r"(?<!\\)\]\(([^)\s]+)\)", text)):
        known = target[1:] in anchors if target.startswith("#") else (PAGE.parent / target).is_file()
        assert known, f"{target}: {WORDS}"
