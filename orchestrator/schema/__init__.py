"""The published JSON schemas (2020-12) of what the lab writes."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any


def load(name: str = "run") -> dict[str, Any]:
    """A schema by name: "run" is that of run.json."""
    text = resources.files(__name__).joinpath(f"{name}.schema.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema
