"""How results reach the user: the report on stdout, files where they were asked for."""

from __future__ import annotations

import io
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.rundir import RunDirectory, RunRecord

if TYPE_CHECKING:
    from orchestrator.cli.outputs import Outputs
    from orchestrator.report.results import Results


def report(record: RunRecord, directory: RunDirectory, outputs: Outputs, verbose: bool) -> None:
    """Prints the report of one run, unless a file takes stdout, and writes the files that were asked for."""
    from orchestrator.report import results as model

    if not outputs.stdout:
        _run(record, directory.path, verbose, picture=verbose)
    outputs.write(lambda: model.of_run(record, directory.path))


def _run(record: RunRecord, directory: Path, verbose: bool, picture: bool) -> None:
    from orchestrator.report import terminal, terminal_map, text

    signs = terminal_map.UNICODE if text.is_unicode(sys.stdout) else terminal_map.ASCII
    put(terminal.render(record, directory, width=page_width(), colour=text.wants_colour(sys.stdout), verbose=verbose,
                        signs=signs if picture else None))


def results(found: Results, verbose: bool) -> None:
    """Prints the report of results: of one run as that run's, else a table of all cases."""
    from orchestrator.report import results_terminal, text

    one = found.cases[0] if len(found.cases) == 1 and not found.matrices else None
    if one is not None and one.record is not None and one.directory is not None:
        _run(one.record, one.directory, verbose, picture=True)
        return
    put(results_terminal.render(found, width=page_width(), colour=text.wants_colour(sys.stdout)))


def summary(found: Results, outputs: Outputs) -> None:
    """Prints one line on what the files say."""
    from orchestrator.report import results_terminal

    names = ", ".join(str(path) for path in outputs.wanted.values())
    put(results_terminal.summary(found, names))


def page_width() -> int:
    """The columns of a report on stdout."""
    from orchestrator.report import text

    return min(max(shutil.get_terminal_size().columns, 60), 120) if text.is_terminal(sys.stdout) else 80


def put(content: str) -> None:
    """Prints on stdout; who stops reading loses only the text."""
    from orchestrator.report.text import inert

    if isinstance(sys.stdout, io.TextIOWrapper):  # guest text is not always what the locale can show
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        sys.stdout.write(inert(content))
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # no second error at exit; the exit code stays the run's
