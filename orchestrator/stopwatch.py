"""Where the time of a command goes, step by step."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path

# The steps of a run in order, as they are called in the record's ``timings``, and what a reader is told.
STEPS = {
    "start_up": "start-up of the lab",
    "prepare": "pieces, emulator, accelerator",
    "compile": "the program",
    "save": "a boot whose state is saved, once",
    "restore": "the guest from its saved state",
    "cold_boot": "the guest's boot",
    "connect": "SSH, where there is no virtio port",
    "set_up": "settings, probes, trace; the program goes in",
    "program": "the program, and evidence of its checkpoints",
    "inspect": "looks inside kernel and heap",
    "stop": "the guest's end",
    "evaluate": "expectations",
    "report": "report",
}


class Stopwatch:
    """Takes laps: ``lap(name)`` is the time since the lap before."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.monotonic()

    def lap(self, name: str) -> None:
        """A step has ended."""
        now = time.monotonic()
        self.seconds[name] = round(now - self._last, 3)
        self._last = now


def since_start() -> float:
    """Seconds since this process was started (starttime of proc_pid_stat(5), in clock ticks since the boot)."""
    try:
        ticks = int(Path("/proc/self/stat").read_bytes().rpartition(b")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return 0.0
    return round(time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK"), 3)


def table(timings: Mapping[str, float], whole: float) -> str:
    """The steps as lines of text, with their share of ``whole`` seconds, and what is in none of them."""
    rows = [(name, timings[name], STEPS[name]) for name in STEPS if name in timings]
    rest = whole - sum(seconds for _, seconds, _ in rows)
    rows += [("other", max(0.0, rest), "everything else"), ("in all", whole, "")]
    return "".join(f"{name:<10} {seconds:7.3f} s {100 * seconds / whole:5.1f} %  {what}".rstrip() + "\n"
                   for name, seconds, what in rows)
