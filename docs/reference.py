"""Writes docs/reference.md: all commands, keys and observations, as the code has them.

    .venv/bin/python docs/reference.py

Options come from the commands themselves. What may stand at a key of scenario.yaml is what its reader says when
something else stands there. What a key or an observation is for is said once, in scenarios/README.md, whose tables
the tests hold against the code; it is taken from there. A test fails where the file is not what is written here.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import tempfile
import typing
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import typer
import yaml
from typer.models import OptionInfo

from orchestrator import checks, model, scenario
from orchestrator.cli.app import app
from orchestrator.errors import UsageError
from orchestrator.pieces import catalogue

FILE = Path(__file__).with_name("reference.md")
README = Path(__file__).parents[1] / "scenarios/README.md"
HEAD = """# Reference

Written by `docs/reference.py` from the code; do not edit. How things go together is said in the [README](../README.md)
and in [scenarios/README.md](../scenarios/README.md), by example in the [tutorial](tutorial.md).
"""
LEVELS = {"P": "`/proc`, log, output", "T": "kernel trace", "K": "kernel objects", "H": "heap and threads"}


def render() -> str:
    """The whole page."""
    parts = [HEAD, *_commands(), *_scenario_keys(), *_observations(), *_catalogue()]
    return "\n".join(parts)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of Markdown, with an empty line behind it."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(row)} |\n" for row in lines)


def code(text: str) -> str:
    """Text as code in a cell; a bar would end the cell."""
    return f"`{text}`".replace("|", r"\|") if text else ""


# -- commands ----------------------------------------------------------------------------------


def _commands() -> Iterator[str]:
    yield "## Commands\n"
    yield "`lab --version` shows the version; every command has `-h` and `--help`.\n"
    for name, function in _all(app, "lab"):
        yield _command(name, function)


def _all(group: typer.Typer, name: str) -> Iterator[tuple[str, Callable[..., None]]]:
    """All commands with the functions that declare them."""
    for made in group.registered_commands:
        module, _, function = getattr(made.cls, "target", "").partition(":")
        yield f"{name} {made.name}", getattr(import_module(f"orchestrator.cli.{module}"), function)
    for inner in group.registered_groups:
        if inner.typer_instance is not None:
            yield from _all(inner.typer_instance, f"{name} {inner.name}")


@dataclasses.dataclass(frozen=True)
class Param:
    """An option or an argument, as its function declares it."""

    name: str
    kind: type
    many: bool
    default: Any
    info: Any  # typer's OptionInfo or ArgumentInfo

    @property
    def option(self) -> bool:
        return isinstance(self.info, OptionInfo)

    @property
    def word(self) -> str:
        """How an argument stands in the usage line."""
        word = self.info.metavar or self.name.upper() + ("..." if self.many else "")
        return word if self.default is inspect.Parameter.empty or word.startswith("[") else f"[{word}]"

    @property
    def spelled(self) -> str:
        """An option's names."""
        long = f"--{self.name.replace('_', '-')}"
        first = self.info.default  # of an Annotated option: its first name
        if isinstance(first, str):
            names = [first, *(self.info.param_decls or ())]
        else:
            names = [long, f"--no-{long[2:]}"] if self.kind is bool else [long]
        return ", ".join(map(code, names))

    @property
    def value(self) -> str:
        """What may follow it."""
        if self.kind is bool:
            return ""
        word = self.info.metavar or {int: "N", float: "NUMBER", Path: "PATH"}.get(self.kind, "TEXT")
        low, high = self.info.min, self.info.max
        bounds = f", {low} to {high}" if high is not None else f", from {low}" if low is not None else ""
        return f"{word}{bounds}{', repeatable' if self.many else ''}"

    @property
    def left_out(self) -> str:
        shown = self.default not in (None, False, inspect.Parameter.empty)
        return code(str(self.default)) if shown and self.kind is not bool else ""


