"""Examples in the documents: every command exists with its options, and those that need no guest do what is shown.

tests/guest/test_docs.py runs the others.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import docs_examples
import pytest
import typer
from docs_examples import DOCUMENTS, ROOT, Example

from orchestrator import claims, lint, scenario
from orchestrator.cli import lazy
from orchestrator.cli.app import app

EXAMPLES = [example for document in DOCUMENTS for example in docs_examples.examples(document)]


def command(words: list[str]) -> tuple[Any, list[str]]:
    """The command that they name, and its own words."""
    found: Any = typer.main.get_command(app)
    while hasattr(found, "commands"):
        found, words = found.commands[words[0]], words[1:]
    return lazy.load(found.name, found.target, **found.settings), words


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 80
    assert sum(bool(example.shown) for example in EXAMPLES) > 12


@pytest.mark.parametrize("example", EXAMPLES, ids=str)
def test_the_command_and_its_options_exist(example: Example) -> None:
    found, words = command(example.words)
    found.make_context(found.name, words)  # which reads them, and does nothing


@pytest.mark.parametrize("document", DOCUMENTS)
def test_what_needs_no_guest_does_what_is_shown(document: str, tmp_path: Path) -> None:
    folder = playground(tmp_path)
    pure = [one for one in docs_examples.examples(document) if not one.left_out and not one.guest]
    assert "\n".join(filter(None, (run(example, folder) for example in pure))) == ""


def playground(folder: Path) -> Path:
    """A folder from which the repository's files can be reached, as from its top."""
    for name in ("docs", "scenarios", "tests", "README.md"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "bin").mkdir()
    lab = f'{sys.executable} -c "from orchestrator.cli import main; main()" "$@"'
    (folder / "bin/lab").write_text(f"#!/bin/sh\nexec {lab}\n")
    (folder / "bin/lab").chmod(0o755)
    return folder


def run(example: Example, folder: Path, extra: dict[str, str] | None = None) -> str:
    """Runs it as a shell does; what is wrong with it, or nothing."""
    paths = {"PATH": f"{folder}/bin:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(["bash", "-c", example.command], cwd=folder, env={**os.environ, **(extra or {}), **paths},
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors="replace", timeout=300, check=False)  # fmt: skip
    if done.returncode != example.exit_code:
        return f"{example}: exit {done.returncode}, not {example.exit_code}:\n{done.stdout}"
    lacks = docs_examples.missing(example, done.stdout)
    return f"{example}: not shown so:\n{lacks}\nbut:\n{docs_examples.normal(done.stdout)}" if lacks else ""


def test_a_shown_line_that_is_not_printed_is_missed() -> None:
    example = Example("x", 1, "lab run x", ("1 grown 0.4 s, RSS 1.2 MiB (+0)", "PASS  2 passed"))
    assert docs_examples.missing(example, "1 grown  91 ms, RSS 12 KiB (+4 KiB)\nmore\nPASS  2\npassed") == ""
    assert docs_examples.missing(example, "PASS  2 passed\n1 grown  91 ms, RSS 12 KiB") == "PASS 2 passed"
    assert docs_examples.missing(example, "1 grown  91 ms, RSS 12 KiB\nPASS  3 passed") == "PASS 2 passed"


def test_every_picture_of_a_document_is_there_and_every_picture_is_shown() -> None:
    shown = set()
    for document in DOCUMENTS:
        text = (ROOT / document).read_text(encoding="utf-8")
        shown |= {(ROOT / document).parent / target for target in re.findall(r"!\[[^\]]+\]\(([^)]+)\)", text)}
    assert shown == set((ROOT / "docs/pictures").glob("*.png"))
    assert all(picture.stat().st_size < 150 << 10 for picture in shown)


def test_every_link_of_a_document_leads_to_a_file() -> None:
    for document in (*DOCUMENTS, "docs/reference.md"):
        text = (ROOT / document).read_text(encoding="utf-8")
        for target in re.findall(r"(?<!!)\[[^\]]*\]\(([^)#]+)", text):
            assert "://" in target or ((ROOT / document).parent / target).exists(), f"{document}: {target}"


def test_the_program_of_the_tutorial_lints() -> None:
    catalogue = claims.catalogue([ROOT / "scenarios"])
    assert [str(one) for one in lint.lint(scenario.load(ROOT / "docs/life"), catalogue, None)] == []
