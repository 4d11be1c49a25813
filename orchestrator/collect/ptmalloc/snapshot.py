"""All that was found in one process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from orchestrator.collect.ptmalloc.model import Arena, Cache, Chain, Flaw, Mapped, Walk
from orchestrator.collect.ptmalloc.process import Broken
from orchestrator.collect.ptmalloc.threads import Posix, StackList


@dataclass
class Snapshot:
    """The heap and the threads of one process; ``trouble`` is what could not be followed at all."""

    parameters: Mapping[str, int] = field(default_factory=dict)  # mp_
    variables: Mapping[str, int] = field(default_factory=dict)  # narenas and the like
    arenas: Sequence[Arena] = ()
    ring: Flaw | None = None
    threads: Sequence[Posix] = ()
    mapped: list[Mapped] = field(default_factory=list)
    stacks: Sequence[StackList] = ()
    kept: Sequence[Posix] = ()
    kept_bytes: int | None = None
    trouble: list[Broken] = field(default_factory=list)

    def is_broken(self, what: str) -> bool:
        """Whether that could not be followed to its end."""
        return any(trouble.what == what for trouble in self.trouble)

    @property
    def caches(self) -> list[Cache]:
        """The caches of chunks, of the threads that have one."""
        return [thread.cache for thread in self.threads if thread.cache is not None]

    def walks(self) -> Iterator[Walk]:
        """Every walk of every arena."""
        for arena in self.arenas:
            yield from arena.walks

    def chains(self) -> Iterator[Chain]:
        """Every list of free chunks."""
        for cache in self.caches:
            yield from cache.chains
        for arena in self.arenas:
            yield from arena.chains
