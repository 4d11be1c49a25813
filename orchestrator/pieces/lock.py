"""The lock, ``images/lock.yaml``: the exact packages that each piece is made of."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from orchestrator.errors import PieceError, UsageError
from orchestrator.model import PackagePin, PieceKind

_HEAD = """\
# Written by `lab image lock`: the packages of each piece, as apt resolved them with Debian's signatures
# checked. To move to newer ones: `lab image lock --update`.
"""


@dataclass(frozen=True)
class Locked:
    """What one piece is made of."""

    kind: PieceKind
    name: str
    version: str  # "6.1.176-1"; glibc "2.36"; "10.0.13"
    suite: str
    packages: tuple[PackagePin, ...]
    expired: str = ""  # when the suite's Release file expired, if it had when the piece was resolved
    unsigned: str = ""  # why a package is taken from the mirror's pool without a signed list that names it

    @property
    def id(self) -> str:
        """ "kernel/6.1": its key in the lock."""
        return f"{self.kind}/{self.name}"


Lock = Mapping[str, Locked]


def read(path: Path) -> Lock:
    """The lock by id; empty when there is none."""
    try:
        text = path.read_text()
    except FileNotFoundError:
        return {}
    try:
        document = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        return {key: parse(key, value) for key, value in document["pieces"].items()}
    except (yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(
            f"{path} is not a lock: {error}", "Write it anew: `lab image lock --update`."
        ) from error


def write(path: Path, lock: Lock) -> None:
    """Replaces the lock, all or nothing."""
    text = _HEAD + yaml.dump(
        {"pieces": {key: as_data(lock[key]) for key in sorted(lock)}},
        Dumper=yaml.SafeDumper,
        default_flow_style=None,  # one line per package
        sort_keys=False,
        width=1000,
    )
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise PieceError(
            f"can't write {path}: {error.strerror}", "Run it in a checkout of your own."
        ) from error


def changes(old: Lock, new: Lock) -> list[str]:
    """What differs, a line each: "kernel/6.1: linux-image-… 6.1.1-1 → 6.1.2-1"."""
    lines: list[str] = []
    for key in sorted({*old, *new}):
        before = {pin.name: pin for pin in old[key].packages} if key in old else {}
        after = {pin.name: pin for pin in new[key].packages} if key in new else {}
        for name in sorted({*before, *after}):
            if before.get(name) != after.get(name):
                was = before[name].version if name in before else "(none)"
                now = after[name].version if name in after else "(none)"
                lines.append(f"{key}: {name} {was} → {now}")
    return lines


def parse(key: str, value: Mapping[str, Any]) -> Locked:
    """One entry, from the form that ``as_data`` gives it."""
    kind, _, name = key.partition("/")
    return Locked(
        kind=PieceKind(kind),
        name=name,
        version=str(value["version"]),
        suite=str(value["suite"]),
        packages=tuple(_pin(**pin) for pin in value["packages"]),
        expired=str(value.get("expired", "")),
        unsigned=str(value.get("unsigned", "")),
    )


def _pin(name: str, version: str, sha256: str, size: int, filename: str) -> PackagePin:
    if not re.fullmatch(r"[0-9a-f]{64}", str(sha256)) or not isinstance(size, int):
        raise ValueError(f"the package {name} needs a SHA-256 (hexadecimal, a string) and a size")
    return PackagePin(str(name), str(version), str(sha256), size, str(filename))


def as_data(entry: Locked) -> dict[str, Any]:
    """An entry as plain data, for YAML and JSON."""
    data: dict[str, Any] = {"version": entry.version, "suite": entry.suite}
    if entry.expired:
        data["expired"] = entry.expired
    if entry.unsigned:
        data["unsigned"] = entry.unsigned
    data["packages"] = [dataclasses.asdict(pin) for pin in entry.packages]
    return data
