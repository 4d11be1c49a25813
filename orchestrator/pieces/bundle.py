"""Bundles: the packages of locked pieces in one file, for a machine without a network.

A tar file: a description (which pieces of which lock), then each package once, under its SHA-256. It holds packages
and not finished pieces, because packages are what the lock names by hash: nothing has to be believed of a bundle, and
one of today can be read by a lab whose pieces are laid out otherwise. As the lock also gives every size and the order
is fixed, all bytes of a bundle but the packages' own are known before they are read: whatever is otherwise is refused,
and no path, link, mode or size of the file is ever followed. The same lock gives the same bytes.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import stat
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from orchestrator import progress
from orchestrator.errors import PieceError, UsageError
from orchestrator.model import PackagePin, Piece, PieceKind
from orchestrator.pieces import lock
from orchestrator.pieces.cache import ARCHIVES
from orchestrator.pieces.download import GoneError
from orchestrator.pieces.lock import Lock, Locked
from orchestrator.pieces.store import LARGE, Store, Wanted, entry_name

FORMAT = 1  # of the description; another one is refused
DESCRIPTION = "qemu-lab-bundle.json"
MAX_DESCRIPTION = 8 << 20  # bytes
_BLOCK, _RECORD = tarfile.BLOCKSIZE, tarfile.RECORDSIZE  # bytes; what a tar file is counted in
_CHUNK = 1 << 20  # bytes read at once
_SHOWN = 12  # differences that an error lists
_PACKED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"\xfd7zX": "xz", b"BZh": "bzip2"}


@dataclass(frozen=True)
class Bundle:
    """What was written: ``size`` in bytes, of the whole file, and its SHA-256."""

    pieces: tuple[str, ...]
    packages: int
    size: int
    sha256: str


# -- writing ------------------------------------------------------------------------------------


def export(store: Store, wanted: Iterable[Wanted], target: Path) -> Bundle:
    """Writes the bundle of these pieces to ``target`` ("-": standard output), all or nothing.

    What the cache lacks is downloaded. Raises PieceError for what the lock does not name or the mirror no longer has.
    """
    entries = _named(store, wanted)
    pins = _pins(entries.values())
    _fetch(store, pins, _spent_by(entries.values()))
    with contextlib.ExitStack() as stack:
        # held open: another lab that has built its symbols removes their package
        streams = [stack.enter_context(store.archive.path(pin).open("rb")) for pin in pins]
        out = stack.enter_context(_created(target))
        done = _write(entries, pins, streams, out)
    _give_back(store, entries.values())
    return done


def _fetch(store: Store, pins: Iterable[PackagePin], spent: Iterable[PackagePin]) -> None:
    """What arrives before an error stays: a second call goes on from there."""
    try:
        store.fetch(pins)
    except GoneError as gone:
        raise PieceError(f"{gone.message}, and it is not in the cache",
                         "Name the pieces to carry without it, or move the lock: `lab image lock --update`.") from gone
    except PieceError as error:
        if not any(not store.archive.path(pin).exists() for pin in spent):
            raise
        raise PieceError(error.message, f"{error.hint} The packages of kernels' symbols are not kept in the cache: "
                                        "--no-symbols leaves them out.") from error  # fmt: skip


def _named(store: Store, wanted: Iterable[Wanted]) -> dict[str, Locked]:
    found: dict[str, Locked] = {}
    for one in wanted:
        entry = store.named(one)
        if entry is None:
            raise PieceError(f"{one.id} is not in the lock", "A bundle holds what the lock names: `lab image lock`.")
        found[one.id] = entry
    return dict(sorted(found.items()))


def _pins(entries: Iterable[Locked]) -> list[PackagePin]:
    """Each package once, in the order of a bundle."""
    found = {pin.sha256: pin for entry in entries for pin in entry.packages}
    return [found[sha256] for sha256 in sorted(found)]


def _spent_by(entries: Iterable[Locked]) -> list[PackagePin]:
    """The packages that the cache does not keep once their piece is built."""
    symbols = [entry for entry in entries if entry.kind is PieceKind.SYMBOLS]
    return [pin for pin in _pins(symbols) if pin.size > LARGE]


def _write(entries: Lock, pins: Sequence[PackagePin], streams: Sequence[IO[bytes]], out: IO[bytes]) -> Bundle:
    seen, size, whole = hashlib.sha256(), 0, _size(entries, pins)

    def put(data: bytes) -> None:
        nonlocal size
        out.write(data)
        seen.update(data)
        size += len(data)

    described = _described(entries)
    what = f"writing {len(pins)} packages ({_mebibytes(whole)})"
    with progress.step(what):
        put(_header(DESCRIPTION, len(described)) + described + _padding(len(described)))
        for pin, stream in zip(pins, streams, strict=True):
            put(_header(_member(pin), pin.size))
            _copy(pin, stream, put)
            put(_padding(pin.size))
            progress.update(what, f"{_mebibytes(size)} of {_mebibytes(whole)}")
        put(bytes(whole - size))
        out.flush()
    return Bundle(tuple(entries), len(pins), size, seen.hexdigest())


def _copy(pin: PackagePin, stream: IO[bytes], put: Callable[[bytes], None]) -> None:
    """The package's bytes, if they are what the lock names; a file that changes meanwhile must not pass as it."""
    found, left = hashlib.sha256(), pin.size
    while left and (chunk := stream.read(min(left, _CHUNK))):
        put(chunk)
        found.update(chunk)
        left -= len(chunk)
    if left or found.hexdigest() != pin.sha256:
        raise PieceError(f"the cached package {pin.name} {pin.version} has changed while it was read", "Run it again.")


