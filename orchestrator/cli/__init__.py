"""The command line: parses, calls, and turns errors into one clear message and an exit code. No logic."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import Annotated

import typer

from orchestrator.cli import check, guest, image, listing, run

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
app.command("check")(check.check)
app.command("list")(listing.list_)
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


class _Interrupted:
    """Remembers that a signal asked us to end: typer turns KeyboardInterrupt into a silent exit."""

    asked = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        raise KeyboardInterrupt


def main() -> None:
    """The entry point of ``lab``: every error is one message on stderr and the exit code of its kind."""
    from orchestrator.errors import LabError

    interrupted = _Interrupted()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupted)
    code: int | str | None = 0
    try:
        app()
    except LabError as error:
        print(f"lab: {error.message}", file=sys.stderr)
        if error.hint:
            print(f"lab: hint: {error.hint}", file=sys.stderr)
        code = error.exit_code
    except (KeyboardInterrupt, SystemExit) as end:
        code = end.code if isinstance(end, SystemExit) else 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # nobody reads any more: no second error at exit
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"lab: {where}{error.strerror or error}", file=sys.stderr)
        code = 3
    if interrupted.asked:
        print("lab: interrupted", file=sys.stderr)
        code = 130
    sys.exit(code)
