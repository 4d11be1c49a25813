"""What can go from the cache: old pieces and packages, leftovers of killed builds; never what is in use."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from orchestrator.pieces.cache import ARCHIVES, remove
from orchestrator.pieces.store import Store, entry_name

_DAY = 86400.0


@dataclass(frozen=True)
class Removed:
    """Something that was removed, or would be; ``reason`` says why, or why it stays."""

    path: Path
    size: int  # bytes
    reason: str
    kept: bool = False


def prune(store: Store, *, everything: bool, keep_days: float | None, dry_run: bool) -> list[Removed]:
    """Removes leftovers and what the lock no longer names; with ``keep_days`` also what was not used for
    so long, with ``everything`` all that no process uses. Returns what went and what had to stay."""
    current = {entry_name(entry) for entry in store.current()}
    found: list[Removed] = []
    for name in store.cache.names():
        age = (time.time() - store.cache.used(name)) / _DAY
        if reason := _reason(name in current, age, everything, keep_days):
            found.append(_drop(store, name, store.cache.folder / name, reason, dry_run))
    pinned = {pin.sha256 for entry in store.current() for pin in entry.packages}
    for path in _files(store.archive.folder):
        age = (time.time() - path.stat().st_mtime) / _DAY
        leftover = path.name.startswith(".")
        reason = "leftover" if leftover else _reason(path.stem in pinned, age, everything, keep_days)
        if reason:
            found.append(_drop(store, ARCHIVES, path, reason, dry_run))
    for path in _files(store.folder / "user"):
        age = (time.time() - store.cache.used(f"user-{path.stem}")) / _DAY
        packing = path.name.startswith(".")
        if packing and age < 1:  # somebody may be at it
            continue
        if reason := _reason(not packing, age, everything, keep_days):
            found.append(_drop(store, f"user-{path.stem}", path, reason, dry_run))
    found += _compiled(store, everything, keep_days, dry_run)
    found += _states(store, everything, keep_days, dry_run)
    return [*found, *_leftovers(store, dry_run), *_lists(store, dry_run)]


def _compiled(store: Store, everything: bool, keep_days: float | None, dry_run: bool) -> Iterator[Removed]:
    """Programs compiled for earlier runs, and indexes of symbols. What goes while it is wanted is made again."""
    for path in (*_files(store.folder / "compiled"), *_files(store.folder / "index")):
        age = (time.time() - path.stat().st_mtime) / _DAY
        if reason := _reason(True, age, everything, keep_days):
            yield _removed(path, reason, dry_run)
    if everything:
        for path in (*_files(store.folder / "drift"), store.folder / "accelerator.json"):
            if path.exists():
                yield _removed(path, "all was asked for", dry_run)


def _states(store: Store, everything: bool, keep_days: float | None, dry_run: bool) -> Iterator[Removed]:
    """Saved states of guests: one that was not used for so long, and what killed makers left; and notes of guests that
    can't be restored. Who uses one goes on, and what goes while it is wanted is made again. Another user's stay."""
    for path in _files(store.folder / "states"):
        with contextlib.suppress(FileNotFoundError):  # a lab may trim them meanwhile
            found = path.stat()
            age = (time.time() - found.st_mtime) / _DAY
            half_made = path.name.startswith(".")
            if path.name.endswith(".lock") or (half_made and age < 1 / 24):  # somebody may be at it
                continue
            if os.geteuid() not in (0, found.st_uid):
                continue
            if reason := "leftover" if half_made else _reason(True, age, everything, keep_days):
                yield _removed(path, reason, dry_run)


def remove_entry(store: Store, name: str) -> None:
    """Removes one piece, whoever uses it: it is damaged."""
    _delete(store.cache.folder / name)


def _reason(current: bool, age: float, everything: bool, keep_days: float | None) -> str:
    if everything:
        return "all was asked for"
    if keep_days is not None and age > keep_days:
        return f"not used for {age:.0f} days"
    return "" if current else "the lock does not name it"


def _leftovers(store: Store, dry_run: bool) -> Iterator[Removed]:
    """What killed builds left; a build that runs holds its name."""
    for path in _files(store.cache.folder):
        if path.name.startswith(".build-"):
            name = path.name.removeprefix(".build-").rpartition("-")[0]
            yield _drop(store, name, path, "leftover of a build", dry_run)


def _lists(store: Store, dry_run: bool) -> Iterator[Removed]:
    """apt's lists: they are read anew each time that something is resolved."""
    for path in _files(store.folder / "apt"):
        if path.is_dir():
            try:
                with FileLock(f"{path}.lock", timeout=0):
                    yield _removed(path, "package lists", dry_run)
            except Timeout:
                yield Removed(path, 0, "in use", kept=True)


def _drop(store: Store, name: str, path: Path, reason: str, dry_run: bool) -> Removed:
    with store.cache.alone(name) as alone:
        if not alone:
            return Removed(path, 0, "in use", kept=True)
        return _removed(path, reason, dry_run)


def _removed(path: Path, reason: str, dry_run: bool) -> Removed:
    size = _size(path)
    if not dry_run:
        _delete(path)
    return Removed(path, size, reason)


def _delete(path: Path) -> None:
    """Out of the way by one rename first: half of a piece is never left under its name."""
    if path.is_dir():
        away = path.with_name(f".build-{path.name.removeprefix('.build-')}-gone")
        path.replace(away)
        remove(away)
    else:
        path.unlink(missing_ok=True)


def _files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _size(path: Path) -> int:
    paths = path.rglob("*") if path.is_dir() else (path,)
    sizes = (file.lstat() for file in paths if file.is_symlink() or file.is_file())
    return sum(min(found.st_size, found.st_blocks * 512) for found in sizes)  # a guest's memory has holes