@contextlib.contextmanager
def _created(target: Path) -> Iterator[IO[bytes]]:
    """The file to write, under its name once it is whole."""
    if str(target) == "-":
        if sys.stdout.isatty():
            raise UsageError("a bundle is not written to a terminal", "Name a file, or send the output somewhere.")
        yield sys.stdout.buffer
        return
    packed = [suffix for suffix in (".gz", ".zst", ".xz", ".bz2") if target.name.endswith(suffix)]
    if packed or target.is_dir():
        raise UsageError(f"{target}: {f'a bundle is not compressed by {packed[0]}' if packed else 'is a folder'}",
                         "Name a file, BUNDLE.tar: the packages in it are compressed already.")  # fmt: skip
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def _give_back(store: Store, entries: Iterable[Locked]) -> None:
    """Removes the large packages whose piece is there: the cache does not keep those."""
    for entry in entries:
        if spent := _spent_by([entry]):
            with store.cache.building(entry_name(entry)):  # nobody is about to build from it
                for pin in spent if store.cache.get(entry_name(entry)) else ():
                    store.archive.drop(pin)


# -- reading ------------------------------------------------------------------------------------


def import_(store: Store, source: Path) -> list[Piece]:
    """Brings the pieces of the bundle ``source`` ("-": standard input) into the cache, built and verified.

    Only packages of the store's lock get in, each once it is whole and has the lock's hash; so what came before an
    error or an interruption stays, and a second call goes on from there. Nothing is built from a bundle that is damaged
    anywhere. Raises UsageError for a file that is no bundle, or is one of another lock, PieceError for a damaged one.
    """
    if not store.lock:
        raise UsageError(f"{store.images} has no lock", "A bundle is checked against the lock that it was made from.")
    with _opened(source) as stream:
        reader = _Reader(stream, source)
        entries = _entries(store.lock, reader.description(), source)
        reader.expect(entries)
        _take(store, entries, reader)
        reader.end()
    return store.prepare(Wanted(entry.kind, entry.name) for entry in entries.values())


