"""The words of the lab as frozen data: what is run, what was seen, what was found.

Imports nothing of ours, so that every room may import it. Units are part of each docstring:
addresses and sizes are bytes, times are seconds, unless a name says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path


class Outcome(StrEnum):
    """The outcome of one expectation. Nothing observed is ERROR, never PASS."""

    PASS = "PASS"
    FAIL = "FAIL"
    SKIP = "SKIP"
    ERROR = "ERROR"


class Ending(StrEnum):
    """How a run ended. A record says ``unfinished`` until something better is known."""

    UNFINISHED = "unfinished"  # the lab itself was killed: what a reader finds then
    COMPLETED = "completed"  # the program came to its own end, whatever its exit status
    PANIC = "panic"
    OOPS = "oops"
    BUG = "bug"
    WARNING = "warning"
    LOCKUP = "lockup"
    HUNG_TASK = "hung-task"
    RCU_STALL = "rcu-stall"
    LOST_GUEST = "lost-guest"  # QEMU ended, or the guest no longer answers
    TIMEOUT = "timeout"
    INTERRUPTED = "interrupted"
    HOST_ERROR = "host-error"  # the lab, the emulator or the host failed


class Verdict(StrEnum):
    """What a passing expectation says of its claim's statement."""

    CONFIRMED = "confirmed"
    REFUTED = "refuted"  # the statement is wrong here; the expectation shows what really happens
    DIFFERS = "differs"  # it holds in another form here (kernel, glibc, configuration)


class PieceKind(StrEnum):
    """The kinds of artifact that the lab builds from packages and keeps in its cache."""

    KERNEL = "kernel"
    USERLAND = "userland"
    SYSROOT = "sysroot"
    EMULATOR = "emulator"
    SYMBOLS = "symbols"  # of a kernel, or of a userland's libc


@dataclass(frozen=True)
class PackagePin:
    """One Debian package, pinned: what the lock holds for it. ``size`` is the .deb's, in bytes."""

    name: str
    version: str
    sha256: str
    size: int
    filename: str  # below the mirror, "pool/main/…"


@dataclass(frozen=True)
class Piece:
    """One cached artifact. ``key`` is the SHA-256 of everything that determines its bytes."""

    kind: PieceKind
    name: str  # "6.1", "bookworm", "trixie-10.0"
    version: str  # "6.1.176-1", glibc "2.36", "10.0.13"
    key: str
    path: Path
    packages: tuple[PackagePin, ...] = ()
    drift: str = ""  # why this is not what the lock names; empty when it is


@dataclass(frozen=True)
class Symbols:
    """Debug information (DWARF) of a guest's kernel and of its libc. A file is None where there is none; the
    build-id, hexadecimal, says of which binary it is."""

    vmlinux: Path | None = None
    vmlinux_build_id: str = ""
    libc: Path | None = None
    libc_build_id: str = ""
    ld: Path | None = None
    ld_build_id: str = ""
    libpthread: Path | None = None  # before glibc 2.34; from then on libc has the threads
    libpthread_build_id: str = ""
    pieces: tuple[Piece, ...] = ()
    missing: tuple[str, ...] = ()  # what there is no debug information of, and why; a sentence each


@dataclass(frozen=True)
class Kernel:
    """A kernel ready to boot: a cached piece, or a user's own file."""

    name: str  # "6.1", or the path that the user gave
    vmlinuz: Path  # bzImage, or an ELF vmlinux with a PVH note
    modules: Path | None  # cpio archive (newc) of ordered, uncompressed modules
    config: Path | None  # the kernel's .config, if known
    release: str  # what `uname -r` should say; "" if unknown before the boot
    piece: Piece | None = None
    vmlinux: Path | None = None  # of a user's own kernel: the one with DWARF


@dataclass(frozen=True)
class Userland:
    """The user space of a guest: libc, shell, SSH server, and the sysroot to compile against."""

    name: str  # "bookworm"
    glibc: str  # "2.36"
    cpio: Path  # cpio archive (newc)
    sysroot: Path | None
    piece: Piece | None = None
    sysroot_piece: Piece | None = None
    symbols: Symbols | None = None  # of a user's own userland: what its tree has


