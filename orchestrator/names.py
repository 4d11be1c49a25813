"""Names for people: the nearest one that exists, and what a signal's number is called."""

from __future__ import annotations

import difflib
import signal
from collections.abc import Iterable


def nearest(word: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """The words "; did you mean …?" with the nearest of the known ones, or nothing."""
    close = difflib.get_close_matches(word[:100], list(known)[:5000], n=3, cutoff=cutoff)
    return f"; did you mean {' or '.join(close)}?" if close else ""


def signal_name(number: int) -> str:
    """SIGSEGV for 11; "signal 99" for one without a name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
