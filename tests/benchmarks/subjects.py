"""What is measured: boots of the lab and of bare QEMU, builds, start-up, a whole run. Each call is one sample."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from orchestrator import host, resources, toolchain
from orchestrator.collect import ftrace, procfs
from orchestrator.collect.lines import Document
from orchestrator.errors import HostError
from orchestrator.machine.guest import Guest, Recipe
from orchestrator.pieces import Store, cpio, upkeep
from orchestrator.prepare import Choice, Prepared, prepare
from orchestrator.processes import tethered

LAB = str(Path(sys.executable).with_name("lab"))
SOURCE = Path(__file__).with_name("poweroff.c")
BOOT_AIM = 1.4  # times the CPU of bare QEMU
START_AIM = 0.25  # seconds
SIDE_BY_SIDE = 0.6  # of the time that one guest after the other takes, on 2 cores
MATRIX_AIM = 360  # seconds
LINES = 100_000
PARSE_AIM = 1.0  # seconds
PATIENCE = 1200.0  # seconds until a child that does not end is killed


@dataclass(frozen=True)
class Sample:
    """One measurement, in seconds; ``cpu`` is user and system time. ``note`` is what the reader must know."""

    wall: float
    cpu: float
    note: str = ""


@dataclass(frozen=True)
class Subject:
    """Something that can be measured again and again.

    ``against`` names the subject whose sample of the same round the ratios are taken with.
    """

    name: str
    measure: Callable[[], Sample]
    against: str = ""
    aims: Mapping[str, str] | None = None  # by unit, "cpu" or "wall"


def boots(prepared: Prepared, scratch: Path) -> list[Subject]:
    """One kernel: the lab from launch to an SSH session, and bare QEMU from launch to power off."""
    recipe, name = prepared.recipe, prepared.kernel.name
    bare = f"{name}: bare QEMU to power off"
    command = bare_command(recipe, power_off(prepared, scratch))
    return [
        Subject(f"{name}: lab, cold, to SSH", lambda: lab_boot(recipe), bare, {"cpu": f"ratio ≤ {BOOT_AIM}"}),
        Subject(bare, lambda: bare_boot(command)),
    ]


def lab_boot(recipe: Recipe) -> Sample:
    """CPU time of the QEMU process until SSH answers."""
    with Guest(recipe, host.limits()) as guest:
        last = guest.attempts[-1]
        note = f"boot of {recipe.kernel.name} retried: {guest.attempts[0].detail}" if len(guest.attempts) > 1 else ""
    return Sample(last.seconds, last.cpu_seconds, note)


def bare_boot(command: Sequence[str]) -> Sample:
    """CPU time of the QEMU process from its start to its end."""
    sample, output = child(tethered(command))
    if b"Power down" not in output:
        raise HostError(f"bare QEMU did not power off; its last words: {output[-2000:].decode(errors='replace')}",
                        "command: " + " ".join(command))
    return sample


def bare_command(recipe: Recipe, initrd: Path) -> list[str]:
    """What one types without the lab: the same emulator, kernel, memory and accelerator; no network card."""
    return [
        *recipe.emulator.argv,
        "-machine", "q35", "-m", f"{recipe.memory}M", "-cpu", "max", "-accel", recipe.accelerator,
        "-nographic", "-nic", "none",
        "-kernel", str(recipe.kernel.vmlinuz), "-initrd", str(initrd), "-append", "console=ttyS0",
    ]  # fmt: skip


def power_off(prepared: Prepared, scratch: Path) -> Path:
    """An initramfs with nothing but poweroff.c as /init."""
    program = toolchain.compile_program((SOURCE,), prepared.sysroot, prepared.sysroot_key, prepared.cache,
                                        flags=("-O2", "-static", "-s"))
    target = scratch / "poweroff.cpio"
    nodes = (cpio.file("init", program.path, 0o755), cpio.character("dev/console", 5, 1))
    target.write_bytes(cpio.archive(nodes))
    return target


def start_ups() -> list[Subject]:
    """How long a user waits for the first word, against the interpreter alone."""
    python = "python -c pass"
    aims = {"wall": f"< {START_AIM} s"}
    return [
        Subject("lab --help", lambda: child([LAB, "--help"])[0], python, aims),
        Subject("lab list", lambda: child([LAB, "list"])[0], python, aims),
        Subject(python, lambda: child([sys.executable, "-c", "pass"])[0]),
    ]


def whole_run(prepared: Prepared, scratch: Path) -> Subject:
    """`lab run brk` with everything in the cache, against a bare boot of the same kernel."""
    output = scratch / "run"

    def measure() -> Sample:
        shutil.rmtree(output, ignore_errors=True)
        return child([LAB, "run", "brk", "-q", "-o", str(output)])[0]

    return Subject("lab run brk -q", measure, f"{prepared.kernel.name}: bare QEMU to power off")


def parsers() -> list[Subject]:
    """Evidence of 10^5 lines: what a parser takes, against splitting the same text into lines."""
    maps = "\n".join(f"{0x7F00_0000_0000 + (i << 13):x}-{0x7F00_0000_1000 + (i << 13):x} rw-p 00000000 00:00 0 "
                     for i in range(LINES))  # fmt: skip
    fault = "page_fault_user: address=0x7f00e55d7000 ip=0x560b1b507701 error_code=0x6"
    trace = "\n".join(f"         program-74      [000] d... {i / 1e5:12.6f}: {fault}" for i in range(LINES))
    found = []
    for name, text, parse in (("maps", maps, procfs.parse_maps), ("trace", trace, ftrace.parse_trace)):
        lines = f"{name}, {LINES} lines: split only"
        whole = _timed(partial(_parsed, parse, text))
        found.append(Subject(f"{name}, {LINES} lines: parsed", whole, lines, {"wall": f"< {PARSE_AIM} s"}))
        found.append(Subject(lines, _timed(partial(Document.of, "x", text))))
    return found


def _parsed(parse: Callable[[Document], object], text: str) -> None:
    parse(Document.of("x", text))


def _timed(work: Callable[[], object]) -> Callable[[], Sample]:
    def measure() -> Sample:
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        return Sample(time.perf_counter() - wall, time.process_time() - cpu)

    return measure


def matrices(scratch: Path) -> list[Subject]:
    """`lab matrix brk` on the pairs of the images: guest after guest, and two side by side."""
    names = {jobs: f"lab matrix brk -j {jobs}" for jobs in (1, 2)}
    return [
        Subject(names[1], lambda: _matrix(scratch, "brk", "-j", "1")),
        Subject(names[2], lambda: _matrix(scratch, "brk", "-j", "2"), names[1], {"wall": f"ratio ≤ {SIDE_BY_SIDE}"}),
    ]


def everything(scratch: Path) -> Subject:
    """All scenarios on the pairs of the images, as `lab matrix` does it by itself."""
    return Subject("lab matrix", lambda: _matrix(scratch), aims={"wall": f"< {MATRIX_AIM} s on 2 cores"})


def _matrix(scratch: Path, *words: str) -> Sample:
    output = scratch / "matrix"
    shutil.rmtree(output, ignore_errors=True)
    return child([LAB, "matrix", "-q", "-o", str(output), *words])[0]


def build(scratch: Path) -> Subject:
    """`lab image build` of all that a run without options needs: packages there, pieces not."""
    cache = scratch / "cache"
    store = Store(cache=resources.cache())
    wanted = upkeep.default(store)
    store.prepare(wanted)  # fetches the packages, should they have been removed
    for piece in wanted:
        locked, _ = store.known(piece)
        packages = locked.packages if locked else ()
        store.archive.fetch(packages, lambda: store.mirror)
        for package in packages:
            source = store.archive.path(package)
            (cache / "archives").mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, cache / "archives" / source.name)

    def measure() -> Sample:
        shutil.rmtree(cache / "pieces", ignore_errors=True)
        return child([LAB, "image", "build", "-q"], {"LAB_CACHE": str(cache)})[0]

    return Subject("lab image build -q, from packages", measure)


def child(argv: Sequence[str], extra: Mapping[str, str] | None = None) -> tuple[Sample, bytes]:
    """Runs a command to its end: what it took with all that it waited for, and what it printed.

    Raises HostError if it fails or hangs. Nothing else may be waited for in the meantime: the time
    is what the kernel adds to RUSAGE_CHILDREN (getrusage(2)).
    """
    before, begin = _children(), time.monotonic()
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              env={**os.environ, **(extra or {})}, timeout=PATIENCE, check=False)
    except subprocess.TimeoutExpired:
        raise HostError(f"did not end within {PATIENCE:.0f} s: {' '.join(argv)}") from None
    sample = Sample(time.monotonic() - begin, _children() - before)
    if done.returncode != 0:
        said = done.stdout[-2000:].decode(errors="replace")
        raise HostError(f"exit status {done.returncode}: {' '.join(argv)}\n{said}")
    return sample, done.stdout


def _children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


@contextmanager
def place() -> Iterator[Path]:
    """A folder beside the cache (on the same disk), removed at the end."""
    cache = resources.cache()
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="benchmark-", dir=cache) as folder:
        yield Path(folder)


def kernel(name: str | None) -> Prepared:
    """A guest with the default userland and that kernel; None is the default one."""
    return prepare(Choice(kernel=name))
