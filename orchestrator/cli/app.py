"""The commands of ``lab``, by name and one line each; what declares and does them is imported when one is called."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestrator.cli import lazy

_HELP = {"help_option_names": ["-h", "--help"]}

app = typer.Typer(
    name="lab",
    cls=lazy.Group,
    help="How a Linux process uses memory: experiments on real kernels and real glibcs, in QEMU.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # whose pages take as long to make as all else of `lab --help`
    context_settings=_HELP,
    epilog="Exit codes: 0 all passed, 1 an expectation failed, 2 usage or configuration, 3 the lab or the host "
    "failed, 4 the guest crashed or was lost, 5 a limit was reached, 130 interrupted.",
)
image = typer.Typer(
    cls=lazy.Group, rich_markup_mode=None, no_args_is_help=True, add_completion=False, context_settings=_HELP
)

# name, module:function, first line of its docstring (a test compares them)
lazy.add(app, "run", "run:run",
         "Run SCENARIO in a guest, check what it claims, and show what happened.")
lazy.add(app, "matrix", "matrix:matrix",
         "Run scenarios on pairs of kernel and userland side by side, and show one table.")
lazy.add(app, "check", "check:check",
         "Evaluate the evidence of a run again, against the scenario as it is now. Changes nothing there.")
lazy.add(app, "report", "report:report",
         "Report what is in DIR, as it was found when it ran: nothing is run, or evaluated again (`lab check` does "
         "that).")
lazy.add(app, "replay", "replay:replay",
         "Let a recorded run happen again, instruction by instruction, and compare what comes out of it.")
lazy.add(app, "gdb", "replay:gdb",
         "Walk through a recorded run in gdb, from its first instruction, with symbols of kernel, program and libc.")
lazy.add(app, "inspect", "inspect:inspect",
         "Show the whole story of one address at one checkpoint, from the evidence of a run, without a guest.")
lazy.add(app, "list", "listing:list_",
         "List the scenarios; or one scenario's claims, expectations, controls and needs.")
lazy.add(app, "compare", "compare:compare",
         "Show what differs between runs, and the known reason of each difference, or that there is none.")
lazy.add(app, "bisect", "bisect:bisect",
         "Find between which two kernels, or userlands, of the catalogue SCENARIO turns from good to bad.")
lazy.add(app, "claims", "claims:claims",
         "Show each claim: its verdict on each kernel with each glibc, how deeply it is proved, and by which findings.")
lazy.add(app, "new", "new:new",
         "Make a scenario that works: a C program, what must hold when it has run, and a control that makes it fail.")
lazy.add(app, "lint", "lint:lint",
         "Check scenarios without a guest: their files, their programs, and whether these agree with each other.")
lazy.add(app, "exec", "guest:exec_",
         "Run a command in a fresh guest; its output, errors and exit status are the guest's.",
         ignore_unknown_options=True)
lazy.add(app, "shell", "guest:shell",
         "Open an interactive shell in a fresh guest; the guest ends with it.")
lazy.add(app, "doctor", "listing:doctor",
         "Show this host, QEMU, accelerator, tools, cache and speed, and what to do about what is wrong.")
app.add_typer(image, name="image",
              help="Kernels, userlands, emulators: list, build, lock, export, import, key, verify, prune.")
lazy.add(image, "list", "image:list_",
         "Show all kernels, userlands, sysroots, emulators, symbols and images: version, locked, cached, size.")
lazy.add(image, "build", "image:build",
         "Build pieces into the cache: those named, or all, or what a run without options needs.")
lazy.add(image, "lock", "image:lock_",
         "Show what changes in images/lock.yaml, the exact packages of each piece, and write it.")
lazy.add(image, "export", "image:export_",
         "Write the packages of locked pieces to one file, for a machine without a network: all, or those named.")
lazy.add(image, "import", "image:import_",
         "Bring the pieces of a bundle into the cache: each package is held against the lock, then they are built.")
lazy.add(image, "key", "image:key",
         "Print a short key for a CI cache of LAB_CACHE: it changes when the pieces do that a run with these options "
         "needs.")
lazy.add(image, "verify", "image:verify",
         "Hash everything in the cache again; what is damaged is repaired or removed (exit 3).")
lazy.add(image, "prune", "image:prune",
         "Remove from the cache what the lock no longer names and what killed builds left.")


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
