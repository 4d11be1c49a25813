"""`lab list` and `lab doctor`: what there is, and what is wrong."""

from __future__ import annotations

import sys
from typing import Annotated

import typer


def list_(
    name: Annotated[str | None, typer.Argument(help="A scenario: show its claims and expectations.")] = None,
) -> None:
    """List the scenarios, or one scenario's claims and expectations."""
    from orchestrator import scenario

    folders = scenario.folders()
    if name is None:
        for found in scenario.names(folders):
            typer.echo(f"{found:16} {scenario.find(found, folders).summary}")
        return
    wanted = scenario.find(name, folders)
    typer.echo(f"{wanted.name}: {wanted.summary}")
    for expectation in wanted.expectations:
        typer.echo(f"\n{expectation.id}  [{expectation.claim}]  at {expectation.at or 'any time'}")
        for variant in expectation.variants:
            if variant.when:
                typer.echo(f"  when    {variant.when}")
            typer.echo(f"  check   {variant.check}\n  because {variant.because}\n  source  {variant.source}")
    for control in wanted.controls:
        typer.echo(f"\ncontrol {control.name}: fails {', '.join(control.fails)}")


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
