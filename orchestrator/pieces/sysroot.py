"""Sysroots: the headers, start files and libraries of one glibc, for `gcc --sysroot`."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from orchestrator.errors import PieceError
from orchestrator.pieces import debs

_LIBRARIES = "usr/lib/x86_64-linux-gnu"
PACKAGES = ["libc6", "libc6-dev", "libgcc-s1", "linux-libc-dev"]
FOLLOW = re.compile(r"libcrypt(1|-dev)$")
_UNWINDER = re.compile(r"usr/lib/gcc/x86_64-linux-gnu/\d+/libgcc_eh\.a$")
_WANTED = re.compile(
    r"usr/include/(x86_64-linux-gnu/|(?![^/]*-linux-))|"  # linux-libc-dev has all architectures' headers
    r"usr/lib/linux/uapi/x86/|"  # and in newer ones <asm/…> are links to here
    r"usr/lib/x86_64-linux-gnu/[^/]*$|usr/lib64/|"
    + _UNWINDER.pattern
)
_NEEDED = ("crt1.o", "libc.so", "libc.a", "libc.so.6", "libgcc_eh.a")


def assemble(packages: Iterable[Path], destination: Path) -> dict[str, str]:
    """Writes the tree to ``destination``/root."""
    root = destination / "root"
    debs.merge_links(root)
    for package in packages:
        debs.unpack(package, root, lambda path: bool(_WANTED.match(path)))
    # The host's unwinder may need symbols of a newer glibc (_dl_find_object, 2.35): a static program gets
    # this suite's own, from where `gcc -B` looks first.
    for unwinder in (root / "usr/lib/gcc").glob("*/*/libgcc_eh.a"):
        unwinder.replace(root / _LIBRARIES / unwinder.name)
    shutil.rmtree(root / "usr/lib/gcc", ignore_errors=True)
    _check(root)
    return {}


def _check(root: Path) -> None:
    """All that a program is linked with is there, and no header is a link to nowhere."""
    for name in _NEEDED:
        if not (root / _LIBRARIES / name).exists():
            raise PieceError(f"the packages of the sysroot hold no {name}")
    for path in (root / "usr/include").rglob("*"):
        if not path.exists():
            raise PieceError(f"the header {path.relative_to(root)} is a link to {path.readlink()}, which is left out")
