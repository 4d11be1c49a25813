"""Where results go beside the terminal: the files that --json, --junit, --ktap, --html, --markdown, --github name."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.errors import UsageError

if TYPE_CHECKING:
    from orchestrator.report.results import Results


@dataclass(frozen=True)
class Outputs:
    """The targets, each named as its option. "-" is stdout, for one of them, and then the text is not printed."""

    json: Path | None = None
    junit: Path | None = None
    ktap: Path | None = None
    html: Path | None = None
    markdown: Path | None = None
    github: Path | None = None

    @property
    def wanted(self) -> dict[str, Path]:
        """Those that were asked for, by their names."""
        found = {one.name: getattr(self, one.name) for one in fields(self)}
        return {name: path for name, path in found.items() if path is not None}

    @property
    def stdout(self) -> bool:
        """Whether one of them is to be alone on stdout."""
        return "-" in map(str, self.wanted.values())

    def check(self) -> None:
        """Raises UsageError if one could not be written, or two would be one: before the work, not after it."""
        if not self.wanted:
            return
        from orchestrator.cli import target

        taken: dict[str, str] = {}
        for name, path in self.wanted.items():
            target.check(path)
            key = str(path) if str(path) == "-" else str(path.resolve())
            if key in taken:
                raise UsageError(f"--{taken[key]} and --{name} both go to {path}")
            taken[key] = name

    def write(self, results: Callable[[], Results], json: Callable[[Results], str] | None = None) -> None:
        """Writes what was asked for, of ``results``, which are read only then; ``json`` instead of the usual JSON. One
        that can't be written does not keep the others from it. Raises its UsageError after them."""
        if not self.wanted:
            return
        from orchestrator.cli import target

        found, problem = results(), None
        for name, path in self.wanted.items():
            render = json if name == "json" and json is not None else _renderer(name)
            try:
                target.write(path, render(found))
            except UsageError as error:
                problem = problem or error
        if problem is not None:
            raise problem


def _annotations(results: Results) -> str:
    """Annotations of files in the repository: the job's, elsewhere the working directory."""
    from orchestrator.report import github
    from orchestrator.report.results import places

    return github.render(results, places.find(results, Path(os.environ.get("GITHUB_WORKSPACE") or ".")))


def _renderer(name: str) -> Callable[[Results], str]:
    """The renderer of an option; only what is asked for is imported."""
    if name == "html":
        from orchestrator.report.html import page

        return page.render
    if name == "github":
        return _annotations
    from orchestrator.report import junit, ktap, markdown, results_json

    return {"json": results_json.render, "junit": junit.render, "ktap": ktap.render, "markdown": markdown.render}[name]