def _take(store: Store, entries: Lock, reader: _Reader) -> None:
    """All packages, verified; those that are needed are kept."""
    store.cache.hold(ARCHIVES)
    store.archive.folder.mkdir(parents=True, exist_ok=True)
    pins = _pins(entries.values())
    lacking = {pin.sha256 for pin in _lacking(store, entries)}
    _check_space(store, [pin for pin in pins if pin.sha256 in lacking])
    whole = _mebibytes(sum(pin.size for pin in pins))
    what, done = f"reading {len(pins)} packages ({whole})", 0
    with progress.step(what), tempfile.TemporaryDirectory(prefix=".part-", dir=store.archive.folder) as part:
        for pin in pins:
            path = Path(part) / pin.sha256
            with path.open("wb") if pin.sha256 in lacking else contextlib.nullcontext() as out:
                reader.package(pin, out)
                if out:
                    out.flush()
                    os.fsync(out.fileno())
            if pin.sha256 in lacking:
                path.replace(store.archive.path(pin))
            done += pin.size
            progress.update(what, f"{_mebibytes(done)} of {whole}")


def _lacking(store: Store, entries: Lock) -> Iterator[PackagePin]:
    """The packages that are to be kept: not there yet, and more than what a finished piece leaves behind."""
    for entry in entries.values():
        finished = store.cache.get(entry_name(entry)) is not None
        spent = _spent_by([entry]) if finished else []
        yield from (pin for pin in entry.packages if pin not in spent and not store.archive.has(pin))


def _check_space(store: Store, pins: Iterable[PackagePin]) -> None:
    needed, free = sum(pin.size for pin in pins), shutil.disk_usage(store.archive.folder).free
    if needed > free:
        raise PieceError(f"{store.folder}: {_mebibytes(needed)} are needed, {_mebibytes(free)} are free",
                         "Free some space, or set LAB_CACHE to another folder.")  # fmt: skip


