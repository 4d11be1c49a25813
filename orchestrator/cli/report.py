"""`lab report`: results of runs and matrices, for people, browsers and CI systems."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli import options

_HELP = "\n\n".join((  # a paragraph each: the terminal breaks the lines
    "Report what is in DIR, as it was found when it ran: nothing is run, or evaluated again (`lab check` does that).",
    "What was planned and never ran, and what can't be read, is shown as that. The same case found twice counts once, "
    "the newest.",
    "Shards of one matrix (`lab matrix --shard`) are put together: a shard that is missing, or is of another version, "
    "lock or selection, is said, and is no success.",
    "Without an option the report is on the terminal. --json is run.json of one run, matrix.json of one matrix, else a "
    "document of all cases.",
    "Exit code: that of the worst case, in the order 130, 4, 5, 1, 3, 2, 0.",
))  # fmt: skip


def report(
    directories: Annotated[
        list[Path], typer.Argument(metavar="DIR...", help="Runs, matrices, folders of them, shards of one matrix.")
    ],
    json: options.Json = None,
    junit: options.Junit = None,
    ktap: options.Ktap = None,
    html: options.Html = None,
    markdown: options.Markdown = None,
    github: options.Github = None,
    verbose: Annotated[
        bool,
        typer.Option("--verbose", "-v", help="Of one run: checks, values, sources of passing findings, and all VMAs."),
    ] = False,
) -> None:
    from orchestrator.cli import show
    from orchestrator.cli.outputs import Outputs
    from orchestrator.report import results

    outputs = Outputs(json=json, junit=junit, ktap=ktap, html=html, markdown=markdown, github=github)
    outputs.check()
    found = results.read(directories)
    outputs.write(lambda: found)
    if not outputs.wanted:
        show.results(found, verbose)
    elif not outputs.stdout:
        show.summary(found, outputs)
    raise typer.Exit(found.exit_code)


report.__doc__ = _HELP
