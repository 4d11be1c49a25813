"""Symbols: the vmlinux with DWARF of a kernel; the debug files of a userland's libc, loader and thread library.

Each goes with one piece, its owner, and is of exactly its version: the layout of kernel structures and of malloc's
changes between versions, and what is read with another one's is wrong without any sign of it.
"""

from __future__ import annotations

import json
import posixpath
import re
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator import elf
from orchestrator.errors import PieceError
from orchestrator.model import PackagePin, PieceKind
from orchestrator.pieces import debs
from orchestrator.pieces.lock import Locked
from orchestrator.versions import Version

FACTS = "symbols.json"
Assemble = Callable[[Iterable[Path], Path], Mapping[str, str]]
OWNERS = (PieceKind.KERNEL, PieceKind.USERLAND)
_KERNEL = re.compile(r"linux-image-\d")  # of the metapackages on the way, only this one has a number
# Before 6.19 the file lies in boot/ and the other is a symlink; from then on it is the other way round.
_VMLINUX = re.compile(r"usr/lib/debug/(?:boot/vmlinux-(?P<boot>[^/]+)|lib/modules/(?P<tree>[^/]+)/vmlinux)$")
_FOLDER = "usr/lib/x86_64-linux-gnu"
LIBRARIES = {"libc": "libc.so.6", "ld": "ld-linux-x86-64.so.2", "libpthread": "libpthread.so.0"}
_OF_LIBC = re.compile(rf"{_FOLDER}/(libc|ld|libpthread)[-.][^/]*$")
_BANNER = re.compile(rb"GNU C Library [^\n]*version (\d+\.\d+)")
_THREADS_IN_LIBC = Version("2.34")  # from here on libpthread.so.0 is empty (glibc's NEWS)


@dataclass(frozen=True)
class Source:
    """The package with an owner's debug information; ``filename`` is where the mirror's pool has it."""

    name: str
    version: str
    filename: str
    beside: tuple[PackagePin, ...] = ()  # what is needed of the owner's own packages


def name(kind: PieceKind, owner: str) -> str:
    """The name of a piece's symbols: "kernel-6.1", "userland-bookworm"."""
    return f"{kind}-{owner}"


def owner(name: str) -> tuple[PieceKind, str]:
    """Which piece the symbols of that name go with."""
    kind, _, rest = name.partition("-")
    if kind not in OWNERS or not rest:
        raise PieceError(f"symbols/{name}: symbols are those of kernel-NAME or userland-NAME")
    return PieceKind(kind), rest


def source(of: Locked) -> Source:
    """Where the symbols of a kernel or a userland come from."""
    is_kernel = of.kind is PieceKind.KERNEL
    pins = [pin for pin in of.packages if (_KERNEL.match(pin.name) if is_kernel else pin.name == "libc6")]
    if len(pins) != 1:
        raise PieceError(f"{of.id} is made of no package whose debug information could be found")
    (binary,) = pins
    # a kernel's own package is of the source linux-signed-amd64, which signs what linux has built
    folder = "pool/main/l/linux" if is_kernel else posixpath.dirname(binary.filename)
    file = f"{binary.name}-dbg_{re.sub('^[0-9]+:', '', binary.version)}_amd64.deb"
    return Source(f"{binary.name}-dbg", binary.version, f"{folder}/{file}", () if is_kernel else (binary,))


def fits(entry: Locked, of: Locked) -> bool:
    """Whether the symbols are those of this kernel or userland."""
    wanted = source(of)
    pins = {(pin.name, pin.version) for pin in entry.packages}
    return (wanted.name, wanted.version) in pins and set(wanted.beside) <= set(entry.packages)


def assembler(name: str) -> Assemble:
    """What builds the symbols of that name."""
    return assemble_kernel if owner(name)[0] is PieceKind.KERNEL else assemble_userland


def assemble_kernel(packages: Iterable[Path], destination: Path) -> dict[str, str]:
    """Writes vmlinux and what is known of it; nothing else of the gigabytes of the package is unpacked."""
    vmlinux = destination / "vmlinux"
    found = (debs.extract(package, lambda path: bool(_VMLINUX.match(path)), vmlinux) for package in packages)
    match = _VMLINUX.match(next(filter(None, found), ""))
    if match is None:
        raise PieceError("the packages hold no vmlinux with debug information")
    facts = {"release": match["boot"] or match["tree"], "build_id": elf.build_id(vmlinux)}
    if not facts["build_id"] or not elf.has_dwarf(vmlinux):
        raise PieceError("the vmlinux of the package has no build-id or no debug information")
    _write_facts(destination, facts)
    return facts


def assemble_userland(packages: Iterable[Path], destination: Path) -> dict[str, str]:
    """Writes libc.debug, ld.debug and, before glibc 2.34, libpthread.debug, found by the build-ids of the libraries."""
    tree: dict[str, debs.Entry] = {}
    for package in packages:
        for entry in debs.entries(package, lambda path: bool(_OF_LIBC.match(path)) or path.endswith(".debug")):
            tree.setdefault(entry.path, entry)
    libc = _library(tree, LIBRARIES["libc"]).data
    banner = _BANNER.search(libc)
    if banner is None:
        raise PieceError("the libc of the packages does not say which release it is")
    facts: dict[str, Any] = {"glibc": banner[1].decode()}
    for name, library in LIBRARIES.items():
        if name != "libpthread" or Version(facts["glibc"]) < _THREADS_IN_LIBC:
            facts[name] = _debug_file(tree, library, destination / f"{name}.debug")
    _write_facts(destination, facts)
    return {"glibc": facts["glibc"], **{name: facts[name]["build_id"] for name in facts if name != "glibc"}}


def _debug_file(tree: Mapping[str, debs.Entry], name: str, destination: Path) -> dict[str, str]:
    """Copies a library's debug file; it must be the one that was split off from it."""
    library = _library(tree, name)
    destination.write_bytes(library.data)
    build_id, link = elf.build_id(destination), elf.debug_link(destination)
    path = f"usr/lib/debug/.build-id/{build_id[:2]}/{build_id[2:]}.debug"
    if not build_id or path not in tree:
        raise PieceError(f"the packages hold no debug information of {name}, build-id {build_id or '(none)'}")
    data = tree[path].data
    destination.write_bytes(data)
    if elf.build_id(destination) != build_id or not elf.has_dwarf(destination):
        raise PieceError(f"{path} is not the debug information of {name}")
    if link and zlib.crc32(data) != link[1]:
        raise PieceError(f"{path} is not the file that {name} names: their CRC-32 differs")
    return {"library": library.path, "build_id": build_id}


def _library(tree: Mapping[str, debs.Entry], name: str) -> debs.Entry:
    """The library of that name; before glibc 2.34 it is a symlink to one with the version in its name."""
    entry = tree.get(f"{_FOLDER}/{name}")
    if entry and entry.target is not None:
        entry = tree.get(posixpath.normpath(posixpath.join(_FOLDER, entry.target)))
    if entry is None or entry.target is not None:
        raise PieceError(f"the packages hold no {name}")
    return entry


def _write_facts(destination: Path, facts: Mapping[str, Any]) -> None:
    (destination / FACTS).write_text(json.dumps(facts, indent=1, sort_keys=True) + "\n")