def _params(function: Callable[..., None]) -> Iterator[Param]:
    hints = typing.get_type_hints(function, include_extras=True)
    for name, declared in inspect.signature(function).parameters.items():
        if not typing.get_args(hints[name]):
            continue  # typer's context
        kind, info = typing.get_args(hints[name])
        kinds = [one for one in typing.get_args(kind) if one is not type(None)] or [kind]
        one = kind if typing.get_origin(kind) is list else kinds[0]
        many = typing.get_origin(one) is list
        yield Param(name, typing.get_args(one)[0] if many else one, many, declared.default, info)


def _command(name: str, function: Callable[..., None]) -> str:
    params = list(_params(function))
    arguments = [param for param in params if not param.option]
    usage = " ".join([name, *(["[OPTIONS]"] if len(params) > len(arguments) else []), *(one.word for one in arguments)])
    paragraphs = re.split(r"\n\s*\n", inspect.cleandoc(function.__doc__ or ""))
    parts = [f"### `{name}`\n", f"`{usage}`\n", *(f"{_cell(one)}\n" for one in paragraphs)]
    rows = [(code(one.word), "", "", _cell(one.info.help)) for one in arguments if one.info.help]
    rows += [(one.spelled, one.value, one.left_out, _cell(one.info.help)) for one in params if one.option]
    return "\n".join([*parts, table(("option", "value", "if left out", "what"), rows)] if rows else parts)


def _cell(text: str | None) -> str:
    return re.sub(r"\s+", " ", text or "").replace("|", r"\|")


# -- scenario.yaml -----------------------------------------------------------------------------


def rows(*head: str) -> Iterator[list[str]]:
    """The rows of the tables of scenarios/README.md that begin with these columns."""
    inside = False
    for line in README.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")] if line.startswith("|") else []
        if not cells or not inside:
            inside = tuple(cells[: len(head)]) == head
        elif not line.startswith("|---"):
            yield cells


def described(*head: str) -> dict[str, list[str]]:
    """The other cells of those rows by each key (or the name of each function) in the first one."""
    return {key.partition("(")[0]: cells for first, *cells in rows(*head) for key in re.findall(r"`([^`]+)`", first)}


PLAIN: dict[str, Any] = {"name": "x", "summary": "x", "claims": ["a.b"], "checkpoints": ["here"]}
EXPECTATION: dict[str, Any] = {"id": "e", "claim": "a.b", "check": "exit_code == 0", "because": "x", "source": "x"}
CONTROL: dict[str, Any] = {"name": "c", "fails": ["e"], "defines": {"X": 1}}
# What hardly any key takes; the first one tells its kind.
WRONG: tuple[object, ...] = (0.001, {"-": {}}, [[]], ["\0"], [{}], "\0")
_QUOTED = " (in quotation marks, if YAML reads it otherwise)"
_SCALAR = "a text or a number"


def allowed(*path: str) -> str:
    """What the reader says may stand at a key, when something stands there that may not."""
    said = [text.replace(_QUOTED, "") for text in (_refusal(path, one) for one in WRONG) if text]
    parts = list(dict.fromkeys(said))
    if len(parts) > 1 and _SCALAR in parts and parts[0] != "a list":
        parts.remove(_SCALAR)  # of a truth value
    words = parts if parts[0] in ("a text", "a list", "keys with values") else parts[-1:]
    return "; ".join(code(word) if set(word) & set("[|") else word for word in words)


def _refusal(path: Sequence[str], wrong: object) -> str:
    whole = {**PLAIN, "expectations": [EXPECTATION], "controls": [CONTROL]}
    if len(path) == 1:
        whole[path[0]] = wrong
    elif path[0] in ("expectations", "controls"):
        part = dict(EXPECTATION if path[0] == "expectations" else CONTROL)
        if path[1] in ("variants", "when"):  # which have the others
            part = {key: part[key] for key in ("id", "claim")}
        inner = {"when": wrong, "check": "exit_code == 0", "because": "x", "source": "x"}
        whole[path[0]] = [part | ({"variants": [inner]} if path[1] == "when" else {path[1]: wrong})]
    else:
        whole[path[0]] = {path[1]: wrong}
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "x.c").write_text("int main(void) { return 0; }\n")
        (Path(folder) / scenario.FILE).write_text(yaml.safe_dump(whole))
        try:
            scenario.load(Path(folder))
        except UsageError as error:
            return error.message.partition("; allowed: ")[2]
    return ""


