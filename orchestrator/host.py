"""What this host is and how fast it is just now: the factor that scales every time limit."""

from __future__ import annotations

import functools
import os
import platform
import sys
import time
from dataclasses import dataclass
from pathlib import Path

# A loop of Python bytecode takes about this long on a current desktop core; measured on one with
# CPython 3.11. The factor is clamped, so only a slow or loaded host changes anything.
REFERENCE = 0.0085  # seconds
WORST = 20.0


@functools.cache
def slowdown() -> float:
    """How many times slower than the reference this host is now, from 1.0 to 20.0 (about 10 ms)."""
    begin = time.perf_counter()
    total = 0
    for number in range(200_000):
        total += number & 7
    return round(min(WORST, max(1.0, (time.perf_counter() - begin) / REFERENCE)), 2)


@dataclass(frozen=True)
class Limits:
    """Time limits in seconds, already scaled. ``total`` is for a whole run, ``silence`` for a boot
    without a word on the console, ``step`` for the program to reach its next checkpoint."""

    boot: float
    silence: float
    step: float
    total: float


def limits(step: float = 30.0, total: float | None = None) -> Limits:
    """The limits of one run on this host. A ``total`` that the user gave is taken as it is, bounds the
    others, and is the limit of each step as well: who asks for an hour has a program that needs it."""
    factor = slowdown()
    if total is None:
        return Limits(boot=120 * factor, silence=45 * factor, step=step * factor, total=600 * factor)
    return Limits(boot=min(120 * factor, total), silence=min(45 * factor, total), step=total, total=total)


def describe() -> dict[str, str | int | float]:
    """The host for the record: nothing that identifies a person or a machine."""
    return {
        "machine": platform.machine(),
        "kernel": platform.release(),
        "system": _pretty_name(),
        "cpus": len(os.sched_getaffinity(0)),
        "memory_mib": memory_available() >> 20,
        "slowdown": slowdown(),
        "python": ".".join(map(str, sys.version_info[:3])),
    }


def memory_available() -> int:
    """Bytes that can be used without swapping (MemAvailable of /proc/meminfo); 0 if unknown."""
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) << 10
    except (OSError, ValueError, IndexError):
        pass
    return 0


def _pretty_name() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    except OSError:
        return "Linux"
