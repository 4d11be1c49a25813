"""The random numbers that a kernel has at hand: do guests that go on from one saved state hand out the same ones? Pure.

get_random_u32() and get_random_u64() draw 64 bytes each in advance, for each processor (drivers/char/random.c). New
random bytes for the generator, which a restored guest is given, drop them since 0791e8b655cc (5.18; in the stable
series since 5.10.119, 5.15.44 and 5.17.12). Distributions have it in kernels whose version does not show it. So the
function PROBE is looked for: 186873c549df brought it, a few commits before, and they were always taken together.
"""

from __future__ import annotations

from orchestrator.versions import Version

PROBE = "crng_make_state"
DROPPED_SINCE = Version("5.18")
SHARED = ("; also up to 64 bytes of get_random_u32() and of get_random_u64() for each processor, which were drawn then "
          "and are handed out now, so that addresses in the first programs may agree (this kernel lacks 0791e8b655cc, "
          "Linux 5.18)")  # fmt: skip


def shared(has_probe: bool, kernel: Version) -> bool:
    """Whether restored guests with this kernel may draw the same numbers. In a kernel that is new enough the function
    may be called otherwise."""
    return not has_probe and kernel < DROPPED_SINCE
