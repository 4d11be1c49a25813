"""Userlands: libc, busybox, dropbear and the SFTP server as one cpio archive, laid out like a small Debian."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from orchestrator.errors import PieceError
from orchestrator.pieces import cpio, debs

PACKAGES = ["busybox", "dropbear-bin", "libc6", "libgcc-s1", "openssh-sftp-server"]
FOLLOW = re.compile(r"lib(?!c-gconv|c-bin|selinux|nsl)|zlib1g$")  # which dependencies are libraries of ours
LIBRARIES = "usr/lib/x86_64-linux-gnu"
_LOADER = "usr/lib64/ld-linux-x86-64.so.2"
_PROGRAMS = ("usr/bin/busybox", "usr/sbin/dropbear", "usr/bin/dropbearkey", "usr/lib/openssh/sftp-server")
_UNWANTED = re.compile(
    r"usr/share/|etc/|usr/lib/systemd/|.*/(gconv|audit|engines-[^/]*|ossl-modules|perl[^/]*)/|"
    r".*/(libpcprofile|libmemusage|libc_malloc_debug|libthread_db)[-.]|usr/bin/(?!busybox|dropbear)|"
    r"usr/sbin/(?!dropbear)|usr/lib/openssh/(?!sftp-server)"
)
_ETC = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
    "etc/group": "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n",
    "etc/shells": "/bin/sh\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nshadow: files\nhosts: files\n",
    "etc/hosts": "127.0.0.1 localhost\n",
}
_FOLDERS = {"root": 0o700, "tmp": 0o1777, "var/tmp": 0o1777} | dict.fromkeys(
    ("dev", "proc", "sys", "run", "mnt", "var/log", "etc/dropbear"), 0o755
)


def assemble(packages: Iterable[Path], destination: Path) -> dict[str, str]:
    """Writes userland.cpio below ``destination``."""
    tree: dict[str, debs.Entry] = {}
    for package in packages:
        for entry in debs.entries(package, lambda path: not _UNWANTED.match(path)):
            tree.setdefault(entry.path, entry)
    applets = _examined(tree)
    nodes = [_node(entry) for entry in tree.values()]
    nodes += [cpio.symlink(f"usr/{path}", _up(f"usr/{path}")) for path in applets if f"usr/{path}" not in tree]
    with (destination / "userland.cpio").open("wb") as stream:
        cpio.write(stream, [*nodes, *_skeleton()])
    return {"applets": str(len(applets))}


def _node(entry: debs.Entry) -> cpio.Node:
    if entry.target is not None:
        return cpio.symlink(entry.path, entry.target)
    return cpio.file(entry.path, entry.data, 0o755 if entry.executable else 0o644)


def _up(path: str) -> str:
    """Busybox as seen from an applet's link."""
    return "busybox" if path.startswith("usr/bin/") else "../bin/busybox"


def _skeleton() -> list[cpio.Node]:
    return [
        *(cpio.symlink(name, f"usr/{name}") for name in debs.MERGED),
        *(cpio.directory(name, mode) for name, mode in _FOLDERS.items()),
        *(cpio.file(name, text.encode()) for name, text in _ETC.items()),
        cpio.symlink("var/run", "../run"),
        cpio.character("dev/console", 5, 1),
        cpio.character("dev/null", 1, 3, 0o666),
    ]


def _examined(tree: Mapping[str, debs.Entry]) -> list[str]:
    """Runs the new libc's loader on this host: all libraries must be there. Returns busybox's applets."""
    for path in _PROGRAMS:
        if path not in tree:
            raise PieceError(f"the packages of the userland hold no {path}")
    with tempfile.TemporaryDirectory(prefix="qemu-lab-") as folder:
        root = Path(folder)
        for entry in tree.values():
            debs.place(entry, root)
        loader = [str(root / _LOADER), "--inhibit-cache", "--library-path", str(root / LIBRARIES)]
        for path in _PROGRAMS:
            listing = _output([*loader, "--list", str(root / path)])
            for line in listing.splitlines():
                if "=>" in line and f"=> {root}" not in line:
                    raise PieceError(f"{path} needs a library that its packages lack: {line.strip()}")
        return [_merged_applet(path) for path in _output([*loader, str(root / _PROGRAMS[0]), "--list-full"]).split()]


def _merged_applet(path: str) -> str:
    """ "usr/bin/awk", "bin/sh", "linuxrc" as paths below usr/."""
    path = path.removeprefix("usr/")
    return path if path.startswith(("bin/", "sbin/")) else f"bin/{path}"


def _output(argv: list[str]) -> str:
    done = subprocess.run(argv, env={}, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise PieceError(
            f"a program of the userland does not run on this host: {' '.join(argv)}\n{done.stderr.strip()}",
            "The lab needs an x86-64 host.",
        )
    return done.stdout