@dataclass(frozen=True)
class Emulator:
    """A QEMU to run. ``argv`` starts it (with its own dynamic loader where it is a piece)."""

    name: str  # "trixie-10.0", "system", or a path
    argv: tuple[str, ...]
    version: str  # "10.0.13"
    piece: Piece | None = None
    firmware: tuple[Path, ...] = ()  # a user's own: the folders in which it looks for ROMs


@dataclass(frozen=True)
class Vma:
    """One mapping, as a line of /proc/PID/maps or smaps (fs/proc/task_mmu.c). Bytes throughout."""

    start: int
    end: int
    perms: str  # "rw-p"
    offset: int
    device: str  # "fd:01"
    inode: int
    name: str  # path, "[heap]", "" when anonymous
    line: int  # 1-based line in the evidence file
    fields: tuple[tuple[str, int], ...] = ()  # smaps: ("Rss", bytes), …
    flags: tuple[str, ...] = ()  # smaps VmFlags: "rd", "wr", …

    @property
    def size(self) -> int:
        """Length of the mapping, bytes."""
        return self.end - self.start


@dataclass(frozen=True)
class Note:
    """A value that the program reported with ``lab_note`` before a checkpoint."""

    key: str
    value: str
    checkpoint: str  # the checkpoint that it was reported before
    line: int  # 1-based line in evidence/<checkpoint>/notes


@dataclass(frozen=True)
class Checkpoint:
    """A moment at which the program stood still and was looked at."""

    index: int  # 0-based, in order of time
    name: str
    kind: str  # exec (loaded), named (lab_checkpoint), stdin (waits for it), signal (fatal), limit, exit
    pid: int
    directory: str  # relative to the run directory: "evidence/00-start"
    seconds: float  # since the program was started, guest's monotonic clock
    signal: int = 0  # for kind "signal"


@dataclass(frozen=True)
class Ended:
    """How the program ended: exactly one of ``code`` and ``signal`` is set."""

    code: int | None = None
    signal: int | None = None
    killed_by_lab: str = ""  # why, when the lab ended it ("output limit", "step limit", …)


@dataclass(frozen=True)
class Evidence:
    """One line (or the whole, line 0) of one file in a run directory."""

    file: str  # relative to the run directory
    line: int = 0
    text: str = ""


@dataclass(frozen=True)
class Operand:
    """A part of a check with the value that it had: what a failure is explained with."""

    text: str  # as written in the check
    value: str
    evidence: tuple[Evidence, ...] = ()
    remark: str = ""  # what a reader of the value should know: functions that this kernel has inlined, say


@dataclass(frozen=True)
class Finding:
    """An expectation, its outcome, and the values and evidence behind it."""

    id: str
    claim: str
    at: str  # checkpoint; "" for the whole run
    check: str
    because: str
    source: str
    outcome: Outcome
    message: str = ""  # for SKIP and ERROR: the reason; for FAIL: in words
    when: str = ""  # the condition of the variant that matched
    operands: tuple[Operand, ...] = ()
    verdict: Verdict = Verdict.CONFIRMED  # on the claim's statement, if the outcome is PASS


OWN_CHECK = "--check"  # the id of a check that the user gave on the command line: no scenario can have it


@dataclass(frozen=True)
class Digest:
    """What a run was evidence of, as SHA-256: two runs of one case have the same. ``parts``: the first digits of each
    part's own, to tell where two digests differ; ``left_out``: what is not in it, and why."""

    scheme: int  # how it was made: only digests of one scheme can be compared
    sha256: str
    parts: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Variant:
    """One form of an expectation, with the condition under which it is the one that holds."""

    check: str
    because: str
    source: str
    when: str = ""  # "" = always
    line: int = 0  # in scenario.yaml
    verdict: Verdict = Verdict.CONFIRMED


@dataclass(frozen=True)
class Expectation:
    """What must hold at a checkpoint. Exactly one variant must match."""

    id: str
    claim: str
    at: str
    variants: tuple[Variant, ...]
    line: int = 0


