"""`lab bisect`: between which two kernels, or userlands, an answer changes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli import options

if TYPE_CHECKING:
    from orchestrator.bisection.model import Bisection

_HELP = "\n\n".join((  # a paragraph each: the terminal breaks the lines
    "Find between which two kernels, or userlands, of the catalogue SCENARIO turns from good to bad.",
    "--good and --bad are the ends: two kernels or two userlands, the older one on either side; one may be the PATH of "
    "your own. Both are tried first; then what lies between them by version, halving it each time. The other side (-u, "
    "-k or -i) stays the same. `lab run --bisect` is for `git bisect run`, which searches commits of your kernel.",
    "Good is that all expectations pass; bad that one fails, or that the guest crashes while the program runs. With "
    "--expectation only the outcome of that one counts, with --check that of your own expression at --at. With "
    "--variant bad is that another variant of the expectation applies than at the good end. What can't be judged "
    "(ERROR, SKIP, a guest that does not boot, a time limit) is skipped; the boundary then lies around it.",
    "Each run is kept below DIR, and DIR/bisect.json says how far the search came; Ctrl-C keeps what was found.",
    "Exit code: 0 a boundary was found, 1 there is none (the ends are alike, or exchanged), 2 usage, 3 an end could "
    "not be judged, 130 interrupted.",
))  # fmt: skip


def bisect(
    scenario: Annotated[str, typer.Argument(help="A scenario's name, its folder, or a C file.")],
    good: Annotated[str, typer.Option("--good", metavar="K", help="The good end: a kernel or a userland, or a PATH.")],
    bad: Annotated[str, typer.Option("--bad", metavar="K", help="The bad end, of the same kind.")],
    expectation: options.Expectation = None,
    variant: Annotated[
        bool, typer.Option("--variant", help="Search where another variant of the expectation begins to apply.")
    ] = False,
    check: options.Check = None,
    at: options.At = None,
    every: Annotated[
        bool, typer.Option("--all", help="Try every candidate: shows also what changes more than once.")
    ] = False,
    image: options.Image = None,
    kernel: Annotated[
        str | None, typer.Option("--kernel", "-k", help="The kernel, where userlands are searched.")
    ] = None,
    userland: Annotated[
        str | None, typer.Option("--userland", "-u", help="The userland, where kernels are searched.")
    ] = None,
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
        Path | None, typer.Option("--output", "-o", help="Where the runs go; it must be new or empty.")
    ] = None,
    inspect: options.Inspect = None,
    json: Annotated[Path | None, typer.Option("--json", help="Write it there as JSON; - is stdout.")] = None,
    timeout: Annotated[float | None, typer.Option("--timeout", min=1, help="Seconds for each run.")] = None,
    memory: options.Memory = 768,
    cpus: options.Cpus = 1,
    mirror: options.Mirror = None,
    locked: options.Locked = False,
    cold: options.Cold = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Every finding and value, with evidence.")] = False,
    quiet: options.Quiet = False,
) -> None:
    from orchestrator.bisection import trials
    from orchestrator.bisection.question import Question
    from orchestrator.cli import matrix
    from orchestrator.cli.outputs import Outputs
    from orchestrator.pieces import Store
    from orchestrator.resources import cache

    Outputs(json=json).check()
    choice = options.choice(image, kernel, userland, qemu, modules, accel, append, memory, cpus, mirror, locked,
                            vmlinux, cold)
    settings = options.settings(append, sysctl, tunable, ulimit, env, define)
    question = Question(expectation or "", variant, *options.own_check(check, at))
    request = trials.Request(scenario, good, bad, question, choice, settings, timeout, inspect, every, output)
    store = Store(cache=cache(), mirror=mirror, locked=locked)
    with matrix.shown(quiet):
        found = trials.run(request, store, _keep)
    _report(found, json, verbose)
    raise typer.Exit(found.exit_code)


bisect.__doc__ = _HELP


def _keep(found: Bisection) -> None:
    """What is known, on disk, whatever ends the lab."""
    from orchestrator.report import bisect_json
    from orchestrator.rundir import write_whole

    assert found.directory is not None
    write_whole(found.directory / "bisect.json", bisect_json.render(found))


def _report(found: Bisection, json: Path | None, verbose: bool) -> None:
    from orchestrator.cli import show, target
    from orchestrator.report import bisect_json, bisect_terminal, text

    if str(json) != "-":
        colour = text.wants_colour(sys.stdout)
        show.put(bisect_terminal.render(found, width=show.page_width(), colour=colour, verbose=verbose))
    if json is not None:
        target.write(json, bisect_json.render(found))
