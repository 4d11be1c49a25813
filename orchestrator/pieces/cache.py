"""The cache: finished pieces, each in a folder under its key, verified on every use.

A piece is built in a folder of its own, synced, and renamed into place under a lock. Who uses one holds a
shared lock on it until the process ends, so `prune` can tell. The manifest has the SHA-256 of every file;
the stamp beside it spares the hashing while size, times and inode of all files are as they were.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator import progress
from orchestrator.errors import PieceError
from orchestrator.pieces.download import digest

ARCHIVES = "archives"  # the name under which the downloaded packages are held
FORMAT = 1  # of a finished piece's folder; raise it when an older lab could not use one, or a newer one not its
_MANIFEST = "manifest.json"
_STAMP = "stamp.json"
_held: dict[Path, int] = {}  # use locks of this process, kept until it ends


@dataclass(frozen=True)
class Entry:
    """A finished, verified piece."""

    path: Path
    info: Mapping[str, Any]
    size: int  # bytes, all files


class Cache:
    """The pieces below one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "pieces"
        self.locks = folder / "locks"

    def get(self, name: str, *, tell: bool = True) -> Entry | None:
        """The entry, verified and held against prune; None if it is missing or damaged (which it tells)."""
        self.hold(name)
        path = self.folder / name
        if not path.is_dir():
            return None
        try:
            return _verified(path)
        except _Damaged as damage:
            if tell:
                progress.note(f"the cached piece {name} is damaged ({damage}); it is built anew")
            return None

    def build(self, name: str, info: Mapping[str, Any], assemble: Callable[[Path], Mapping[str, str]]) -> Entry:
        """The entry, built by ``assemble`` unless another process has just done so."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.building(name):
            if entry := self.get(name, tell=False):
                return entry
            for stale in self.folder.glob(f".build-{name}-*"):
                remove(stale)  # its builder died: we hold the lock
            temporary = Path(tempfile.mkdtemp(prefix=f".build-{name}-", dir=self.folder))
            try:
                temporary.chmod(0o755)
                more = assemble(temporary)
                _write_manifest(temporary, {**info, "info": dict(more)})
                self._publish(temporary, self.folder / name)
            finally:
                remove(temporary)
            entry = self.get(name)
            if entry is None:
                raise PieceError(f"{name} was damaged as soon as it was built", "Check the disk.")
            return entry

    @contextlib.contextmanager
    def building(self, name: str) -> Iterator[None]:
        """Held by who builds the entry; others wait, and say so."""
        from filelock import FileLock  # it loads asyncio: not for who only looks up what is there

        self.locks.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.locks / f"{name}.lock")
        try:
            lock.acquire(timeout=0)
        except TimeoutError:
            with progress.step(f"waiting for another lab that builds {name}"):
                lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def names(self) -> list[str]:
        """Names of all entries, whatever their state."""
        if not self.folder.is_dir():
            return []
        return sorted(path.name for path in self.folder.iterdir() if not path.name.startswith("."))

    def damage(self, name: str) -> str:
        """Hashes every file again: what is wrong, "" if nothing. A damaged entry is not used from then on."""
        self.hold(name)
        try:
            _verified(self.folder / name, thorough=True)
        except _Damaged as damage:
            (self.folder / name / _STAMP).unlink(missing_ok=True)
            return str(damage)
        return ""

    def used(self, name: str) -> float:
        """When the entry was last used, seconds since the epoch."""
        for path in (self.locks / f"{name}.use", self.folder / name):
            with contextlib.suppress(OSError):
                return path.stat().st_mtime
        return 0.0

    @contextlib.contextmanager
    def alone(self, name: str) -> Iterator[bool]:
        """Whether nobody uses the entry; while it is true, nobody can begin to."""
        with _use_lock(self.locks, name) as descriptor:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True

    def hold(self, name: str) -> None:
        """Keeps prune away from the entry until this process ends."""
        path = self.locks / f"{name}.use"
        if path in _held and path.exists():
            return
        self.locks.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        os.utime(path)
        _held[path] = descriptor

    def _publish(self, temporary: Path, path: Path) -> None:
        _sync(temporary)
        if path.exists():  # damaged: out of the way first, a folder can't be replaced
            old = Path(tempfile.mkdtemp(prefix=f".build-{path.name}-", dir=self.folder))
            path.replace(old / "old")
            remove(old)
        temporary.replace(path)
        _sync_one(self.folder)


class _Damaged(Exception):
    """Why an entry can't be used."""


def _verified(path: Path, *, thorough: bool = False) -> Entry:
    manifest = _read_manifest(path)
    files: dict[str, Any] = manifest["files"]
    present = {name: _state(path / name) for name in files}
    if thorough or present != _read_stamp(path):
        found = _describe(path)
        for name in sorted({*files, *found}):
            if name not in files:
                raise _Damaged(f"{name} does not belong there")
            if found.get(name) != files[name]:
                raise _Damaged(f"{name} is {'changed' if name in found else 'missing'}")
        (path / _STAMP).write_text(json.dumps(present))
    return Entry(path, manifest, sum(described.get("size", 0) for described in files.values()))


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        document = json.loads((path / _MANIFEST).read_text())
        content: dict[str, Any] = document["content"]
        if document["sha256"] != _fingerprint(content):
            raise _Damaged("its manifest is changed")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _Damaged("its manifest is missing or unreadable") from error
    return content


def _write_manifest(folder: Path, info: Mapping[str, Any]) -> None:
    content = {**info, "files": _describe(folder)}
    document = {"sha256": _fingerprint(content), "content": content}
    (folder / _MANIFEST).write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")


def _fingerprint(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _describe(folder: Path) -> dict[str, dict[str, Any]]:
    """Every file's hash, size and mode, and every symlink's target."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = {"link": str(path.readlink())}
        elif path.is_file() and name not in (_MANIFEST, _STAMP):
            status = path.stat()
            found[name] = {"sha256": digest(path), "size": status.st_size, "mode": status.st_mode & 0o777}
    return found


def _state(path: Path) -> list[int] | None:
    try:
        status = path.lstat()
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]


def _read_stamp(path: Path) -> Any:
    try:
        return json.loads((path / _STAMP).read_text())
    except (OSError, ValueError):
        return None


@contextlib.contextmanager
def _use_lock(folder: Path, name: str) -> Iterator[int]:
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / f"{name}.use", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _sync(folder: Path) -> None:
    for path in folder.rglob("*"):
        if not path.is_symlink():
            _sync_one(path)
    _sync_one(folder)


def _sync_one(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove(path: Path) -> None:
    """Removes a folder of ours, if it is still there."""
    shutil.rmtree(path, ignore_errors=True)
