"""Fetches pinned packages into a content-addressed folder of the cache, by apt's own downloader.

A file appears there under its SHA-256 only after its size and hash were checked; what an interrupted
download leaves lies in a folder of its own that nothing reads.
"""

from __future__ import annotations

import contextlib
import hashlib
import posixpath
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from urllib.parse import quote

from orchestrator import processes, progress
from orchestrator.errors import HostError, PieceError
from orchestrator.model import PackagePin
from orchestrator.pieces import packages
from orchestrator.pieces.packages import unreachable

_HELPER = Path("/usr/lib/apt/apt-helper")
_STREAMS = 3
_GONE = re.compile(r"Failed to fetch \S+\s+(404|410)\b|File not found", re.IGNORECASE)


class GoneError(PieceError):
    """The mirror answers, but no longer has a package in this version."""


class OtherBytesError(PieceError):
    """The mirror serves another file than the one that was asked for."""


def digest(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


class Archive:
    """The folder of downloaded packages, one file per SHA-256."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, pin: PackagePin) -> Path:
        """Where the package lies once it has been fetched."""
        return self.folder / f"{pin.sha256}.deb"

    def has(self, pin: PackagePin) -> bool:
        """Whether the package is there, whole and unchanged; a damaged one is removed, and said."""
        path = self.path(pin)
        try:
            good = path.stat().st_size == pin.size and digest(path) == pin.sha256
        except FileNotFoundError:
            return False
        if not good:
            progress.note(f"the cached package {pin.name} {pin.version} is damaged; it is fetched again")
            path.unlink(missing_ok=True)
        return good

    def fetch(self, pins: Iterable[PackagePin], find_mirror: Callable[[], str]) -> None:
        """Brings all packages here. GoneError: the mirror lacks one; OtherBytesError: it serves another file for one;
        packages.UnreachableError: it can't be read."""
        wanted = {pin.sha256: pin for pin in pins}
        missing = [pin for pin in wanted.values() if not self.has(pin)]
        if not missing:
            return
        mirror = find_mirror()
        self.folder.mkdir(parents=True, exist_ok=True)
        total = _mebibytes(sum(pin.size for pin in missing))
        name = f"downloading {len(missing)} packages ({total})"
        with progress.step(name), tempfile.TemporaryDirectory(prefix=".part-", dir=self.folder) as part:
            output = _download(missing, mirror, Path(part), lambda here: progress.update(name, f"{here} of {total}"))
            self._keep(missing, Path(part))
            _refuse_others(missing, mirror, Path(part))
        self._complain(missing, mirror, output)

    def adopt(self, filename: str, mirror: str) -> tuple[str, int]:
        """Fetches a package that no list names; its SHA-256 and size. GoneError: the mirror lacks it.

        Nothing but the mirror vouches for it: for what is checked otherwise.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        name = posixpath.basename(filename)
        scratch = tempfile.TemporaryDirectory(prefix=".part-", dir=self.folder)
        with progress.step(f"downloading {name}"), scratch as part:
            path, config = Path(part) / "package", packages.download_configuration(Path(part))
            argv = (_helper(), "download-file", f"{mirror}/{quote(filename)}", str(path))
            done = packages.run_apt(argv, config)
            if not path.is_file():
                said = done.stdout + done.stderr
                if _GONE.search(said):
                    raise GoneError(f"{mirror} has no {name}")
                raise unreachable(f"can't download {name} from {mirror}", said)
            sha256, size = digest(path), path.stat().st_size
            path.replace(self.folder / f"{sha256}.deb")
        return sha256, size

    def drop(self, pin: PackagePin) -> None:
        """Removes a package that is needed no more."""
        self.path(pin).unlink(missing_ok=True)

    def _keep(self, pins: list[PackagePin], part: Path) -> None:
        """Moves what arrived whole into place."""
        for pin in pins:
            path = part / pin.sha256
            if path.is_file() and path.stat().st_size == pin.size and digest(path) == pin.sha256:
                path.replace(self.path(pin))

    def _complain(self, pins: list[PackagePin], mirror: str, output: str) -> None:
        missing = [pin for pin in pins if not self.path(pin).is_file()]
        if not missing:
            return
        names = ", ".join(f"{pin.name} {pin.version}" for pin in missing[:3])
        names += f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        if _GONE.search(output):
            first = f" (SHA-256 {missing[0].sha256})" if len(missing) == 1 else ""
            raise GoneError(f"{mirror} no longer serves {names}{first}")
        raise unreachable(f"can't download {names} from {mirror}", output)


def _refuse_others(pins: list[PackagePin], mirror: str, part: Path) -> None:
    """Raises OtherBytesError for what came whole but did not have the hash, which apt keeps as .FAILED, or the size."""
    for pin in pins:
        failed, arrived = part / f"{pin.sha256}.FAILED", part / pin.sha256
        path = failed if failed.is_file() else arrived
        if path.is_file() and (found := digest(path)) and (path == failed or found == pin.sha256):
            raise OtherBytesError(
                f"{mirror} serves other bytes for {pin.name} {pin.version} ({pin.filename})\n"
                f"wanted SHA-256 {pin.sha256}, {pin.size} bytes\n"
                f"served SHA-256 {found}, {path.stat().st_size} bytes",
                "Nothing of it is used. Name another mirror (--mirror, LAB_DEBIAN_MIRROR); if the lock is what is "
                "wrong: `lab image lock --update`.",
            )


def _download(pins: list[PackagePin], mirror: str, part: Path, tell: Callable[[str], None]) -> str:
    """Runs apt's downloader, a few at a time; returns what those said that failed."""
    helper = _helper()
    config = packages.download_configuration(part)
    by_size = sorted(pins, key=lambda pin: (-pin.size, pin.name))
    batches = [batch for number in range(_STREAMS) if (batch := by_size[number::_STREAMS])]
    logs = [part / f"log-{number}" for number in range(len(batches))]
    with contextlib.ExitStack() as stack:
        running = []
        for batch, log in zip(batches, logs, strict=True):
            argv = [helper, "download-file", *_arguments(batch, mirror, part)]
            process = packages.start_apt(argv, config, stack.enter_context(log.open("wb")))
            stack.callback(processes.end, process, 0.0)
            running.append(process)
        for process in running:
            while not _ended(process):
                tell(_mebibytes(sum(_size(path) for path in part.rglob("*"))))
    return "\n".join(
        log.read_text(errors="replace")
        for process, log in zip(running, logs, strict=True)
        if process.returncode != 0
    )


def _helper() -> str:
    if not _HELPER.is_file():
        raise HostError(f"{_HELPER} is not on this machine", "Install apt: the lab is made of Debian packages.")
    return str(_HELPER)


def _arguments(pins: list[PackagePin], mirror: str, part: Path) -> list[str]:
    arguments: list[str] = []
    for pin in pins:
        arguments += [f"{mirror}/{quote(pin.filename)}", str(part / pin.sha256), f"SHA256:{pin.sha256}"]
    return arguments


def _ended(process: subprocess.Popen[bytes]) -> bool:
    try:
        process.wait(0.5)
    except subprocess.TimeoutExpired:
        return False
    return True


def _mebibytes(size: int) -> str:
    return f"{size / (1 << 20):.1f} MiB"


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
