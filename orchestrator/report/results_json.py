"""Results as JSON: of one run its record (run.json), of one matrix its record (matrix.json), else a document of all
cases (schema/results.schema.json). Pure."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from enum import StrEnum
from typing import Any

from orchestrator.matrix import record as matrix_record
from orchestrator.report import json as run_json
from orchestrator.report.results import CaseResult, Results

SCHEMA = 1


def render(results: Results) -> str:
    """Indented JSON with a final newline."""
    if not results.notes and not results.matrices and len(results.cases) == 1 and results.cases[0].record:
        return run_json.render(results.cases[0].record)
    if _is_as_recorded(results):
        return matrix_record.to_json(results.matrices[0][1])
    return json.dumps(_document(results), indent=1, ensure_ascii=True) + "\n"


def _is_as_recorded(results: Results) -> bool:
    """Whether matrix.json says all that there is: one matrix, and its runs agree with it."""
    if len(results.matrices) != 1 or results.notes:
        return False
    record = results.matrices[0][1]
    codes = [case.exit_code for case in record.cases]
    return codes == [case.exit_code for case in results.cases] and results.exit_code == record.exit_code


def _document(results: Results) -> dict[str, Any]:
    return {
        "schema": SCHEMA, "kind": "results", "title": results.title, "place": str(results.place), "lab": results.lab,
        "started": results.started, "seconds": results.seconds, "exit_code": results.exit_code,
        "counts": _counts(case.verdict for case in results.cases), "notes": list(results.notes),
        "cases": [_case(case) for case in results.cases],
    }  # fmt: skip


def _case(case: CaseResult) -> dict[str, Any]:
    return {
        "name": case.name, "scenario": case.scenario, "kernel": case.kernel, "userland": case.userland,
        "verdict": case.verdict.value, "ending": case.ending.value if case.ending else None, "detail": case.detail,
        "exit_code": case.exit_code, "directory": str(case.directory) if case.directory else None,
        "release": case.release, "glibc": case.glibc, "accelerator": case.accelerator, "lab": case.lab,
        "started": case.started, "seconds": case.seconds, "first": case.first,
        "older": case.older, "digest": record.digest.sha256 if (record := case.record) and record.digest else None,
        "counts": _counts(finding.outcome for finding in case.findings),
        "findings": [asdict(finding) for finding in case.findings],
    }  # fmt: skip


def _counts(words: Iterable[StrEnum]) -> dict[str, int]:
    return {word.value: number for word, number in Counter(words).items()}
