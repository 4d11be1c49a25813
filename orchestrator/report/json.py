"""The report of one run as JSON: the record itself, as in run.json (schema/run.schema.json)."""

from __future__ import annotations

from orchestrator.rundir import RunRecord, to_json


def render(record: RunRecord) -> str:
    """The record as indented JSON with a final newline."""
    return to_json(record)
