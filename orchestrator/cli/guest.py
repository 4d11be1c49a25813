"""`lab exec` and `lab shell`: a guest for one command, or for you."""

from __future__ import annotations

import contextlib
import signal
from typing import Annotated

import typer

from orchestrator.cli import options


def exec_(
    command: Annotated[list[str], typer.Argument(help="The command, after `--`.", metavar="-- COMMAND [ARGS]...")],
    image: options.Image = None,
    kernel: options.Kernel = None,
    userland: options.Userland = None,
    qemu: options.Qemu = None,
    modules: options.Modules = None,
    vmlinux: options.Vmlinux = None,
    accel: options.Accel = "auto",
    append: options.Append = None,
    timeout: Annotated[float, typer.Option("--timeout", min=1, help="Seconds for the command.")] = 600,
    memory: options.Memory = 768,
    cpus: options.Cpus = 1,
    mirror: options.Mirror = None,
    locked: options.Locked = False,
    cold: options.Cold = False,
    quiet: options.Quiet = False,
) -> None:
    """Run a command in a fresh guest; its output, errors and exit status are the guest's.

    The lab's own failures keep the lab's exit codes. A command that a signal ended gives 128.
    """
    from orchestrator import interactive

    choice = options.choice(image, kernel, userland, qemu, modules, accel, append, memory, cpus, mirror, locked,
                            vmlinux, cold)
    with contextlib.ExitStack() as stack:
        with options.shown(quiet):
            guest = stack.enter_context(interactive.guest(choice, announce=not quiet))
        try:
            code = interactive.execute(guest, command, timeout)
        except BrokenPipeError:  # who read our output has left, as in `lab exec … | head`
            code = 128 + signal.SIGPIPE
    raise typer.Exit(128 if code is None else code)


def shell(
    image: options.Image = None,
    kernel: options.Kernel = None,
    userland: options.Userland = None,
    qemu: options.Qemu = None,
    modules: options.Modules = None,
    vmlinux: options.Vmlinux = None,
    accel: options.Accel = "auto",
    append: options.Append = None,
    memory: options.Memory = 768,
    cpus: options.Cpus = 1,
    mirror: options.Mirror = None,
    locked: options.Locked = False,
    cold: options.Cold = False,
    quiet: options.Quiet = False,
) -> None:
    """Open an interactive shell in a fresh guest; the guest ends with it."""
    from orchestrator import interactive

    choice = options.choice(image, kernel, userland, qemu, modules, accel, append, memory, cpus, mirror, locked,
                            vmlinux, cold)
    with contextlib.ExitStack() as stack:
        with options.shown(quiet):
            guest = stack.enter_context(interactive.guest(choice, announce=not quiet))
        code = interactive.shell(guest)
    raise typer.Exit(code)
