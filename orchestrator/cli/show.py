"""How a run's record reaches the user: the report on stdout, JSON where it was asked for."""

from __future__ import annotations

import io
import os
import shutil
import sys
from pathlib import Path

from orchestrator.errors import UsageError
from orchestrator.rundir import RunDirectory, RunRecord


def report(record: RunRecord, directory: RunDirectory, json: Path | None, verbose: bool) -> None:
    """Prints the report, or the JSON where that goes to stdout ("-"). Who stops reading loses only the text."""
    if json is None or str(json) != "-":
        from orchestrator.report import terminal, text

        colour = text.wants_colour(sys.stdout)
        put(terminal.render(record, directory.path, width=page_width(), colour=colour, verbose=verbose))
    if json is not None:
        from orchestrator.report import json as json_report

        write(json, json_report.render(record))


def page_width() -> int:
    """The columns of a report on stdout."""
    from orchestrator.report import text

    return min(max(shutil.get_terminal_size().columns, 60), 120) if text.is_terminal(sys.stdout) else 80


def check_target(json: Path | None) -> None:
    """Raises UsageError if a file could not be written there: before the work, not after it."""
    if json is not None and str(json) != "-" and not (json.parent.is_dir() and os.access(json.parent, os.W_OK)):
        raise UsageError(f"cannot write {json}: {json.parent} is no folder that can be written")


def put(content: str) -> None:
    """Prints on stdout; who stops reading loses only the text."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # guest text is not always what the locale can show
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        sys.stdout.write(content)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # no second error at exit; the exit code stays the run's


def write(target: Path, content: str) -> None:
    """Writes a file; "-" is stdout. Raises UsageError if it can't be written."""
    if str(target) == "-":
        put(content)
        return
    try:
        target.write_text(content, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write {target}: {error.strerror}") from None
