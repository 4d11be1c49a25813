"""Looking after lock and cache: the names a user gives, resolving anew, verifying everything."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from orchestrator import progress
from orchestrator.errors import PieceError, UsageError
from orchestrator.model import PieceKind
from orchestrator.pieces import catalogue as catalogues
from orchestrator.pieces import lock, symbols
from orchestrator.pieces.cache import FORMAT
from orchestrator.pieces.catalogue import unknown
from orchestrator.pieces.download import digest
from orchestrator.pieces.lock import Lock
from orchestrator.pieces.prune import remove_entry
from orchestrator.pieces.store import Store, Wanted, entry_name, piece_key, symbols_of


@dataclass(frozen=True)
class Row:
    """One piece, for `lab image list`. ``size`` is that of its folder's files, bytes; 0 if not cached."""

    kind: PieceKind
    name: str
    version: str
    locked: bool
    cached: bool
    size: int
    drift: str = ""


def rows(store: Store) -> list[Row]:
    """All pieces of the catalogue and their state; hashes nothing."""
    found = []
    for wanted in store.everything():
        entry, drift = store.known(wanted)
        folder = store.cache.folder / entry_name(entry) if entry else None
        cached = folder is not None and folder.is_dir()
        size = sum(path.lstat().st_size for path in folder.rglob("*")) if folder and cached else 0
        version = entry.version if entry else ""
        found.append(Row(wanted.kind, wanted.name, version, wanted.id in store.lock, cached, size, drift))
    return found


def select(store: Store, names: Iterable[str]) -> list[Wanted]:
    """The pieces that names mean: ids (kernel/6.1), images, kernels, userlands, emulators."""
    return [wanted for name in names for wanted in _select(store, name)]


def carried(store: Store, names: Iterable[str]) -> list[Wanted]:
    """The pieces that names mean, and the emulator that a run of an image needs."""
    listed = list(names)
    wanted = select(store, listed)
    if any(name in store.catalogue.images for name in listed):
        wanted.append(Wanted(PieceKind.EMULATOR, store.emulator_name(None)))
    return list(dict.fromkeys(wanted))


def default(store: Store) -> list[Wanted]:
    """What a run without options needs."""
    image = store.image()
    return [
        Wanted(PieceKind.KERNEL, image.kernel),
        *_userland(image.userland),
        Wanted(PieceKind.EMULATOR, store.emulator_name(None)),
    ]


def with_symbols(wanted: Iterable[Wanted]) -> list[Wanted]:
    """The pieces, and the symbols of the kernels and userlands among them."""
    listed = list(wanted)
    return [*listed, *(symbols_of(one) for one in listed if one.kind in symbols.OWNERS)]


def needed(store: Store, image: str | None, kernels: Iterable[str], userlands: Iterable[str],
           emulator: str | None) -> list[Wanted]:
    """The pieces that runs with these names need; what none is given for is the image's or the lab's default.

    ``emulator`` "" is none at all. Names and globs as everywhere; raises UsageError for unknown ones.
    """
    pair = store.image(image)
    wanted = [Wanted(PieceKind.KERNEL, found) for one in (list(kernels) or [pair.kernel]) for found in
              store.kernel_names(one)]  # fmt: skip
    for one in list(userlands) or [pair.userland]:
        wanted += [piece for found in store.userland_names(one) for piece in _userland(found)]
    if emulator != "":
        wanted.append(Wanted(PieceKind.EMULATOR, store.emulator_name(emulator)))
    return list(dict.fromkeys(wanted))


def cache_key(store: Store, wanted: Iterable[Wanted]) -> str:
    """A short name for what the cache holds with these pieces in it: 20 hexadecimal digits, which change exactly when
    a piece's packages, the way it is built or the cache's own form do; the same on every machine.

    Raises PieceError for what the lock does not name.
    """
    keys: dict[str, str] = {}
    for one in wanted:
        entry = store.named(one)
        if entry is None:
            raise PieceError(f"{one.id} is not in the lock", "Nothing else says what it is made of: `lab image lock`.")
        keys[one.id] = piece_key(entry)
    return hashlib.sha256(json.dumps([FORMAT, sorted(keys.items())]).encode()).hexdigest()[:20]


