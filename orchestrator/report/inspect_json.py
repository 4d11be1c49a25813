"""`lab inspect` as JSON: the facts as they are (schema/inspect.schema.json). Pure."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from orchestrator.inspection.facts import Story, View

SCHEMA = 1


def render(answer: Story | View) -> str:
    """The answer as indented JSON with a final newline."""
    data: dict[str, Any] = {"schema": SCHEMA, "is": "story" if isinstance(answer, Story) else "view", **asdict(answer)}
    return json.dumps(data, indent=1, ensure_ascii=False) + "\n"
