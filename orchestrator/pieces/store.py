"""The front door: names of kernels, userlands and emulators in, finished pieces out."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from orchestrator import progress, resources
from orchestrator.errors import PieceError
from orchestrator.model import Emulator, Kernel, PackagePin, Piece, PieceKind, Symbols, Userland
from orchestrator.pieces import catalogue as catalogues
from orchestrator.pieces import drift as drifts
from orchestrator.pieces import emulator, kernel, lock, mirror, symbols, sysroot, userland
from orchestrator.pieces.cache import ARCHIVES, Cache, Entry
from orchestrator.pieces.catalogue import Catalogue, ImageSpec, unknown
from orchestrator.pieces.download import Archive, GoneError
from orchestrator.pieces.lock import Lock, Locked
from orchestrator.pieces.packages import UnreachableError
from orchestrator.pieces.resolve import Resolver
from orchestrator.versions import series

# Raise the number of a kind when its assembler gives other bytes for the same packages.
_ASSEMBLER = {
    PieceKind.KERNEL: 1,
    PieceKind.USERLAND: 1,
    PieceKind.SYSROOT: 2,
    PieceKind.EMULATOR: 1,
    PieceKind.SYMBOLS: 1,
}
_ASSEMBLE: dict[PieceKind, symbols.Assemble] = {
    PieceKind.KERNEL: kernel.assemble,
    PieceKind.USERLAND: userland.assemble,
    PieceKind.SYSROOT: sysroot.assemble,
    PieceKind.EMULATOR: emulator.assemble,
}


@dataclass(frozen=True)
class Wanted:
    """A piece of the catalogue: what the lock and the cache call it."""

    kind: PieceKind
    name: str

    @property
    def id(self) -> str:
        """ "kernel/6.1"."""
        return f"{self.kind}/{self.name}"


class Store:
    """Finds a piece in the cache, or builds it from the packages that the lock names.

    ``mirror``: a Debian mirror instead of the one found. ``locked``: refuse what the lock does not name.
    ``images``: another folder with a catalogue and a lock.
    """

    def __init__(
        self, cache: Path, mirror: str | None = None, locked: bool = False, images: Path | None = None
    ) -> None:
        self.folder = cache
        self.images = images or resources.data("images")
        self.cache = Cache(cache)
        self.archive = Archive(cache / "archives")
        self.locked = locked
        self._mirror = mirror

    @functools.cached_property
    def catalogue(self) -> Catalogue:
        """What the lab knows by name."""
        return catalogues.load(self.images)

    @functools.cached_property
    def lock(self) -> Lock:
        """What those names stand for. Raises UsageError for a lock that is not one, or not of this catalogue."""
        return lock.read(self.images / catalogues.LOCK, [wanted.id for wanted in self.everything()])

    @functools.cached_property
    def mirror(self) -> str:
        """The mirror in use."""
        return mirror.find(self._mirror)

    @functools.cached_property
    def resolver(self) -> Resolver:
        """apt, for what the lock does not answer."""
        return Resolver(self.folder / "apt", self.mirror, self.catalogue, self.archive)

    # --- names -----------------------------------------------------------------------------------------

    def kernel_names(self, pattern: str) -> list[str]:
        """The catalogue's kernels that a name or a glob (only with ``*``) means."""
        return self._names(PieceKind.KERNEL, pattern)

    def userland_names(self, pattern: str) -> list[str]:
        """The catalogue's userlands that a suite, a glibc version or a glob (only with ``*``) means."""
        return self._names(PieceKind.USERLAND, pattern)

    def image(self, name: str | None = None) -> ImageSpec:
        """The named image: which kernel goes with which userland. None is the default one."""
        return self.catalogue.image(name)

    def emulator_name(self, name: str | None) -> str:
        """The catalogue's emulator of that name or version; the default one for None."""
        if name is None:
            return self.catalogue.default_emulator.name
        return self._names(PieceKind.EMULATOR, name)[0]

    def find_names(self, kind: PieceKind, pattern: str) -> list[str]:
        """The catalogue's names of that kind that a name, a version or a glob (only with ``*``) means."""
        names = [wanted.name for wanted in self.everything() if wanted.kind is kind]
        if pattern in names:
            return [pattern]
        aliases = {name: {name, *self._versions(kind, name)} for name in names}
        if "*" not in pattern:
            return [name for name in names if pattern in aliases[name]]
        return [name for name in names if any(_globs(alias, pattern) for alias in aliases[name])]

    def _names(self, kind: PieceKind, pattern: str) -> list[str]:
        if found := self.find_names(kind, pattern):
            return found
        names = [wanted.name for wanted in self.everything() if wanted.kind is kind]
        labels = [self._label(kind, name) for name in names]
        raise unknown(kind, pattern, dict.fromkeys([*names, *filter(None, labels)]))

    def _versions(self, kind: PieceKind, name: str) -> set[str]:
        """Other names of a piece: its version in the lock, without Debian's revision, and its series."""
        entry = self.lock.get(f"{kind}/{name}")
        if entry is None:
            return set()
        short = series(entry.version)
        return {entry.version, entry.version.split("-")[0], short, f"{name}-{short}"}

    def _label(self, kind: PieceKind, name: str) -> str:
        entry = self.lock.get(f"{kind}/{name}")
        return series(entry.version) if entry else ""

    # --- pieces ----------------------------------------------------------------------------------------

    def kernel(self, name: str) -> Kernel:
        """A kernel by series ("6.1", never 6.12) or full version."""
        (found,) = self.kernel_names(name)[:1]
        piece, entry = self._piece(Wanted(PieceKind.KERNEL, found))
        return Kernel(
            name=found,
            vmlinuz=entry.path / "vmlinuz",
            modules=entry.path / "modules.cpio",
            config=entry.path / "config",
            release=entry.info["info"]["release"],
            piece=piece,
        )

    def userland(self, name: str, with_sysroot: bool = True) -> Userland:
        """A userland by suite ("bookworm") or glibc ("2.36")."""
        (found,) = self.userland_names(name)[:1]
        piece, entry = self._piece(Wanted(PieceKind.USERLAND, found))
        root: Path | None = None
        root_piece: Piece | None = None
        if with_sysroot:
            root_piece, root_entry = self._piece(Wanted(PieceKind.SYSROOT, found))
            root = root_entry.path / "root"
            if root_piece.version != piece.version:
                raise PieceError(
                    f"the userland {found} has glibc {piece.version}, its sysroot {root_piece.version}",
                    "Resolve both anew: `lab image lock --update`.",
                )
        return Userland(
            name=found,
            glibc=piece.version,
            cpio=entry.path / "userland.cpio",
            sysroot=root,
            piece=piece,
            sysroot_piece=root_piece,
        )

    def emulator(self, name: str | None = None) -> Emulator:
        """An emulator by name or version; None is the default one."""
        found = self.emulator_name(name)
        piece, entry = self._piece(Wanted(PieceKind.EMULATOR, found))
        version = entry.info["info"]["version"]
        return Emulator(
            name=f"{found}-{series(version)}",
            argv=emulator.argv(entry.path / "root"),
            version=version,
            piece=piece,
        )

    def kernel_symbols(self, kernel: Kernel) -> Symbols:
        """The vmlinux of a kernel that is a piece: about 300 MiB to download, 350 to 630 MiB on disk."""
        piece, entry = self._symbols(kernel.piece)
        return Symbols(entry.path / "vmlinux", entry.info["info"]["build_id"], pieces=(piece,))

    def userland_symbols(self, userland: Userland) -> Symbols:
        """The debug files of the libc of a userland that is a piece: about 7 MiB to download."""
        piece, entry = self._symbols(userland.piece)
        ids: Mapping[str, str] = entry.info["info"]
        files = {name: entry.path / f"{name}.debug" for name in symbols.LIBRARIES if name in ids}
        return Symbols(
            libc=files["libc"],
            libc_build_id=ids["libc"],
            ld=files["ld"],
            ld_build_id=ids["ld"],
            libpthread=files.get("libpthread"),
            libpthread_build_id=ids.get("libpthread", ""),
            pieces=(piece,),
        )

    def _symbols(self, of: Piece | None) -> tuple[Piece, Entry]:
        assert of is not None
        piece, entry = self._piece(symbols_of(Wanted(of.kind, of.name)))
        if piece.version != of.version:
            raise PieceError(
                f"{of.kind} {of.name} is {of.version}, its symbols are of {piece.version}",
                "Another lab has changed the cache meanwhile; run it again.",
            )
        return piece, entry

    def everything(self, with_symbols: bool = True) -> list[Wanted]:
        """All pieces of the catalogue; symbols come last, because they go with what stands before them."""
        found = [
            *(Wanted(PieceKind.KERNEL, name) for name in self.catalogue.kernels),
            *(Wanted(kind, name) for name in self.catalogue.userlands for kind in _USERLAND_KINDS),
            *(Wanted(PieceKind.EMULATOR, name) for name in self.catalogue.emulators),
        ]
        return [*found, *(symbols_of(wanted) for wanted in found if wanted.kind in symbols.OWNERS and with_symbols)]

    def current(self) -> list[Locked]:
        """What the lock names, and unless only that counts, what was resolved in its place."""
        if self.locked:
            return list(self.lock.values())
        drifted = (self._drifted(wanted) for wanted in self.everything())
        return [*self.lock.values(), *(found[0] for found in drifted if found)]

    def prepare(self, wanted: Iterable[Wanted]) -> list[Piece]:
        """Brings many pieces into the cache: one download for all but symbols, then built side by side."""
        listed = list(dict.fromkeys(wanted))
        pins = [pin for item in listed if item.kind is not PieceKind.SYMBOLS for pin in self._missing_pins(item)]
        with contextlib.suppress(GoneError):  # the piece that it belongs to says so, and what is done about it
            self.fetch(pins)
        built: dict[Wanted, Piece] = {}
        with ThreadPoolExecutor(2) as pool:
            for later in (False, True):  # symbols when it is known whether what they go with has drifted
                group = [item for item in listed if (item.kind is PieceKind.SYMBOLS) is later]
                built.update(zip(group, (piece for piece, _ in pool.map(self._piece, group)), strict=True))
        return [built[item] for item in listed]

    def _missing_pins(self, wanted: Wanted) -> tuple[PackagePin, ...]:
        entry, _ = self.known(wanted)
        return entry.packages if entry and not (self.cache.folder / entry_name(entry)).is_dir() else ()

    def known(self, wanted: Wanted) -> tuple[Locked | None, str]:
        """What a piece would be built from without asking the mirror, and why that is not the lock's."""
        locked = self.named(wanted)
        if self.locked:
            return locked, ""
        if locked and (self.cache.folder / entry_name(locked)).is_dir():
            return locked, ""
        return self._drifted(wanted) or (locked, "")

    def named(self, wanted: Wanted) -> Locked | None:
        """What the lock names for a piece; symbols of another version than what they go with do not count."""
        entry = self.lock.get(wanted.id)
        if entry and wanted.kind is PieceKind.SYMBOLS:
            owner = self._owner(wanted)
            return entry if owner and symbols.fits(entry, owner) else None
        return entry

    def _owner(self, wanted: Wanted) -> Locked | None:
        """The kernel or the userland that symbols go with, as far as it is known."""
        return self.known(Wanted(*symbols.owner(wanted.name)))[0] if wanted.kind is PieceKind.SYMBOLS else None

    # --- one piece -------------------------------------------------------------------------------------

    def _piece(self, wanted: Wanted) -> tuple[Piece, Entry]:
        locked = self.named(wanted)
        if self.locked and locked is None:
            raise PieceError(
                f"{wanted.id} is not in the lock{self._other_version(wanted)}",
                "Leave out --locked, or run `lab image lock`.",
            )
        if locked and (entry := self.cache.get(entry_name(locked), tell=False)):
            return _as_piece(locked, entry), entry
        if not self.locked and (drifted := self._drifted(wanted)):
            return self._build(*drifted)
        if locked:
            try:
                return self._build(locked)
            except GoneError as gone:
                reason = str(gone)
                if self.locked:
                    raise PieceError(
                        f"{wanted.id}: {reason}", "Leave out --locked, or run `lab image lock --update`."
                    ) from gone
        else:
            reason = "the lock does not name it" + self._other_version(wanted)
        return self._build(*self._resolve_anew(wanted, reason))

    def _build(self, what: Locked, drift: str = "") -> tuple[Piece, Entry]:
        name = entry_name(what)
        entry = self.cache.get(name)
        if entry is None:

            def assemble(folder: Path) -> Mapping[str, str]:
                self.fetch(what.packages)  # here: of several labs that need a piece, one downloads
                with progress.step(f"building {what.kind} {what.name} ({what.version})"):
                    return _assembler(what)([self.archive.path(pin) for pin in what.packages], folder)

            entry = self.cache.build(name, {"piece": what.id, "packages": _versions(what)}, assemble)
            for pin in what.packages if what.kind is PieceKind.SYMBOLS else ():
                if pin.size > LARGE:
                    self.archive.drop(pin)
        if drift:
            progress.note(f"{what.id} is not what the lock names: {drift}", once=True)
        return _as_piece(what, entry, drift), entry

    def fetch(self, pins: Iterable[PackagePin]) -> None:
        """Brings packages into the cache. Raises PieceError, GoneError for a version that the mirror has no more."""
        self.cache.hold(ARCHIVES)
        try:
            self.archive.fetch(pins, lambda: self.mirror)
        except UnreachableError as error:
            cached = ", ".join(self.cached()) or "nothing"
            hint = f"{error.hint} In the cache, usable without a network: {cached}."
            raise PieceError(error.message, hint) from error

    def cached(self) -> list[str]:
        """Ids of the locked pieces that are in the cache."""
        return [key for key, entry in self.lock.items() if (self.cache.folder / entry_name(entry)).is_dir()]

    def _other_version(self, wanted: Wanted) -> str:
        """Why symbols that the lock has do not count; "" if it has none."""
        entry, owner = self.lock.get(wanted.id), self._owner(wanted)
        return f" for {owner.version}, which {owner.id} is: it has {entry.version}" if entry and owner else ""

    # --- drift -----------------------------------------------------------------------------------------

    def _resolve_anew(self, wanted: Wanted, reason: str) -> tuple[Locked, str]:
        progress.note(f"{wanted.id}: {reason}; it is resolved anew")
        owner = self._owner(wanted)
        if wanted.kind is PieceKind.SYMBOLS and owner is None:
            self._piece(Wanted(*symbols.owner(wanted.name)))
            owner = self._owner(wanted)
        found = self.resolver.resolve(wanted.kind, wanted.name, owner)
        if found.expired:
            reason += f"; the lists of {found.suite} expired on {found.expired}"
        drifts.write(self._drift_file(wanted), self._lock_key(wanted), found, reason)
        return found, reason

    def _drifted(self, wanted: Wanted) -> tuple[Locked, str] | None:
        """What was resolved earlier in place of the lock's entry, as long as the lock is the same."""
        return drifts.read(self._drift_file(wanted), wanted.id, self._lock_key(wanted))

    def _drift_file(self, wanted: Wanted) -> Path:
        return self.folder / "drift" / f"{wanted.kind}-{wanted.name}.json"

    def _lock_key(self, wanted: Wanted) -> str:
        entries = (self.lock.get(wanted.id), self._owner(wanted))
        return "/".join(piece_key(entry) for entry in entries if entry)


