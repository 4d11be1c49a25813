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
_WANTED = re.compile(rf"usr/include/|usr/lib/x86_64-linux-gnu/[^/]*$|usr/lib64/|usr/lib/linux/uapi/x86/|{_UNWINDER.pattern}")
_NEEDED = ("usr/include/stdio.h", "usr/include/linux/mman.h", "usr/include/x86_64-linux-gnu/asm/mman.h", *(
    f"{_LIBRARIES}/{name}" for name in ("crt1.o", "libc.so", "libc.a", "libc.so.6", "libgcc_eh.a")
))


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
    for path in _NEEDED:
        if not (root / path).exists():
            raise PieceError(f"the packages of the sysroot hold no {path}")
    return {}
