"""`lab claims`: the ledger of what the runs at hand say."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from orchestrator.ledger import Ledger

RUNS = Path("runs")


def claims(
    directories: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[DIR]...", help="Runs, matrices, folders of them (runs); or one claims.json.", show_default=False
        ),
    ] = None,
    claim: Annotated[list[str] | None, typer.Option("--claim", "-c", help="A claim, or a glob (repeatable).")] = None,
    json: Annotated[Path | None, typer.Option("--json", help="Write it there as JSON; - is stdout.")] = None,
    markdown: Annotated[Path | None, typer.Option("--markdown", help="Write it there as a page; - is stdout.")] = None,
    html: Annotated[Path | None, typer.Option("--html", help="Write it there as an HTML page; - is stdout.")] = None,
    publish: Annotated[
        Path | None,
        typer.Option("--publish", help="Write claims.md and claims.json there, without this machine's paths."),
    ] = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show every finding, with its reason, source and run.")
    ] = False,
) -> None:
    """Show each claim: its verdict on each kernel with each glibc, how deeply it is proved, and by which findings.

    The newest run of each scenario, kernel and glibc counts; runs with settings of a user's own do not.
    """
    from orchestrator.cli import show, target
    from orchestrator.cli.outputs import Outputs
    from orchestrator.errors import UsageError

    if publish is not None and claim:
        raise UsageError("--publish is of the whole ledger; it does not go with --claim")
    published = (publish / "claims.json", publish / "claims.md") if publish is not None else (None, None)
    Outputs(json=json, html=html, markdown=markdown).check()
    for file in published:
        target.check(file)
    ledger = _ledger(directories or [], strict=publish is not None)
    ledger = ledger.only(claim) if claim else ledger
    _write(ledger, json, markdown)
    _write(ledger.published(), *published)
    if html is not None:
        from orchestrator.report.html import ledger_page

        target.write(html, ledger_page.render(ledger))
    if publish is not None:
        show.put(_summary(ledger))
    elif json is None and markdown is None and html is None:
        show.put(_terminal(ledger, verbose))


def _ledger(places: list[Path], strict: bool) -> Ledger:
    """The ledger of the runs there; of one that was written before, in the words of today."""
    from orchestrator import runs
    from orchestrator.report import claims_json

    if len(places) == 1 and places[0].is_file():
        text = places[0].read_text(encoding="utf-8", errors="replace")
        return runs.refreshed(claims_json.parse(text, str(places[0])))
    return runs.ledger_of(places or ([RUNS] if runs.directories([RUNS]) else []), strict)


def _write(ledger: Ledger, json: Path | None, markdown: Path | None) -> None:
    from orchestrator.cli import target
    from orchestrator.report import claims_json, claims_markdown

    if json is not None:
        target.write(json, claims_json.render(ledger))
    if markdown is not None:
        target.write(markdown, claims_markdown.render(ledger))


def _summary(ledger: Ledger) -> str:
    from orchestrator.cli import show
    from orchestrator.report import claims_terminal

    return claims_terminal.summary(ledger, width=show.page_width())


def _terminal(ledger: Ledger, verbose: bool) -> str:
    import sys

    from orchestrator.cli import show
    from orchestrator.report import claims_terminal, text

    colour = text.wants_colour(sys.stdout)
    return claims_terminal.render(ledger, width=show.page_width(), colour=colour, verbose=verbose)