def _globs(name: str, pattern: str) -> bool:
    """Whether ``*`` in the pattern makes it match; no other character is special."""
    return bool(re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), name))


def symbols_of(owner: Wanted) -> Wanted:
    """The symbols of a kernel or a userland."""
    return Wanted(PieceKind.SYMBOLS, symbols.name(owner.kind, owner.name))


def _assembler(what: Locked) -> symbols.Assemble:
    return symbols.assembler(what.name) if what.kind is PieceKind.SYMBOLS else _ASSEMBLE[what.kind]


LARGE = 50 << 20  # bytes: a package of debug information that is not worth keeping once its piece is built
_USERLAND_KINDS = (PieceKind.USERLAND, PieceKind.SYSROOT)


def piece_key(entry: Locked) -> str:
    """SHA-256 over everything that determines the piece's bytes."""
    pins = sorted((pin.name, pin.version, pin.sha256) for pin in entry.packages)
    content = [_ASSEMBLER[entry.kind], entry.kind, *pins]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def entry_name(entry: Locked) -> str:
    """The name of a piece's folder in the cache."""
    return f"{entry.kind}-{entry.name}-{piece_key(entry)[:16]}"


def _versions(entry: Locked) -> list[dict[str, object]]:
    return [dataclasses.asdict(pin) for pin in entry.packages]


def _as_piece(what: Locked, entry: Entry, drift: str = "") -> Piece:
    return Piece(what.kind, what.name, what.version, piece_key(what), entry.path, what.packages, drift)
