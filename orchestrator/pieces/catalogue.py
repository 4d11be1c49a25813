"""The catalogue: what ``images/*.yaml`` (all but the lock) say about kernels, userlands, emulators, images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml

from orchestrator.errors import UsageError
from orchestrator.names import nearest

LOCK = "lock.yaml"
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
T = TypeVar("T")


@dataclass(frozen=True)
class KernelSpec:
    """A kernel: the newest version of ``package`` that any of ``suites`` serves."""

    name: str
    suites: tuple[str, ...]
    package: str
    versions: str = "*"  # glob over the package's version


@dataclass(frozen=True)
class UserlandSpec:
    """A userland and its sysroot, from one suite."""

    name: str
    suite: str


@dataclass(frozen=True)
class EmulatorSpec:
    """A QEMU, from one suite."""

    name: str
    suite: str
    default: bool = False


@dataclass(frozen=True)
class ImageSpec:
    """A named kernel + userland."""

    name: str
    kernel: str
    userland: str


@dataclass(frozen=True)
class Catalogue:
    """Everything that the catalogue's files name, in their order."""

    kernels: Mapping[str, KernelSpec] = field(default_factory=dict)
    userlands: Mapping[str, UserlandSpec] = field(default_factory=dict)
    emulators: Mapping[str, EmulatorSpec] = field(default_factory=dict)
    images: Mapping[str, ImageSpec] = field(default_factory=dict)

    @property
    def default_image(self) -> ImageSpec:
        """The image that is used when none is named."""
        return self.images.get("default") or next(iter(self.images.values()))

    @property
    def default_emulator(self) -> EmulatorSpec:
        """The emulator that is used when none is named."""
        marked = [spec for spec in self.emulators.values() if spec.default]
        return (marked or list(self.emulators.values()))[0]

    def image(self, name: str | None) -> ImageSpec:
        """The image of that name; the default one for None."""
        if name is None:
            return self.default_image
        if name not in self.images:
            raise unknown("image", name, self.images)
        return self.images[name]


def unknown(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """The error for a name that does not exist, with the nearest ones that do."""
    names = list(known)
    return UsageError(f"unknown {kind} {name!r}{nearest(name, names, 0.5)}", f"there are: {', '.join(names)}")


def load(folder: Path) -> Catalogue:
    """Reads all files of the catalogue in ``folder``."""
    sections: dict[str, dict[str, Any]] = {name: {} for name in _SECTIONS}
    files = [path for path in sorted(folder.glob("*.yaml")) if path.name != LOCK]
    for path in files:
        for section, items in _read(path).items():
            if section not in sections:
                raise UsageError(
                    f"{path}: unknown section {section!r}", f"Sections are: {', '.join(sections)}."
                )
            for name, fields in _mapping(items, f"{path}: {section}").items():
                where = f"{path}: {section}: {name}"
                if str(name) in sections[section]:
                    raise UsageError(f"{where}: is there already", "Give it another name.")
                sections[section][str(name)] = _SECTIONS[section](
                    str(name), _Fields(_mapping(fields, where), where)
                )
    catalogue = Catalogue(**sections)
    for section, content in sections.items():
        if not content:
            raise UsageError(f"{folder}: no file of the catalogue has any {section}")
    _check_images(folder, catalogue)
    return catalogue


def _check_images(folder: Path, catalogue: Catalogue) -> None:
    for image in catalogue.images.values():
        for kind, name, known in (
            ("kernel", image.kernel, catalogue.kernels),
            ("userland", image.userland, catalogue.userlands),
        ):
            if name not in known:
                raise UsageError(
                    f"{folder}: image {image.name!r} names the unknown {kind} {name!r}",
                    f"There are: {', '.join(known)}.",
                )


def _read(path: Path) -> dict[str, Any]:
    try:
        return _mapping(yaml.load(path.read_text(), Loader=_LOADER) or {}, str(path))
    except yaml.YAMLError as error:
        raise UsageError(f"{path} is not valid YAML: {error}") from error


def _mapping(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UsageError(f"{where}: a mapping is needed, not {type(value).__name__}")
    return value


class _Fields:
    """The fields of one catalogue entry; each is asked for once, and what is left over is an error."""

    def __init__(self, values: dict[str, Any], where: str) -> None:
        self._values = dict(values)
        self._where = where
        self._known: list[str] = []

    def take(self, name: str, kind: type[T], default: T | None = None) -> T:
        self._known.append(name)
        value = self._values.pop(name, default)
        if not isinstance(value, kind):
            what = "is missing" if value is None else f"must be a {kind.__name__}, not {value!r}"
            raise UsageError(f"{self._where}: {name} {what}", "Quote numbers: 6.1 is not 6.10.")
        return value

    def end(self) -> None:
        if self._values:
            raise UsageError(
                f"{self._where}: unknown key {next(iter(self._values))!r}",
                f"Keys are: {', '.join(self._known)}.",
            )


def _kernel(name: str, fields: _Fields) -> KernelSpec:
    spec = KernelSpec(
        name,
        suites=tuple(str(suite) for suite in fields.take("suites", list)),
        package=fields.take("package", str),
        versions=fields.take("versions", str, "*"),
    )
    fields.end()
    return spec


def _userland(name: str, fields: _Fields) -> UserlandSpec:
    spec = UserlandSpec(name, fields.take("suite", str))
    fields.end()
    return spec


def _emulator(name: str, fields: _Fields) -> EmulatorSpec:
    spec = EmulatorSpec(name, fields.take("suite", str), fields.take("default", bool, False))
    fields.end()
    return spec


def _image(name: str, fields: _Fields) -> ImageSpec:
    spec = ImageSpec(name, fields.take("kernel", str), fields.take("userland", str))
    fields.end()
    return spec


_SECTIONS: dict[str, Callable[[str, _Fields], Any]] = {
    "kernels": _kernel,
    "userlands": _userland,
    "emulators": _emulator,
    "images": _image,
}
