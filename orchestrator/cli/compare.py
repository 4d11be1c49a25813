"""`lab compare`: what differs between sets of runs, and why."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli import options

if TYPE_CHECKING:
    from orchestrator.comparison.model import Comparison, Side
    from orchestrator.matrix.record import Options

_HELP = "\n\n".join((  # a paragraph each: the terminal breaks the lines
    "Show what differs between runs, and the known reason of each difference, or that there is none.",
    "`lab compare A B [C ...]`: runs, matrices, or folders of either. Cases are matched by scenario, kernel and "
    "userland; where the sides have no such pair in common, by what they have in common, which is said.",
    "`lab compare -k 6.1 -k 6.12 SCENARIO`: kernels, userlands (-u) or images (-i) of scenarios. What is not among the "
    "runs below OUTPUT is run first.",
    "Addresses are compared relative to their mapping, processes by their part. Runs of one case on one machine are "
    "repeats, on whichever side: what varies between them is noise. What chance may decide (frames, page tables, "
    "random gaps) is only compared where each side has repeats.",
    "Exit code: 0 the same, 1 something differs, 2 usage, 3 where runs could not be made, or evidence not be read.",
))  # fmt: skip


def compare(
    what: Annotated[
        list[str], typer.Argument(metavar="A B [C]... | SCENARIO...", help="Run directories, matrices, folders of "
                                  "them; with -k, -u or -i scenarios.")
    ],
    kernel: Annotated[
        options.Words, typer.Option("--kernel", "-k", help="Compare these kernels (repeatable), of scenarios.")
    ] = None,
    userland: Annotated[
        options.Words, typer.Option("--userland", "-u", help="Compare these userlands (repeatable), of scenarios.")
    ] = None,
    image: Annotated[options.Words, typer.Option("--image", "-i", help="Compare these images (repeatable).")] = None,
    repeat: Annotated[
        int, typer.Option("--repeat", min=1, max=100, help="Runs of each case, to tell what varies from what differs.")
    ] = 1,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Where runs are looked for, and made below if they are missing.")
    ] = Path("runs"),
    json: Annotated[Path | None, typer.Option("--json", help="Write it there as JSON; - is stdout.")] = None,
    html: Annotated[Path | None, typer.Option("--html", help="Write it there as a page; - is stdout.")] = None,
    markdown: Annotated[
        Path | None, typer.Option("--markdown", help="Write it there as Markdown; - is stdout.")
    ] = None,
    jobs: Annotated[
        int | None, typer.Option("--jobs", "-j", min=1, max=1024, help="Guests side by side; as there is room.")
    ] = None,
    timeout: Annotated[float | None, typer.Option("--timeout", min=1, help="Seconds for each case.")] = None,
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
    inspect: options.Inspect = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Every difference and place, values in full length.")
    ] = False,
    quiet: options.Quiet = False,
) -> None:
    from orchestrator.cli import matrix
    from orchestrator.cli.outputs import Outputs
    from orchestrator.comparison import sides
    from orchestrator.errors import UsageError
    from orchestrator.matrix.record import Options

    Outputs(json=json, html=html, markdown=markdown).check()
    own = options.settings(append, sysctl, tunable, ulimit, env, define)
    options.check_accelerator(accel)
    chosen = Options(accel=accel, memory=memory, cpus=cpus, mirror=mirror, locked=locked, cold=cold,
                     timeout=timeout, jobs=jobs, settings=own, inspect=inspect)  # fmt: skip
    with matrix.shown(quiet):
        if kernel or userland or image:
            found, left_out = _made(what, kernel, userland, image, repeat, chosen, output)
        else:
            if chosen != Options() or repeat != 1:
                raise UsageError("options of a run go with --kernel, --userland or --image only",
                                 "without them directories are compared, and nothing is run")
            if len(what) < 2:
                raise UsageError("two directories are needed to compare",
                                 "or --kernel, --userland or --image twice, with a scenario")
            found, left_out = sides.read([Path(one) for one in what])
        comparison = _compared(found, left_out)
    _report(comparison, json, html, markdown, verbose)
    raise typer.Exit(comparison.exit_code)


compare.__doc__ = _HELP

_Found = tuple[tuple["Side", ...], tuple[tuple[str, str], ...]]


def _made(scenarios: list[str], kernel: options.Words, userland: options.Words, image: options.Words, repeat: int,
          chosen: Options, output: Path) -> _Found:
    """The sides of scenarios on kernels and userlands; runs what is missing."""
    from orchestrator import counterparts
    from orchestrator.comparison import sides

    wanted = counterparts.Wanted(tuple(scenarios), tuple(kernel or ()), tuple(userland or ()), tuple(image or ()),
                                 repeat, chosen, output, (output,))  # fmt: skip
    return sides.of_runs(counterparts.runs_of(wanted))


def _compared(found: tuple[Side, ...], left_out: tuple[tuple[str, str], ...]) -> Comparison:
    """The comparison, with the statements of the claims in it."""
    from dataclasses import replace

    from orchestrator import claims, progress, recording, scenario
    from orchestrator.comparison import differ, sides

    rule, cases, alone = sides.match(found)
    with progress.step("comparing"):
        made = differ.compare(found, rule, cases, alone, left_out, lambda name: progress.update("comparing", name))
    known = claims.catalogue(scenario.folders())
    named = {claim for case in made.cases for one in case.differences for claim in (one.claim, *one.also)}
    statements = {name: known[name].statement for name in sorted(named) if name in known}
    return replace(made, statements=statements, lab=recording.version())


def _report(comparison: Comparison, json: Path | None, html: Path | None, markdown: Path | None,
            verbose: bool) -> None:
    import sys

    from orchestrator.cli import show, target
    from orchestrator.report import compare_json, compare_markdown, compare_terminal, text

    if not any(str(one) == "-" for one in (json, html, markdown)):
        colour = text.wants_colour(sys.stdout)
        show.put(compare_terminal.render(comparison, width=show.page_width(), colour=colour, verbose=verbose))
    if json is not None:
        target.write(json, compare_json.render(comparison))
    if markdown is not None:
        target.write(markdown, compare_markdown.render(comparison))
    if html is not None:
        from orchestrator.report.html import compare_page

        target.write(html, compare_page.render(comparison))
