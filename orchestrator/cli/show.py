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
        width = min(max(shutil.get_terminal_size().columns, 60), 120) if text.is_terminal(sys.stdout) else 80
        _print(terminal.render(record, directory.path, width=width, colour=colour, verbose=verbose))
    if json is not None:
        from orchestrator.report import json as json_report

        _write(json, json_report.render(record))


def check_target(json: Path | None) -> None:
    """Raises UsageError if a file could not be written there: before the work, not after it."""
    if json is not None and str(json) != "-" and not (json.parent.is_dir() and os.access(json.parent, os.W_OK)):
        raise UsageError(f"cannot write {json}: {json.parent} is no folder that can be written")


def _print(content: str) -> None:
    if isinstance(sys.stdout, io.TextIOWrapper):  # guest text is not always what the locale can show
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        sys.stdout.write(content)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # no second error at exit; the exit code stays the run's


def _write(target: Path, content: str) -> None:
    if str(target) == "-":
        _print(content)
        return
    try:
        target.write_text(content, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write {target}: {error.strerror}") from None
