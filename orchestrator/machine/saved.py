"""Saved states on disk: a guest that has just booted, kept, so that later guests go on from there.

A state is a folder: the guest's memory (``ram``, sparse), its devices (``devices``, QEMU's migration stream), what it
said while it booted (``console``), and ``state.json``, which describes them. QEMU maps the memory privately, so any
number of guests go on from one state at once, and none can change it. Its name is a digest of all that shaped it.

Who uses a state holds its files open: it may be removed meanwhile. A state is made in a folder of its own, under a
lock, and renamed into place; what does not look as it was left is never used. It is its maker's alone, as it holds a
guest's memory: other users of the folder have their own.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from orchestrator import progress

FORMAT = 1  # of a state; another one is never read
LIMIT = 6 << 10  # MiB on disk, all states together, where LAB_STATES_MIB does not say otherwise
SPARE = 2 << 30  # bytes of the disk that must be free: QEMU dies where its memory can't grow (SIGBUS)
MAX_SMALL = 32 << 20  # bytes of devices, console, state.json
LEFT = 3600.0  # seconds after which a half-made state is nobody's
PAGE = 4096
_FILES = ("ram", "devices", "console")


class Unusable(Exception):
    """A state that can't be used, and why."""


@dataclass(frozen=True)
class Saved:
    """What state.json says. ``digests`` are SHA-256 by file; of ram, over its pages that are not all zero."""

    format: int
    made: str  # ISO 8601, UTC
    kernel: str
    userland: str
    seconds: float  # that its boot took
    memory: int  # bytes
    digests: dict[str, str]


@dataclass(frozen=True)
class State:
    """A state that was verified and is held open. ``ram`` and ``devices`` are file descriptors."""

    key: str
    saved: Saved
    ram: int
    devices: int
    console: bytes


class States:
    """The states below one folder."""

    def __init__(self, folder: Path, limit: int | None = None) -> None:
        """``limit`` in bytes, for all together."""
        self.folder = folder
        self._limit = limit_mib() << 20 if limit is None else limit

    @contextlib.contextmanager
    def opened(self, key: str) -> Iterator[State | None]:
        """The state of that key, held open in the block; None if there is none. Raises Unusable if it is not what
        was saved."""
        folder = self.folder / key
        with contextlib.ExitStack() as stack:
            try:
                descriptors = {name: _open(folder / name, stack) for name in (*_FILES, "state.json")}
            except FileNotFoundError:
                if folder.exists():
                    raise Unusable("a file of it is missing") from None
                yield None
                return
            except OSError as error:
                raise Unusable(f"it can't be read: {error.strerror}") from None
            saved = _saved(_content(descriptors["state.json"]))
            self._verify(folder, descriptors, saved)
            with contextlib.suppress(OSError):  # only a memory of when it was used
                os.utime(folder)
            yield State(key, saved, descriptors["ram"], descriptors["devices"], _content(descriptors["console"]))

    def _verify(self, folder: Path, descriptors: dict[str, int], saved: Saved) -> None:
        """Small files are hashed each time; the memory where it is not, to the nanosecond, the file that it was."""
        for name in ("devices", "console"):
            if hashlib.sha256(_content(descriptors[name])).hexdigest() != saved.digests.get(name):
                raise Unusable(f"its {name} are not what was saved")
        if os.fstat(descriptors["ram"]).st_size != saved.memory:
            raise Unusable("its memory has another size")
        stamp = _stamp(descriptors["ram"])
        if _read(folder / "stamp") == stamp:
            return
        if digest(descriptors["ram"]) != saved.digests.get("ram"):
            raise Unusable("its memory is not what was saved")
        with contextlib.suppress(OSError):
            (folder / "stamp").write_text(stamp)

    @contextlib.contextmanager
    def making(self, key: str, patience: float) -> Iterator[Path]:
        """A folder in which a state may be made, by nobody else meanwhile; `keep` it in the block. Raises Unusable
        where there is no room for it, or if somebody else makes it for longer than ``patience`` seconds."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._sweep()
            with self._alone(key, patience):
                if self.almost_full():
                    raise Unusable(f"the disk of {self.folder} is almost full")
                with tempfile.TemporaryDirectory(dir=self.folder, prefix=".new-", ignore_cleanup_errors=True) as place:
                    yield Path(place)
        except OSError as error:
            raise Unusable(f"it can't be made in {self.folder}: {error.strerror or error}") from None

    def almost_full(self) -> bool:
        """Whether the disk has no room for one more."""
        with contextlib.suppress(OSError):
            return shutil.disk_usage(self.folder).free < SPARE
        return False

    def _sweep(self) -> None:
        """What killed makers left, an hour ago or more."""
        for path in self.folder.glob(".*"):
            with contextlib.suppress(OSError):
                if path.is_dir() and path.stat().st_mtime < time.time() - LEFT:
                    shutil.rmtree(path, ignore_errors=True)

    @contextlib.contextmanager
    def _alone(self, key: str, patience: float) -> Iterator[None]:
        from filelock import FileLock, Timeout  # it loads asyncio: not for who only restores

        lock = FileLock(self.folder / f".{key}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            try:
                with progress.step("waiting for another guest that is being saved"):
                    lock.acquire(timeout=patience)
            except Timeout:
                raise Unusable("somebody else is making it") from None
        try:
            yield
        finally:
            lock.release()

    def keep(self, key: str, place: Path, *, kernel: str, userland: str, seconds: float, memory: int) -> None:
        """What was made in ``place`` becomes the state of that key; the least recently used ones go, where all
        together are more than the limit. Raises OSError."""
        digests = {name: hashlib.sha256((place / name).read_bytes()).hexdigest() for name in ("devices", "console")}
        with contextlib.ExitStack() as stack:
            ram = _open(place / "ram", stack)
            digests["ram"] = digest(ram)
            made = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            saved = Saved(FORMAT, made, kernel, userland, round(seconds, 3), memory, digests)
            (place / "state.json").write_text(json.dumps(asdict(saved), indent=1) + "\n")
            os.fchmod(ram, 0o400)  # a user's own userland may hold secrets
            (place / "stamp").write_text(_stamp(ram))
        self.drop(key)
        place.rename(self.folder / key)
        self.trim(besides=key)

    def drop(self, key: str) -> None:
        """Forgets a state; who uses it can go on."""
        _remove(self.folder / key)

    def trim(self, besides: str = "") -> None:
        """Removes this user's least recently used states until the rest of them is within the limit."""
        own = ((key, size) for key, size in self.sizes().items() if is_own(self.folder / key))
        found = sorted(own, key=lambda item: _used(self.folder / item[0]))
        total = sum(size for _, size in found)
        for key, size in found:
            if total > self._limit and key != besides:
                self.drop(key)
                total -= size

    def sizes(self) -> dict[str, int]:
        """All states, and how many bytes of the disk each takes."""
        if not self.folder.is_dir():
            return {}
        return {place.name: size_on_disk(place) for place in self.folder.iterdir()
                if place.is_dir() and not place.name.startswith(".")}  # fmt: skip


