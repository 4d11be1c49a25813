"""The options that several commands share, each declared once."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from orchestrator.model import Settings
    from orchestrator.prepare import Choice
    from orchestrator.progress import Event

Image = Annotated[str | None, typer.Option("--image", "-i", help="A named kernel + userland (`lab image list`).")]
Kernel = Annotated[
    str | None, typer.Option("--kernel", "-k", help="A kernel: a series (6.1), or the PATH of a bzImage or vmlinux.")
]
Userland = Annotated[
    str | None, typer.Option("--userland", "-u", help="A userland: a suite (bookworm), its glibc (2.36), or a PATH.")
]
Qemu = Annotated[str | None, typer.Option("--qemu", help="The QEMU to use: PATH or `system`; the lab's own otherwise.")]
Modules = Annotated[
    Path | None, typer.Option("--modules", help="The /lib/modules/VERSION tree of a kernel given by path.")
]
Vmlinux = Annotated[
    Path | None, typer.Option("--vmlinux", help="The vmlinux with DWARF of a kernel given by path, to look inside it.")
]
Accel = Annotated[str, typer.Option("--accel", help="auto (KVM where it is proved to work), kvm or tcg.")]
Append = Annotated[
    list[str] | None, typer.Option("--append", "-a", help="A word for the kernel's command line (repeatable).")
]
Memory = Annotated[int, typer.Option("--memory", min=128, max=1 << 20, help="The guest's memory, MiB.")]
Cpus = Annotated[int, typer.Option("--cpus", min=1, max=64, help="The guest's processors.")]
Mirror = Annotated[str | None, typer.Option("--mirror", help="Where Debian packages come from.")]
Locked = Annotated[bool, typer.Option("--locked", help="Refuse whatever the lock does not name.")]
Cold = Annotated[bool, typer.Option("--cold", help="Boot the guest: no warm start from a saved state.")]
Deterministic = Annotated[
    bool,
    typer.Option("--deterministic", help="Time is a count of instructions, nothing is random and nothing comes "
                 "in: raw evidence is the same in every run."),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")]
Words = list[str] | None
Sysctl = Annotated[Words, typer.Option("--sysctl", help="NAME=VALUE in the guest, before the program.")]
Tunable = Annotated[Words, typer.Option("--tunable", help="A GLIBC_TUNABLES entry, NAME=VALUE.")]
Ulimit = Annotated[Words, typer.Option("--ulimit", help="A resource limit: NAME=BYTES, =SOFT:HARD, =unlimited.")]
Env = Annotated[Words, typer.Option("--env", help="A variable of the program's environment, NAME=VALUE.")]
Define = Annotated[Words, typer.Option("--define", "-D", help="A C macro: NAME or NAME=VALUE.")]
Inspect = Annotated[
    bool | None,
    typer.Option(help="Look inside kernel and heap at every checkpoint, or at none; else where the scenario says."),
]
Check = Annotated[
    str | None, typer.Option("--check", metavar="EXPR", help="A check of your own, as in scenario.yaml; --at: where.")
]
At = Annotated[str | None, typer.Option("--at", metavar="CHECKPOINT", help="The checkpoint of --check.")]
Expectation = Annotated[
    str | None, typer.Option("--expectation", metavar="ID", help="Only the outcome of this expectation is good or bad.")
]
Json = Annotated[
    Path | None, typer.Option("--json", metavar="FILE", help="Write the record there as well; - is stdout.")
]
Junit = Annotated[Path | None, typer.Option("--junit", metavar="FILE", help="JUnit XML, for CI systems; - is stdout.")]
Ktap = Annotated[Path | None, typer.Option("--ktap", metavar="FILE", help="KTAP, as kernel tests; - is stdout.")]
Html = Annotated[Path | None, typer.Option("--html", metavar="FILE", help="A page with pictures, in one file.")]
Markdown = Annotated[
    Path | None, typer.Option("--markdown", metavar="FILE", help="A summary for the page of a CI job; - is stdout.")
]

Github = Annotated[
    Path | None,
    typer.Option("--github", metavar="FILE", help="Annotations, as workflow commands of GitHub Actions; - is stdout."),
]


def choice(image: str | None, kernel: str | None, userland: str | None, qemu: str | None, modules: Path | None,
           accel: str, append: list[str] | None, memory: int, cpus: int, mirror: str | None, locked: bool,
           vmlinux: Path | None = None, cold: bool = False, deterministic: bool = False) -> Choice:
    """What the options say. Raises UsageError for an accelerator that does not exist."""
    from orchestrator.prepare import Choice

    check_accelerator(accel)
    return Choice(image=image, kernel=kernel, userland=userland, qemu=qemu, modules=modules, vmlinux=vmlinux,
                  accel=accel, append=tuple(append or ()), memory=memory, cpus=cpus, mirror=mirror, locked=locked,
                  cold=cold, deterministic=deterministic)


def check_accelerator(name: str) -> None:
    """Raises UsageError for one that does not exist."""
    from orchestrator.errors import UsageError

    if name not in ("auto", "kvm", "tcg"):
        raise UsageError(f"--accel {name}: there are auto, kvm and tcg")


def settings(append: Words, sysctl: Words, tunable: Words, ulimit: Words, env: Words, define: Words) -> Settings:
    """The settings that the options name. Raises UsageError."""
    from orchestrator.model import Settings

    defines = [word if "=" in word else f"{word}=1" for word in define or ()]
    return Settings(
        append=tuple(append or ()),
        sysctls=pairs(sysctl, "--sysctl"),
        tunables=pairs(tunable, "--tunable"),
        ulimits=limits(ulimit),
        environment=pairs(env, "--env"),
        defines=pairs(defines, "--define", r"[A-Za-z_]\w*"),
    )


def own_check(check: str | None, at: str | None) -> tuple[str, str]:
    """The user's own check and its checkpoint; empty if there is none. Raises UsageError for one without the other."""
    from orchestrator.errors import UsageError

    if check is not None and not check.strip():
        raise UsageError("--check: an expression is needed", "as in scenario.yaml: 'status(\"VmPTE\") < 100 * KiB'")
    if at is not None and check is None:
        raise UsageError("--at goes with --check: it is the checkpoint of that")
    return check or "", at or ""


