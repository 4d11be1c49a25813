"""A file that an option names, or stdout: whether it could be written, and how it is."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from orchestrator.errors import UsageError


def check(target: Path | None) -> None:
    """Raises UsageError if a file could not be written there: before the work, not after it."""
    if target is None or str(target) == "-":
        return
    if not (target.parent.is_dir() and os.access(target.parent, os.W_OK)):
        raise UsageError(f"cannot write {target}: {target.parent} is no folder that can be written")
    if target.is_dir():
        raise UsageError(f"cannot write {target}: it is a folder")


def write(target: Path, content: str) -> None:
    """Writes a file; "-" is stdout. Raises UsageError if it can't be written."""
    if str(target) == "-":
        _put_bytes(content.encode(errors="backslashreplace"))
        return
    try:
        target.write_text(content, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise UsageError(f"cannot write {target}: {error.strerror}") from None


def _put_bytes(content: bytes) -> None:
    """Puts a document on stdout as it would stand in a file, whatever the locale."""
    raw = getattr(sys.stdout, "buffer", None)
    if raw is None:  # a test's own stdout
        sys.stdout.write(content.decode())
        return
    sys.stdout.flush()
    try:
        raw.write(content)
        raw.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
