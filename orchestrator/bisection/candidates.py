"""What lies between two ends, in the order of versions: kernels or userlands of the catalogue."""

from __future__ import annotations

import re
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator import progress, resources
from orchestrator.bisection.model import KERNEL, USERLAND, Candidate
from orchestrator.errors import UsageError
from orchestrator.model import PieceKind
from orchestrator.prepare import is_path
from orchestrator.versions import Version

if TYPE_CHECKING:
    from orchestrator.pieces import Store

_KINDS = {KERNEL: PieceKind.KERNEL, USERLAND: PieceKind.USERLAND}


@dataclass(frozen=True)
class _End:
    """An end as it was found."""

    axis: str
    candidate: Candidate


def between(store: Store, good: str, bad: str) -> tuple[str, tuple[Candidate, ...]]:
    """Of what kind the ends are, and all candidates from the good one to the bad one, which may be the older one.

    An end may be a file of the user's own; what lies between is of the catalogue. Raises UsageError.
    """
    first, last = (_end(store, option, name) for option, name in (("--good", good), ("--bad", bad)))
    if first.axis != last.axis:
        raise UsageError(f"--good {good} is a {first.axis}, --bad {bad} a {last.axis}",
                         "both ends are kernels, or both are userlands")
    if first.candidate == last.candidate:
        raise UsageError(f"--good {good} and --bad {bad} are the same {first.axis}: {first.candidate.name}")
    low, high = sorted((first.candidate, last.candidate), key=_version)
    inner = [one for one in _all(store, first.axis) if _version(low) < _version(one) < _version(high)]
    inner.sort(key=_version, reverse=first.candidate is not low)
    return first.axis, (first.candidate, *inner, last.candidate)


def _version(candidate: Candidate) -> Version:
    return Version(candidate.version)


def _all(store: Store, axis: str) -> list[Candidate]:
    """All of the catalogue whose place is known."""
    names = store.find_names(_KINDS[axis], "*")
    found = [(name, _version_of(store, axis, name)) for name in names]
    for name in (name for name, version in found if not version):
        progress.note(f"the {axis} {name} is left out: its version is not known (`lab image lock`)")
    return [Candidate(name, version) for name, version in found if version]


def _version_of(store: Store, axis: str, name: str) -> str:
    """The version that a run would have; else that in a kernel's name. Empty where neither says it."""
    from orchestrator.pieces import Wanted

    entry, _ = store.known(Wanted(_KINDS[axis], name))
    if entry is not None:
        return entry.version
    found = re.match(r"\d+(\.\d+)*", name) if axis == KERNEL else None
    return found[0] if found else ""


def _end(store: Store, option: str, name: str) -> _End:
    if is_path(name):
        return _own(store, option, name)
    found = [(axis, known) for axis, kind in _KINDS.items() for known in store.find_names(kind, name)]
    if not found:
        names = ", ".join(known for kind in _KINDS.values() for known in store.find_names(kind, "*"))
        raise UsageError(f"{option} {name}: there is no kernel, nor a userland, of that name", f"there are: {names}")
    if len(found) > 1:
        raise UsageError(f"{option} {name} means several: {', '.join(known for _, known in found)}",
                         "an end is one: name it")
    axis, known = found[0]
    version = _version_of(store, axis, known)
    if not version:
        raise UsageError(f"{option} {name}: its version is not known, so neither is its place among the others",
                         "`lab image lock` finds it out")
    return _End(axis, Candidate(known, version))


def _boots(path: Path) -> bool:
    """Whether it begins as a bzImage or a vmlinux does."""
    with path.open("rb") as stream:
        head = stream.read(0x206)
    return head[0x202:] == b"HdrS" or head.startswith(b"\x7fELF")


def _own(store: Store, option: str, name: str) -> _End:
    """A file of the user's: a folder or a tar file is a userland, anything else must be a kernel."""
    from orchestrator.pieces.user import user_kernel, user_userland

    if store.locked:
        raise UsageError(f"{option} {name} is not in the lock, and --locked refuses whatever that does not name")
    path = Path(name)
    axis, version = KERNEL, ""
    if path.is_dir() or (path.is_file() and not _boots(path) and tarfile.is_tarfile(path)):
        axis, version = USERLAND, user_userland(path, resources.cache()).glibc
    else:
        version = user_kernel(path).release
    try:
        Version(version)
    except ValueError:
        raise UsageError(f"{option} {name}: its version {version!r} is none that can be put in order") from None
    return _End(axis, Candidate(str(path.absolute()), version))
