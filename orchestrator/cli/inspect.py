"""`lab inspect`: all that a run's evidence says of one address, of the heap, of the address space."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli import options

if TYPE_CHECKING:
    from orchestrator.inspection import Run
    from orchestrator.inspection.facts import Story, View


_ENDED = (3, 4, 5, 130)  # exit codes of a run that did not come to its own end


def inspect(
    run: Annotated[str, typer.Argument(help="A run directory; with --live a scenario.", metavar="RUN")],
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="[ADDRESS|SYMBOL|NAME|heap|mm|threads]", show_default=False,
            help="An address, also NAME+OFFSET: a note, a mapping, a symbol, main_arena, brk … Without: what there is.",
        ),
    ] = None,
    at: Annotated[
        str | None, typer.Option("--at", help="The checkpoint, NAME or NAME#2; otherwise the last one inspected.")
    ] = None,
    pid: Annotated[int | None, typer.Option("--pid", min=1, help="Another process of the program.")] = None,
    live: Annotated[bool, typer.Option("--live", help="Run the scenario RUN now, and look into that run.")] = False,
    json: Annotated[Path | None, typer.Option("--json", help="Write the facts there as well; - is stdout.")] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Every chunk, list and name.")] = False,
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
        Path | None, typer.Option("--output", "-o", help="With --live: the run directory; it must be new or empty.")
    ] = None,
    timeout: Annotated[float | None, typer.Option("--timeout", min=1, help="Seconds for the whole run.")] = None,
    memory: options.Memory = 768,
    cpus: options.Cpus = 1,
    mirror: options.Mirror = None,
    locked: options.Locked = False,
    cold: options.Cold = False,
    quiet: options.Quiet = False,
) -> None:
    """Show the whole story of one address at one checkpoint, from the evidence of a run, without a guest.

    Its names, malloc's chunk, the mapping, every level of the page tables, the page frame, the traced fault that filled
    it, and what of this was otherwise at the checkpoints before and after. The options of a run count with --live only.
    """
    from orchestrator.cli import target
    from orchestrator.errors import LabError, UsageError
    from orchestrator.inspection import Run

    target.check(json)
    place, code = Path(run), 0
    if live:
        from orchestrator import experiment

        choice = options.choice(image, kernel, userland, qemu, modules, accel, append, memory, cpus, mirror, locked,
                                vmlinux, cold)
        settings = options.settings(append, sysctl, tunable, ulimit, env, define)
        request = experiment.Request(run, choice, settings, output, timeout, inspect=True)
        with options.shown(quiet):
            done = experiment.run(request)
        place, code = done.directory.path, done.record.exit_code
        if code:
            typer.echo(f"lab: this run ended with {code}: `lab check {place}` says why", err=True)
    elif any((image, kernel, userland, qemu, modules, vmlinux, append, sysctl, tunable, ulimit, env, define, output,
              timeout, mirror, locked, cold, accel != "auto", memory != 768, cpus != 1)):  # fmt: skip
        raise UsageError("options of a run count with --live only", "without it nothing is run")
    try:
        _report(_answer(Run.open(place), what, at, pid, verbose), json)
    except LabError:
        if code not in _ENDED:
            raise  # else how the run ended is why there is nothing to see
    if code in _ENDED:
        raise typer.Exit(code)


def _answer(run: Run, what: str | None, at: str | None, pid: int | None, every: bool) -> Story | View:
    from orchestrator.inspection import VIEWS, contents, story_of

    moment = run.moment(at, pid)
    if what is None:
        return contents(run, moment, every)
    return VIEWS[what](moment, every) if what in VIEWS else story_of(run, moment, what)


def _report(answer: Story | View, json: Path | None) -> None:
    import sys

    from orchestrator.cli import show, target
    from orchestrator.inspection.facts import Story
    from orchestrator.report import inspect_json, inspect_terminal, inspect_view, text

    if json is None or str(json) != "-":
        width, colour = show.page_width(), text.wants_colour(sys.stdout)
        show.put(inspect_terminal.render(answer, width=width, colour=colour) if isinstance(answer, Story)
                 else inspect_view.render(answer, width=width, colour=colour))  # fmt: skip
    if json is not None:
        target.write(json, inspect_json.render(answer))
