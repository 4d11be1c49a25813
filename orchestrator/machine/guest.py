"""A guest from launch to stop: composes QEMU, console, monitor and SSH; a context manager.

It boots, or goes on from a saved state. Nothing of it outlives the ``with`` block, and QEMU does not outlive us.
"""

from __future__ import annotations

import contextlib
import math
import os
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from orchestrator import progress
from orchestrator.errors import GuestError, HostError, LimitError
from orchestrator.host import Limits
from orchestrator.machine import barred, warm
from orchestrator.machine.console import Console
from orchestrator.machine.link import Link, SshLink
from orchestrator.machine.monitor import Monitor
from orchestrator.machine.recipe import Recipe, initramfs
from orchestrator.machine.running import NEEDS, GuestEnded, Running
from orchestrator.machine.saved import Saved, State, States, Unusable
from orchestrator.machine.ssh import Identity, Ssh, new_identity
from orchestrator.model import Ending

__all__ = ["Attempt", "Guest", "GuestEnded", "Recipe", "ending_of"]

LEAST = 10.0  # seconds that a restore may take at least, within the deadline
RESTORE = 5  # a guest is restored in a small part of the time that a boot may take


@dataclass
class Attempt:
    """One boot, or one restoring of a saved state: what came of it, for the record. ``seconds`` wall,
    ``cpu_seconds`` of QEMU."""

    number: int
    outcome: str = "ready"
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    detail: str = ""
    how: str = "booted"  # "saved": booted for a state; "restored": from one