def _scenario_keys() -> Iterator[str]:
    yield "## scenario.yaml\n"
    known = described("key", "what", "example")
    yield table(("key", "what may stand there", "what it is for", "example"),
                ((code(key), allowed(key), *(re.sub("(; )?see below", "", cell) for cell in known[key]))
                 for key in scenario._KEYS))  # fmt: skip
    for key, names, words in (
        ("needs", ("kconfig", "symbols"), {"kconfig": ["kernel options"], "symbols": ["kernel symbols"]}),
        ("trace", tuple(field.name for field in dataclasses.fields(model.Trace)), described("key of `trace`")),
        ("inspect", tuple(checks.PARTS.values()),
         {"kernel": ["checkpoints at which kernel objects are read; or a list of them"],
          "heap": ["those at which malloc's and the threads' are; or a list of them"]}),
        ("expectations", ("id", "claim", "at", *scenario._VARIANT, *scenario._MAY, "variants", "when"),
         described("key", "what") | {"id": ["its name"], "claim": ["the claim that it proves"]}),
        ("controls", ("name", "fails", "why", "defines", *scenario._SETTINGS),
         {"name": ["its name"], "fails": ["ids of expectations, all of which must FAIL"], "why": ["why they do"],
          "defines": ["C macros"], **{one: [f"as the scenario's `{one}`, on top"] for one in scenario._SETTINGS}}),
    ):  # fmt: skip
        yield f"### In `{key}`\n"
        yield table(("key", "what may stand there", "what it is for"),
                    ((code(name), allowed(key, name), words[name][0]) for name in names))


# -- observations ------------------------------------------------------------------------------


def _observations() -> Iterator[str]:
    yield "## Observations\n"
    yield ("In `check:` and `when:`. `at=` names another checkpoint, `pid=` another process or thread, `page=` an "
           "address in the page of a fault.\n")
    known = described("observation", "value", "example")
    yield table(("observation", "evidence", "value", "example"),
                ((code(_signature(name, made)), LEVELS[made.level], *known[name])
                 for name, made in checks.OBSERVATIONS.items()))  # fmt: skip
    yield "### Names, units, functions\n"
    yield table(("name", "value", "example"),
                (row for row in rows("observation", "value", "example")
                 if re.split(r"[`(]", row[0])[1] not in checks.OBSERVATIONS))  # fmt: skip
    for title, head in (("a mapping", ("attributes of `vma(…)`", "example")), ("a trace", ("of", "attributes")),
                        ("kernel objects", ("object", "attributes")),
                        ("heap and threads", ("of the heap", "attributes"))):  # fmt: skip
        yield f"### Attributes of {title}\n"
        yield table(head, rows(*head))


def _signature(name: str, made: checks.Signature) -> str:
    named = [*(["at="] if made.at else []), *(f"{word}=" for word in made.options)]
    return f"{name}({', '.join([*made.kinds, *named])})"


# -- images/*.yaml -----------------------------------------------------------------------------

_KINDS = {"str": "a text", "bool": "`true` or `false`", "tuple[str, ...]": "a list of texts"}


def _catalogue() -> Iterator[str]:
    yield "## images/*.yaml\n"
    yield "Every `*.yaml` but the lock; each section has names, and below each name:\n"
    for section, kind in (("kernels", catalogue.KernelSpec), ("userlands", catalogue.UserlandSpec),
                          ("emulators", catalogue.EmulatorSpec), ("images", catalogue.ImageSpec)):  # fmt: skip
        yield f"### `{section}`\n"
        yield (kind.__doc__ or "").replace("``", "`") + "\n"
        fields = [field for field in dataclasses.fields(kind) if field.name != "name"]
        yield table(("key", "what may stand there", "if left out"),
                    ((code(field.name), _KINDS[str(field.type)], _left_out(field)) for field in fields))


def _left_out(field: Any) -> str:
    if field.default is dataclasses.MISSING:
        return "an error"
    return code(str(field.default).lower() if isinstance(field.default, bool) else str(field.default))


if __name__ == "__main__":
    FILE.write_text(render(), encoding="utf-8")
