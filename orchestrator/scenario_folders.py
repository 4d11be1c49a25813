"""Where scenarios are, and what each is about: all that a list of them needs, without reading what they claim."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from orchestrator import resources, yamlnodes

FILE = "scenario.yaml"


def folders() -> tuple[Path, ...]:
    """Where scenarios are looked up by name: the working directory's, then the lab's own."""
    return (Path("scenarios").absolute(), resources.data("scenarios"))


def names(folders: Iterable[Path]) -> tuple[str, ...]:
    """The names of all scenarios in the folders, sorted."""
    return tuple(sorted({file.parent.name for folder in folders for file in folder.glob(f"*/{FILE}")}))


def summary(name: str, folders: Sequence[Path]) -> str:
    """The summary of the scenario of that name, without looking at the rest. Raises UsageError."""
    for file in (folder / name / FILE for folder in folders):
        if file.is_file():
            keys = dict(yamlnodes.load(file).pairs())
            return keys["summary"].text() if "summary" in keys else ""
    return ""
