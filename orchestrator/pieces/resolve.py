"""Which packages a piece is made of today, from the suites that the catalogue names."""

from __future__ import annotations

import fnmatch
import re
import subprocess
from pathlib import Path

from orchestrator.errors import PieceError
from orchestrator.model import PieceKind
from orchestrator.pieces import emulator, sysroot, userland
from orchestrator.pieces.catalogue import Catalogue, KernelSpec
from orchestrator.pieces.lock import Locked
from orchestrator.pieces.packages import Suite

# The metapackage needs linux-image-VERSION; from 6.19 on that is a metapackage, too, and the files are in
# linux-binary-VERSION, linux-modules-VERSION and linux-base-VERSION.
_KERNEL_PARTS = re.compile(r"linux-(image|binary|modules|base)-.")
_RECIPES = {
    PieceKind.USERLAND: (userland.PACKAGES, userland.FOLLOW, "libc6"),
    PieceKind.SYSROOT: (sysroot.PACKAGES, sysroot.FOLLOW, "libc6"),
    PieceKind.EMULATOR: (emulator.PACKAGES, emulator.FOLLOW, "qemu-system-x86"),
}


class Resolver:
    """Asks the mirror's suites, each at most once per process."""

    def __init__(self, state: Path, address: str, catalogue: Catalogue) -> None:
        self._state = state
        self._address = address
        self._catalogue = catalogue
        self._suites: dict[str, Suite] = {}

    def resolve(self, kind: PieceKind, name: str) -> Locked:
        """The packages of one piece of the catalogue."""
        if kind is PieceKind.KERNEL:
            return self._kernel(self._catalogue.kernels[name])
        specs = self._catalogue.emulators if kind is PieceKind.EMULATOR else self._catalogue.userlands
        suite = self._suite(specs[name].suite)
        roots, follow, leader = _RECIPES[kind]
        if kind is PieceKind.SYSROOT:
            roots = [*roots, _unwinder(suite)]
        pins = suite.closure(roots, follow)
        version = next(pin.version for pin in pins if pin.name == leader)
        return Locked(kind, name, _upstream(version), suite.name, tuple(pins), suite.expired)

    def _kernel(self, spec: KernelSpec) -> Locked:
        best: tuple[str, Suite] | None = None
        for suite in map(self._suite, spec.suites):
            record = suite.records([spec.package]).get(spec.package)
            if record is None or not fnmatch.fnmatchcase(record["Version"], spec.versions):
                continue
            if best is None or _newer(record["Version"], best[0]):
                best = record["Version"], suite
        if best is None:
            raise PieceError(
                f"no suite of {', '.join(spec.suites)} has {spec.package} {spec.versions} for {spec.name}",
                "Use another mirror (--mirror), or change the catalogue (images/catalogue.yaml).",
            )
        version, suite = best
        pins = suite.closure([spec.package], _KERNEL_PARTS)
        return Locked(PieceKind.KERNEL, spec.name, version, suite.name, tuple(pins), suite.expired)

    def _suite(self, name: str) -> Suite:
        return self._suites.setdefault(name, Suite(name, self._state, self._address))


def _unwinder(suite: Suite) -> str:
    """The package with libgcc_eh.a, named after the release of gcc that libgcc-s1 is of."""
    record = suite.records(["libgcc-s1"]).get("libgcc-s1")
    if record is None:
        raise PieceError(f"{suite.name} has no package libgcc-s1")
    return f"libgcc-{_upstream(record['Version']).split('.')[0]}-dev"


def _newer(one: str, other: str) -> bool:
    done = subprocess.run(["dpkg", "--compare-versions", one, "gt", other], check=False)
    return done.returncode == 0


def _upstream(version: str) -> str:
    """ "1:10.0.13+ds-0+deb13u1" -> "10.0.13"; "2.36-9+deb12u14" -> "2.36"."""
    match = re.match(r"(?:\d+:)?(\d+(?:\.\d+)*)", version)
    return match[1] if match else version
