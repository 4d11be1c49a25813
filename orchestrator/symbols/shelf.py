"""Indexes in the cache: one for a build-id, written whole, dropped when damaged, made anew when names were missed.

Beside an index, names that it was asked for and did not have stand in ``BUILD-ID.missed``; the next index begins
with them as well. Several processes may do all of this at once.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from orchestrator import progress
from orchestrator.symbols.index import FORMAT, Damaged, Index, decode, encode

_KEY = re.compile(r"(?:struct|union|class|enum|typedef|object) [\w.$]+(?:\t[\w./+-]+)?")
_MOST_MISSED = 2000  # names of one binary that are remembered
Builder = Callable[[frozenset[str]], Index]


class Shelf:
    """The folder of indexes below the lab's cache."""

    def __init__(self, cache: Path) -> None:
        self.folder = cache / "index"
        import drgn

        self._drgn = drgn.__version__

    def get(self, build_id: str, name: str, wanted: frozenset[str], build: Builder | None) -> Index | None:
        """The index of a binary. It is built if there is none that was asked for all of these names; without a
        builder the one that there is has to do."""
        wanted |= self.missed(build_id)
        index = self._read(build_id)
        if build is None or (index and wanted <= index.roots):
            return index
        with self._building(build_id, name):
            index = self._read(build_id)  # another process may have built it meanwhile
            if index and wanted <= index.roots:
                return index
            with progress.step(f"indexing the types of {name}"):
                index = build(wanted)
            self._write(build_id, encode(index))
            return index

    def path(self, build_id: str) -> Path:
        """Where the index of this build-id is kept, for this version of the format and of drgn."""
        return self.folder / f"{build_id}-{FORMAT}-{self._drgn}.json"

    def missed(self, build_id: str) -> frozenset[str]:
        """Names that were asked for and not known."""
        try:
            lines = self._missed(build_id).read_text().split("\n")
        except (OSError, ValueError):
            return frozenset()
        return frozenset([line for line in lines if _KEY.fullmatch(line)][:_MOST_MISSED])

    def miss(self, build_id: str, keys: Sequence[str]) -> None:
        """Remembers names for the next index. One write for each, so that processes do not mix their lines."""
        known = self.missed(build_id)
        new = [key for key in keys if key not in known and _KEY.fullmatch(key)]
        if not new or len(known) >= _MOST_MISSED:
            return
        with contextlib.suppress(OSError):  # it only makes the next run faster
            self.folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._missed(build_id), os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                os.write(descriptor, "".join(f"{key}\n" for key in new).encode())
            finally:
                os.close(descriptor)

    def _missed(self, build_id: str) -> Path:
        return self.folder / f"{build_id}.missed"

    def _read(self, build_id: str) -> Index | None:
        path = self.path(build_id)
        try:
            return decode(path.read_bytes(), build_id, self._drgn)
        except OSError:
            return None
        except Damaged as damage:
            progress.note(f"the index {path.name} is damaged ({damage}); it is built anew")
            with contextlib.suppress(OSError):
                path.unlink()
            return None

    def _write(self, build_id: str, data: bytes) -> None:
        """Whole or not at all; a cache that can't be written costs time, not the result."""
        path = self.path(build_id)
        try:
            with tempfile.NamedTemporaryFile(dir=self.folder, prefix=f".{build_id}-", delete=False) as file:
                temporary = Path(file.name)
                try:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                    temporary.chmod(0o644)
                    temporary.replace(path)
                except BaseException:
                    temporary.unlink(missing_ok=True)
                    raise
            for old in self.folder.glob(f"{build_id}-*.json"):
                if old != path:  # of another version of the format or of drgn
                    old.unlink(missing_ok=True)
        except OSError as error:
            progress.note(f"the index of {build_id} can't be kept: {error}", once=True)

    @contextlib.contextmanager
    def _building(self, build_id: str, name: str) -> Iterator[None]:
        """Held by who builds an index; others wait, and say so."""
        from filelock import FileLock  # it loads asyncio: not for who only looks up what is there

        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.folder / f"{build_id}.lock")
            lock.acquire(timeout=0)
        except TimeoutError:
            with progress.step(f"waiting for another lab that indexes {name}"):
                lock.acquire()
        except OSError:
            yield  # nowhere to keep it: build it for ourselves
            return
        try:
            yield
        finally:
            lock.release()
