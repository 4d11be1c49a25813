"""How much a command imports before it does anything: counted in modules, never by the clock."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import synthetic_run
import typer
from typer.core import TyperArgument, TyperOption

from orchestrator.cli import lazy
from orchestrator.cli.app import app, image

ROOT = Path(__file__).parents[2]
COUNT = """
import atexit, json, sys
before = set(sys.modules)
atexit.register(lambda: open({file!r}, "w").write(json.dumps(sorted(set(sys.modules) - before))))
sys.argv[0] = "lab"
from orchestrator.cli import main
main()
"""
GUEST = ("paramiko", "cryptography", "pexpect", "drgn", "nacl", "bcrypt", "filelock", "asyncio")
PAGES = ("rich", "pygments", "markdown_it")  # what typer lays out help pages with
HEAVY = (*GUEST, "jinja2", "pydantic", "importlib.metadata", "email", "unittest")
OURS = ("orchestrator.pieces", "orchestrator.machine", "orchestrator.prepare", "orchestrator.experiment")


def modules(tmp_path: Path, words: Sequence[str], environment: Mapping[str, str] | None = None) -> set[str]:
    """The modules that ``lab`` loads on top of Python's own. Raises AssertionError for an error of ours."""
    file = tmp_path / "modules.json"
    here = {"PYTHONPATH": str(ROOT), "LAB_CACHE": str(tmp_path / "cache"), **(environment or {})}
    return counted(file, subprocess.run([sys.executable, "-c", COUNT.format(file=str(file)), *words], cwd=tmp_path,
                                        text=True, env={**os.environ, **here}, capture_output=True, check=False))


def imported(tmp_path: Path, code: str) -> set[str]:
    """The same of a piece of Python."""
    file = tmp_path / "modules.json"
    code = COUNT.format(file=str(file)).partition("from orchestrator.cli")[0] + code
    return counted(file, subprocess.run([sys.executable, "-c", code], cwd=tmp_path, text=True, capture_output=True,
                                        check=False, env={**os.environ, "PYTHONPATH": str(ROOT)}))


def counted(file: Path, done: subprocess.CompletedProcess[str]) -> set[str]:
    assert "Traceback" not in done.stderr, done.stderr
    return set(json.loads(file.read_text()))


def expect(found: set[str], absent: Sequence[str], most: int) -> None:
    """None of the modules that must not be there, and not many more than when this was written."""
    heavy = sorted(name for name in found if name.startswith(tuple(f"{part}." for part in absent)) or name in absent)
    assert not heavy, f"loaded without need: {', '.join(heavy)}"
    ours = sorted(name for name in found if name.startswith("orchestrator"))
    others = Counter(name.partition(".")[0] for name in found if not name.startswith("orchestrator"))
    assert len(found) <= most, f"{len(found)} modules, {most} are allowed: {ours}, {dict(others)}"


# In the comments: how many there were, with Python 3.11, typer 0.29 and what a developer has installed besides.
@pytest.mark.parametrize(
    ("words", "absent", "most"),
    [
        (["--help"], (*HEAVY, *PAGES, *OURS, "yaml", "orchestrator.cli.run"), 150),
        (["image", "--help"], (*HEAVY, *PAGES, *OURS, "yaml", "orchestrator.cli.image"), 150),
        (["run", "--help"], (*HEAVY, *OURS, "yaml"), 320),  # 275, of them 150 for the page
        (["list"], (*HEAVY, *PAGES, *OURS, "simpleeval", "orchestrator.scenario"), 150),  # 127
        (["list", "brk"], (*HEAVY, *PAGES, *OURS), 180),  # 150
    ],
)
def test_a_command_loads_what_it_needs(words: list[str], absent: Sequence[str], most: int, tmp_path: Path) -> None:
    expect(modules(tmp_path, words), absent, most)


@pytest.mark.parametrize("line", ["lab ", "lab li", "lab run ", "lab run --", "lab image build --"])
def test_completion_loads_almost_nothing(line: str, tmp_path: Path) -> None:
    number = len(line.split()) - (not line.endswith(" "))
    asked = {"_LAB_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(number)}
    expect(modules(tmp_path, [], asked), (*HEAVY, *PAGES, *OURS, "yaml"), 120)  # 100 to 102


def test_a_check_loads_no_guest(tmp_path: Path) -> None:
    builder = synthetic_run.brk(tmp_path / "run")
    builder.directory.save(builder.record)
    expect(modules(tmp_path, ["check", str(tmp_path / "run")]), (*HEAVY, *PAGES, *OURS), 200)  # 199


def test_a_guest_needs_no_inside_and_builds_nothing(tmp_path: Path) -> None:
    found = imported(tmp_path, "import orchestrator.cli.guest, orchestrator.interactive, orchestrator.pieces\n"
                               "orchestrator.machine.guest._import_paramiko()")  # fmt: skip
    absent = ("drgn", "jinja2", *PAGES, "pydantic", "filelock", "asyncio", "unittest", "invoke.context", "simpleeval",
              "orchestrator.experiment", "orchestrator.scenario", "orchestrator.pieces.user")  # fmt: skip
    expect(found, absent, 400)  # 356


def test_what_judges_a_run_is_read_while_its_guest_starts(tmp_path: Path) -> None:
    late = ("orchestrator.judgement", "orchestrator.evaluate", "orchestrator.digest", "simpleeval")
    expect(imported(tmp_path, "import orchestrator.experiment"), (*late, "jinja2", *PAGES), 290)  # 267


# -- what stands in for a command until it is called -------------------------------------------------


def commands(group: typer.Typer) -> list[tuple[str, Any, Any]]:
    """Name, stand-in and command of each."""
    stands = typer.main.get_command(group).commands  # type: ignore[attr-defined]
    return [(name, stand, lazy.load(name, stand.target)) for name, stand in stands.items() if hasattr(stand, "target")]


COMMANDS = [pytest.param(*found, id=found[0]) for group in (app, image) for found in commands(group)]


def test_all_commands_stand_for_something() -> None:
    assert len(COMMANDS) == len(app.registered_commands) + len(image.registered_commands)


@pytest.mark.parametrize(("name", "stand", "command"), COMMANDS)
def test_the_line_in_the_list_is_the_docstrings(name: str, stand: Any, command: Any) -> None:
    assert stand.help == command.help.partition("\n\n")[0].replace("\n", " "), name
    assert command.name == name and command.callback.__doc__


@pytest.mark.parametrize(("name", "stand", "command"), COMMANDS)
def test_values_that_are_left_alone_are_what_typer_makes_of_them(
    name: str, stand: Any, command: Any, tmp_path: Path
) -> None:
    """Defaults, texts, paths: as typer's own conversion has them, where a parameter takes them at all."""
    context = command.context_class(command)
    plain = {lazy.Option: TyperOption, lazy.Argument: TyperArgument}
    for param in command.get_params(context):
        assert type(param) in plain, (name, param.name)
        for value in (None, param.default, "word", "", "12", ("a", "b"), (), str(tmp_path), str(tmp_path / "no")):
            settled = lazy._settled(param, context, value)
            if settled is not lazy._UNSETTLED:
                converted = plain[type(param)].process_value(param, context, value)
                many = isinstance(settled, (list, tuple))
                assert converted == (type(converted)(settled) if many else settled), (name, param.name, value)
                assert many or type(converted) is type(settled), (name, param.name, value)
