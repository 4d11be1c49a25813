"""An ELF dump of the guest's memory, as drgn and crash open it (QMP dump-guest-memory; qapi/dump.json, dump/dump.c).

With the device ``vmcoreinfo`` and the guest's module qemu_fw_cfg, QEMU adds the kernel's VMCOREINFO note to it; without
that note the tools can't tell where the kernel lies (KASLR).
"""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

from orchestrator.errors import HostError, LabError
from orchestrator.machine.monitor import Monitor

SPARE = 64 << 20  # bytes of the disk that are left free
SLOWEST = 20 << 20  # bytes a second
_NOTE = b"VMCOREINFO\0"
_HEAD = 1 << 20  # bytes of the file in which the notes stand: QEMU writes them before the memory


def dump(monitor: Monitor, path: Path) -> bool:
    """Writes the guest's physical memory, and its processors' registers, to a new file. The guest stands still as long
    as that takes, and goes on if it went before. Whether the kernel's VMCOREINFO note is in it.

    Raises HostError, and leaves no file, if the disk is too small or QEMU can't write it; GuestError if QEMU is gone.
    """
    size = _memory(monitor)
    _room(path, size)
    try:
        # no paging: the tables of a guest in trouble can't be trusted, and both tools read physical memory
        monitor.execute("dump-guest-memory", patience=60 + size / SLOWEST, paging=False,
                        protocol=f"file:{path.resolve()}")  # fmt: skip
        path.chmod(0o644)  # QEMU makes it 0400
        with path.open("rb") as file:
            return _NOTE in file.read(_HEAD)
    except (LabError, OSError) as error:
        with contextlib.suppress(OSError):
            path.unlink()
        if isinstance(error, LabError):
            raise
        raise HostError(f"the dump of the guest's memory can't be written: {error.strerror}") from None


def _memory(monitor: Monitor) -> int:
    """Bytes of RAM that the guest has."""
    found = monitor.execute("query-memory-size-summary")
    return sum(value for value in found.values() if isinstance(value, int))


def _room(path: Path, size: int) -> None:
    if path.exists():
        raise HostError(f"{path} is there already")
    try:
        free = shutil.disk_usage(path.resolve().parent).free
    except OSError as error:
        raise HostError(f"the dump of the guest's memory can't be written: {error.strerror}") from None
    if free < size + SPARE:
        raise HostError(f"a dump of the guest's memory takes {size >> 20} MiB, and {free >> 20} MiB are free",
                        "give another --output, or a guest with less --memory")
