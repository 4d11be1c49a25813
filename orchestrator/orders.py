"""What labrun is told of a case: its program, arguments, environment, settings and trace (guest/README.md). Pure."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace

from orchestrator import random_batches, scenario, tracing, wire
from orchestrator.machine.recipe import Recipe
from orchestrator.model import Case
from orchestrator.toolchain import Program

_BASE_ENVIRONMENT = (("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"), ("HOME", "/root"), ("LANG", "C"))


def of(case: Case, program: Program, first: str = "") -> bytes:
    """All lines up to "start". ``first``: "last" where no other case will run in that guest, "alone" where nothing more
    will be said to it either. Raises LabError for words that would make more than one line."""
    return b"".join(_lines(case, program, first))


def recipe(shape: Recipe, case: Case, program: Program) -> Recipe:
    """The guest for a case: with its words on the kernel command line; a deterministic one has the case in it."""
    shape = replace(shape, append=case.settings.append)
    return replace(shape, orders=shape.orders or of(case, program, "alone")) if shape.deterministic else shape


def _lines(case: Case, program: Program, first: str) -> Iterator[bytes]:
    if first:
        yield wire.command(first)
    yield wire.file("program", 0o755, program.path.read_bytes())
    for argument in ("./program", *case.scenario.args):
        yield wire.blob(os.fsencode(argument), "arg")
    for name, value in _environment(case):
        yield wire.blob(os.fsencode(f"{name}={value}"), "env")
    for name, value in case.settings.ulimits:
        soft, _, hard = value.partition(":")
        yield wire.command("rlimit", name, soft, hard or "-")
    for name, value in case.settings.sysctls:
        yield wire.command("sysctl", name, value)
    for name in dict.fromkeys((*scenario.symbols(case.scenario), random_batches.PROBE)):
        yield wire.command("symbol", name)
    if case.scenario.trace is not None:
        yield from tracing.orders(case.scenario.trace)
    yield wire.command("start")


def _environment(case: Case) -> list[tuple[str, str]]:
    settings = case.settings
    variables = dict((*_BASE_ENVIRONMENT, *settings.environment))
    if settings.tunables:
        variables["GLIBC_TUNABLES"] = ":".join(f"{name}={value}" for name, value in settings.tunables)
    return list(variables.items())
