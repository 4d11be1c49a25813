"""Under which circumstances was measured: date, host, what else it did, emulator. Nothing that names the machine."""

from __future__ import annotations

import datetime
import os
import platform
import re
import resource
import time
from dataclasses import dataclass
from pathlib import Path

from orchestrator.prepare import Prepared

BUSY = 0.2  # processors' worth of other processes from which on the host was not quiet


@dataclass(frozen=True)
class Load:
    """What the machine and this benchmark have used so far: ``busy``, ``own`` CPU seconds, at ``when``."""

    when: float
    busy: float
    own: float


def load() -> Load:
    fields = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    busy = sum(fields) - fields[3] - fields[4]  # without idle and iowait (proc_stat(5))
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    own = sum(part.ru_utime + part.ru_stime for part in usage)
    return Load(time.monotonic(), busy / os.sysconf("SC_CLK_TCK"), own)


def others(before: Load, after: Load) -> float:
    """How many processors' worth of time went to other processes."""
    return max(0.0, (after.busy - before.busy) - (after.own - before.own)) / max(0.001, after.when - before.when)


def lines(prepared: Prepared, measured: str, busy: float) -> list[str]:
    """``measured`` says how much was measured ("5 rounds"), ``busy`` is what `others` says."""
    cores = len(os.sched_getaffinity(0))
    found = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    state = "busy" if busy > BUSY else "quiet"
    return [
        f"{datetime.date.today().isoformat()}, {measured}",
        f"host: {found[1] if found else platform.machine()}, {cores} cores, Linux {platform.release()}, "
        f"Python {platform.python_version()}",
        f"the host was {state}: other processes used {busy:.1f} of {cores} cores meanwhile",
        f"QEMU {prepared.emulator.version}, accelerator {prepared.accelerator.name}: {prepared.accelerator.reason}",
    ]
