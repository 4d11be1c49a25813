"""`lab list` and `lab doctor`: what there is, and what is wrong."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer


def list_(
    name: Annotated[str | None, typer.Argument(help="A scenario: show its claims and expectations.")] = None,
) -> None:
    """List the scenarios; or one scenario's claims, expectations, controls and needs."""
    from orchestrator import scenario_folders

    folders = scenario_folders.folders()
    if name is None:
        _all(folders)
        return
    from orchestrator import runs, scenario
    from orchestrator.cli import show
    from orchestrator.report import scenario_terminal, text

    wanted = scenario.find(name, folders)
    colour = text.wants_colour(sys.stdout)
    show.put(scenario_terminal.render(wanted, runs.catalogue_of([wanted]), width=show.page_width(), colour=colour))


def _all(folders: Sequence[Path]) -> None:
    """A line for each scenario; one that can't be read says so in its line."""
    from orchestrator import scenario_folders
    from orchestrator.errors import UsageError

    for found in scenario_folders.names(folders):
        try:
            typer.echo(f"{found:16} {scenario_folders.summary(found, folders)}")
        except UsageError as error:
            typer.echo(f"{found:16} can't be read: {error.message}")


def doctor() -> None:
    """Show this host, QEMU, accelerator, tools, cache and speed, and what to do about what is wrong."""
    from orchestrator import doctor as examination
    from orchestrator.report import text

    paint = text.Paint(text.wants_colour(sys.stdout))
    colours = {"ok": "green", "note": "yellow", "wrong": "red"}
    worst = 0
    for check in examination.examine():
        typer.echo(f"{paint(f'{check.state:5}', colours[check.state])}  {check.name:12} {check.detail}")
        if check.advice and check.state != "ok":
            typer.echo(f"{'':20} -> {check.advice}")
        worst = max(worst, 3 if check.state == "wrong" else 0)
    raise typer.Exit(worst)
