"""Guests without warm start: a note beside the states, so that later runs boot at once.

A note is named as the guest's state would be. It bars a guest whose init says that it can't be made its own, or which
failed twice in a row: neither of two states brought a guest up, or neither of two boots could be saved. Once may be an
accident. After a week it counts no more: an accident must not last, and a guest that fails again costs a boot a week.
"""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

FORMAT = 1
LASTS = 7 * 86400.0  # seconds
TRIES = 2
MOST = 200  # notes; the oldest ones go
MAX_NOTE = 8192  # characters
MAX_REASON = 400  # characters of what may be a guest's own words
SUFFIX = ".cold"


@dataclass(frozen=True)
class Note:
    """What a note holds. ``tries`` names the states, or the boots for one, that failed."""

    format: int
    reason: str
    certain: bool
    tries: list[str]


def why(folder: Path, key: str) -> str:
    """Why the guest of that key has no warm start, and until when that counts; empty if it may have one."""
    note = _read(folder / f"{key}{SUFFIX}")
    if note is None or not (note.certain or len(note.tries) >= TRIES):
        return ""
    until = time.strftime("%Y-%m-%d", time.gmtime(_written(folder / f"{key}{SUFFIX}") + LASTS))
    return f"{note.reason} (tried again after {until})"


def add(folder: Path, key: str, failed: str, reason: str, *, certain: bool = False) -> None:
    """Notes that a state of that key, or the boot for one, ``failed``, each named otherwise; ``certain``: that no other
    one will do better."""
    path = folder / f"{key}{SUFFIX}"
    before = _read(path)
    tries = [*(one for one in (before.tries if before else ()) if one != failed), failed][-TRIES:]
    reason = "".join(filter(str.isprintable, reason))[:MAX_REASON]
    note = Note(FORMAT, reason, certain or (before is not None and before.certain), tries)
    with contextlib.suppress(OSError):  # only a memory: without it the next run tries again
        path.write_text(json.dumps(asdict(note)) + "\n", encoding="utf-8")  # half a note counts as none
        found = sorted(folder.glob(f"*{SUFFIX}"), key=_written)
        for number, old in enumerate(found):
            if number < len(found) - MOST or _written(old) + LASTS < time.time():
                old.unlink(missing_ok=True)


def lift(folder: Path, key: str) -> None:
    """Forgets what was noted: a guest came up."""
    with contextlib.suppress(OSError):
        (folder / f"{key}{SUFFIX}").unlink(missing_ok=True)


def _read(path: Path) -> Note | None:
    """None where there is no note, or none that still counts, or that can be read."""
    try:
        with path.open(encoding="utf-8") as stream:
            note = Note(**json.loads(stream.read(MAX_NOTE)))
    except (OSError, ValueError, TypeError):
        return None
    good = note.format == FORMAT and isinstance(note.reason, str) and isinstance(note.tries, list)
    return note if good and time.time() < _written(path) + LASTS else None


def _written(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
