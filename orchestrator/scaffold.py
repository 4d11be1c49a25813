"""`lab new`: a working scenario from the template, to be changed into one's own."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

from orchestrator import scenario
from orchestrator.errors import UsageError

_FILES = {"program.c": "{name}.c", "scenario.yaml": "scenario.yaml", "claims.yaml": "claims.yaml"}
_NAME = r"[A-Za-z][A-Za-z0-9_-]{0,39}"
_YAML = re.compile(r"y|n|yes|no|on|off|true|false|null", re.IGNORECASE)  # which YAML would not read as text


def files(name: str) -> dict[str, str]:
    """The files of a new scenario: their names and what is in them. Raises UsageError for a name that can't be one."""
    if not re.fullmatch(_NAME, name) or _YAML.fullmatch(name):
        raise UsageError(f"{name[:100]!r} can't be a scenario's name",
                         "begin with a letter; letters, digits, - and _ may follow, 40 in all")  # fmt: skip
    template = resources.files("orchestrator") / "template"
    return {
        target.format(name=name): (template / source).read_text(encoding="utf-8").replace("NAME", name)
        for source, target in _FILES.items()
    }


def make(name: str, directory: Path) -> Path:
    """Writes a new scenario's folder into ``directory``. Raises UsageError where something has that name."""
    content = files(name)
    folder = directory / name
    if name in scenario.names(scenario.folders()):
        raise UsageError(f"there is a scenario {name} already", "take another name, or copy its folder")
    try:
        folder.mkdir(parents=True)
        for file, text in content.items():
            (folder / file).write_text(text, encoding="utf-8")
    except FileExistsError:
        raise UsageError(f"{folder} is there already", "nothing was changed; take another name") from None
    except OSError as error:
        raise UsageError(f"cannot write {folder}: {error.strerror}", "give another --directory") from None
    return folder