@dataclass(frozen=True)
class Settings:
    """What shapes a run beside scenario, kernel, userland and emulator; a scenario's own or a user's."""

    append: tuple[str, ...] = ()  # kernel command line
    sysctls: tuple[tuple[str, str], ...] = ()  # ("kernel.randomize_va_space", "0")
    tunables: tuple[tuple[str, str], ...] = ()  # ("glibc.malloc.tcache_count", "0")
    ulimits: tuple[tuple[str, str], ...] = ()  # ("data", "1048576"), "unlimited", or "soft:hard"
    environment: tuple[tuple[str, str], ...] = ()
    defines: tuple[tuple[str, str], ...] = ()  # C preprocessor: ("MUTATE_X", "1")


@dataclass(frozen=True)
class Control:
    """A negative control: the settings under which exactly these expectations must fail."""

    name: str
    fails: tuple[str, ...]  # ids of expectations
    settings: Settings
    why: str = ""
    line: int = 0


@dataclass(frozen=True)
class Needs:
    """What a scenario needs of its guest; where it lacks, the case is SKIP with the reason."""

    kconfig: tuple[str, ...] = ()  # "CONFIG_X" or "CONFIG_X=y"
    symbols: tuple[str, ...] = ()  # in /proc/kallsyms; also looked up for `when: symbol(…)`


@dataclass(frozen=True)
class Trace:
    """What the kernel records in the windows that the program marks (``lab_trace_begin``), for its tasks only.

    Page faults, ``handle_mm_fault``, page allocations with their call chain, rss_stat and new tasks
    are always recorded; this is what is added.
    """

    syscalls: tuple[str, ...] = ()  # "mmap": entry with arguments, exit with result
    functions: tuple[str, ...] = ()  # kernel functions, by kprobe, with their call chain
    events: tuple[str, ...] = ()  # "sched:sched_process_exec": further trace events
    graph: tuple[str, ...] = ()  # the function graph below these functions is kept as the story
    buffer: int = 8  # MiB a processor


@dataclass(frozen=True)
class Inspect:
    """At which checkpoints the lab pauses the guest and looks inside; "all" is every one."""

    kernel: tuple[str, ...] = ()  # kernel objects and page tables
    heap: tuple[str, ...] = ()  # glibc's heap and thread structures

    def at(self, part: str, checkpoint: str) -> bool:
        """Whether that part ("kernel", "heap") is looked at there. A heap is reached through the page tables."""
        names = self.heap if part == "heap" else (*self.kernel, *self.heap)
        return "all" in names or checkpoint in names


@dataclass(frozen=True)
class Scenario:
    """A folder with C programs and a scenario.yaml, or a plain C file (no expectations)."""

    name: str
    summary: str
    directory: Path
    programs: tuple[Path, ...]  # C files, compiled together into one program
    claims: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    cflags: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    needs: Needs = field(default_factory=Needs)
    settings: Settings = field(default_factory=Settings)
    checkpoints: tuple[str, ...] = ()  # every one must be reached, in this order
    expectations: tuple[Expectation, ...] = ()
    controls: tuple[Control, ...] = ()
    timeout: float = 30.0  # seconds for a step on a host of reference speed
    trace: Trace | None = None
    inspect: Inspect | None = None
    own_boot: bool = False  # it leaves the guest in no state for another scenario
    deterministic: bool = False  # it needs a guest whose instructions are counted
    plain: bool = False  # a C file without scenario.yaml
    file: Path | None = None  # scenario.yaml


@dataclass(frozen=True)
class Case:
    """scenario × kernel × userland × emulator, with the settings in force."""

    scenario: Scenario
    kernel: Kernel
    userland: Userland
    emulator: Emulator
    settings: Settings  # the scenario's, then the user's over it
    fingerprint: str = ""  # of what shapes its evidence in the scenario (fingerprint.of_program), taken before the run
    inspect: Inspect | None = None  # where to look inside, as the scenario or the user says
    vmcore: str | None = None  # at which checkpoint the guest's memory is dumped; "failure": where the program dies
