"""How one address space became another: pure, over the mappings of two checkpoints.

A mapping keeps its identity while what it maps stays the same: the file (device, inode, and the
offset that each address shows), else its name ("[heap]", "" for anonymous memory). Mappings of one
identity which overlap belong together, so that a larger ``[heap]`` is one growth, not two mappings.
The kernel itself merges and splits by the same rule (mm/vma.c, can_vma_merge_after;
mm/mmap.c before 6.11).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from orchestrator.model import Vma


class Kind(StrEnum):
    """What happened to a mapping. The words are those of the reports."""

    APPEARED = "appeared"
    WENT = "went"
    GREW = "grew"
    SHRANK = "shrank"
    MOVED = "moved"  # both ends moved alike: the same size at an overlapping place
    SPLIT = "split"  # one became several (munmap or mprotect of a part)
    MERGED = "merged"  # several became one
    PERMISSIONS = "perms"  # the same memory with other permissions (mprotect)
    TOUCHED = "touched"  # only its resident memory changed


@dataclass(frozen=True)
class Change:
    """One change between two checkpoints. Either side may be empty, both are in address order."""

    kind: Kind
    before: tuple[Vma, ...]
    after: tuple[Vma, ...]

    @property
    def vma(self) -> Vma:
        """The mapping to show: the first one as it is now, or as it was if it went."""
        return (self.after or self.before)[0]

    @property
    def bytes(self) -> int:
        """By how much the mapped size changed; negative when it became less."""
        return _size(self.after) - _size(self.before)

    @property
    def low(self) -> int:
        """Bytes gained (or, negative, lost) at the low end; 0 when one side is empty."""
        return self.before[0].start - self.after[0].start if self.before and self.after else 0

    @property
    def high(self) -> int:
        """Bytes gained (or, negative, lost) at the high end; 0 when one side is empty."""
        return self.after[-1].end - self.before[-1].end if self.before and self.after else 0

    @property
    def rss_before(self) -> int | None:
        """Resident bytes before, 0 for what was not there; None when smaps did not say."""
        return resident(self.before)

    @property
    def rss_after(self) -> int | None:
        """Resident bytes after, 0 for what is gone; None when smaps did not say."""
        return resident(self.after)


def resident(vmas: Iterable[Vma]) -> int | None:
    """The sum of Rss in bytes; None if a mapping does not tell (plain maps)."""
    total = 0
    for vma in vmas:
        rss = dict(vma.fields).get("Rss")
        if rss is None:
            return None
        total += rss
    return total


def changes(before: Sequence[Vma], after: Sequence[Vma]) -> tuple[Change, ...]:
    """What changed, in address order. Linear for mappings in address order, as the kernel lists them."""
    found = (_named(old, new) for old, new in _related(before, after))
    return tuple(sorted((change for change in found if change), key=lambda change: change.vma.start))


def replaced(before: Sequence[Vma], after: Sequence[Vma]) -> bool:
    """Whether no mapped file is where it was: another program, or the same one loaded anew (execve)."""
    files = {_identity(vma) for vma in before if vma.inode}
    return bool(files) and not any(vma.inode and _identity(vma) in files for vma in after)


_Key = tuple[object, ...]
_Group = tuple[tuple[Vma, ...], tuple[Vma, ...]]


def _identity(vma: Vma) -> _Key:
    """What is mapped: a file at a distance (its name may become "… (deleted)"), else a name."""
    return (vma.device, vma.inode, vma.start - vma.offset) if vma.inode else (vma.name,)


def _identity_and_perms(vma: Vma) -> _Key:
    return (*_identity(vma), vma.perms)


def _related(before: Sequence[Vma], after: Sequence[Vma]) -> list[_Group]:
    """Mappings that belong together, as (before, after); what overlaps nothing stands alone.

    First those of the same identity and permissions. What is left over is what mprotect made: it
    joins whatever held its memory on the other side, and so becomes a part of a split or a merge,
    or a pair with other permissions.
    """
    every = [*before, *after]
    old, new = range(len(before)), range(len(before), len(every))
    pairs = list(_overlapping(every, old, new, _identity_and_perms))
    met = {index for pair in pairs for index in pair}
    pairs += _overlapping(every, [i for i in old if i not in met], new, _identity)
    pairs += _overlapping(every, old, [i for i in new if i not in met], _identity)
    groups = _connected(len(every), pairs)
    return [
        (tuple(every[i] for i in group if i in old), tuple(every[i] for i in group if i in new)) for group in groups
    ]


def _overlapping(
    every: Sequence[Vma], old: Iterable[int], new: Iterable[int], key: Callable[[Vma], _Key]
) -> Iterator[tuple[int, int]]:
    """Pairs of equal key which overlap, one from each side, as indices into ``every``.

    One sweep by address: of the other side, only the latest mapping of that key can still be open.
    """
    latest: tuple[dict[_Key, int], dict[_Key, int]] = ({}, {})
    order = sorted([(every[i].start, 0, i) for i in old] + [(every[i].start, 1, i) for i in new])
    for start, side, index in order:
        identity = key(every[index])
        other = latest[1 - side].get(identity)
        if other is not None and every[other].end > start:
            yield index, other
        latest[side][identity] = index


def _connected(count: int, pairs: Iterable[tuple[int, int]]) -> list[list[int]]:
    """The connected components of 0 … count-1 (union-find), each in ascending order."""
    parent = list(range(count))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = index = parent[parent[index]]
        return index

    for one, other in pairs:
        low, high = sorted((root(one), root(other)))
        parent[high] = low
    groups: dict[int, list[int]] = {}
    for index in range(count):
        groups.setdefault(root(index), []).append(index)
    return list(groups.values())


def _named(before: tuple[Vma, ...], after: tuple[Vma, ...]) -> Change | None:
    """The change that a group of related mappings makes; None when nothing changed."""
    if len(before) == 1 and len(after) == 1:
        kind = _one_to_one(before[0], after[0])
        return Change(kind, before, after) if kind else None
    if not before or not after:
        return Change(Kind.WENT if before else Kind.APPEARED, before, after)
    return Change(Kind.MERGED if len(before) > len(after) else Kind.SPLIT, before, after)


def _one_to_one(old: Vma, new: Vma) -> Kind | None:
    if old.perms != new.perms:
        return Kind.PERMISSIONS
    if old.size != new.size:
        return Kind.GREW if new.size > old.size else Kind.SHRANK
    if old.start != new.start:
        return Kind.MOVED
    return Kind.TOUCHED if resident((old,)) != resident((new,)) else None


def _size(vmas: Iterable[Vma]) -> int:
    return sum(vma.size for vma in vmas)
