"""Hashes of a scenario's files: has it changed since? Two answers, as an edited expectation spoils no evidence."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path

from orchestrator.model import Scenario

# Beside scenario.yaml: what a program can be made of, also one folder down
SOURCES = tuple(f"{folder}*.{ending}" for folder in ("", "*/") for ending in ("c", "h", "S", "inc"))


def source(wanted: Scenario) -> Path:
    """The file that stands for a scenario: its scenario.yaml, or the plain C file."""
    return wanted.file or wanted.programs[0]


def of_files(wanted: Scenario) -> str:
    """Of all of the scenario's own files. A plain program has but one; what it includes is not looked at."""
    return _digest(wanted, {source(wanted), *_sources(wanted)})


def of_program(wanted: Scenario) -> str:
    """Of what shapes the evidence of a run: the C files, how they are compiled and called, the scenario's own
    settings, what it needs, what is traced. Not of what is expected, nor of any words."""
    trace = None if wanted.trace is None else _given(asdict(wanted.trace))
    inspect = [] if wanted.inspect is None else [_given(asdict(wanted.inspect))]
    how = [[file.name for file in wanted.programs], wanted.cflags, wanted.args, _given(asdict(wanted.settings)),
           _given(asdict(wanted.needs)), trace, *inspect, *(["deterministic"] if wanted.deterministic else [])]
    content = _digest(wanted, _sources(wanted))
    return hashlib.sha256(json.dumps([content, *how]).encode()).hexdigest()


def _given(keys: Mapping[str, object]) -> dict[str, object]:
    """What is not empty: a key that a later lab adds changes nothing for who does not use it."""
    return {name: value for name, value in keys.items() if value}


def _sources(wanted: Scenario) -> set[Path]:
    found = set(wanted.programs)
    if not wanted.plain:
        found.update(file for pattern in SOURCES for file in wanted.directory.glob(pattern) if file.is_file())
    return found


def _digest(wanted: Scenario, files: Iterable[Path]) -> str:
    names = {_name(wanted, file): file for file in files}
    found = hashlib.sha256()
    for name, file in sorted(names.items()):
        content = hashlib.sha256(file.read_bytes()).hexdigest()
        found.update(f"{name}\0{content}\n".encode(errors="surrogateescape"))
    return found.hexdigest()


def _name(wanted: Scenario, file: Path) -> str:
    """A file's name in its scenario, the same wherever that lies."""
    place = wanted.directory.absolute()
    absolute = file.absolute()
    return str(absolute.relative_to(place)) if absolute.is_relative_to(place) else file.name
