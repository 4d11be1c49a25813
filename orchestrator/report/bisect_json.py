"""A search as JSON: orchestrator/schema/bisect.schema.json. Pure."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from orchestrator.bisection.model import Bisection, Trial
from orchestrator.bisection.search import Flip
from orchestrator.model import Finding

SCHEMA = 1


def render(found: Bisection) -> str:
    """Indented, with a final newline."""
    question = found.question
    data = {
        "schema": SCHEMA, "lab": found.lab, "scenario": found.scenario,
        "question": {"expectation": question.expectation, "variant": question.variant, "check": question.check,
                     "at": question.at},
        "axis": found.axis, "beside": found.beside, "all": found.every, "state": found.state.value,
        "interrupted": found.interrupted, "exit_code": found.exit_code, "directory": str(found.directory or ""),
        "candidates": [asdict(one) for one in found.candidates],
        "trials": [_trial(found, one) for one in found.trials],
        "boundaries": [_boundary(found, one) for one in found.search.flips],
        "other_forms": [_pair(*pair) for pair in found.other_forms()],
    }  # fmt: skip
    return json.dumps(data, indent=1, ensure_ascii=True) + "\n"


def _trial(found: Bisection, one: Trial) -> dict[str, Any]:
    return {
        "candidate": found.candidates[one.index].name, "mark": one.mark.value, "why": one.why,
        "directory": str(one.directory or ""), "release": one.release, "glibc": one.glibc, "variant": one.variant,
        "exit_code": one.exit_code, "seconds": one.seconds,
    }  # fmt: skip


def _boundary(found: Bisection, flip: Flip) -> dict[str, Any]:
    before, after = found.sides(flip)
    return {
        "before": found.candidates[flip.before].name, "after": found.candidates[flip.after].name,
        "marks": [before.mark.value, after.mark.value], "exact": not flip.between,
        "between": [{"candidate": found.candidates[index].name, "tried": found.trial(index) is not None}
                    for index in flip.between],
        "changed": [_pair(*pair) for pair in found.changed(flip)],
        "known": [_pair(*pair) for pair in found.known(flip)],
    }  # fmt: skip


def _pair(before: Finding | None, after: Finding | None) -> dict[str, Any]:
    return {"before": _finding(before), "after": _finding(after)}


def _finding(one: Finding | None) -> dict[str, Any] | None:
    """As in the record of a run."""
    return None if one is None else asdict(one)
