"""The guest's physical memory, read from QEMU's own process while the virtual machine is paused.

QEMU says where its guest's RAM lies in its own address space (``info mtree -f``, ``gpa2hva``), and the kernel lets
a parent read its child's memory (/proc/PID/mem; ptrace(2), "Ptrace access mode checking"). A second monitor socket
is not needed, nothing is written to disk, and a restored guest's private pages are seen too.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

from orchestrator.errors import GuestError, HostError
from orchestrator.machine.monitor import Monitor

MAX_READ = 1 << 30  # bytes in one read
BLOCK = 4096  # bytes that are read at once
MAX_BLOCKS = 1 << 16
_REGION = re.compile(r"^\s+([0-9a-f]{16})-([0-9a-f]{16}) \(prio \d+, (?:nv-)?(ram|rom|romd)\): (\S+)")
_HOST = re.compile(r"^Host virtual address for 0x[0-9a-f]+ \([^)]*\) is (0x[0-9a-f]+)")


@dataclass(frozen=True)
class Region:
    """A range of guest-physical addresses and where QEMU has it; bytes."""

    start: int
    size: int
    host: int


class GuestMemory:
    """Reads guest-physical memory. Make one for a guest, use it inside ``paused``.

    ``known`` are the regions of a guest that stands still by itself when it is looked at, and hears nothing then."""

    def __init__(self, monitor: Monitor, pid: int, known: tuple[Region, ...] = ()) -> None:
        """Raises HostError where this host does not let us read QEMU's memory, GuestError if QEMU is gone."""
        self._monitor = monitor
        self.by_itself = bool(known)
        self._still = False
        self._blocks: dict[int, bytes] = {}  # what was read since the guest was paused: page tables, again and again
        self.regions = known or regions(monitor)
        try:
            self._descriptor = os.open(f"/proc/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
        except PermissionError:
            raise HostError("this host does not let the lab read its own QEMU's memory",
                            "allow it for child processes: sysctl kernel.yama.ptrace_scope=1") from None
        except OSError as error:
            raise GuestError(f"QEMU's memory can't be opened: {error.strerror}") from None

    def close(self) -> None:
        """Gives the descriptor back."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def read(self, address: int, size: int) -> bytes:
        """``size`` bytes of physical memory. Raises ValueError where the guest has no memory there."""
        number, begin = divmod(address, BLOCK)
        if begin + size > BLOCK or not self._still:
            return self._uncached(address, size)
        block = self._blocks.get(number)
        if block is None:
            if len(self._blocks) >= MAX_BLOCKS:
                self._blocks.clear()
            block = self._blocks[number] = self._uncached(number * BLOCK, BLOCK)
        return block[begin:begin + size]

    def _uncached(self, address: int, size: int) -> bytes:
        for region in self.regions:
            offset = address - region.start
            if offset >= 0 and size <= region.size - offset and size <= MAX_READ:
                return self._host(region.host + offset, size)
        return b"".join(self._pieces(address, size))

    def _pieces(self, address: int, size: int) -> Iterator[bytes]:
        """A read over the borders of regions."""
        while size > 0:
            region = next((r for r in self.regions if r.start <= address < r.start + r.size), None)
            if region is None or size > MAX_READ:
                raise ValueError(f"the guest has no memory at {address:#x}")
            length = min(size, region.start + region.size - address)
            yield self._host(region.host + address - region.start, length)
            address, size = address + length, size - length

    def _host(self, address: int, size: int) -> bytes:
        try:
            found = os.pread(self._descriptor, size, address)
        except OSError as error:
            raise ValueError(f"QEMU's memory can't be read at {address:#x}: {error.strerror}") from None
        if len(found) != size:
            raise ValueError(f"QEMU's memory ends at {address + len(found):#x}")
        return found

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """The virtual processors stand still in the block: what is read there is of one moment."""
        if not self.by_itself:
            self._monitor.execute("stop")
        self._still = True
        try:
            yield
        finally:
            self._still = False
            self._blocks.clear()
            if not self.by_itself:
                self._monitor.execute("cont")


def regions(monitor: Monitor) -> tuple[Region, ...]:
    """Where QEMU has its guest's memory. Raises HostError if it does not say, GuestError if it is gone."""
    return tuple(_regions(monitor))


def _regions(monitor: Monitor) -> Iterator[Region]:
    """RAM and ROM as the processor sees it, joined where QEMU has it in one piece."""
    found: list[Region] = []
    for start, end in _ranges(monitor.human("info mtree -f")):
        region = Region(start, end - start + 1, _host_address(monitor, start))
        if found and found[-1].start + found[-1].size == start and found[-1].host + found[-1].size == region.host:
            region = Region(found[-1].start, found[-1].size + region.size, found[-1].host)
            found.pop()
        found.append(region)
    if not found:
        raise HostError("QEMU does not say where its guest's memory lies (info mtree)", "use QEMU 8.0 or newer")
    yield from sorted(found, key=lambda region: -region.size)  # where most reads go comes first


def _ranges(text: str) -> Iterator[tuple[int, int]]:
    """First and last address of each range of RAM or ROM in the flat view of the address space "memory"."""
    for view in text.split("FlatView"):
        if re.search(r'^\s+AS "memory"', view, re.MULTILINE):
            for line in view.splitlines():
                if region := _REGION.match(line):
                    yield int(region[1], 16), int(region[2], 16)
            return


def _host_address(monitor: Monitor, address: int) -> int:
    said = monitor.human(f"gpa2hva {address:#x}")
    found = _HOST.match(said)
    if found is None:
        raise HostError(f"QEMU does not say where it has the guest's address {address:#x}: {said.strip()[:200]}")
    return int(found[1], 16)
