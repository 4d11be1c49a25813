"""A guest from launch to stop: composes QEMU, console, monitor and SSH; a context manager.

Nothing of it outlives the ``with`` block, and QEMU does not outlive us: its channels are inherited
descriptors, its initramfs a memory file, its life tied to ours by the kernel.
"""

from __future__ import annotations

import contextlib
import math
import os
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO

from orchestrator import processes, progress
from orchestrator.errors import GuestError, HostError, LimitError
from orchestrator.host import Limits
from orchestrator.machine import qemu
from orchestrator.machine.console import Console
from orchestrator.machine.monitor import Monitor
from orchestrator.machine.ssh import Identity, Ssh, new_identity
from orchestrator.model import Emulator, Ending, Kernel, Userland
from orchestrator.pieces import cpio

NEEDS = (
    "a kernel for the lab needs: 64-bit x86, an initramfs (CONFIG_BLK_DEV_INITRD), devtmpfs, procfs, "
    "tmpfs, a serial console (CONFIG_SERIAL_8250_CONSOLE), PCI with virtio (CONFIG_VIRTIO_PCI, "
    "CONFIG_VIRTIO_NET), IPv4 and unix sockets; what it has as modules is given with --modules DIR"
)


class GuestEnded(GuestError):
    """The guest crashed or was lost; ``ending`` says in which way."""

    def __init__(self, ending: Ending, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.ending = ending


@dataclass(frozen=True)
class Recipe:
    """Everything that shapes a guest. ``agent`` is the cpio with init and labrun."""

    kernel: Kernel
    userland: Userland
    agent: Path
    emulator: Emulator
    accelerator: str = "tcg"
    append: tuple[str, ...] = ()
    memory: int = 768  # MiB
    cpus: int = 1
    sandbox: bool = True

    def machine(self, initrd: str) -> qemu.Machine:
        """What QEMU is told of it; ``initrd`` is where the initramfs lies."""
        return qemu.Machine(
            kernel=self.kernel.vmlinuz, initrd=initrd, append=self.append, memory=self.memory, cpus=self.cpus,
            accelerator=self.accelerator, sandbox=self.sandbox,
        )  # fmt: skip

    @property
    def initramfs(self) -> tuple[Path, ...]:
        """The archives that make it up, in order; the run's own keys come behind them."""
        parts = (self.kernel.modules, self.userland.cpio, self.agent)
        return tuple(part for part in parts if part is not None)


@dataclass
class Attempt:
    """One boot: what came of it, for the record. ``seconds`` wall, ``cpu_seconds`` of QEMU."""

    number: int
    outcome: str = "ready"
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    detail: str = ""


@dataclass
class Guest:
    """A booted guest: ``with Guest(recipe, limits) as guest: guest.ssh.open("uname -r")``.

    ``log`` is where the console goes (None: nowhere). Entering raises GuestEnded when two boots
    failed, LimitError when the boot took too long, HostError when QEMU can't be started.
    """

    recipe: Recipe
    limits: Limits
    log: Path | None = None
    fall_back: Callable[[str], None] | None = None  # told why, when KVM failed and TCG booted instead
    deadline: float = math.inf  # time.monotonic() by which all must be over
    attempts: list[Attempt] = field(default_factory=list)
    command: list[str] = field(default_factory=list)  # QEMU's, as started
    console: Console = field(init=False)
    monitor: Monitor = field(init=False)
    ssh: Ssh = field(init=False)
    _process: subprocess.Popen[bytes] = field(init=False)
    _errors: IO[bytes] = field(init=False)
    _identity: Identity = field(init=False)
    _parts: contextlib.ExitStack = field(init=False, default_factory=contextlib.ExitStack)

    def __enter__(self) -> Guest:
        if self.attempts:
            raise RuntimeError("a guest is entered once")
        with progress.step(f"booting {self.recipe.kernel.name} with {self.recipe.userland.name}"):
            try:
                self._boot(1)
            except (GuestError, HostError) as error:
                self._retry(error)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """QEMU's process id on this host."""
        return self._process.pid

    def cpu_seconds(self) -> float:
        """CPU time of QEMU so far, seconds."""
        return processes.cpu_seconds(self._process.pid)

    def check(self, forged: Collection[str] = ()) -> None:
        """Raises GuestEnded if the kernel has panicked, oopsed or hit a BUG, or QEMU has ended. The texts in
        ``forged`` are known not to be the kernel's own."""
        fatal = self.console.fatal(forged)
        if fatal:
            raise GuestEnded(fatal.kind, f"the guest's kernel reports: {fatal.line.strip()}")
        if self._process.poll() is not None:
            raise GuestEnded(Ending.LOST_GUEST, f"the guest powered off or restarted (QEMU: {self._status()})")

    def why_lost(self, error: Exception) -> GuestEnded:
        """What became of a guest that no longer answers: waits for QEMU's or the kernel's last word."""
        deadline = time.monotonic() + 2.0
        self.console.wait(lambda: self.console.closed or self.console.fatal() is not None, deadline)
        if self.console.closed:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(2.0)
        try:
            self.check()
        except GuestEnded as ended:
            return ended
        return GuestEnded(Ending.LOST_GUEST, f"the guest no longer answers: {error}")

    def stop(self) -> None:
        """Ends QEMU: asked over QMP, then SIGTERM, then SIGKILL."""
        self._parts.close()

    def _end(self) -> None:
        self._hear_out()
        if self._process.poll() is None:
            with contextlib.suppress(GuestError, HostError, OSError):
                self.monitor.execute("quit", patience=2.0)
        processes.end(self._process, patience=2.0)

    def _hear_out(self) -> None:
        """Lets a kernel in trouble finish its report: to "end trace", or to the end of QEMU after a panic."""
        if self.console.fatal() is None:
            return

        def finished() -> bool:
            panicked = any(s.kind is Ending.PANIC for s in self.console.sightings)
            return self.console.closed or (not panicked and "end trace" in self.console.tail[-1])

        self.console.wait(finished, time.monotonic() + 2.0)

    # -- booting ---------------------------------------------------------------------------------

    def _retry(self, error: GuestError | HostError) -> None:
        """A second boot, where one could end otherwise; else raises the error. KVM loses its good name
        only when TCG does better with the same guest."""
        on_trial = self.fall_back is not None and self.recipe.accelerator == "kvm"
        console: Console | None = getattr(self, "console", None)  # not even opened, maybe
        init_said_why = console is not None and "fail" in console.words
        if init_said_why or (isinstance(error, HostError) and not on_trial):
            raise error
        progress.note(f"boot failed, trying once more: {error.message}")
        if on_trial:
            self.recipe = replace(self.recipe, accelerator="tcg")
        if self.log is not None:
            self.log.replace(self.log.with_name("console-1.log"))
        self._boot(2)
        if self.fall_back is not None and on_trial:
            self.fall_back(error.message)

    def _boot(self, number: int) -> None:
        attempt = Attempt(number)
        self.attempts.append(attempt)
        begin = time.monotonic()
        try:
            self._launch()
            self._connect(begin)
        except BaseException as error:
            attempt.outcome = ending_of(error).value
            attempt.detail = str(error)
            attempt.seconds = round(time.monotonic() - begin, 3)
            self.stop()
            raise
        attempt.seconds = round(time.monotonic() - begin, 3)
        attempt.cpu_seconds = round(self.cpu_seconds(), 3)

    def _launch(self) -> None:
        """Starts QEMU with its channels; from here on each part is ended by ``stop``, QEMU first."""
        self._identity = new_identity()
        console, console_far = socket.socketpair()
        monitor, monitor_far = socket.socketpair()
        self._errors = self._parts.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
        self.console = Console(console, self.log)
        self._parts.callback(self.console.close)
        self.monitor = Monitor(monitor)
        self._parts.callback(self.monitor.close)
        with console_far, monitor_far, _initramfs(self.recipe, self._identity) as initrd:
            channels = qemu.Channels(console_far.fileno(), monitor_far.fileno())
            machine = self.recipe.machine(f"/proc/self/fd/{initrd}")
            self.command = qemu.command(self.recipe.emulator.argv, machine, channels)
            self._process = processes.start(
                self.command, stdout=self._errors, stderr=self._errors,
                pass_fds=(channels.console, channels.monitor, initrd),
            )  # fmt: skip
            self._parts.callback(self._end)

    def _connect(self, begin: float) -> None:
        preparing = threading.Thread(target=_import_paramiko, daemon=True)
        preparing.start()  # while the guest boots
        deadline = min(begin + self.limits.boot, self.deadline)
        try:
            self.monitor.greet(min(self.limits.silence, max(1.0, deadline - time.monotonic())))
        except GuestError:
            if self._process.poll() is None and time.monotonic() >= deadline:
                raise LimitError(f"QEMU was not up within {time.monotonic() - begin:.0f} s") from None
            raise self._launch_failure() from None
        self._await_ready(begin, deadline)
        port = self.monitor.ssh_port()
        preparing.join()
        try:
            self.ssh = Ssh(port, self._identity, min(60.0, max(1.0, deadline - time.monotonic())))
            self._parts.callback(self.ssh.close)
        except (GuestError, OSError) as error:
            if time.monotonic() >= deadline:
                raise LimitError(f"the guest was not up within {time.monotonic() - begin:.0f} s") from None
            raise self.why_lost(error) from None

    def _launch_failure(self) -> Exception:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(2.0)
        said = self._said()
        if (self._process.returncode or 0) < 0:  # it crashed: another try may end otherwise
            return GuestEnded(Ending.LOST_GUEST, f"QEMU was {self._status()} as it started: {said}")
        return HostError(f"QEMU does not start ({self._status()}): {said or 'it says nothing'}",
                         "command: " + " ".join(self.command))

    def _await_ready(self, begin: float, deadline: float) -> None:
        console = self.console

        def decided() -> bool:
            return console.closed or bool({"ready", "fail"} & console.words.keys()) or console.fatal() is not None

        while True:
            silence = console.last_heard + self.limits.silence
            if console.wait(decided, min(deadline, silence)):
                break
            now = time.monotonic()
            if now >= deadline:
                raise LimitError(f"the guest was not up within {now - begin:.0f} s", self._advice())
            if now >= console.last_heard + self.limits.silence:
                said = f"after {console.lines} lines" if console.lines else "from the start"
                message = f"the guest's console was silent for {self.limits.silence:.0f} s {said}"
                raise GuestEnded(Ending.LOST_GUEST, message, self._advice())
        if "ready" in console.words:
            return
        if "fail" in console.words:
            raise GuestEnded(Ending.LOST_GUEST, f"the guest's init gave up: {console.words['fail']}", NEEDS)
        fatal = console.fatal()
        if fatal is not None:
            raise GuestEnded(fatal.kind, f"the guest's kernel reports: {fatal.line.strip()}", self._advice())
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(2.0)
        message = f"the guest went away while it booted (QEMU: {self._status()})"
        raise GuestEnded(Ending.LOST_GUEST, message, self._advice())

    def _advice(self) -> str:
        return "" if self.recipe.kernel.piece else NEEDS

    def _status(self) -> str:
        code = self._process.poll()
        if code is None:
            return "still running"
        return f"killed by signal {-code}" if code < 0 else f"exit status {code}"

    def _said(self) -> str:
        self._errors.seek(0)
        return self._errors.read(4000).decode("utf-8", "replace").strip()


def ending_of(error: BaseException) -> Ending:
    """The word of the record for what ended a boot or a run."""
    if isinstance(error, GuestEnded):
        return error.ending
    if isinstance(error, LimitError):
        return Ending.TIMEOUT
    if isinstance(error, GuestError):
        return Ending.LOST_GUEST
    return Ending.INTERRUPTED if isinstance(error, KeyboardInterrupt) else Ending.HOST_ERROR


def _import_paramiko() -> None:
    import paramiko  # noqa: F401


def run_archive(identity: Identity) -> bytes:
    """What is different in every run, as the last archive of the initramfs: the run's own keys."""
    return cpio.archive((
        cpio.directory("root", 0o700),
        cpio.directory("root/.ssh", 0o700),
        cpio.file("root/.ssh/authorized_keys", identity.authorized, 0o600),
        cpio.file("lab/hostkey", identity.host_key, 0o600),
    ))  # fmt: skip


@contextlib.contextmanager
def _initramfs(recipe: Recipe, identity: Identity) -> Iterator[int]:
    """The concatenated archives as a memory file: kernel modules, userland, agent, the run's own keys."""
    descriptor = os.memfd_create("initramfs")
    try:
        with os.fdopen(os.dup(descriptor), "wb") as target:
            for part in recipe.initramfs:
                target.write(part.read_bytes())
            target.write(run_archive(identity))
        yield descriptor
    finally:
        os.close(descriptor)
