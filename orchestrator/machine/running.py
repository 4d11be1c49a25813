"""QEMU as a process, with its console and its monitor, from launch to stop.

It does not outlive us: its channels are inherited descriptors, its life is tied to ours by the kernel.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from orchestrator import processes
from orchestrator.errors import GuestError, HostError, LimitError
from orchestrator.host import Limits
from orchestrator.machine import memory, qemu
from orchestrator.machine.console import Console, Listener
from orchestrator.machine.gates import Gates
from orchestrator.machine.link import Feed, Port
from orchestrator.machine.monitor import Monitor
from orchestrator.model import Ending

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


BAD_ADDRESS = "kvm run failed Bad address"  # KVM_RUN's EFAULT, as QEMU tells it: kvm_cpu_exec(), accel/kvm/kvm-all.c
PIPE = 1 << 20  # bytes that a console may be ahead of us: as much as a user's pipe can hold (pipe(7))


@dataclass(frozen=True)
class _Ours:
    """Our ends of a guest's channels; ``channels`` are QEMU's."""

    console: socket.socket | Listener
    monitor: socket.socket
    port: socket.socket | IO[bytes]
    channels: qemu.Channels
    gates: Gates | None = None


def _connected(theirs: contextlib.ExitStack) -> _Ours:
    pairs = [socket.socketpair() for _ in range(3)]
    console, monitor, port = (theirs.enter_context(far).fileno() for _, far in pairs)
    return _Ours(pairs[0][0], pairs[1][0], pairs[2][0], qemu.Channels(console, monitor, port))


def _apart(theirs: contextlib.ExitStack) -> _Ours:
    """A pipe and a file, which take what a guest says at once, however late we are. The file is QEMU's and ours."""
    monitor, monitor_far = socket.socketpair()
    theirs.enter_context(monitor_far)
    listening, speaking = os.pipe()
    theirs.callback(os.close, speaking)
    with contextlib.suppress(OSError):  # more than this user's pipes may hold in all: then it is a short one
        fcntl.fcntl(speaking, fcntl.F_SETPIPE_SZ, PIPE)
    port, gates = os.fdopen(os.memfd_create("port"), "rb"), Gates()
    channels = qemu.Channels(speaking, monitor_far.fileno(), port.fileno(), gates.descriptors)
    return _Ours(Listener(listening), monitor, port, channels, gates)


