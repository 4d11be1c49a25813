"""Data and assets as parts of an HTML file: nothing in them can end the element that they stand in."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

from markupsafe import Markup

from orchestrator.report.text import clean

ASSETS = Path(__file__).parent / "assets"
_ESCAPES = {ord(char): f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"}


def data(value: Any) -> Markup:
    """JSON for a ``<script type="application/json">``.

    Every text in it is cleaned: control characters and bidirectional ones are shown, and do nothing.
    """
    text = json.dumps(_cleaned(value), ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return Markup(text.translate(_ESCAPES))


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return clean(value, max(len(value), 1))
    if isinstance(value, dict):
        return {clean(str(key), 200): _cleaned(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_cleaned(inner) for inner in value]
    return value


def asset(name: str) -> Markup:
    """A script or style sheet of ours, as it is. Raises OSError if there is none of that name."""
    text = (ASSETS / name).read_text(encoding="utf-8")
    if "</s" in text.lower() or "<!--" in text:
        raise ValueError(f"{name} would end its own element")
    return Markup(text)


def digest(text: str) -> str:
    """What a content security policy calls an inline script or style: 'sha256-…'."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
