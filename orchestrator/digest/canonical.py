"""One JSON text for one value, and its SHA-256: the same on every host, in every Python."""

from __future__ import annotations

import hashlib
import json


def text(value: object) -> str:
    """JSON with sorted keys, without blanks, in ASCII. Raises ValueError for what has no one form (NaN), TypeError for
    what is no JSON."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def sha256(value: object) -> str:
    """Hexadecimal, of the text."""
    return hashlib.sha256(text(value).encode("ascii")).hexdigest()