class Running:
    """A QEMU that was started with a machine. ``stop`` ends it; its console is heard to the end.

    ``log`` is where the console goes (None: nowhere), ``heard`` what the guest said on it in an earlier life,
    ``inherited`` the file descriptors that the machine's paths name. Raises HostError if QEMU can't be started.
    """

    def __init__(self, emulator: Sequence[str], machine: qemu.Machine, log: Path | None, *,
                 inherited: Sequence[int] = (), heard: bytes = b"") -> None:
        self._record = machine.record
        self.memory_failed = False  # when it has been stopped: whether its memory, maybe a file, could not be had
        self.regions: tuple[memory.Region, ...] = ()  # of a guest that may stand still when they are wanted
        self._parts = contextlib.ExitStack()
        self._errors: IO[bytes] = self._parts.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
        self._cpu_seconds = 0.0  # when we ended it
        with contextlib.ExitStack() as theirs:  # what only QEMU has from then on
            try:
                ours = _apart(theirs) if machine.deterministic else _connected(theirs)
            except OSError as error:
                self._parts.close()
                raise HostError(f"no channels for another guest: {error.strerror}", "see `ulimit -n`") from None
            self.console = Console(ours.console, log, heard)
            self._parts.callback(self.console.close)
            self.monitor = Monitor(ours.monitor)
            self._parts.callback(self.monitor.close)
            self._port = ours.port
            self._parts.callback(ours.port.close)
            self._gates = ours.gates
            if ours.gates is not None:
                self._parts.callback(ours.gates.close)
            channels = ours.channels
            self.command = qemu.command(emulator, machine, channels)
            try:
                self._process = processes.start(
                    self.command, stdout=self._errors, stderr=self._errors,
                    pass_fds=(*channels.descriptors, *inherited),
                )  # fmt: skip
            except BaseException:
                theirs.close()  # else the console would wait for a QEMU that never comes
                self._parts.close()
                raise
        self._parts.callback(self._end)

    @property
    def pid(self) -> int:
        """QEMU's process id on this host."""
        return self._process.pid

    @property
    def port(self) -> Port | None:
        """The way to a labrun that needs no SSH; None where init has no such port."""
        words, port = self.console.words, self._port
        if "port" not in words or not isinstance(port, socket.socket):
            return None
        return Port(port, lambda: words.get("gone", ""))

    @property
    def feed(self) -> Feed:
        """What a deterministic guest says, whom nobody says anything. Raises RuntimeError for another."""
        gates, words = self._gates, self.console.words
        if gates is None:
            raise RuntimeError("it is spoken with through its port")

        def gone() -> str:
            return f"labrun ended with {words['over']}" if "over" in words else ""

        return Feed(self._port.fileno(), lambda patience: gates.rung(self.pid, patience), gates.open, gone,
                    lambda: self.ended)

    @property
    def ended(self) -> bool:
        """Whether QEMU is no more."""
        return self._process.poll() is not None

    def cpu_seconds(self) -> float:
        """CPU time of QEMU so far, seconds; of one that we ended, in all."""
        return self._cpu_seconds if self.ended else processes.cpu_seconds(self._process.pid)

    def greet(self, limits: Limits, begin: float, deadline: float) -> None:
        """Waits until QEMU answers. Raises LimitError, GuestEnded if QEMU crashed, HostError if it refused to start."""
        try:
            self.monitor.greet(min(limits.silence, max(1.0, deadline - time.monotonic())))
        except GuestError:
            if not self.ended and time.monotonic() >= deadline:
                raise LimitError(f"QEMU was not up within {time.monotonic() - begin:.0f} s") from None
            raise self._launch_failure() from None
        if self._gates is not None:
            self.regions = memory.regions(self.monitor)
            if self._record is None or not self._record.debugger:  # which lets it start itself
                self.monitor.execute("cont")

    def await_word(self, word: str, limits: Limits, begin: float, deadline: float, advice: str = "") -> None:
        """Waits until init has said ``word`` on the console. Raises LimitError at the deadline (time.monotonic()),
        GuestEnded if the guest crashed, ended, was silent for too long, or if init gave up."""
        console = self.console

        def decided() -> bool:
            return console.closed or bool({word, "fail"} & console.words.keys()) or console.fatal() is not None

        while not console.wait(decided, min(deadline, console.last_heard + limits.silence)):
            now = time.monotonic()
            if now >= deadline:
                raise LimitError(f"the guest was not up within {now - begin:.0f} s", advice)
            if now >= console.last_heard + limits.silence:
                said = f"after {console.lines} lines" if console.lines else "from the start"
                message = f"the guest's console was silent for {limits.silence:.0f} s {said}"
                raise GuestEnded(Ending.LOST_GUEST, message, advice)
        if word in console.words:
            return
        if "fail" in console.words:
            raise GuestEnded(Ending.LOST_GUEST, f"the guest's init gave up: {console.words['fail']}", NEEDS)
        fatal = console.fatal()
        if fatal is not None:
            raise GuestEnded(fatal.kind, f"the guest's kernel reports: {fatal.line.strip()}", advice)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(2.0)
        message = f"the guest went away while it booted (QEMU: {self.status()})"
        raise GuestEnded(Ending.LOST_GUEST, message, advice)

    def check(self, forged: Collection[str] = ()) -> None:
        """Raises GuestEnded if the kernel has panicked, oopsed or hit a BUG, or QEMU has ended. The texts in
        ``forged`` are known not to be the kernel's own."""
        fatal = self.console.fatal(forged)
        if fatal:
            raise GuestEnded(fatal.kind, f"the guest's kernel reports: {fatal.line.strip()}")
        if self.ended and not (self._record is not None and self._record.again):  # QEMU ends where its record does
            raise GuestEnded(Ending.LOST_GUEST, f"the guest powered off or restarted (QEMU: {self.status()})")

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

    def status(self) -> str:
        """How QEMU ended, in words."""
        code = self._process.poll()
        if code is None:
            return "still running"
        return f"killed by signal {-code}" if code < 0 else f"exit status {code}"

    def said(self) -> str:
        """What QEMU wrote on its standard output and errors."""
        self._errors.seek(0)
        return self._errors.read(4000).decode("utf-8", "replace").strip()

    def stop(self) -> None:
        """Ends QEMU: asked over QMP, then SIGTERM, then SIGKILL. A kernel in trouble may finish its report."""
        self._parts.close()

    def _end(self) -> None:
        self._hear_out()
        if not self.ended:
            self._cpu_seconds = processes.cpu_seconds(self._process.pid)
        if not self.ended and self._gates is not None and (self._record is None or self._record.again):
            self._process.kill()  # it hears nothing where its guest stands still, and is to say no more where it runs
        elif not self.ended:
            if self._gates is not None:
                self._gates.leave()  # a record is whole when QEMU ends by itself
            with contextlib.suppress(GuestError, HostError, OSError):
                self.monitor.execute("quit", patience=2.0)
        code = processes.end(self._process, patience=2.0)
        self.memory_failed = code == -signal.SIGBUS or BAD_ADDRESS in self.said()

    def _hear_out(self) -> None:
        """To "end trace", or to the end of QEMU after a panic."""
        if self.console.fatal() is None:
            return

        def finished() -> bool:
            panicked = any(s.kind is Ending.PANIC for s in self.console.sightings)
            return self.console.closed or (not panicked and "end trace" in self.console.tail[-1])

        self.console.wait(finished, time.monotonic() + 2.0)

    def _launch_failure(self) -> Exception:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(2.0)
        said = self.said()
        if (self._process.returncode or 0) < 0:  # it crashed: another try may end otherwise
            return GuestEnded(Ending.LOST_GUEST, f"QEMU was {self.status()} as it started: {said}")
        return HostError(f"QEMU does not start ({self.status()}): {said or 'it says nothing'}",
                         "command: " + " ".join(self.command))
