"""Run directories for tests of reports: smaps as real kernels print them, no guest needed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator.model import Checkpoint, Ended, Ending, Evidence, Finding, Operand, Outcome
from orchestrator.rundir import Boot, RunDirectory, RunRecord

PID = 214
PAGE = 4096
HEAP = 0x56524D96E000
STACK = 0x7FFC7E5AA000


@dataclass(frozen=True)
class Map:
    """One mapping to print; sizes in KiB, as in smaps."""

    start: int
    kib: int
    perms: str
    name: str
    rss: int = 0
    offset: int = 0
    inode: int = 0

    def smaps(self) -> str:
        """As fs/proc/task_mmu.c, show_map_vma() and show_smap() print it, without the lines not needed."""
        device = "00:02" if self.inode else "00:00"
        end = self.start + self.kib * 1024
        line = f"{self.start:08x}-{end:08x} {self.perms} {self.offset:08x} {device} {self.inode}"
        head = f"{line} ".ljust(73) + self.name if self.name else f"{line} "
        sizes = (("Size", self.kib), ("KernelPageSize", 4), ("MMUPageSize", 4), ("Rss", self.rss), ("Pss", self.rss))
        fields = "".join(f"{name + ':':<15} {value:8d} kB\n" for name, value in sizes)
        return f"{head}\n{fields}THPeligible:           0\nVmFlags: rd wr mr mw me ac \n"


PROGRAM, LIBC, LD = "/lab/case/program", "/lib/x86_64-linux-gnu/libc.so.6", "/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"

BASE = (
    Map(0x565231985000, 4, "r--p", PROGRAM, 4, 0, 131),
    Map(0x565231986000, 4, "r-xp", PROGRAM, 4, 0x1000, 131),
    Map(0x565231987000, 4, "r--p", PROGRAM, 4, 0x2000, 131),
    Map(0x565231988000, 4, "r--p", PROGRAM, 4, 0x2000, 131),
    Map(0x565231989000, 4, "rw-p", PROGRAM, 4, 0x3000, 131),
    Map(0x7F2713C4B000, 12, "rw-p", "", 8),
    Map(0x7F2713C4E000, 152, "r--p", LIBC, 152, 0, 77),
    Map(0x7F2713C74000, 1368, "r-xp", LIBC, 720, 0x26000, 77),
    Map(0x7F2713DCA000, 332, "r--p", LIBC, 64, 0x17C000, 77),
    Map(0x7F2713E1D000, 16, "r--p", LIBC, 16, 0x1CF000, 77),
    Map(0x7F2713E21000, 8, "rw-p", LIBC, 8, 0x1D3000, 77),
    Map(0x7F2713E23000, 52, "rw-p", "", 20),
    Map(0x7F2713E3B000, 16, "r--p", "[vvar]"),
    Map(0x7F2713E41000, 8, "r-xp", "[vdso]", 4),
    Map(0x7F2713E43000, 4, "r--p", LD, 4, 0, 78),
    Map(0x7F2713E44000, 152, "r-xp", LD, 152, 0x1000, 78),
    Map(0x7F2713E6A000, 40, "r--p", LD, 40, 0x27000, 78),
    Map(0x7F2713E74000, 8, "r--p", LD, 8, 0x31000, 78),
    Map(0x7F2713E76000, 8, "rw-p", LD, 8, 0x33000, 78),
    Map(STACK - 132 * 1024, 132, "rw-p", "[stack]", 12),
    Map(0xFFFFFFFFFF600000, 4, "--xp", "[vsyscall]"),
)


def heap(kib: int, rss: int = 0) -> Map:
    """The heap with that many KiB."""
    return Map(HEAP, kib, "rw-p", "[heap]", rss)


def smaps(*maps: Map) -> str:
    """The text of an smaps file, in address order."""
    return "".join(m.smaps() for m in sorted(maps, key=lambda m: m.start))


class Builder:
    """A run directory that grows by checkpoints, and its record."""

    def __init__(self, path: Path) -> None:
        self.directory = RunDirectory.create(path)
        self.record = RunRecord(
            lab="0.1.0", started="2025-11-02T10:00:00+00:00", seconds=3.24,
            ending=Ending.COMPLETED, outcome=Outcome.PASS, exit_code=0,
            case={
                "scenario": "brk", "summary": "The program break: it grows, merges, shrinks, and has a limit.",
                "kernel": "6.1", "userland": "bookworm", "emulator": "trixie-10.0", "plain": False,
                "settings": {"sysctls": [["kernel.randomize_va_space", "0"]], "append": []},
            },
            environment={"release": "6.1.0-50-cloud-amd64", "glibc": "2.36", "page_size": PAGE},
            emulator={
                "name": "trixie-10.0", "version": "10.0.13", "accelerator": "tcg", "command": "qemu -M q35 -m 512",
                "reason": "/dev/kvm opens, but it emulates each guest instruction (4.1 us for a loop of 30,000)",
            },
            boots=[Boot(1, "ready", 2.21, 1.93)],
            ended=Ended(code=0),
            timings={"boot": 2.21, "run": 0.62},
        )  # fmt: skip

    def at(
        self, name: str, *maps: Map, kind: str = "named", notes: str = "", signal: int = 0, pid: int = PID
    ) -> Builder:
        """One more checkpoint, with the base mappings (those of the same start replaced) and ``maps``."""
        index = len(self.record.checkpoints)
        folder = f"evidence/{index:02d}-{name}"
        starts = {m.start for m in maps}
        names = {m.name for m in maps if m.name == "[stack]"}
        whole = [m for m in BASE if m.start not in starts and m.name not in names] + list(maps)
        if kind != "exit":
            self.directory.write(f"{folder}/proc/{pid}/smaps", smaps(*whole).encode())
        self.directory.write(f"{folder}/notes", notes.encode())
        self.record.checkpoints.append(
            Checkpoint(index, name, kind, 0 if kind == "exit" else pid, folder, 0.0011 + index * 0.0008, signal)
        )
        return self

    def end(self, ending: Ending, detail: str, exit_code: int, console: str = "") -> Builder:
        """The run ended early."""
        self.record.ending, self.record.ending_detail, self.record.exit_code = ending, detail, exit_code
        self.record.outcome, self.record.ended = Outcome.ERROR, None
        if console:
            self.directory.write("console.log", console.encode())
        return self


GREW = Finding(
    id="grow-one-page", claim="brk.grow", at="grown", check="vma('[heap]').size == page and rss('[heap]') == 0",
    because="The break moves by the bytes asked for and the mapping by whole pages. No page is touched: "
    "brk(2) only makes room, the first access faults a page in.",
    source="mm/mmap.c, SYSCALL_DEFINE1(brk), do_brk_flags(); brk(2)", outcome=Outcome.PASS,
)  # fmt: skip
MERGED = replace(
    GREW, id="second-growth-merges", claim="brk.merge", at="more", check="count('[heap]') == 1",
    because="Adjacent anonymous memory with equal flags extends the mapping that is there.",
    source="mm/mmap.c, vma_expand()",
)  # fmt: skip
FAILED = replace(
    GREW, outcome=Outcome.FAIL, message="the heap has 8192 bytes, and 4096 are expected", when="symbol('do_brk_flags')",
    operands=(
        Operand("vma('[heap]').size", "8192", (
            Evidence("evidence/01-grown/proc/214/smaps", 41,
                     "56524d96e000-56524d970000 rw-p 00000000 00:00 0                          [heap]"),)),
        Operand("page", "4096", (Evidence("evidence/environment/auxv", 7, "AT_PAGESZ 4096"),)),
        Operand("rss('[heap]')", "0", (
            Evidence("evidence/01-grown/proc/214/smaps", 45, "Rss:                   0 kB"),)),
    ),
)  # fmt: skip
SKIPPED = replace(
    GREW, id="limit", claim="brk.limit", at="limit", outcome=Outcome.SKIP, message="CONFIG_X is not set in this kernel",
    because="Past RLIMIT_DATA the call fails and changes nothing.", source="mm/mmap.c, check_data_rlimit()",
)  # fmt: skip
ERRED = replace(
    GREW, id="random-gap", claim="brk.random", outcome=Outcome.ERROR, at="grown",
    message="two variants match: when \"kernel >= '6.1'\" (line 31) and when \"symbol('x')\" (line 36)",
    check="gap > 0", because="", source="",
)  # fmt: skip


def brk(path: Path) -> Builder:
    """The whole brk scenario: the heap appears, grows, is touched, shrinks and goes."""
    libc = Map(0x7F2713C74000, 1368, "r-xp", LIBC, 784, 0x26000, 77)
    run = Builder(path)
    run.at("start", notes="page=4096\nbreak=0x56524d96e000\n")
    run.at("grown", heap(4), notes="break=0x56524d96f000\n")
    run.at("more", heap(8), libc, notes="break=0x56524d970000\n")
    run.at("touched", heap(8, 4), libc, Map(STACK - 140 * 1024, 140, "rw-p", "[stack]", 20))
    run.at("shrunk", heap(4, 4), libc, Map(STACK - 140 * 1024, 140, "rw-p", "[stack]", 20))
    run.at("back", libc, Map(STACK - 140 * 1024, 140, "rw-p", "[stack]", 20), notes="break=0x56524d96e000\n")
    run.at("exit", kind="exit", notes="errno=12\n")
    run.record.findings = [GREW, MERGED]
    return run
