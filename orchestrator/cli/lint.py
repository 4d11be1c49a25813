"""`lab lint`: scenarios checked without a guest."""

from __future__ import annotations

from typing import Annotated

import typer


def lint(
    scenarios: Annotated[list[str], typer.Argument(metavar="SCENARIO...", help="Names, folders or C files.")],
) -> None:
    """Check scenarios without a guest: their files, their programs, and whether these agree with each other.

    Exit code 2 if there is an error; warnings do not fail.
    """
    from pathlib import Path

    from orchestrator import lint as linter
    from orchestrator import runs, scenario
    from orchestrator.errors import UsageError
    from orchestrator.report.text import clean, plural

    compiler, folders = linter.compiler(), scenario.folders()
    against = f"glibc {compiler.glibc}" if compiler.glibc else "this host's headers (no sysroot is cached: not linked)"
    failed = False
    for name in scenarios:
        try:
            wanted = scenario.find(name, folders)
            messages = linter.lint(wanted, runs.catalogue_of([wanted]), compiler)
        except UsageError as error:
            messages = [linter.refused(error, Path(name))]
        for message in messages:
            typer.echo(clean(str(message), 2000))
        errors = sum(message.error for message in messages)
        failed = failed or errors > 0
        found = f"{plural(errors, 'error')}, {plural(len(messages) - errors, 'warning')}"
        typer.echo(f"{clean(name)}: {found}; compiled against {against}")
    raise typer.Exit(2 if failed else 0)