def _select(store: Store, name: str) -> list[Wanted]:
    everything = {wanted.id: wanted for wanted in store.everything()}
    if name in everything:
        return [everything[name]]
    if image := store.catalogue.images.get(name):
        return [Wanted(PieceKind.KERNEL, image.kernel), *_userland(image.userland)]
    if kernels := store.find_names(PieceKind.KERNEL, name):
        return [Wanted(PieceKind.KERNEL, found) for found in kernels]
    if userlands := store.find_names(PieceKind.USERLAND, name):
        return [wanted for found in userlands for wanted in _userland(found)]
    if emulators := store.find_names(PieceKind.EMULATOR, name):
        return [Wanted(PieceKind.EMULATOR, found) for found in emulators]
    names = [wanted.name for wanted in everything.values()]
    raise unknown("piece or image", name, dict.fromkeys([*store.catalogue.images, *names, *everything]))


def _userland(name: str) -> list[Wanted]:
    return [Wanted(PieceKind.USERLAND, name), Wanted(PieceKind.SYSROOT, name)]


def relocked(store: Store, *, update: bool) -> tuple[Lock, list[str]]:
    """The lock as it would be with what the catalogue has and the lock lacks, or with ``update`` everything, as the
    mirror serves it now; and what that changes, a line each. Writes nothing; the cache has more package lists after it.

    Raises PieceError if anything can't be resolved, UsageError for a lock that can't be read, unless ``update``.
    """
    old = _old_lock(store, update)
    new: dict[str, lock.Locked] = {}
    for wanted in store.everything():
        entry = old.get(wanted.id)
        owner = new.get(Wanted(*symbols.owner(wanted.name)).id) if wanted.kind is PieceKind.SYMBOLS else None
        if entry is None or update or (owner and not symbols.fits(entry, owner)):
            progress.update("resolving", wanted.id)
            new[wanted.id] = store.resolver.resolve(wanted.kind, wanted.name, owner)
        else:
            new[wanted.id] = entry
    _check_pairs(new)
    return new, lock.changes(old, new)


def _old_lock(store: Store, update: bool) -> Lock:
    """The lock as it is, with pieces that the catalogue has no more. One that can't be read is as none for who wants
    everything anew."""
    try:
        return lock.read(store.images / catalogues.LOCK)
    except UsageError as error:
        if not update:
            raise
        progress.note(f"{error.message}: the lock is written anew, and all of it counts as new")
        return {}


def relock(store: Store, new: Lock) -> Path:
    """Writes the lock, all or nothing; its path. Raises PieceError if it can't be written."""
    path = store.images / catalogues.LOCK
    lock.write(path, new)
    return path


def _check_pairs(new: Lock) -> None:
    for entry in new.values():
        if entry.kind is PieceKind.USERLAND:
            sysroot = new[f"{PieceKind.SYSROOT}/{entry.name}"]
            if sysroot.version != entry.version:
                raise PieceError(
                    f"{entry.id} has glibc {entry.version}, its sysroot {sysroot.version}",
                    "Resolve everything: `lab image lock --update`.",
                )


def verify(store: Store) -> list[str]:
    """Hashes every file of the cache again. What was damaged is removed, or built anew if it is in use
    by name; returns what was found and done, a line each."""
    found: list[str] = []
    damaged_packages = False
    for path in sorted(store.archive.folder.glob("*.deb")):
        if digest(path) != path.stem:
            path.unlink()
            damaged_packages = True
            found.append(f"package {path.name}: changed; removed, it is fetched again when it is needed")
    current = {entry_name(entry): entry for entry in store.current()}
    for name in store.cache.names():
        if damage := store.cache.damage(name):
            entry = current.get(name)
            if entry is None:
                remove_entry(store, name)
                found.append(f"{name}: {damage}; removed, nothing names it")
            else:
                store.prepare([Wanted(entry.kind, entry.name)])
                found.append(f"{name}: {damage}; built anew")
    for path in sorted((store.folder / "user").glob("[!.]*")):
        if digest(path)[:32] != path.stem:
            path.unlink()
            found.append(f"{path.name}: changed; removed, it is packed again when it is needed")
    if damaged_packages:
        progress.note("damaged packages were removed: the network is needed to build from them again")
    return found
