"""Looking inside, without a guest: a fake monitor, a fake memory; what is left out, and what is wrong."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from orchestrator import inspector as inspectors
from orchestrator.collect.objects import HUGE, PRESENT, Table
from orchestrator.collect.user_memory import UserMemory
from orchestrator.errors import LabError, UsageError
from orchestrator.inspector import Inspector
from orchestrator.machine.memory import GuestMemory
from orchestrator.matrix.shared import SharedGuest
from orchestrator.model import Inspect, Scenario, Symbols
from orchestrator.rundir import RunDirectory

RAM = bytes(range(256)) * 64  # four pages
BUILD_ID = "ab" * 20
TREE = """FlatView #0
 AS "I/O", root: io
 Root memory region: io
  0000000000000000-000000000000ffff (prio 0, i/o): io

FlatView #1
 AS "memory", root: system
 Root memory region: system
  0000000000000000-0000000000000fff (prio 0, ram): pc.ram
  0000000000001000-0000000000001fff (prio 0, rom): pc.ram @0000000000001000
  0000000000100000-0000000000101fff (prio 0, nv-ram): more
  00000000fec00000-00000000fec00fff (prio 0, i/o): ioapic
"""


class Monitor:
    """QMP of a guest whose memory is a buffer of this process."""

    def __init__(self) -> None:
        import ctypes

        self._buffer = ctypes.create_string_buffer(RAM, len(RAM))
        self.base = ctypes.addressof(self._buffer)
        self.commands: list[str] = []

    def execute(self, command: str, **_: object) -> None:
        self.commands.append(command)

    def human(self, line: str) -> str:
        if line.startswith("info mtree"):
            return TREE
        address = int(line.split()[1], 16)
        offset = address if address < 0x100000 else address - 0x100000 + 0x2000
        return f"Host virtual address for {address:#x} (pc.ram) is {self.base + offset:#x}\n"


@pytest.fixture
def monitor() -> Monitor:
    return Monitor()


@pytest.fixture
def memory(monitor: Monitor) -> Iterator[GuestMemory]:
    found = GuestMemory(monitor, os.getpid())  # type: ignore[arg-type]
    yield found
    found.close()


def test_regions_are_joined_and_reads_cross_their_borders(memory: GuestMemory) -> None:
    assert [(r.start, r.size) for r in memory.regions] == [(0, 0x2000), (0x100000, 0x2000)]
    assert memory.read(0xFFE, 4) == RAM[0xFFE:0x1002]
    assert memory.read(0x100000, 16) == RAM[0x2000:0x2010]
    for wrong in (0x2000, 0x1FFF, 0xFEC00000, 1 << 60):
        with pytest.raises(ValueError, match="no memory"):
            memory.read(wrong, 8)


def test_a_pause_ends_whatever_happens_in_it(memory: GuestMemory, monitor: Monitor) -> None:
    with pytest.raises(KeyError), memory.paused():
        assert memory.read(0, 8) == RAM[:8]
        raise KeyError
    assert monitor.commands == ["stop", "cont"]


def test_it_is_closed_once(memory: GuestMemory) -> None:
    memory.close()
    other = os.open("/dev/null", os.O_RDONLY)  # which takes the number
    memory.close()
    os.fstat(other)
    os.close(other)


def test_a_shared_guest_that_is_stopped_twice_gives_its_inspector_back_once(tmp_path: Path, monitor: Monitor) -> None:
    class Guest:
        log = None
        stopped = 0

        def stop(self) -> None:
            self.stopped += 1

    guest = Guest()
    shared = SharedGuest("key", guest)  # type: ignore[arg-type]
    shared.inspector = Inspector(Symbols(), tmp_path)
    shared.inspector._memory = GuestMemory(monitor, os.getpid())  # type: ignore[arg-type]
    shared.stop()
    shared.close()
    assert guest.stopped == 2 and shared.inspector._memory is None


# -- what is left out, and what is wrong -----------------------------------------------------------


def directory(tmp_path: Path, **environment: str) -> RunDirectory:
    made = RunDirectory.create(tmp_path / "run")
    for name, text in {"buildid": BUILD_ID, "vmcoreinfo": "0x1000 100", **environment}.items():
        made.write(f"evidence/environment/{name}", text.encode())
    return made


class Opened:
    def attach(self, program: object) -> None:
        """Gives it nothing."""


class Guest:
    pid = os.getpid()
    running = SimpleNamespace(regions=())

    def __init__(self, monitor: Monitor) -> None:
        self.monitor = monitor


@pytest.mark.parametrize(
    ("symbols", "environment", "why"),
    [
        (Symbols(missing=("no symbols of 6.9",)), {}, "no symbols of 6.9"),
        (Symbols(Path("vmlinux"), "cd" * 20), {}, "another kernel"),
        (Symbols(Path("vmlinux"), BUILD_ID), {"vmcoreinfo": ""}, "CONFIG_VMCORE_INFO"),
        (Symbols(Path("vmlinux"), BUILD_ID), {"vmcoreinfo": "0x1000 zz"}, "CONFIG_VMCORE_INFO"),
        (Symbols(Path("vmlinux"), BUILD_ID), {"buildid": "rubbish"}, "build-id"),
    ],
)
def test_what_is_known_before_is_left_out(
    tmp_path: Path, monitor: Monitor, symbols: Symbols, environment: dict[str, str], why: str
) -> None:
    looking = Inspector(symbols, tmp_path)
    made = directory(tmp_path, **environment)
    looking.look(Guest(monitor), made, "evidence/00-x", [7], ["kernel", "heap"])  # type: ignore[arg-type]
    assert why in looking.left_out["kernel"] and "heap" in looking.left_out
    assert monitor.commands == [] and not (made.path / "evidence/00-x").exists()


def test_a_users_vmlinux_of_another_kernel_is_refused(tmp_path: Path, monitor: Monitor) -> None:
    looking = Inspector(Symbols(Path("vmlinux"), "cd" * 20), tmp_path, own_kernel=True)
    with pytest.raises(UsageError, match="another kernel"):
        looking.look(Guest(monitor), directory(tmp_path), "evidence/00-x", [7], ["kernel"])  # type: ignore[arg-type]


def test_damaged_memory_is_said_and_nothing_is_left_out(
    tmp_path: Path, monitor: Monitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.symbols.open_kernel", lambda *_: Opened())
    looking = Inspector(Symbols(Path("vmlinux"), BUILD_ID), tmp_path)
    looking.look(Guest(monitor), directory(tmp_path), "evidence/00-x", [7], ["kernel"])  # type: ignore[arg-type]
    assert looking.left_out == {} and "vmcoreinfo" in looking.troubles[0]
    assert monitor.commands == ["stop", "cont"]
    looking.close()


def test_damaged_vmcoreinfo_is_no_traceback(
    tmp_path: Path, monitor: Monitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = b"OSRELEASE=6\nPAGESIZE=rubbish\n"
    note = struct.pack("<III", 11, len(text), 0) + b"VMCOREINFO\0\0" + text
    monkeypatch.setattr("orchestrator.symbols.open_kernel", lambda *_: Opened())
    looking = Inspector(Symbols(Path("vmlinux"), BUILD_ID), tmp_path)
    made = directory(tmp_path)
    monkeypatch.setattr(GuestMemory, "read", lambda self, address, size: note.ljust(size, b"\0"))
    looking.look(Guest(monitor), made, "evidence/00-x", [7], ["kernel"])  # type: ignore[arg-type]
    assert looking.left_out == {} and "could not look inside" in looking.troubles[0]
    looking.close()


def test_where_to_look(tmp_path: Path) -> None:
    own = Inspect(kernel=("a",), heap=("b",))
    scenario = Scenario("x", "", tmp_path, (), inspect=own)
    assert inspectors.wanted(scenario, None) is own and inspectors.wanted(scenario, False) is None
    everywhere = inspectors.wanted(scenario, True)
    assert everywhere is not None and everywhere.at("heap", "any") and everywhere.at("kernel", "any")
    assert own.at("kernel", "b") and not own.at("heap", "a")  # a heap is reached through the page tables


# -- endless memory --------------------------------------------------------------------------------


def test_a_ring_of_pointers_comes_to_an_end() -> None:
    from orchestrator.collect.kernel import program

    limit = program.Patience()
    with pytest.raises(program.TooMuch, match="ring"):
        while True:
            limit.spend()
    limit.refill()
    limit.until = 0.0
    with pytest.raises(program.TooMuch, match="too long"):
        for _ in range(1000):
            limit.spend()


def test_no_note_no_program() -> None:
    from orchestrator.collect.kernel import program

    class Memory:
        regions = ()

        def read(self, address: int, size: int) -> bytes:
            return b"\xff" * size

    for size in (0, 100, 1 << 40):
        with pytest.raises(LabError, match="vmcoreinfo"):
            program.attach(Memory(), 0x1000, size, lambda _: None)


# -- a process's memory ----------------------------------------------------------------------------


class Physical:
    def read(self, address: int, size: int) -> bytes:
        return bytes([address >> 12 & 0xFF]) * size


def user_memory() -> UserMemory:
    entries: dict[int, int] = {0: 0x5000 | PRESENT, 2: 0x7000, 3: 0x6000 | PRESENT}
    tables = [
        Table(1, "pte", 0, 0x400000, entries, {}),
        Table(1, "pmd", 0, 1 << 30, {1: 0x200000 | PRESENT | HUGE}, {}),
    ]
    areas = [(0x400000, 0x404000, False), (0x500000, 0x501000, True), (1 << 30, 1 << 31, False)]
    return UserMemory(Physical(), tables, areas)


def test_what_a_process_would_read() -> None:
    found = user_memory()
    assert found.read(0x400FFE, 4) == b"\x05\x05\0\0"  # the second page was never touched
    assert found.read(0x403000, 2) == b"\x06\x06"
    assert found.read((1 << 30) + (2 << 20) + 0x3000, 1) == bytes([0x203 & 0xFF])
    for address, why in ((0x402000, "not in memory"), (0x500000, "not mapped yet"), (0x404000, "nothing is mapped")):
        with pytest.raises(OSError, match=why):
            found.read(address, 8)


def test_where_there_are_pages_at_all() -> None:
    found = user_memory()
    assert list(found.present(0x400000, 0x404000)) == [(0x400000, 0x401000), (0x402000, 0x404000)]
    huge = (1 << 30) + (2 << 20)
    assert list(found.present(huge + 0x1000, 1 << 31)) == [(huge + 0x1000, huge + (2 << 20))]
    assert list(found.present(0, 0x400000)) == []


def test_an_entry_with_the_huge_bit_at_a_level_that_has_none_is_no_leaf() -> None:
    from orchestrator.collect.objects import KernelObjects

    found = KernelObjects({"levels": 4}, tables={("pgd", 0): Table(1, "pgd", 0, 0, {0: 0x1000 | PRESENT | HUGE}, {})})
    walk: Any = found.walk(0x1234)
    assert (walk.missing, walk.frame) == ("pud", None)
