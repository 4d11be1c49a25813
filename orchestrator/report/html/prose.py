"""Our own texts as a page shows them: what stands between backticks is code. Pure."""

from __future__ import annotations

from markupsafe import Markup

from orchestrator.report.html.shell import MAX_TEXT
from orchestrator.report.text import clean


def prose(text: str) -> Markup:
    """The text, escaped, with its `names` as code."""
    parts = clean(text, MAX_TEXT).split("`")
    if len(parts) % 2 == 0:  # a backtick without its twin
        parts = ["`".join(parts)]
    return Markup("").join(Markup("<code>{}</code>").format(part) if place % 2 else part
                           for place, part in enumerate(parts))  # fmt: skip
