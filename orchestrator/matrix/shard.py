"""Which cases of a matrix a shard has: every case in exactly one, each shard about as long, the same on any machine.

Cases stand in the order of their pairs, and a shard is a stretch of them: so it needs the pieces and the boots of few
pairs. Of all such splits it is one whose longest shard is the shortest. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.errors import UsageError
from orchestrator.model import Scenario

MAX_SHARDS = 1000
# Tenths of a second, with emulation, from a matrix of all scenarios on the native pairs: for a program, for each of its
# checkpoints, for a boot. Whoever gives a step more time than usual needs it.
PROGRAM, CHECKPOINT, BOOT = 20, 1, 60
USUAL_TIMEOUT = 30  # seconds


@dataclass(frozen=True)
class Shard:
    """One of several: ``number`` is 1 to ``count``."""

    number: int
    count: int

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


@dataclass(frozen=True)
class Cost:
    """What a case is expected to take, and the boot that it may share with its neighbours."""

    tenths: int
    boot: str


def parse(text: str) -> Shard:
    """The shard that "2/3" means. Raises UsageError."""
    found = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
    hint = "I/N is needed: which shard, from 1, and how many there are, as 1/3"
    if found is None:
        raise UsageError(f"--shard {text!r} is no shard", hint)
    shard = Shard(int(found[1]), int(found[2]))
    if not 1 <= shard.number <= shard.count:
        raise UsageError(f"--shard {text}: there is no shard {shard.number} of {shard.count}", hint)
    if shard.count > MAX_SHARDS:
        raise UsageError(f"--shard {text}: there can't be more than {MAX_SHARDS} shards", hint)
    return shard


def cost(scenario: Scenario, pair: str) -> Cost:
    """What a scenario is expected to take on a pair."""
    tenths = (PROGRAM + CHECKPOINT * len(scenario.checkpoints)) * max(USUAL_TIMEOUT, round(scenario.timeout))
    own = BOOT if scenario.own_boot or scenario.settings.append else 0
    return Cost(tenths // USUAL_TIMEOUT + own, pair)


def split(costs: Sequence[Cost], count: int) -> list[range]:
    """The stretch of each shard, by places in ``costs``. With fewer cases than shards the last ones are empty."""
    filled = min(count, len(costs))
    low = max((one.tenths for one in costs), default=0)
    high = sum(one.tenths + BOOT for one in costs)
    while low < high:
        middle = (low + high) // 2
        if len(_stretches(costs, filled, middle)) <= filled:
            high = middle
        else:
            low = middle + 1
    found = _stretches(costs, filled, low)
    return found + [range(len(costs), len(costs))] * (count - len(found))


def _stretches(costs: Sequence[Cost], least: int, limit: int) -> list[range]:
    """Stretches that cost at most ``limit`` each, or are a single case; as few as that takes, ``least`` if possible."""
    starts: list[int] = []
    total, boot = 0, ""
    for place, one in enumerate(costs):
        more = one.tenths + (BOOT if one.boot != boot else 0)
        rest = len(costs) - place  # each a shard of its own, where there would be too few
        if not starts or total + more > limit or len(starts) + rest <= least:
            starts.append(place)
            total, more = 0, one.tenths + BOOT
        total, boot = total + more, one.boot
    ends = [*starts[1:], len(costs)] if starts else []
    return [range(start, end) for start, end in zip(starts, ends, strict=True)]
