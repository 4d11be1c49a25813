"""Which chunk of the walks is in which list."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field

from orchestrator.collect.ptmalloc.model import Chain, Walk
from orchestrator.collect.ptmalloc.snapshot import Snapshot

LETTERS = {"tcache": "t", "fastbin": "f", "unsorted": "n", "small": "s", "large": "l"}


@dataclass
class Placement:
    """What the lists and the walks say of each other; each value is (chunk, list)."""

    strange: list[tuple[int, Chain]] = field(default_factory=list)  # no walk has a chunk there
    twice: list[tuple[int, Chain]] = field(default_factory=list)  # in a second list
    claimed: list[tuple[int, Chain]] = field(default_factory=list)  # the flags deny what the list says
    foreign: list[tuple[int, Chain]] = field(default_factory=list)  # in a list of an arena that it is not of


def place_chunks(found: Snapshot) -> Placement:
    """Gives the chunks of all walks the state that their list is."""
    placement = Placement()
    walks = sorted((walk for walk in found.walks() if walk.addresses), key=lambda walk: walk.first)
    starts = [walk.first for walk in walks]
    for chain in found.chains():
        _place(chain, walks, starts, placement)
    return placement


def _place(chain: Chain, walks: Sequence[Walk], starts: Sequence[int], placement: Placement) -> None:
    letter = ord(LETTERS[chain.kind])
    free = chain.kind in ("unsorted", "small", "large")
    unlisted = ord("?") if free else ord("u")
    walk: Walk | None = None
    low = high = 0
    for chunk in [*chain.chunks, *chain.back]:
        if walk is None or not low <= chunk < high:
            at = bisect_right(starts, chunk) - 1
            if at < 0:
                placement.strange.append((chunk, chain))
                continue
            walk = walks[at]
            low, high = walk.first, starts[at + 1] if at + 1 < len(starts) else 1 << 64
        place = bisect_right(walk.addresses, chunk) - 1
        if walk.addresses[place] != chunk:
            placement.strange.append((chunk, chain))
            continue
        state = walk.states[place]
        if state == unlisted:
            walk.states[place] = letter
        elif state in b"u?":
            walk.states[place] = letter
            if place + 1 < len(walk.sizes):  # the last one of a broken walk: there is no flag to ask
                placement.claimed.append((chunk, chain))
        else:
            placement.twice.append((chunk, chain))
        if chain.kind != "tcache" and walk.arena != chain.arena:
            placement.foreign.append((chunk, chain))