def limit_mib() -> int:
    """How many MiB all states may take: LAB_STATES_MIB, where it is a number; 0 means that none are kept."""
    told = os.environ.get("LAB_STATES_MIB", "")
    return int(told) if told.isascii() and told.isdigit() else LIMIT


def digest(descriptor: int) -> str:
    """SHA-256 over the pages of a file that are not all zero, each behind its number; holes are pages of zeros, so a
    copy that fills them has the same digest."""
    total = hashlib.sha256()
    for offset, size in _extents(descriptor):
        for start in range(offset - offset % PAGE, offset + size, 1 << 20):
            block = memoryview(os.pread(descriptor, min(1 << 20, offset + size - start), start))
            for at in range(0, len(block), PAGE):
                page = block[at : at + PAGE]
                if page != _ZEROS[: len(page)]:
                    total.update(((start + at) // PAGE).to_bytes(8, "little"))
                    total.update(page)
    return total.hexdigest()


_ZEROS = bytes(PAGE)


def _extents(descriptor: int) -> Iterator[tuple[int, int]]:
    """Offset and size of what is there in a sparse file; its holes are left out."""
    end = 0
    while True:
        try:
            start = os.lseek(descriptor, end, os.SEEK_DATA)
        except OSError:  # ENXIO: nothing but a hole from here on
            return
        end = os.lseek(descriptor, start, os.SEEK_HOLE)
        yield start, end - start


def _open(path: Path, stack: contextlib.ExitStack) -> int:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    stack.callback(os.close, descriptor)
    return descriptor


def _content(descriptor: int) -> bytes:
    size = os.fstat(descriptor).st_size
    if size > MAX_SMALL:
        raise Unusable("a file of it is too large")
    return os.pread(descriptor, size, 0)


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace") if path.stat().st_size < PAGE else ""
    except OSError:
        return ""


def _saved(content: bytes) -> Saved:
    try:
        data: dict[str, Any] = json.loads(content)
        if data["format"] != FORMAT:
            raise Unusable("another version of the lab made it")
        saved = Saved(**data)
        if not isinstance(saved.memory, int) or not isinstance(saved.digests, dict):
            raise TypeError("memory or digests")
        return saved
    except (ValueError, TypeError, KeyError) as error:
        raise Unusable(f"its state.json is damaged: {error}") from None


def _stamp(descriptor: int) -> str:
    """What changes when anybody writes to the file, or puts another one in its place (inode(7)), or when this host
    boots: after a power loss a file may be less than its inode says."""
    found = os.fstat(descriptor)
    written = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
    return " ".join(map(str, (*written, _read(Path("/proc/sys/kernel/random/boot_id")).strip())))


def is_own(folder: Path) -> bool:
    """Whether it belongs to the user that we run as."""
    try:
        return folder.stat().st_uid == os.geteuid()
    except OSError:
        return False


def _used(folder: Path) -> float:
    try:
        return folder.stat().st_mtime
    except OSError:
        return 0.0


def size_on_disk(folder: Path) -> int:
    """Bytes of the disk that the files there take: a sparse file has less than its size."""
    total = 0
    with contextlib.suppress(OSError):  # it may go meanwhile
        for path in folder.iterdir():
            total += path.stat().st_blocks * 512
    return total


def _remove(folder: Path) -> None:
    """By one rename first: half a state is never left under its name. Somebody else's stays."""
    away = folder.with_name(f".gone-{folder.name}-{os.urandom(6).hex()}")
    if not is_own(folder):
        return
    with contextlib.suppress(OSError):
        folder.rename(away)
        shutil.rmtree(away, ignore_errors=True)
