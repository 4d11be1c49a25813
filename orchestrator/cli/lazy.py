"""Commands whose modules are imported when they are called: a help page and completion need a name and a line of each.

And values that need no conversion do without typer's own, which loads pydantic: as much as all else of a short command.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

_UNSETTLED = object()


class Later(TyperCommand):
    """Stands for a command in help pages and for completion, until it is called."""

    target = ""
    settings: Mapping[str, Any] = {}

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        return load(str(self.name), self.target, **self.settings).make_context(info_name, args, parent, **extra)


def add(app: typer.Typer, name: str, target: str, line: str, **settings: Any) -> None:
    """Adds the command ``module:function`` of this package; ``line`` is the first one of its docstring."""
    stand = type("Later", (Later,), {"target": target, "settings": settings})
    app.command(name, cls=stand, help=line)(_nothing)


def load(name: str, target: str, **settings: Any) -> Any:
    """The command itself."""
    module, _, function = target.partition(":")
    alone = typer.Typer(add_completion=False)
    declare = alone.command(name, cls=Command, context_settings=settings or None)
    declare(getattr(import_module(f"orchestrator.cli.{module}"), function))
    return typer.main.get_command(alone)


def _nothing() -> None:
    """Stands for a function that has not been imported."""


class Command(TyperCommand):
    """A command with options and arguments of the kind below."""

    def get_params(self, ctx: Any) -> Any:
        return [_sparing(param) for param in super().get_params(ctx)]


class Group(TyperGroup):
    """A group with options of the kind below, whose help page has the whole line of each command."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, self.commands[name].help or "") for name in self.list_commands(ctx)])

    def get_params(self, ctx: Any) -> Any:
        return [_sparing(param) for param in super().get_params(ctx)]


class Option(TyperOption):
    """Leaves a value alone that is as it was declared."""

    def process_value(self, ctx: Any, value: Any) -> Any:
        return _processed(self, ctx, value, super().process_value)


class Argument(TyperArgument):
    """Leaves a value alone that is as it was declared."""

    def process_value(self, ctx: Any, value: Any) -> Any:
        return _processed(self, ctx, value, super().process_value)


def _processed(param: Any, ctx: Any, value: Any, convert: Callable[[Any, Any], Any]) -> Any:
    settled = _settled(param, ctx, value)
    if settled is _UNSETTLED:
        return convert(ctx, value)
    return param.callback(ctx, param, settled) if param.callback else settled


def _sparing(param: Any) -> Any:
    """The same option or argument; typer makes them of its own classes, and has no way to say which."""
    if type(param) is TyperOption:
        param.__class__ = Option
    elif type(param) is TyperArgument:
        param.__class__ = Argument
    return param


def _settled(param: Any, ctx: Any, value: Any) -> Any:
    """What typer would make of a value that is not there, of a default, of text, of a path; _UNSETTLED for all else."""
    kind = getattr(getattr(param, "type_descriptor", None), "annotation", None)  # none in a typer without pydantic
    if param.required and not value:
        return None if ctx.resilient_parsing else _UNSETTLED  # completion does not ask for it
    if value is None:
        return () if param.multiple or param.nargs == -1 else None
    if kind is str and isinstance(value, str):
        return value
    if kind == list[str] and isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value):
        return value
    if kind in (int, float) and value == param.default:
        return kind(value)
    if kind is Path and isinstance(value, (str, Path)) and (os.access(value, os.R_OK) or not os.path.lexists(value)):
        return Path(value)
    return _UNSETTLED