@dataclass
class Guest:
    """A guest that is up: ``with Guest(recipe, limits) as guest: guest.ssh.open("uname -r")``.

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
    state: Saved | None = None  # what it goes on from; None: it booted
    unusable: str = ""  # why there was no warm start
    timings: dict[str, float] = field(default_factory=dict)  # seconds by step
    ssh_at_once: bool = True  # connect as the guest comes up; else when it is asked for, or where there is no port
    _identity: Identity = field(init=False)
    _ssh: Ssh | None = field(init=False, default=None)
    _running: Running | None = field(init=False, default=None)
    _parts: contextlib.ExitStack = field(init=False, default_factory=contextlib.ExitStack)
    _in_vain: Callable[[], None] | None = field(init=False, default=None)  # notes a state that was of no use

    def __enter__(self) -> Guest:
        if self.attempts:
            raise RuntimeError("a guest is entered once")
        if self.ssh_at_once and not self.recipe.deterministic:
            threading.Thread(target=_import_paramiko, daemon=True).start()  # while QEMU is busy
        try:
            if not self._restored():
                self._attempt(self._boot, "booted")
        except (GuestError, HostError) as error:
            self._retry(error)
        if self._in_vain is not None:  # though the guest boots: it is not the host that fails
            self._in_vain()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def running(self) -> Running:
        """QEMU as it runs. Raises RuntimeError before it does."""
        if self._running is None:
            raise RuntimeError("the guest was not started")
        return self._running

    @property
    def ssh(self) -> Ssh:
        """The SSH connection, one for everything. Raises GuestEnded or LimitError if there can be none."""
        if self._ssh is None:
            self._connect(time.monotonic())
        assert self._ssh is not None
        return self._ssh

    @contextlib.contextmanager
    def labrun(self) -> Iterator[Link]:
        """A labrun in the guest: through the virtio port, else through SSH; the one that a deterministic guest has
        started by itself. Raises GuestError."""
        if self.recipe.deterministic:
            yield self.running.feed
            return
        port = self.running.port
        if port is not None:
            yield port
            return
        with self.ssh.open("exec /lab/labrun run", patience=self.limits.boot) as channel:
            yield SshLink(channel)

    @property
    def started(self) -> bool:
        """Whether a QEMU was started at all."""
        return self._running is not None

    @property
    def console(self) -> Console:
        """The serial console."""
        return self.running.console

    @property
    def monitor(self) -> Monitor:
        """QEMU's own monitor."""
        return self.running.monitor

    @property
    def pid(self) -> int:
        """QEMU's process id on this host."""
        return self.running.pid

    def cpu_seconds(self) -> float:
        """CPU time of QEMU so far, seconds."""
        return self.running.cpu_seconds()

    def check(self, forged: Collection[str] = ()) -> None:
        """Raises GuestEnded if the kernel has panicked, oopsed or hit a BUG, or QEMU has ended. The texts in
        ``forged`` are known not to be the kernel's own."""
        self.running.check(forged)

    def why_lost(self, error: Exception) -> GuestEnded:
        """What became of a guest that no longer answers: waits for QEMU's or the kernel's last word."""
        return self.running.why_lost(error)

    def stop(self) -> None:
        """Ends QEMU: asked over QMP, then SIGTERM, then SIGKILL."""
        self._parts.close()

    # -- from a saved state ----------------------------------------------------------------------

    def _restored(self) -> bool:
        """Whether the guest goes on from a saved state, which is made if there is none. A state that is of no use is
        dropped, and said; then the guest boots, as does one that is known to be of no use for states."""
        if self.recipe.states is None:
            return False
        states, key = States(self.recipe.states), warm.key(self.recipe)
        try:
            if self._is_barred(states, key):
                return False
            if self._from(states, key):
                return True
            patience = min(self.limits.boot, max(0.0, self.deadline - time.monotonic()))
            with states.making(key, patience) as place:
                if self._is_barred(states, key):  # somebody else has tried meanwhile
                    return False
                if self._from(states, key):
                    return True
                self._attempt(lambda: self._make(states, key, place), "saved")
            if self._from(states, key):
                return True
            raise Unusable("it went as soon as it was made")
        except Unusable as error:
            self._give_up(f"the saved state is not used: {error}")
            return False

    def _is_barred(self, states: States, key: str) -> bool:
        why = barred.why(states.folder, key)
        if why:
            self._give_up(f"this guest can't be restored: {why}")
        return bool(why)

    def _from(self, states: States, key: str) -> bool:
        """False where there is no such state. Raises Unusable where it is damaged, or a guest does not come up: then it
        is dropped; one that only took too long may be good for others."""
        which = ""
        try:
            with states.opened(key) as state:
                if state is None:
                    return False
                which = f"state {os.fstat(state.ram).st_mtime_ns}"
                self._attempt(lambda: self._restore(state), "restored")
                self.state = state.saved
        except (GuestError, HostError, LimitError) as error:
            if not isinstance(error, LimitError):
                states.drop(key)
                self._note_failure(states, key, which, error)
            elif time.monotonic() >= self.deadline:
                raise
            self._put_aside("console-restored.log")
            raise Unusable(f"a guest did not come up from it: {error.message}") from None
        except Unusable:
            states.drop(key)
            raise
        barred.lift(states.folder, key)
        return True

    def _note_failure(self, states: States, key: str, what: str, error: Exception) -> None:
        """At once where init says that it will always be so; else when the guest has booted without a state."""
        if isinstance(error, warm.NeverOwn):
            barred.add(states.folder, key, what, str(error), certain=True)
        else:
            self._in_vain = lambda: barred.add(states.folder, key, what, str(error))

    def _give_up(self, why: str) -> None:
        self.unusable = why
        progress.note(f"no warm start: {why}; booting", once=True)

    def _make(self, states: States, key: str, place: Path) -> None:
        begin, what = time.monotonic(), f"boot {time.time_ns()}"
        try:
            warm.make(self.recipe, self.limits, self.deadline, states, place, key, self._advice(), self._is_running)
            self._note("save", begin)
        except (GuestError, Unusable) as error:
            if not states.almost_full():  # else it is the disk
                self._note_failure(states, key, what, error)
            if isinstance(error, warm.NeverOwn):
                raise Unusable(f"it can't be made: {error.message}") from None
            raise
        except OSError as error:
            raise Unusable(f"it can't be kept in {states.folder}: {error.strerror}") from None
        except HostError as error:  # of what only a state needs, as its file; else the boot will say so as well
            raise Unusable(f"it can't be made: {error.message}") from None
        finally:
            if self.log is not None and self._running is not None:
                with contextlib.suppress(OSError):  # what a boot said that failed is evidence
                    self.log.write_bytes((place / "console").read_bytes())

    def _restore(self, state: State) -> None:
        begin = time.monotonic()
        self._identity = new_identity()
        limits = replace(self.limits, boot=max(LEAST, self.limits.boot / RESTORE),
                         silence=max(LEAST, self.limits.silence / RESTORE))  # fmt: skip
        running = warm.restore(self.recipe, state, self._identity, self.log, limits, self.deadline)
        self._is_running(running)
        self._parts.callback(running.stop)
        self._note("restore", begin)
        self._meet(begin)

    # -- booting ---------------------------------------------------------------------------------

    def _retry(self, error: GuestError | HostError) -> None:
        """A second boot, where one could end otherwise; else raises the error. KVM loses its good name
        only when TCG does better with the same guest; not where it was the file of its memory that failed."""
        on_trial = self.fall_back is not None and self.recipe.accelerator == "kvm"
        init_said_why = self._running is not None and "fail" in self._running.console.words
        if init_said_why or (isinstance(error, HostError) and not on_trial):
            raise error
        progress.note(f"boot failed, trying once more: {error.message}")
        failed = sum(one.how != "restored" and one.outcome not in ("ready", "unusable") for one in self.attempts)
        self._put_aside(f"console-{failed}.log")
        by_memory = self._running is not None and self._running.memory_failed
        if self.attempts[-1].how == "saved" and (by_memory or not on_trial):
            self._boot_unsaved(error, on_trial)
            return
        if on_trial:
            self.recipe = replace(self.recipe, accelerator="tcg")
        self._attempt(self._boot, "booted")
        if self.fall_back is not None and on_trial:
            self.fall_back(error.message)

    def _boot_unsaved(self, error: GuestError | HostError, on_trial: bool) -> None:
        """After a boot that was to be saved: its memory was a file, and a disk that is full is not KVM's fault. So it
        is the same once more, without the file."""
        try:
            self._attempt(self._boot, "booted")
        except (GuestError, HostError) as again:
            self._in_vain = None  # it is not the state
            if not on_trial:
                raise
            self._retry(again)
        else:
            self._give_up(f"the boot that was to be saved failed: {error.message}")

    def _put_aside(self, name: str) -> None:
        """What the console said is kept when another try overwrites its log."""
        if self.log is not None and self.log.exists():
            self.log.replace(self.log.with_name(name))

    def _attempt(self, work: Callable[[], None], how: str) -> None:
        attempt, before = Attempt(len(self.attempts) + 1, how=how), self._running
        self.attempts.append(attempt)
        begin = time.monotonic()
        doing = "restoring" if how == "restored" else "booting"
        try:
            with progress.step(f"{doing} {self.recipe.kernel.name} with {self.recipe.userland.name}"):
                work()
        except BaseException as error:
            attempt.outcome = "unusable" if isinstance(error, Unusable) else ending_of(error).value
            attempt.detail = str(error)
            attempt.seconds = round(time.monotonic() - begin, 3)
            self.stop()
            raise
        else:
            attempt.seconds = round(time.monotonic() - begin, 3)
        finally:
            if self._running is not None and self._running is not before:
                attempt.cpu_seconds = round(self._running.cpu_seconds(), 3)

    def _boot(self) -> None:
        begin = time.monotonic()
        self._identity = new_identity()
        with initramfs(self.recipe, self._identity) as initrd:
            machine = self.recipe.machine(f"/proc/self/fd/{initrd}")
            running = Running(self.recipe.emulator.argv, machine, self.log, inherited=(initrd,))
        self._parts.callback(running.stop)
        self._is_running(running)
        until = min(begin + self.limits.boot, self.deadline)
        running.greet(self.limits, begin, until)
        running.await_word("ready", self.limits, begin, until, self._advice())
        self._note("cold_boot", begin)
        self._meet(begin)

    def _is_running(self, running: Running) -> None:
        self._running, self.command = running, running.command

    def _note(self, step: str, begin: float) -> None:
        self.timings[step] = round(time.monotonic() - begin, 3)

    def _meet(self, begin: float) -> None:
        if not self.recipe.deterministic and (self.ssh_at_once or self.running.port is None):
            self._connect(begin)

    def _connect(self, begin: float) -> None:
        """SSH, within what is left of the time for a boot that began at ``begin``."""
        connecting = time.monotonic()
        deadline = min(begin + self.limits.boot, self.deadline)
        port = self.monitor.ssh_port()
        try:
            self._ssh = Ssh(port, self._identity, min(60.0, max(1.0, deadline - time.monotonic())))
            self._parts.callback(self._ssh.close)
        except (GuestError, OSError) as error:
            if time.monotonic() >= deadline:
                raise LimitError(f"the guest was not up within {time.monotonic() - begin:.0f} s") from None
            raise self.why_lost(error) from None
        self._note("connect", connecting)

    def _advice(self) -> str:
        return "" if self.recipe.kernel.piece else NEEDS


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
    """paramiko without invoke: 110 modules, which it uses for a line of ssh_config that nobody reads here."""
    absent = "invoke" not in sys.modules
    if absent:
        sys.modules["invoke"] = None  # type: ignore[assignment]  # an ImportError, which paramiko expects
    try:
        import paramiko  # noqa: F401
    finally:
        if absent:
            sys.modules.pop("invoke", None)  # whoever else wants it may have it