def limits(values: list[str] | None) -> tuple[tuple[str, str], ...]:
    """Resource limits from NAME=BYTES, NAME=SOFT:HARD or NAME=unlimited words. Raises UsageError."""
    import re

    from orchestrator.collect.procfs import LIMITS
    from orchestrator.errors import UsageError
    from orchestrator.names import nearest

    found = pairs(values, "--ulimit")
    for name, value in found:
        if name not in LIMITS.values():
            raise UsageError(f"--ulimit {name}={value}: there is no limit {name!r}{nearest(name, LIMITS.values())}",
                             f"the limits are: {', '.join(LIMITS.values())}")
        if not re.fullmatch(r"(unlimited|\d{1,19})(:(unlimited|\d{1,19}))?", value):
            raise UsageError(f"--ulimit {name}={value}: a number, SOFT:HARD or unlimited is needed")
    return found


def pairs(values: list[str] | None, option: str, pattern: str = r"[A-Za-z0-9_.\-/]+") -> tuple[tuple[str, str], ...]:
    """(("name", "value"), …) from NAME=VALUE words. Raises UsageError naming the option."""
    import re

    from orchestrator.errors import UsageError

    found = []
    for value in values or ():
        name, equals, rest = value.partition("=")
        if not equals or not re.fullmatch(pattern, name) or "\n" in rest or "\0" in rest:
            raise UsageError(f"{option} {value}: NAME=VALUE is needed")
        found.append((name, rest))
    return tuple(found)


def _notes(event: Event) -> None:
    """What must be said even to who wants no progress: a retry, a fallback, a drift from the lock."""
    if event.kind == "note":
        import sys

        from orchestrator.report.text import clean, inert

        print(f"lab: {inert(clean(event.what))}", file=sys.stderr)


@contextlib.contextmanager
def shown(quiet: bool) -> Iterator[None]:
    """Shows progress on stderr while the block runs."""
    from orchestrator import progress
    from orchestrator.report.live import Live

    if quiet:
        with progress.listening(_notes):
            yield
        return
    with Live() as live, progress.listening(live):
        yield
