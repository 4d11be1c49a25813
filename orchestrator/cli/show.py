"""How a run's record reaches the user: the report on stdout, JSON where it was asked for."""

from __future__ import annotations

import io
import sys
from pathlib import Path

from orchestrator.errors import UsageError
from orchestrator.rundir import RunDirectory, RunRecord


def report(record: RunRecord, directory: RunDirectory, json: Path | None, verbose: bool) -> None:
    """Prints the report, or the JSON where that goes to stdout ("-")."""
    if json is not None:
        from orchestrator.report import json as json_report

        _write(json, json_report.render(record))
    if json is None or str(json) != "-":
        from orchestrator.report import terminal, text

        colour = text.wants_colour(sys.stdout)
        if isinstance(sys.stdout, io.TextIOWrapper):  # guest text is not always what the locale can show
            sys.stdout.reconfigure(errors="backslashreplace")
        sys.stdout.write(terminal.render(record, directory.path, colour=colour, verbose=verbose))


def _write(target: Path, content: str) -> None:
    if str(target) == "-":
        sys.stdout.write(content)
        return
    try:
        target.write_text(content, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write {target}: {error.strerror}") from None
