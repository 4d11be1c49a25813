"""`lab replay` and `lab gdb`: a recorded run happens again."""

from __future__ import annotations

import shlex
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli import options

Run = Annotated[Path, typer.Argument(help="The run directory of a `lab run … --record`.", metavar="RUN")]


def replay(
    run: Run,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Keep what came out this time; it must be new or empty.")
    ] = None,
    gdb: Annotated[
        bool, typer.Option("--gdb", help="Wait for a debugger before the first instruction, and say how it connects.")
    ] = False,
    quiet: options.Quiet = False,
) -> None:
    """Let a recorded run happen again, instruction by instruction, and compare what comes out of it.

    Exit code: 0 all the same, 1 something differs, 2 there is no record, or it is of another machine.
    """
    from orchestrator import replay as replaying

    with tempfile.TemporaryDirectory(prefix="lab-replay-") as folder:
        target = output or Path(folder) / "run"
        with options.shown(quiet):
            found = replaying.find(run)
            if gdb:
                with replaying.debugged(found, target) as waiting:
                    typer.echo(shlex.join(waiting.command()))
                    waiting.join()
                return
            done = replaying.replay(found, target)
        if done.how:
            typer.echo(f"DIFFERS  {done.how}")
            raise typer.Exit(1)
        if done.cut_off:
            typer.echo("REPLAYED  the recorded run was cut off: there is nothing whole to compare")
            return
        typer.echo(f"SAME  raw evidence {done.record.deterministic['raw']}")


def gdb(
    run: Run,
    quiet: options.Quiet = False,
) -> None:
    """Walk through a recorded run in gdb, from its first instruction, with symbols of kernel, program and libc.

    Breakpoints change nothing of what happens. When gdb ends, the guest ends.
    """
    from orchestrator import replay as replaying

    with tempfile.TemporaryDirectory(prefix="lab-replay-") as folder:
        with options.shown(quiet):
            found = replaying.find(run)
        with replaying.debugged(found, Path(folder) / "run") as waiting:
            code = replaying.run_gdb(waiting.command())
    raise typer.Exit(code)
