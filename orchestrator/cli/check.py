"""`lab check`: evaluates run directories again, without a guest."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli import options


def check(
    directory: Annotated[Path, typer.Argument(help="A run directory.")],
    scenario: Annotated[
        str | None, typer.Option("--scenario", help="Another scenario (or version) than the run names.")
    ] = None,
    json: options.Json = None,
    junit: options.Junit = None,
    ktap: options.Ktap = None,
    html: options.Html = None,
    markdown: options.Markdown = None,
    github: options.Github = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show checks, values and sources of passing findings.")
    ] = False,
) -> None:
    """Evaluate the evidence of a run again, against the scenario as it is now. Changes nothing there."""
    from orchestrator import judgement
    from orchestrator.cli import show
    from orchestrator.cli.outputs import Outputs

    outputs = Outputs(json=json, junit=junit, ktap=ktap, html=html, markdown=markdown, github=github)
    outputs.check()
    record, place = judgement.check(directory, scenario)
    show.report(record, place, outputs, verbose)
    raise typer.Exit(record.exit_code)
