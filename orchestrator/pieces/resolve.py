"""Which packages a piece is made of today, from the suites that the catalogue names."""

from __future__ import annotations

import fnmatch
import re
import subprocess
from pathlib import Path

from orchestrator import progress
from orchestrator.errors import PieceError
from orchestrator.model import PackagePin, PieceKind
from orchestrator.pieces import emulator, symbols, sysroot, userland
from orchestrator.pieces.catalogue import Catalogue, KernelSpec
from orchestrator.pieces.download import Archive, GoneError
from orchestrator.pieces.lock import Locked, upstream
from orchestrator.pieces.packages import Suite, pin

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

    def __init__(self, state: Path, address: str, catalogue: Catalogue, archive: Archive) -> None:
        self._state = state
        self._address = address
        self._catalogue = catalogue
        self._archive = archive
        self._suites: dict[str, Suite] = {}

    def resolve(self, kind: PieceKind, name: str, owner: Locked | None = None) -> Locked:
        """The packages of one piece of the catalogue; symbols are those of ``owner``, a kernel or a userland."""
        if kind is PieceKind.SYMBOLS:
            assert owner is not None
            return self._symbols(name, owner)
        if kind is PieceKind.KERNEL:
            return self._kernel(self._catalogue.kernels[name])
        specs = self._catalogue.emulators if kind is PieceKind.EMULATOR else self._catalogue.userlands
        suite = self._suite(specs[name].suite)
        roots, follow, leader = _RECIPES[kind]
        if kind is PieceKind.SYSROOT:
            roots = [*roots, _unwinder(suite)]
        pins = suite.closure(roots, follow)
        version = next(one.version for one in pins if one.name == leader)
        return Locked(kind, name, upstream(version), suite.name, tuple(pins), suite.expired)

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

    def _symbols(self, name: str, owner: Locked) -> Locked:
        wanted, suite = symbols.source(owner), self._suite(owner.suite)
        record = suite.records([wanted.name]).get(wanted.name)
        if record and record["Version"] == wanted.version:
            found, unsigned = pin(record), ""
        else:
            found, unsigned = self._from_pool(wanted, owner, record["Version"] if record else "")
        pins = tuple(sorted((*wanted.beside, found), key=lambda one: one.name))
        return Locked(PieceKind.SYMBOLS, name, owner.version, suite.name, pins, suite.expired, unsigned)

    def _from_pool(self, wanted: symbols.Source, owner: Locked, newer: str) -> tuple[PackagePin, str]:
        """The debug package of a version that the suite has replaced, which stays in the pool for a while. No signed
        list names it any more. It is data that is only read, and checked against the binaries that it is of."""
        why = f"{owner.suite} has {wanted.name} {newer}" if newer else f"{owner.suite} no longer has {wanted.name}"
        try:
            sha256, size = self._archive.adopt(wanted.filename, self._address)
        except GoneError as gone:
            raise PieceError(
                f"{owner.id} needs {wanted.name} {wanted.version}, but {why}, and {gone.message}",
                "Move both to what the mirror has: `lab image lock --update`.",
            ) from gone
        why += f"; {wanted.version} is from the pool, named by no signed list"
        progress.note(f"symbols of {owner.id}: {why}")
        return PackagePin(wanted.name, wanted.version, sha256, size, wanted.filename), why

    def _suite(self, name: str) -> Suite:
        return self._suites.setdefault(name, Suite(name, self._state, self._address))


def _unwinder(suite: Suite) -> str:
    """The package with libgcc_eh.a, named after the release of gcc that libgcc-s1 is of."""
    record = suite.records(["libgcc-s1"]).get("libgcc-s1")
    if record is None:
        raise PieceError(f"{suite.name} has no package libgcc-s1")
    return f"libgcc-{upstream(record['Version']).split('.')[0]}-dev"


def _newer(one: str, other: str) -> bool:
    done = subprocess.run(["dpkg", "--compare-versions", one, "gt", other], check=False)
    return done.returncode == 0
