"""The lock, ``images/lock.yaml``: the exact packages that each piece is made of.

It is written by `lab image lock`, and read as if somebody had edited it: what can't be is said with file and line.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from orchestrator.errors import PieceError, UsageError
from orchestrator.model import PackagePin, PieceKind
from orchestrator.names import nearest
from orchestrator.yamlnodes import Node, load

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


MAX_PACKAGE = 4 << 30  # bytes, of one package
MENDED = "Correct that line, or write the lock anew: `lab image lock --update`."
_NAME = r"[a-z0-9][a-z0-9.+-]*"
_VERSION = r"[0-9][A-Za-z0-9.+~:-]*"
_SUITE = r"[a-z][a-z0-9-]*"
_FILENAME = r"pool/[A-Za-z0-9.+~_/-]+\.deb"
_PIN = ("name", "version", "sha256", "size", "filename")
_FIELDS = ("version", "suite", "expired", "unsigned", "packages")
# whose version a piece has; a kernel has that of one of its packages, its symbols that of the kernel
_LEADERS = {PieceKind.USERLAND: "libc6", PieceKind.SYSROOT: "libc6", PieceKind.EMULATOR: "qemu-system-x86"}


def read(path: Path, known: Iterable[str] | None = None) -> Lock:
    """The lock by id; empty when there is none. ``known``: the ids that the catalogue has, where others are an error.

    Raises UsageError with file and line for what no `lab image lock` has written.
    """
    if not path.exists():
        return {}
    try:
        return _entries(load(path, bounded=False), None if known is None else list(known))
    except UsageError as error:
        raise UsageError(error.message, error.hint or MENDED) from None


def _entries(root: Node, known: list[str] | None) -> Lock:
    pieces = root.mapping(["pieces"], ["pieces"])["pieces"]
    found: dict[str, Locked] = {}
    files: dict[str, tuple[PackagePin, int]] = {}  # by filename, with the line that has it
    for key, node in pieces.pairs():
        if known is not None and key not in known:
            raise node.at_key().error(f"the catalogue has no such piece{nearest(key, known)}")
        found[key] = _entry(key, node, files)
    return found


def _entry(key: str, node: Node, files: dict[str, tuple[PackagePin, int]]) -> Locked:
    kind, _, name = key.partition("/")
    if kind not in [*PieceKind] or not name:
        raise node.at_key().error(f"{key!r} is no piece", ", ".join(f"{one}/NAME" for one in PieceKind))
    fields = node.mapping(_FIELDS, ("version", "suite", "packages"))
    version = fields["version"].text(_VERSION)
    pins: dict[str, PackagePin] = {}
    for item in fields["packages"].items():
        pin = _pin_of(item, files)
        if pin.name in pins:
            raise item.error(f"the package {pin.name} is there twice", "each package once")
        pins[pin.name] = pin
    if not pins:
        raise fields["packages"].error("a piece is made of one package at least")
    _check_version(PieceKind(kind), fields["version"], version, pins)
    said = {name: fields[name].text() for name in ("expired", "unsigned") if name in fields}
    return Locked(PieceKind(kind), name, version, fields["suite"].text(_SUITE), tuple(pins.values()), **said)


def _pin_of(node: Node, files: dict[str, tuple[PackagePin, int]]) -> PackagePin:
    fields = node.mapping(_PIN, _PIN)
    name, version = fields["name"].text(_NAME), fields["version"].text(_VERSION)
    sha256 = fields["sha256"].text()
    if not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise fields["sha256"].error(f"{sha256[:80]!r} ({len(sha256)} characters) is no SHA-256",
                                     "64 hexadecimal digits")  # fmt: skip
    size, filename = fields["size"].whole(1, MAX_PACKAGE), fields["filename"].text(_FILENAME)
    if ".." in filename.split("/"):
        raise fields["filename"].error(f"{filename!r} leaves the mirror", "a path below pool/")
    stem = f"{name}_{re.sub('^[0-9]+:', '', version)}_"
    if not PurePosixPath(filename).name.startswith(stem):
        raise fields["version"].error(f"{name} {version} does not lie in {PurePosixPath(filename).name}",
                                      f"the version of a file {stem}ARCHITECTURE.deb")  # fmt: skip
    pin = PackagePin(name, version, sha256, size, filename)
    other, line = files.setdefault(filename, (pin, node.line))
    if other != pin:
        what = "SHA-256" if other.sha256 != sha256 else "size"
        raise node.error(f"{name} {version} has another {what} here than in line {line}", "one file has one content")
    return pin


def _check_version(kind: PieceKind, node: Node, version: str, pins: Mapping[str, PackagePin]) -> None:
    """A piece has the version of the package that it is named after: another one would only be a wrong label."""
    leader = _LEADERS.get(kind, "libc6" if "libc6" in pins else "")
    if not leader and kind is PieceKind.SYMBOLS:
        return  # symbols.fits() holds them against the kernel
    if not leader:
        possible = list(dict.fromkeys(pin.version for pin in pins.values()))
    elif leader in pins:
        possible = [upstream(pins[leader].version)]
    else:
        raise node.error(f"no package {leader} is among those of the piece")
    if version not in possible:
        raise node.error(f"{version} is not the version of its packages", ", ".join(possible))


def upstream(version: str) -> str:
    """ "1:10.0.13+ds-0+deb13u1" -> "10.0.13"; "2.36-9+deb12u14" -> "2.36"."""
    match = re.match(r"(?:\d+:)?(\d+(?:\.\d+)*)", version)
    return match[1] if match else version


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
    """What differs, a line each: "kernel/6.1: linux-image-… 6.1.1-1 → 6.1.2-1", "kernel/6.1: libx 1.0 added"."""
    lines: list[str] = []
    for key in sorted({*old, *new}):
        if key not in old or key not in new:
            lines.append(f"{key}: {'is new' if key in new else 'is removed'}")
        before = {pin.name: pin for pin in old[key].packages} if key in old else {}
        after = {pin.name: pin for pin in new[key].packages} if key in new else {}
        for name in sorted({*before, *after}):
            if before.get(name) != after.get(name):
                lines.append(f"{key}: {_change(before.get(name), after.get(name))}")
        if key in old and key in new:
            lines += [f"{key}: {line}" for line in _other_changes(old[key], new[key])]
    return lines


def _change(old: PackagePin | None, new: PackagePin | None) -> str:
    if old is None or new is None:
        pin = old or new
        assert pin is not None
        return f"{pin.name} {pin.version} {'added' if new else 'removed'}"
    if old.version != new.version:
        return f"{new.name} {old.version} → {new.version}"
    if old.sha256 != new.sha256:
        return f"{new.name} {new.version}: other bytes, SHA-256 {old.sha256} → {new.sha256}"
    if old.filename != new.filename:
        return f"{new.name} {new.version}: {old.filename} → {new.filename}"
    return f"{new.name} {new.version}: size {old.size} → {new.size}"


def _other_changes(old: Locked, new: Locked) -> list[str]:
    fields = ("version", "suite", "expired", "unsigned")
    pairs = ((name, getattr(old, name), getattr(new, name)) for name in fields)
    return [f"{name} {was or '(none)'} → {now or '(none)'}" for name, was, now in pairs if was != now]


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
