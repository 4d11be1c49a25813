"""Debug information of a user's own kernel and userland: what lies beside them, or inside."""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Callable, Mapping
from pathlib import Path

from orchestrator import elf
from orchestrator.errors import UsageError
from orchestrator.model import Symbols
from orchestrator.pieces import cpio
from orchestrator.pieces.symbols import LIBRARIES

FOLDERS = ("usr/lib/x86_64-linux-gnu", "usr/lib64", "usr/lib", "lib/x86_64-linux-gnu", "lib64", "lib")
_DEBUG = "usr/lib/debug"
_MOST_LINKS = 8
_NEED_VMLINUX = (
    "Give the vmlinux of the kernel's build, made with CONFIG_DEBUG_INFO_DWARF4, 5 or _TOOLCHAIN_DEFAULT; in Debian "
    "it is in the package linux-image-RELEASE-dbg."
)


def vmlinux(kernel: Path, release: str, modules: Path | None, given: Path | None) -> Path | None:
    """The vmlinux with DWARF of a user's kernel: the one given, or one in its usual places; None if there is none.

    Whether it is that kernel's shows when that one runs (``prepare.check_vmlinux``). Raises UsageError if what was
    given can't be one.
    """
    if given is not None:
        if why := _unfit(given):
            raise UsageError(f"--vmlinux {given}: {why}", _NEED_VMLINUX)
        return given.absolute()
    return next((path for path in _places(kernel.resolve(), release, modules) if not _unfit(path)), None)


def _places(kernel: Path, release: str, modules: Path | None) -> list[Path]:
    """Itself; beside it; the top of the tree that it was built in; where modules and distributions point to."""
    places = [kernel, kernel.with_name("vmlinux")]
    if kernel.parts[-4:-1] == ("arch", "x86", "boot"):
        places.append(kernel.parents[3] / "vmlinux")
    if modules is not None:
        places.append(modules / "build/vmlinux")
    if release:
        installed = Path("/", _DEBUG)
        places += [installed / f"boot/vmlinux-{release}", installed / f"lib/modules/{release}/vmlinux"]
    return places


def _unfit(path: Path) -> str:
    """Why a file can't be a vmlinux with debug information; "" if it can."""
    try:
        if not path.is_file():
            return "a folder" if path.is_dir() else "there is no such file"
        if not elf.has_dwarf(path):
            return "it has no debug information"
        return "" if elf.build_id(path) else "it has no build-id"
    except elf.ElfError as error:
        return str(error)
    except OSError as error:
        return f"it can't be read: {error.strerror}"


def libraries(nodes: Mapping[str, cpio.Node], keep: Callable[[Path], Path]) -> Symbols:
    """The debug files that a tree has of its own libc, below usr/lib/debug/.build-id, or what it lacks.

    ``keep`` gives a place where the file stays, as long as the cache holds it.
    """
    files: dict[str, Path] = {}
    ids: dict[str, str] = {}
    missing: list[str] = []
    for name, soname in LIBRARIES.items():
        library = next((found for folder in FOLDERS if (found := resolved(nodes, f"{folder}/{soname}"))), None)
        if library is None:
            continue  # _glibc() has said what must be there
        ids[name] = _build_id(library)
        if found := _debug_file(nodes, library, ids[name]):
            files[name] = keep(found)
        else:
            missing.append(f"{soname}: the userland has no {_DEBUG}/.build-id file of it")
    return Symbols(
        libc=files.get("libc"), libc_build_id=ids.get("libc", ""), ld=files.get("ld"), ld_build_id=ids.get("ld", ""),
        libpthread=files.get("libpthread"), libpthread_build_id=ids.get("libpthread", ""), missing=tuple(missing),
    )  # fmt: skip


def resolved(nodes: Mapping[str, cpio.Node], path: str) -> Path | None:
    """The content of the regular file that a path in the tree means; its symlinks never lead out of the tree."""
    for _ in range(_MOST_LINKS):
        node = nodes.get(path)
        if node is None:
            return None
        if stat.S_ISREG(node.mode):
            return node.data if isinstance(node.data, Path) else None
        if not stat.S_ISLNK(node.mode) or not isinstance(node.data, bytes):
            return None
        path = posixpath.normpath(posixpath.join("/", posixpath.dirname(path), os.fsdecode(node.data))).lstrip("/")
    return None


def _debug_file(nodes: Mapping[str, cpio.Node], library: Path, build_id: str) -> Path | None:
    """The debug file of a library; the library itself where it was not stripped."""
    found = resolved(nodes, f"{_DEBUG}/.build-id/{build_id[:2]}/{build_id[2:]}.debug") if build_id else None
    return next((path for path in (found, library) if path and _describes(path, build_id)), None)


def _describes(path: Path, build_id: str) -> bool:
    try:
        return elf.has_dwarf(path) and elf.build_id(path) == build_id
    except (elf.ElfError, OSError):
        return False


def _build_id(path: Path) -> str:
    try:
        return elf.build_id(path)
    except (elf.ElfError, OSError):
        return ""
