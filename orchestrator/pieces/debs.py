"""Reads Debian packages without running anything of theirs: no maintainer scripts, no owners, no devices.

Every path is put into the merged /usr layout (/bin, /sbin and /lib are links to /usr): older suites ship
both layouts. Nothing can be written outside of the destination.
"""

from __future__ import annotations

import posixpath
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import HostError, PieceError

MERGED = ("bin", "lib", "lib64", "sbin")  # top-level names that are links into usr/
_BUFFER = 1 << 20  # bytes, for a file that is copied
_MERGED_ALL = frozenset((*MERGED, "lib32", "libx32"))

Keep = Callable[[str], bool]


@dataclass(frozen=True)
class Entry:
    """A file or symlink of a package; directories are made where they are needed."""

    path: str  # relative and merged: "usr/lib/x86_64-linux-gnu/libc.so.6"
    executable: bool
    data: bytes = b""
    target: str | None = None  # of a symlink, always relative


def entries(deb: Path, keep: Keep) -> Iterator[Entry]:
    """The files and symlinks of ``deb`` whose merged path ``keep`` accepts."""
    kept: dict[str, Entry] = {}
    with _tar_stream(deb) as process:
        assert process.stdout is not None
        try:
            with tarfile.open(fileobj=process.stdout, mode="r|") as archive:
                for member in archive:
                    if entry := _entry(deb, archive, member, keep, kept):
                        yield entry
        except tarfile.TarError as error:
            raise PieceError(f"{deb}: its archive can't be read: {error}") from error
        finally:
            process.stdout.close()
    if process.returncode != 0:
        raise PieceError(f"{deb}: dpkg-deb ended with status {process.returncode}")


def extract(deb: Path, wanted: Keep, destination: Path) -> str:
    """Copies the first regular file whose merged path ``wanted`` accepts, however large it is, and reads no further.

    Returns its path; "" if there is none, and nothing is written then.
    """
    with _tar_stream(deb, quiet=True) as process:
        assert process.stdout is not None
        try:
            with tarfile.open(fileobj=process.stdout, mode="r|", bufsize=_BUFFER) as archive:
                for member in archive:
                    stream = archive.extractfile(member) if member.isreg() else None
                    if stream and wanted(path := _merged(deb, member.name)):
                        with destination.open("wb") as out:
                            shutil.copyfileobj(stream, out, _BUFFER)
                        return path
        except tarfile.TarError as error:
            raise PieceError(f"{deb}: its archive can't be read: {error}") from error
        finally:
            process.stdout.close()
    if process.returncode != 0:
        raise PieceError(f"{deb}: dpkg-deb ended with status {process.returncode}")
    return ""


def unpack(deb: Path, root: Path, keep: Keep) -> None:
    """Writes what ``keep`` accepts below ``root``; later packages do not overwrite earlier ones."""
    for entry in entries(deb, keep):
        place(entry, root)


def place(entry: Entry, root: Path) -> None:
    """Writes one entry below ``root``, refusing to follow a symlink out of the way."""
    destination = root / entry.path
    for parent in reversed(destination.relative_to(root).parents[:-1]):
        if (root / parent).is_symlink():
            raise PieceError(f"{entry.path}: its directory {parent} is a symlink in another package")
        (root / parent).mkdir(exist_ok=True)
    if destination.is_symlink() or destination.exists():
        return
    if entry.target is not None:
        destination.symlink_to(entry.target)
        return
    destination.write_bytes(entry.data)
    destination.chmod(0o755 if entry.executable else 0o644)


def merge_links(root: Path) -> None:
    """Makes /bin, /lib, /lib64 and /sbin links into /usr, as every path here assumes."""
    for name in MERGED:
        (root / "usr" / name).mkdir(parents=True, exist_ok=True)
        (root / name).symlink_to(f"usr/{name}")


def _tar_stream(deb: Path, *, quiet: bool = False) -> subprocess.Popen[bytes]:
    """``quiet``: who stops reading does not want to hear that dpkg-deb could not write."""
    tool = shutil.which("dpkg-deb")
    if tool is None:
        raise HostError("dpkg-deb is not on this machine", "Install the package dpkg.")
    return subprocess.Popen(
        [tool, "--fsys-tarfile", str(deb)],
        stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL if quiet else None,
    )  # fmt: skip


def _entry(
    deb: Path, archive: tarfile.TarFile, member: tarfile.TarInfo, keep: Keep, kept: dict[str, Entry]
) -> Entry | None:
    if not (member.isreg() or member.issym() or member.islnk()):
        return None  # directories appear by themselves; packages that we use hold no devices
    path = _merged(deb, member.name)
    if not keep(path):
        return None
    executable = bool(member.mode & 0o111)
    if member.issym():
        entry = Entry(path, False, target=_relative_target(deb, member))
    elif member.islnk():
        first = kept.get(_merged(deb, member.linkname))
        if first is None:
            raise PieceError(f"{deb}: {path} is a hard link to {member.linkname}, which was left out")
        entry = Entry(path, executable, first.data, first.target)
    else:
        stream = archive.extractfile(member)
        entry = Entry(path, executable, stream.read() if stream else b"")
    if member.isreg():
        kept[path] = entry
    return entry


def _merged(deb: Path, name: str) -> str:
    path = posixpath.normpath(name)
    parts = path.split("/")
    if path.startswith("/") or parts[0] == "..":
        raise PieceError(f"{deb}: the path {name!r} leaves the package")
    return f"usr/{path}" if parts[0] in _MERGED_ALL else path


def _relative_target(deb: Path, member: tarfile.TarInfo) -> str:
    """The target as seen from the merged link: an absolute one would point into the host."""
    target = member.linkname.lstrip("/")
    if not member.linkname.startswith("/"):
        target = posixpath.normpath(posixpath.join(posixpath.dirname(member.name), member.linkname))
    return posixpath.relpath(_merged(deb, target), posixpath.dirname(_merged(deb, member.name)))
