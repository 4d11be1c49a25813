"""Looking after lock and cache: the names a user gives, resolving anew, verifying everything."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from orchestrator import progress
from orchestrator.errors import PieceError
from orchestrator.model import PieceKind
from orchestrator.pieces import catalogue as catalogues
from orchestrator.pieces import lock, symbols
from orchestrator.pieces.catalogue import unknown
from orchestrator.pieces.download import digest
from orchestrator.pieces.lock import Lock
from orchestrator.pieces.prune import remove_entry
from orchestrator.pieces.store import Store, Wanted, entry_name, symbols_of


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


def relock(store: Store, *, update: bool) -> list[str]:
    """Writes the lock: what is missing, or with ``update`` everything, as the mirror serves it now.

    Returns what has changed, a line each. Raises PieceError, and changes nothing, if anything can't be
    resolved.
    """
    new: dict[str, lock.Locked] = {}
    for wanted in store.everything():
        old = store.lock.get(wanted.id)
        owner = new.get(Wanted(*symbols.owner(wanted.name)).id) if wanted.kind is PieceKind.SYMBOLS else None
        if old is None or update or (owner and not symbols.fits(old, owner)):
            progress.update("resolving", wanted.id)
            new[wanted.id] = store.resolver.resolve(wanted.kind, wanted.name, owner)
        else:
            new[wanted.id] = old
    _check_pairs(new)
    lines = lock.changes(store.lock, new)
    if new != store.lock:
        lock.write(store.images / catalogues.LOCK, new)
    return lines


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
