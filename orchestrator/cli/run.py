"""`lab run`: one scenario, or a plain C file, in one guest."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli import Judged, options


def run(
    scenario: Annotated[str, typer.Argument(help="A scenario's name, its folder, or a C file.")],
    image: options.Image = None,
    kernel: options.Kernel = None,
    userland: options.Userland = None,
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
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The run directory; it must be new or empty.")
    ] = None,
    inspect: options.Inspect = None,
    vmcore: Annotated[
        str | None,
        typer.Option(metavar="CHECKPOINT", help="Keep an ELF dump of the guest's memory there; `failure`: where the "
                     "program dies or is ended at a limit."),
    ] = None,
    check: options.Check = None,
    at: options.At = None,
    bisect: Annotated[
        bool, typer.Option("--bisect", help="Exit codes for `git bisect run`: 0 good, 1 and 4 bad, 125 can't be "
                           "judged, 130 interrupted.")
    ] = False,
    expectation: Annotated[
        str | None, typer.Option(metavar="ID", help="With --bisect: only the outcome of this expectation counts.")
    ] = None,
    json: options.Json = None,
    junit: options.Junit = None,
    ktap: options.Ktap = None,
    html: options.Html = None,
    markdown: options.Markdown = None,
    github: options.Github = None,
    timeout: Annotated[float | None, typer.Option("--timeout", min=1, help="Seconds for the whole run.")] = None,
    memory: options.Memory = 768,
    cpus: options.Cpus = 1,
    mirror: options.Mirror = None,
    locked: options.Locked = False,
    cold: options.Cold = False,
    deterministic: options.Deterministic = False,
    record: Annotated[
        bool, typer.Option("--record", help="--deterministic, and a record for `lab replay` and `lab gdb`.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the QEMU command, or the two of a guest to be saved, and stop.")
    ] = False,
    verbose: Annotated[
        bool,
        typer.Option("--verbose", "-v", help="Show checks, values and sources of passing findings, and all VMAs."),
    ] = False,
    timings: Annotated[bool, typer.Option("--timings", help="Show on stderr where the time went.")] = False,
    quiet: options.Quiet = False,
) -> None:
    """Run SCENARIO in a guest, check what it claims, and show what happened.

    A plain C file needs no change: each blocking read of standard input is a checkpoint.
    """
    from orchestrator import experiment, stopwatch
    from orchestrator.bisection import question
    from orchestrator.bisection.question import Question
    from orchestrator.cli import show
    from orchestrator.cli.outputs import Outputs
    from orchestrator.errors import UsageError

    outputs = Outputs(json=json, junit=junit, ktap=ktap, html=html, markdown=markdown, github=github)
    outputs.check()
    choice = options.choice(image, kernel, userland, qemu, modules, accel, append, memory, cpus, mirror, locked,
                            vmlinux, cold, deterministic or record)
    settings = options.settings(append, sysctl, tunable, ulimit, env, define)
    if expectation is not None and not bisect:
        raise UsageError("--expectation goes with --bisect: it says what is good and bad")
    asked = Question(expectation or "", False, *options.own_check(check, at))
    request = experiment.Request(scenario, choice, settings, output, timeout, inspect, vmcore,
                                 record, stopwatch.since_start(), asked.check, asked.at)
    if bisect:
        question.check(asked, experiment.scenario_of(request))
    with options.shown(quiet):
        if dry_run:
            typer.echo(experiment.command_line(request))
            return
        done = experiment.run(request)
    watch = stopwatch.Stopwatch()
    show.report(done.record, done.directory, outputs, verbose)
    watch.lap("report")
    if timings:
        laps = {**done.record.timings, **watch.seconds}
        typer.echo(stopwatch.table(laps, stopwatch.since_start()), err=True, nl=False)
    if bisect:
        said = question.answer(asked, done.record)
        raise Judged(question.exit_code(said, done.record), said.why)
    raise typer.Exit(done.record.exit_code)
