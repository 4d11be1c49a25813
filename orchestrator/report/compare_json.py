"""A comparison as JSON: orchestrator/schema/compare.schema.json. Pure."""

from __future__ import annotations

import json
from typing import Any

from orchestrator.comparison.model import Comparison, Difference, Matched, Member, Side

SCHEMA = 1


def render(comparison: Comparison) -> str:
    """Indented, with a final newline."""
    data = {
        "schema": SCHEMA, "lab": comparison.lab, "same": comparison.exit_code == 0, "exit_code": comparison.exit_code,
        "rule": comparison.rule, "sides": [_side(one) for one in comparison.sides],
        "cases": [_case(one, comparison.sides) for one in comparison.cases],
        "alone": [{"side": letter, "case": case} for letter, case in comparison.alone],
        "left_out": [{"run": path, "reason": reason} for path, reason in comparison.left_out],
        "statements": dict(comparison.statements),
    }  # fmt: skip
    return json.dumps(data, indent=1, ensure_ascii=True) + "\n"


def _side(one: Side) -> dict[str, Any]:
    return {"letter": one.letter, "name": one.name, "place": one.place, "settings": list(one.settings),
            "runs": [_member(run) for run in one.members]}  # fmt: skip


def _member(run: Member) -> dict[str, Any]:
    return {"path": str(run.path), "scenario": run.scenario, "kernel": run.kernel, "userland": run.userland,
            "release": run.release, "glibc": run.glibc, "identity": run.identity}  # fmt: skip


def _case(case: Matched, sides: tuple[Side, ...]) -> dict[str, Any]:
    letters = [one.letter for one in sides]
    return {
        "name": case.name, "scenario": case.scenario,
        "runs": {letter: [str(run.path) for run in runs] for letter, runs in zip(letters, case.runs, strict=True)},
        "compared": case.compared, "noise": case.noise, "chance": case.chance, "derived": case.derived,
        "broken": list(case.broken), "digest": case.digest or None, "apart": list(case.apart),
        "differences": [_difference(one, letters) for one in case.differences],
    }  # fmt: skip


def _difference(one: Difference, letters: list[str]) -> dict[str, Any]:
    return {
        "topic": one.topic.value, "what": one.what, "claim": one.claim, "also": list(one.also), "finding": one.finding,
        "places": [{"at": spot.at, "values": dict(zip(letters, (value or None for value in spot.values), strict=True))}
                   for spot in one.spots],
        "explained": bool(one.reasons),
        "reasons": [{"sides": list(why.sides), "because": why.because, "source": why.source, "when": why.when}
                    for why in one.reasons],
        "evidence": [{"side": letter, "file": line.file, "line": line.line, "text": line.text}
                     for letter, line in one.evidence],
    }  # fmt: skip
