"""The address space at each checkpoint: mappings, and what became of them since the one before."""

from __future__ import annotations

from typing import Any

from orchestrator.inspection.moment import Run
from orchestrator.report.story import moments


def data(run: Run) -> dict[str, Any] | None:
    """The mappings of each checkpoint."""
    found = list(moments(run.record, run.directory.path))
    return {"steps": [[[f"{v.start:#x}", f"{v.end:#x}", v.perms, v.name] for v in one.vmas] for one in found]}
