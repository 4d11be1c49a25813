"""The commands of ``lab``, put together. Imports typer and our own declarations, nothing that works."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestrator.cli import check, claims, compare, guest, image, inspect, lint, listing, matrix, new, report, run

app = typer.Typer(
    name="lab",
    help="How a Linux process uses memory: experiments on real kernels and real glibcs, in QEMU.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 all passed, 1 an expectation failed, 2 usage or configuration, 3 the lab or the host "
    "failed, 4 the guest crashed or was lost, 5 a limit was reached, 130 interrupted.",
)
app.command("run")(run.run)
app.command("matrix")(matrix.matrix)
app.command("check")(check.check)
app.command("report")(report.report)
app.command("inspect")(inspect.inspect)
app.command("list")(listing.list_)
app.command("compare")(compare.compare)
app.command("claims")(claims.claims)
app.command("new")(new.new)
app.command("lint")(lint.lint)
app.command("exec", context_settings={"ignore_unknown_options": True})(guest.exec_)
app.command("shell")(guest.shell)
app.command("doctor")(listing.doctor)
app.add_typer(image.app, name="image", help="Kernels, userlands, emulators: list, build, lock, verify, prune.")


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"qemu-lab {version('qemu-lab')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """How a Linux process uses memory: experiments on real kernels and real glibcs, in QEMU."""
