"""`lab matrix`: many scenarios on many pairs of kernel and userland."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli import options

if TYPE_CHECKING:
    from orchestrator.cli.outputs import Outputs
    from orchestrator.matrix.experiments import Done

_HELP = "\n\n".join((  # a paragraph each: the terminal breaks the lines
    "Run scenarios on pairs of kernel and userland side by side, and show one table.",
    "Without SCENARIO: all there are (`lab list`). Without -k, -u and -i: the pairs of the images (`lab image list`). "
    "With -k or -u: every matching kernel with every matching userland; the side that is left out is all of it. "
    "-i names pairs; -k and -u beside it take the place of the image's own.",
    "Every case has a run directory of its own below DIR; DIR/matrix.json says what was planned and how far it came. "
    "Cases of one pair share a guest while it is clean. What does not pass in a guest that others had used is repeated "
    "in a fresh one, which counts; the table marks with a star where that says otherwise.",
    "Ctrl-C keeps what is done. --resume runs what has no result of its own: not started, interrupted, its guest did "
    "not boot, its worker was lost, or the host failed; and all cases of a scenario whose files have changed. A case "
    "that failed stays done.",
    "--shard 2/3 runs the second of three parts of the same plan: each case is in exactly one, and all are "
    "expected to take about as long. `lab report` of all their directories is the whole. A part without a case says "
    "so, exit code 0.",
    "Exit code: that of the worst case, in the order 130, 4, 5, 1, 3, 2, 0.",
))  # fmt: skip
_OWN = ("scenario", "kernel", "userland", "image", "output", "qemu", "modules", "vmlinux", "accel", "append", "sysctl",
        "tunable", "ulimit", "env", "define", "timeout", "memory", "cpus", "mirror", "locked", "cold",
        "deterministic", "inspect", "shard")  # fmt: skip


def matrix(
    context: typer.Context,
    scenario: Annotated[
        list[str] | None, typer.Argument(help="Names, globs ('malloc*'), folders or C files.")
    ] = None,
    kernel: Annotated[
        options.Words,
        typer.Option("--kernel", "-k", help="Kernels: a series (6.1 is never 6.12), a glob ('*'), or a PATH."),
    ] = None,
    userland: Annotated[
        options.Words, typer.Option("--userland", "-u", help="Userlands: a suite, its glibc, a glob ('*'), or a PATH.")
    ] = None,
    image: Annotated[options.Words, typer.Option("--image", "-i", help="Named pairs, or a glob.")] = None,
    shard: Annotated[
        str | None, typer.Option("--shard", metavar="I/N", help="Run only the I-th of N parts, from 1.")
    ] = None,
    jobs: Annotated[
        int | None, typer.Option("--jobs", "-j", min=1, max=1024, help="Guests side by side; as there is room.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The matrix directory; it must be new or empty.")
    ] = None,
    resume: Annotated[
        Path | None, typer.Option("--resume", metavar="DIR", help="Go on with this matrix, with its own options.")
    ] = None,
    json: options.Json = None,
    junit: options.Junit = None,
    ktap: options.Ktap = None,
    html: options.Html = None,
    markdown: options.Markdown = None,
    github: options.Github = None,
    timeout: Annotated[float | None, typer.Option("--timeout", min=1, help="Seconds for each case.")] = None,
    qemu: options.Qemu = None,
    modules: options.Modules = None,
    vmlinux: options.Vmlinux = None,
    accel: options.Accel = "auto",
    append: options.Append = None,
    sysctl: options.Sysctl = None,
    tunable: options.Tunable = None,
    ulimit: options.Ulimit = None,
    env: options.Env = None,
    define: options.Define = None,
    memory: options.Memory = 768,
    cpus: options.Cpus = 1,
    mirror: options.Mirror = None,
    locked: options.Locked = False,
    cold: options.Cold = False,
    deterministic: options.Deterministic = False,
    inspect: options.Inspect = None,
    quiet: options.Quiet = False,
) -> None:
    from orchestrator.cli.outputs import Outputs
    from orchestrator.matrix import experiments
    from orchestrator.matrix import shard as shards
    from orchestrator.matrix.record import Options

    outputs = Outputs(json=json, junit=junit, ktap=ktap, html=html, markdown=markdown, github=github)
    outputs.check()
    if resume is not None:
        _refuse_others(context)
        with shown(quiet):
            done = experiments.resume(resume, jobs)
    else:
        options.check_accelerator(accel)
        chosen = Options(
            qemu=_absolute(qemu), modules=_path(modules), vmlinux=_path(vmlinux), accel=accel, memory=memory, cpus=cpus,
            mirror=mirror, locked=locked, cold=cold, deterministic=deterministic, timeout=timeout, jobs=jobs,
            settings=options.settings(append, sysctl, tunable, ulimit, env, define), inspect=inspect,
        )  # fmt: skip
        request = experiments.Request(tuple(scenario or ()), tuple(kernel or ()), tuple(userland or ()),
                                      tuple(image or ()), chosen, output,
                                      shards.parse(shard) if shard is not None else None)  # fmt: skip
        with shown(quiet):
            done = experiments.start(request)
    _report(done, outputs)
    raise typer.Exit(done.record.exit_code)


matrix.__doc__ = _HELP


def _refuse_others(context: typer.Context) -> None:
    """--resume takes the plan from the record: an option that would change it is an error, not ignored."""
    from orchestrator.errors import UsageError

    given = [name for name in _OWN if str(context.get_parameter_source(name)).endswith("COMMANDLINE")]
    if given:
        raise UsageError(f"--resume has the plan and the options of the matrix; {given[0]} can't be given with it",
                         "only -j, -q and where results go can; start a new matrix for anything else")


def _absolute(qemu: str | None) -> str | None:
    """A path that is still right when the matrix is resumed from elsewhere."""
    from orchestrator.prepare import is_path

    return str(Path(qemu).absolute()) if qemu is not None and is_path(qemu) else qemu


def _path(path: Path | None) -> str | None:
    return str(path.absolute()) if path else None


@contextlib.contextmanager
def shown(quiet: bool) -> Iterator[None]:
    """Progress on stderr: a line for every case; on a terminal, where one live line counts, not for passed ones."""
    from orchestrator import progress
    from orchestrator.progress import Event
    from orchestrator.report import text
    from orchestrator.report.live import Live

    if quiet:
        with options.shown(quiet):
            yield
        return
    terminal = text.is_terminal(sys.stderr)
    with Live() as live:

        def show(event: Event) -> None:
            if event.kind != "case":
                live(event)
            elif not (terminal and event.detail == "PASS"):
                live(Event("note", event.what))

        with progress.listening(show):
            yield


def _report(done: Done, outputs: Outputs) -> None:
    from orchestrator.cli import show
    from orchestrator.matrix import record
    from orchestrator.report import matrix_table, results, text

    if not outputs.stdout:
        colour = text.wants_colour(sys.stdout)
        show.put(matrix_table.render(done.record, done.directory.path, width=show.page_width(), colour=colour))
    outputs.write(lambda: results.read([done.directory.path], whole=False), json=lambda _: record.to_json(done.record))
