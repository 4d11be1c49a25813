"""Which accelerator really works here: proved, not assumed.

``/dev/kvm`` that opens proves nothing: nested or emulated virtualisation may offer it and then
run guests far slower than emulation, or hang stock kernels. The proof has two stages, each in a
process with a short life: a loop of instructions in a bare virtual CPU (about 1 ns each where the
processor runs them, microseconds where they are emulated), then the first lines of a real kernel.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from orchestrator import kvm_loop
from orchestrator.errors import HostError
from orchestrator.processes import tethered

LOOP_LIMIT = 0.5  # seconds for the whole first stage
NANOSECONDS = 50.0  # per instruction: above it, the processor does not run the guest itself
BOOT_LIMIT = 1.3  # seconds for the kernel's first line in the second stage


FirstLines = Callable[[float], bool]


@dataclass(frozen=True)
class Accelerator:
    """``name`` is "kvm" or "tcg"; ``reason`` a sentence for the user and the record."""

    name: str
    reason: str
    proved: str = ""  # "loop", "loop and kernel": how far KVM was proved; empty for TCG


def choose(asked: str, cache: Path, first_lines: FirstLines | None = None) -> Accelerator:
    """The accelerator for ``asked``: "auto", "kvm" or "tcg".

    ``first_lines`` is a callable (seconds) -> bool that boots a kernel with KVM and says whether it
    printed its first line in time; None leaves the second stage out. Raises HostError for "kvm"
    where KVM does not work.
    """
    if asked == "tcg":
        return Accelerator("tcg", "asked for")
    found = _remembered(cache) or _remember(cache, prove(first_lines))
    if asked == "kvm":
        if found.name != "kvm":
            raise HostError(f"KVM does not work here: {found.reason}",
                            "use --accel tcg, or see `lab doctor` for what is wrong with /dev/kvm")
        return Accelerator("kvm", "asked for, and proved", found.proved)
    return found


def prove(first_lines: FirstLines | None = None) -> Accelerator:
    """Both stages, uncached; at most about 2 s."""
    problem = device_problem()
    if problem:
        return Accelerator("tcg", problem)
    try:
        ns = loop_nanoseconds()
    except HostError as error:
        return Accelerator("tcg", error.message)
    if ns > NANOSECONDS:
        return Accelerator("tcg", f"/dev/kvm emulates: {ns:.0f} ns an instruction, where a processor takes about 1")
    if first_lines is None:
        return Accelerator("kvm", f"{ns:.1f} ns an instruction", "loop")
    if not first_lines(BOOT_LIMIT):
        return Accelerator("tcg", f"a kernel under KVM printed nothing within {BOOT_LIMIT} s")
    return Accelerator("kvm", f"{ns:.1f} ns an instruction, and a kernel starts", "loop and kernel")


def device_problem() -> str:
    """Why /dev/kvm can't even be opened; empty if it can."""
    try:
        os.close(os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC))
    except FileNotFoundError:
        return "this host has no /dev/kvm"
    except PermissionError:
        return "/dev/kvm is not for this user (its group is usually kvm)"
    except OSError as error:
        return f"/dev/kvm does not open: {error.strerror}"
    return ""


def loop_nanoseconds(limit: float = LOOP_LIMIT) -> float:
    """Nanoseconds an instruction in a bare virtual CPU, measured in a child that is killed after
    ``limit`` seconds. Raises HostError if it does not end or fails."""
    argv = tethered([sys.executable, "-I", "-S", kvm_loop.__file__])
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          stdin=subprocess.DEVNULL) as child:
        try:
            out, errors = child.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            child.kill()
            raise HostError(f"/dev/kvm did not run {kvm_loop.LOOP} instructions within {limit} s") from None
    if child.returncode != 0:
        last = errors.decode(errors="replace").strip().rpartition("\n")[2]
        raise HostError(f"a virtual CPU does not run on /dev/kvm: {last or child.returncode}")
    return float(out)


def forget(cache: Path) -> None:
    """Drops the remembered proof, so that the next `choose` proves anew."""
    (cache / "accelerator.json").unlink(missing_ok=True)


def mistrust(cache: Path, reason: str) -> Accelerator:
    """Remembers that KVM, though proved, failed to boot a guest: TCG from now on, until the next boot."""
    return _remember(cache, Accelerator("tcg", reason))


def _host_boot() -> str:
    """What the proof is valid for: this boot of this kernel, and this user."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        boot = "unknown"
    return f"{boot} {os.uname().release} {os.getuid()}"


def _remembered(cache: Path) -> Accelerator | None:
    try:
        data = json.loads((cache / "accelerator.json").read_text())
        return Accelerator(**data["found"]) if data["host"] == _host_boot() else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _remember(cache: Path, found: Accelerator) -> Accelerator:
    temporary = cache / f"accelerator.{os.getpid()}.new"
    with contextlib.suppress(OSError):  # only a memory: without it the proof is made again
        cache.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps({"host": _host_boot(), "found": asdict(found)}))
        temporary.replace(cache / "accelerator.json")
    return found
