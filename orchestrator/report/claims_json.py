"""The ledger as JSON, and read back: what docs/claims.json holds. Pure.

Results are grouped: {"verdict", "form", "message", "pairs": {kernel: [glibc, …]}}; ``runs`` says by scenario,
kernel and glibc where the findings are (empty where the ledger was published). Each form and each result is
on a line of its own, so that a difference can be read.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from orchestrator.claims import Claim
from orchestrator.errors import UsageError
from orchestrator.ledger import Form, Ledger, LeftOut, Pair, Proof, Result, Row, Word
from orchestrator.model import Verdict

SCHEMA = 1
_OPEN = 6  # levels of brackets that get a line for each item


def render(ledger: Ledger) -> str:
    """The ledger with a final newline."""
    data = {
        "schema": SCHEMA,
        "lab": ledger.lab,
        "kernels": dict(ledger.kernels),
        "glibcs": dict(ledger.glibcs),
        "programs": dict(ledger.programs),
        "runs": _runs(ledger),
        "left_out": [[item.path, item.reason] for item in ledger.left_out],
        "older": ledger.older,
        "claims": [_row(row) for row in ledger.rows],
    }
    return _text(data, 0) + "\n"


def _text(value: object, depth: int) -> str:
    """JSON with a line for each item down to some depth, and compact below it."""
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if depth >= _OPEN or not any(isinstance(item, dict | list) for item in items):
        return json.dumps(value, ensure_ascii=False)
    lines = [_text(item, depth + 1) for item in items]
    if isinstance(value, dict):
        lines = [f"{json.dumps(key)}: {line}" for key, line in zip(value, lines, strict=True)]
    inner = ",\n".join(" " * (depth + 1) + line for line in lines)
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    return f"{opening}\n{inner}\n{' ' * depth}{closing}"


def _runs(ledger: Ledger) -> dict[str, dict[str, dict[str, str]]]:
    found: dict[str, dict[str, dict[str, str]]] = {}
    for (scenario, pair), path in ledger.runs.items():
        found.setdefault(scenario, {}).setdefault(pair.kernel, {})[pair.glibc] = path
    return found


def _row(row: Row) -> dict[str, Any]:
    claim = row.claim
    return {
        "id": claim.id, "topic": claim.topic, "statement": claim.statement, "wanted": list(claim.wanted),
        "reached": list(row.reached), "verdict": row.verdict.value, "cells": _by_kernel(row.cells()),
        "expectations": [_proof(proof) for proof in row.proofs],
    }  # fmt: skip


def _by_kernel(cells: Mapping[Pair, Word]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for pair, word in cells.items():
        found.setdefault(pair.kernel, {})[pair.glibc] = word.value
    return found


def _proof(proof: Proof) -> dict[str, Any]:
    forms = [
        {"when": f.when, "because": f.because, "source": f.source, "verdict": f.verdict.value, "levels": list(f.levels)}
        for f in proof.forms
    ]
    return {"scenario": proof.scenario, "id": proof.id, "at": proof.at, "digest": proof.digest, "forms": forms,
            "results": _grouped(proof.results)}  # fmt: skip


def _grouped(results: Iterable[Result]) -> list[dict[str, Any]]:
    groups: dict[tuple[Word, int | None, str], dict[str, list[str]]] = {}
    for result in results:
        pairs = groups.setdefault((result.word, result.form, result.message), {})
        pairs.setdefault(result.pair.kernel, []).append(result.pair.glibc)
    return [
        {"verdict": word.value, "form": form, **({"message": message} if message else {}), "pairs": pairs}
        for (word, form, message), pairs in groups.items()
    ]


def parse(text: str, where: str) -> Ledger:
    """The ledger that was rendered so. Raises UsageError naming ``where`` if the text is no such thing."""
    try:
        data = json.loads(text)
        if data["schema"] != SCHEMA:
            raise ValueError(f"schema {SCHEMA} expected, found {data['schema']!r}")
        runs = {
            (scenario, Pair(kernel, glibc)): path
            for scenario, kernels in data["runs"].items()
            for kernel, glibcs in kernels.items()
            for glibc, path in glibcs.items()
        }
        left_out = tuple(LeftOut(path, reason) for path, reason in data["left_out"])
        order = {pair: number for number, pair in enumerate(_pairs(data))}
        rows = tuple(_row_of(row, order) for row in data["claims"])
        return Ledger(rows, data["kernels"], data["glibcs"], runs, data["programs"], left_out, data["older"],
                      data["lab"])
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise UsageError(f"{where} is no ledger: {error!r:.200}", "`lab claims --json` writes one") from None


def _pairs(data: Mapping[str, Any]) -> list[Pair]:
    return [Pair(kernel, glibc) for kernel in data["kernels"] for glibc in data["glibcs"]]


def _row_of(data: Mapping[str, Any], order: Mapping[Pair, int]) -> Row:
    claim = Claim(data["id"], data["statement"], data["topic"], tuple(data["wanted"]))
    return Row(claim, tuple(_proof_of(proof, order) for proof in data["expectations"]))


def _proof_of(data: Mapping[str, Any], order: Mapping[Pair, int]) -> Proof:
    forms = tuple(
        Form(f["when"], f["because"], f["source"], Verdict(f["verdict"]), tuple(f["levels"])) for f in data["forms"]
    )
    results = [
        Result(Pair(kernel, glibc), Word(group["verdict"]), group["form"], group.get("message", ""))
        for group in data["results"]
        for kernel, glibcs in group["pairs"].items()
        for glibc in glibcs
    ]
    results.sort(key=lambda result: order[result.pair])
    return Proof(data["scenario"], data["id"], data["at"], data["digest"], forms, tuple(results))
