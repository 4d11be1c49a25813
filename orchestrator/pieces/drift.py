"""What was resolved in place of the lock's entries, because the mirror no longer serves those: kept in the cache."""

from __future__ import annotations

import json
from pathlib import Path

from orchestrator.pieces import lock
from orchestrator.pieces.lock import Locked


def read(path: Path, id_: str, key: str) -> tuple[Locked, str] | None:
    """What was resolved earlier for the piece, and why, as long as ``key`` is what it was resolved for."""
    try:
        record = json.loads(path.read_text())
        if record["lock"] != key:
            return None
        return lock.parse(id_, record["found"]), str(record["reason"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write(path: Path, key: str, found: Locked, reason: str) -> None:
    """Records what was resolved."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"lock": key, "reason": reason, "found": lock.as_data(found)}, indent=1))
