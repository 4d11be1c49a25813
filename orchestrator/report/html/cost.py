"""The picture of what windows of the program cost, in instructions."""

from __future__ import annotations

from typing import Any

from orchestrator.costs import NOT_MODELLED, of_run
from orchestrator.inspection.moment import Run
from orchestrator.report.text import clean


def data(run: Run) -> dict[str, Any] | None:
    """{"rows": [{"name", "group", "count", "step", "file", "line"}], "says"}; None where nothing was counted."""
    rows = [
        {"name": clean(one.name, 64), "group": clean(one.group, 64), "count": one.instructions,
         "step": one.checkpoint.index, "file": one.file, "line": one.line}
        for one in of_run(run)
    ]  # fmt: skip
    if not rows:
        return None
    return {"rows": rows, "says": NOT_MODELLED, "evidence": [[row["file"], row["line"]] for row in rows]}