def _entries(mine: Lock, described: bytes, source: Path) -> dict[str, Locked]:
    """The lock's own entries for the pieces that a description names. Raises UsageError if it is of another lock."""
    try:
        content = json.loads(described)
        theirs: dict[str, Any] = content["pieces"]
        if content["format"] != FORMAT:
            raise UsageError(f"{source}: a bundle of format {str(content['format'])[:20]}; this lab reads {FORMAT}",
                             "Export it again with this release of the lab.")  # fmt: skip
        if not theirs or not isinstance(theirs, dict):
            raise ValueError("it names no pieces")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise PieceError(f"{source}: its description is damaged: {error}", _AGAIN) from None
    if lines := _differences(mine, theirs):
        more = [f"and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
        raise UsageError("\n".join([f"{source}: a bundle of another lock (lock → bundle)", *lines[:_SHOWN], *more]),
                         "Export it with the lock of this machine, or take over the lock that it was made with.")
    found = {key: mine[key] for key in sorted(theirs)}
    if described != _described(found):
        raise PieceError(f"{source}: its description is not as the lab writes it", _AGAIN)
    return found


_AGAIN = "Nothing of it is used. Copy the bundle again, or export it again."


def _differences(mine: Lock, theirs: Mapping[str, Any]) -> list[str]:
    lines: list[str] = []
    for key, data in sorted(theirs.items()):
        if key not in mine:
            lines.append(f"{key[:80]}: the lock does not name it")
        elif data != lock.as_data(mine[key]):
            try:
                lines += lock.changes({key: mine[key]}, {key: lock.parse(key, data)}) or [f"{key}: other packages"]
            except (KeyError, TypeError, ValueError, AttributeError):
                lines.append(f"{key}: can't be read")
    return lines


class _Reader:
    """Reads a bundle from its beginning to its end, and accepts nothing but what must stand there."""

    def __init__(self, stream: IO[bytes], source: Path) -> None:
        self._stream = stream
        self._source = source
        self._at = 0  # bytes read
        self._whole = 0  # bytes that the bundle must have, once that is known

    def description(self) -> bytes:
        """The first member's content. Raises UsageError for a file that is no bundle."""
        head = self._read(_BLOCK, whole=False)
        try:
            size = tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape").size
            good = head == _header(DESCRIPTION, size)
        except (tarfile.TarError, ValueError):
            good = False
        if not good:
            packed = [name for magic, name in _PACKED.items() if head.startswith(magic)]
            what = f"compressed by {packed[0]}, which no bundle is" if packed else "no bundle of the lab"
            raise UsageError(f"{self._source}: {what}", "`lab image export FILE` writes one.")
        if size > MAX_DESCRIPTION:
            raise PieceError(f"{self._source}: its description has {size} bytes, {MAX_DESCRIPTION} are allowed", _AGAIN)
        found = self._read(size)
        self._zeros(-size % _BLOCK)
        return found

    def expect(self, entries: Lock) -> None:
        """Says what the bundle holds; a file of another size is refused before it is read."""
        self._whole = _size(entries, _pins(entries.values()))
        status = os.fstat(self._stream.fileno())
        if stat.S_ISREG(status.st_mode) and status.st_size != self._whole:
            what = "is cut off" if status.st_size < self._whole else "goes on after its end"
            raise self._damaged(f"{what}: it has {status.st_size} bytes, {self._whole} belong to it")

    def package(self, pin: PackagePin, out: IO[bytes] | None) -> None:
        """Copies the next member, which must be this package, and hashes it on the way."""
        head = self._read(_BLOCK)
        if head != _header(_member(pin), pin.size):
            name = head[:100].split(b"\0")[0].decode("ascii", "backslashreplace")
            raise self._damaged(f"another member, or other attributes, where {pin.name} {pin.version} belongs: "
                                f"{name!r}, not {_member(pin)!r}")  # fmt: skip
        found, left = hashlib.sha256(), pin.size
        while left:
            chunk = self._read(min(left, _CHUNK))
            found.update(chunk)
            if out:
                out.write(chunk)
            left -= len(chunk)
        if found.hexdigest() != pin.sha256:
            raise self._damaged(f"{pin.name} {pin.version} is changed: wanted SHA-256 {pin.sha256}, "
                                f"found {found.hexdigest()}")  # fmt: skip
        self._zeros(-pin.size % _BLOCK)

    def end(self) -> None:
        """Nothing but the end of a tar file follows."""
        self._zeros(self._whole - self._at)
        if self._stream.read(1):
            raise self._damaged(f"goes on after its end at {self._whole} bytes")

    def _zeros(self, count: int) -> None:
        if any(self._read(count)):
            raise self._damaged(f"something stands between its members, before byte {self._at}")

    def _read(self, count: int, *, whole: bool = True) -> bytes:
        found = self._stream.read(count)
        self._at += len(found)
        if whole and len(found) < count:
            of = f" of {self._whole}" if self._whole else ""
            raise self._damaged(f"is cut off after {self._at}{of} bytes")
        return found

    def _damaged(self, what: str) -> PieceError:
        return PieceError(f"{self._source}: {what}", _AGAIN)


@contextlib.contextmanager
def _opened(source: Path) -> Iterator[IO[bytes]]:
    if str(source) == "-":
        yield sys.stdin.buffer
        return
    try:
        stream = source.open("rb")
    except OSError as error:
        raise UsageError(f"{source}: {error.strerror}", "Name a file that `lab image export` has written.") from None
    with stream:
        yield stream


# -- the form -----------------------------------------------------------------------------------


def _described(entries: Lock) -> bytes:
    content = {"format": FORMAT, "pieces": {key: lock.as_data(entry) for key, entry in entries.items()}}
    return (json.dumps(content, indent=1, sort_keys=True) + "\n").encode()


def _member(pin: PackagePin) -> str:
    return f"packages/{pin.sha256}.deb"


def _header(name: str, size: int) -> bytes:
    """A regular file of nobody's, from no time. Raises ValueError for a size that tar can't write."""
    member = tarfile.TarInfo(name)
    member.size = size
    return member.tobuf(tarfile.USTAR_FORMAT)


def _padding(size: int) -> bytes:
    return bytes(-size % _BLOCK)


def _size(entries: Lock, pins: Iterable[PackagePin]) -> int:
    """Of a whole bundle, bytes: members, two empty blocks, filled up to a record (tar(5))."""
    sizes = [len(_described(entries)), *(pin.size for pin in pins)]
    whole = sum(_BLOCK + size + -size % _BLOCK for size in sizes) + 2 * _BLOCK
    return whole + -whole % _RECORD


def _mebibytes(size: int) -> str:
    return f"{size / (1 << 20):.1f} MiB"
