"""What a case leaves behind in a guest that the next one uses too: noticed, not trusted. Pure but for reading.

Each case's evidence says what the guest was like before its program started; within one boot that must stay the
same, but for what a case's own settings change (labrun sets and restores those).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from orchestrator.machine.classify import classify

# Settings that shape memory or what a fault does, beside all of vm.*
_KERNEL = frozenset({
    "kernel.core_pattern", "kernel.core_uses_pid", "kernel.panic_on_oops", "kernel.panic_on_warn", "kernel.pid_max",
    "kernel.randomize_va_space", "kernel.sem", "kernel.shm_rmid_forced", "kernel.shmall", "kernel.shmmax",
    "kernel.shmmni", "kernel.tainted", "kernel.threads-max",
})  # fmt: skip
_MAX = 4 << 20  # bytes read of one file


def state(directory: Path) -> dict[str, str]:
    """What a run directory says of the guest before its program: sysctls, huge page settings, mounts, and what
    guest/remains.c looks at (processes, files, cgroups, all settings of memory management)."""
    folder = directory / "evidence/environment"
    found = {name: value for name, value in _pairs(folder / "sysctl")
             if name.startswith("vm.") or name in _KERNEL}
    found |= {f"transparent_hugepage/{name}": value for name, value in _pairs(folder / "thp")}
    found |= {name.removeprefix("mm/"): value for name, value in _pairs(folder / "remains")}  # has thp's as well
    mounts = sorted(line.split()[1] for line in _lines(folder / "mounts") if len(line.split()) > 1)
    return found | ({"mounts": " ".join(mounts)} if mounts else {})


def differences(before: Mapping[str, str], now: Mapping[str, str], own: Collection[str]) -> str:
    """What is otherwise than before, in words; names in ``own`` were set for this case. Empty if nothing is."""
    names = [name for name in sorted(before.keys() & now.keys()) if name not in own and before[name] != now[name]]
    return "; ".join(f"{name} is {now[name][:100]!r}, was {before[name][:100]!r}" for name in names[:5])


def kernel_trouble(directory: Path) -> str:
    """The first line of a run's kernel log that reports trouble, in the kernel's own words; empty if none does.
    The console may be set to show less than that."""
    for line in _lines(directory / "kernel.log"):
        head, _, text = line.partition(";")
        level = head.partition(",")[0]
        if level.isdecimal() and int(level[:6]) >> 3 == 0 and classify(text):  # else user space wrote it
            return text[:300]
    return ""


def _pairs(file: Path) -> list[tuple[str, str]]:
    parts = (line.partition(" = ") for line in _lines(file))
    return [(name, value) for name, equals, value in parts if equals]


def _lines(file: Path) -> list[str]:
    try:
        with file.open("rb") as stream:
            return stream.read(_MAX).decode("utf-8", "replace").splitlines()
    except OSError:
        return []
