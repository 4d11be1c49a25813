"""`lab new`: a scenario to start from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def new(
    name: Annotated[str, typer.Argument(help="The scenario's name, and its folder's.")],
    directory: Annotated[Path, typer.Option("--directory", "-d", help="Where the folder is made.")] = Path(),
) -> None:
    """Make a scenario that works: a C program, what must hold when it has run, and a control that makes it fail."""
    from orchestrator import scaffold

    folder = scaffold.make(name, directory)
    there = str(folder) if folder.is_absolute() or len(folder.parts) > 1 else f"./{folder}"
    typer.echo(f"{there}: {', '.join(sorted(file.name for file in folder.iterdir()))}")
    for command, what in (
        (f"lab lint {there}", "check it without a guest"),
        (f"lab run {there}", "run it: PASS"),
        (f"lab run {there} -D MUTATE_NO_TOUCH", "its negative control: FAIL"),
    ):
        typer.echo(f"  {command:<44}  {what}")
