"""What is measured: boots of the lab and of bare QEMU, builds, start-up, whole commands. Each call is one sample."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
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
BOOT_AIM = 1.3  # times the CPU of bare QEMU
WARM_EXEC_AIM = 0.25  # of the cold command's time
WARM_RUN_AIM = 0.35
START_AIM = 0.2  # seconds
SIDE_BY_SIDE = 0.59  # of the time that one guest after the other takes, on 2 cores: 1.7 times the throughput
MATRIX_AIM = 180  # seconds
FEW = ("brk", "exec", "fork")  # scenarios
LINES = 100_000
PARSE_AIM = 1.0  # seconds
PATIENCE = 1200.0  # seconds until a child that does not end is killed
_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER, linux/prctl.h


@dataclass(frozen=True)
class Sample:
    """One measurement, in seconds; ``cpu`` is user and system time. ``note`` is what the reader must know."""

    wall: float
    cpu: float
    note: str = ""


@dataclass(frozen=True)
class Subject:
    """Something that can be measured again and again.

    ``against`` names the subject whose sample of the same round the ratios are taken with; ``also`` names further
    ones, with the aims of those ratios. ``foreign``: not ours; that it fails is a result, and ends nothing.
    """

    name: str
    measure: Callable[[], Sample]
    against: str = ""
    aims: Mapping[str, str] | None = None  # by unit, "cpu" or "wall"
    also: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    foreign: bool = False


def boots(prepared: Prepared, scratch: Path) -> list[Subject]:
    """One kernel: the lab from launch to an SSH session, and bare QEMU from launch to power off. There is a saved
    state afterwards."""
    recipe, name = prepared.recipe, prepared.kernel.name
    bare = bare_name(name)
    command = bare_command(recipe, power_off(prepared, scratch))
    lab_boot(recipe)
    return [
        Subject(bare, lambda: bare_boot(command, prepared.kernel.release)),
        Subject(f"{name}: lab, cold, to SSH", lambda: lab_boot(replace(recipe, states=None)), bare),
        Subject(f"{name}: lab, warm, to SSH", lambda: lab_boot(recipe), bare),
    ]


def bare_name(kernel: str) -> str:
    """What the table calls a bare boot of that kernel."""
    return f"{kernel}: bare QEMU, uname -r, power off"


def lab_boot(recipe: Recipe) -> Sample:
    """CPU time of the QEMU process until SSH answers."""
    with Guest(recipe, host.limits()) as guest:
        last = guest.attempts[-1]
        note = f"boot of {recipe.kernel.name} retried: {guest.attempts[0].detail}" if len(guest.attempts) > 1 else ""
        if recipe.states is not None and guest.state is None:
            note = f"{recipe.kernel.name} was not restored: {guest.unusable}"
    return Sample(last.seconds, last.cpu_seconds, note)


def bare_boot(command: Sequence[str], release: str) -> Sample:
    """CPU time of the QEMU process from its start to its end."""
    sample, output = child(tethered(command))
    check_said(release, output, command)
    if b"Power down" not in output:
        raise HostError(f"bare QEMU did not power off; its last words: {output[-2000:].decode(errors='replace')}",
                        "command: " + " ".join(command))
    return sample


def check_said(release: str, output: bytes, command: Sequence[str]) -> None:
    """Raises HostError where no line of the output is what `uname -r` says."""
    if release.encode() not in (line.strip() for line in output.splitlines()):
        raise HostError(f"no line says {release}; the last words are: {output[-2000:].decode(errors='replace')}",
                        "command: " + " ".join(command))


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


def runs(prepared: Prepared, scratch: Path) -> list[Subject]:
    """`lab run brk`, the whole command with everything in the cache: cold against a bare boot, warm against cold."""
    name = prepared.kernel.name
    cold, warm = f"{name}: lab run brk -q --cold", f"{name}: lab run brk -q"
    _run(scratch, name)  # the saved state, the program and the index of symbols are there afterwards
    return [
        Subject(cold, lambda: _run(scratch, name, "--cold"), bare_name(name)),
        Subject(warm, lambda: _run(scratch, name), cold, {"wall": f"ratio < {WARM_RUN_AIM}"}),
    ]


def _run(scratch: Path, kernel: str, *words: str) -> Sample:
    output = scratch / "run"
    shutil.rmtree(output, ignore_errors=True)
    sample = child([LAB, "run", "brk", "-q", "-k", kernel, "-o", str(output), *words])[0]
    record = json.loads((output / "run.json").read_text())
    if words or record.get("restored"):
        return sample
    return replace(sample, note=f"a warm run of {kernel} was not restored: {record.get('messages')}")


def commands(prepared: Prepared, rivals: Sequence[str], aims: Mapping[str, str]) -> list[Subject]:
    """`lab exec -- uname -r`, cold and warm, against the subjects ``rivals``; ``aims`` for "cold" and "warm" are of the
    CPU time."""
    name = prepared.kernel.name
    cold, warm = f"{name}: lab exec --cold -- uname -r", f"{name}: lab exec -- uname -r"
    _command(prepared)
    to_bare, to_cold = {"cpu": f"ratio ≤ {BOOT_AIM}"}, {"wall": f"ratio < {WARM_EXEC_AIM}"}
    of_cold, of_warm = ({rival: {"cpu": aims[how]} for rival in rivals[1:]} for how in ("cold", "warm"))
    return [
        Subject(cold, lambda: _command(prepared, "--cold"), rivals[0], {"cpu": aims["cold"]},
                {**of_cold, bare_name(name): to_bare}),
        Subject(warm, lambda: _command(prepared), rivals[0], {"cpu": aims["warm"]}, {**of_warm, cold: to_cold}),
    ]  # fmt: skip


def _command(prepared: Prepared, *words: str) -> Sample:
    argv = [LAB, "exec", "-k", prepared.kernel.name, *words, "--", "uname", "-r"]
    sample, output = child(argv)
    check_said(prepared.kernel.release, output, argv)
    said = [line for line in output.decode(errors="replace").splitlines() if "no warm start" in line]
    return replace(sample, note="; ".join(said))


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
    """`lab matrix` of a few scenarios on the pairs of the images: guest after guest, and two side by side."""
    names = {jobs: f"lab matrix {' '.join(FEW)} -j {jobs}" for jobs in (1, 2)}
    _matrix(scratch, *FEW)  # saved states and programs are there afterwards
    return [
        Subject(names[1], lambda: _matrix(scratch, *FEW, "-j", "1")),
        Subject(names[2], lambda: _matrix(scratch, *FEW, "-j", "2"), names[1], {"wall": f"ratio ≤ {SIDE_BY_SIDE}"}),
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


def child(argv: Sequence[str], extra: Mapping[str, str] | None = None, statuses: Collection[int] = (0,),
          patience: float = PATIENCE) -> tuple[Sample, bytes]:
    """Runs a command to its end: what it took with all processes that it started, and what it printed.

    Raises HostError if it fails or hangs. Nothing else may be waited for in the meantime: the time is what the kernel
    adds to RUSAGE_CHILDREN (getrusage(2)); what the command leaves behind becomes our child, is ended and counts.
    """
    adopt()
    before, begin = _children(), time.monotonic()
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              env={**os.environ, **(extra or {})}, timeout=patience, check=False)
    except subprocess.TimeoutExpired:
        raise HostError(f"did not end within {patience:.0f} s: {' '.join(argv)}") from None
    finally:
        wall = time.monotonic() - begin
        _end_children()
    sample = Sample(wall, _children() - before)
    if done.returncode not in statuses:
        said = done.stdout[-2000:].decode(errors="replace")
        raise HostError(f"exit status {done.returncode}: {' '.join(argv)}\n{said}")
    return sample, done.stdout


def adopt() -> None:
    """From now on, what our children leave behind becomes ours."""
    ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)


def _end_children() -> None:
    """Ends what was left to us; its own children come to us then, too. (CONFIG_PROC_CHILDREN: all distributions.)"""
    found = Path(f"/proc/self/task/{os.getpid()}/children")
    while found.exists() and (left := found.read_text().split()):
        for pid in map(int, left):
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)


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
