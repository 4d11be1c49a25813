"""One case in one guest: leaves one run directory, whatever happens on the way.

The record is saved at every step (``recording`` says how a run ended).
"""

from __future__ import annotations

import re
import shlex
import time
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from orchestrator import host, orders, progress, recording, scenario, wire
from orchestrator.errors import GuestError, HostError, LabError, LimitError, UsageError
from orchestrator.kernel_log import comparable
from orchestrator.machine.dump import dump
from orchestrator.machine.guest import Guest, GuestEnded, Recipe
from orchestrator.model import Case, Checkpoint, Ended
from orchestrator.rundir import RECORD_ORDERS, RunDirectory, RunRecord
from orchestrator.toolchain import Program

if TYPE_CHECKING:
    from orchestrator.inspector import Inspector
    from orchestrator.machine.link import Link

KILL_PATIENCE = 15.0  # seconds at reference speed for labrun to end the program and say so
_LIMITS = {  # labrun's reasons to end a program
    "output-limit": "the program printed more than the lab keeps: it was ended",
    "note-limit": "the program reported more notes than the lab keeps: it was ended",
    "checkpoint-limit": "the program came to more checkpoints than the lab keeps: it was ended",
}
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}")
_ESCAPED = re.compile(r"\\x([0-9a-f]{2})")  # how /dev/kmsg shows what is not printable
_OOM = re.compile(r"[Oo]ut of memory: Killed process")  # mm/oom_kill.c, __oom_kill_process()
_STATUS = re.compile(r"proc/([1-9]\d{0,9})/status")  # which a process that is looked at always has
_LOST = re.compile(r"(?:overrun|dropped)=[1-9]")


class Session:
    """Runs one case in a guest that is already up, and writes the run directory."""

    def __init__(self, case: Case, directory: RunDirectory, record: RunRecord, limits: host.Limits,
                 deadline: float, inspector: Inspector | None = None, *, last: bool = False) -> None:
        """``inspector`` looks inside the guest at the checkpoints that the case names; without one nobody does.
        ``last``: no other case will run in that guest."""
        self._case = case
        self._directory = directory
        self._record = record
        self._limits = limits
        self._notes: list[str] = []
        self._pending: Checkpoint | None = None
        self._pids: list[int] = []  # of the processes that the pending checkpoint shows
        self._inspector = inspector
        self._last = last
        self._guest: Guest | None = None
        self._begin = 0.0  # time.monotonic()
        self._deadline = deadline
        self._step_deadline = 0.0
        self._killed = ""  # why the lab told labrun to end the program
        self._forged: set[str] = set()  # lines of the kernel log that are not the kernel's

    def run(self, guest: Guest, program: Program) -> None:
        """The program from start to end; the record is filled and saved on the way.

        Raises GuestEnded, LimitError or LabError; what was collected until then is kept.
        """
        self._guest = guest
        self._begin = time.monotonic()
        self._step(self._limits.boot)
        self._directory.write("program", program.path.read_bytes()).chmod(0o755)
        self._keep_config()
        try:
            with (
                progress.step(f"running {self._case.scenario.name}"),
                guest.labrun() as channel,
            ):
                if channel.listens:
                    self._send(channel, orders.of(self._case, program, "last" if self._last else ""))
                self._pump(channel)
            guest.check(self._forged)
            self._record.timings["program"] = self._since("set_up", "inspect")
        except GuestEnded:
            raise
        except GuestError as error:
            raise guest.why_lost(error) from None
        if self._killed:
            raise LimitError(self._killed)

    def _since(self, *others: str) -> float:
        """Seconds since the session began, less those of other steps."""
        timings = self._record.timings
        return round(time.monotonic() - self._begin - sum(timings.get(name, 0.0) for name in others), 3)

    def _keep_config(self) -> None:
        """The kernel's options come with its package; a kernel that shows its own (/proc/config.gz) overrides them."""
        config = self._case.kernel.config
        if config is not None:
            self._directory.write("evidence/environment/config", config.read_bytes())

    # -- what labrun says ------------------------------------------------------------------------

    def _pump(self, channel: Link) -> None:
        for frame in wire.frames(lambda size: self._receive(channel, size)):
            handler = getattr(self, f"_on_{frame.type}", None)
            if handler is None:
                raise wire.ProtocolError(f"labrun sends an unknown frame {frame.type!r}")
            handler(frame, channel)
            if frame.type == "bye":
                return
        said = channel.errors() or "nothing"
        raise wire.ProtocolError(f"labrun ended (or was killed) without its last word; it said: {said}")

    def _receive(self, channel: Link, size: int) -> bytes:
        """Bytes from labrun. At a time limit the program is killed and labrun may finish; then LimitError."""
        while True:
            deadline = self._step_deadline if self._killed else min(self._step_deadline, self._deadline)
            left = deadline - time.monotonic()
            if left <= 0 and (rest := _rest(channel, size)):
                return rest
            if left <= 0:
                self._at_limit(channel)
                continue
            channel.settimeout(left)
            try:
                return channel.recv(size)
            except TimeoutError:
                continue
            except (OSError, EOFError) as error:
                raise GuestError(str(error) or type(error).__name__) from None

    def _at_limit(self, channel: Link) -> None:
        if self._killed:
            raise LimitError(self._killed + ", and the guest did not end it in time")
        why = self._what_took_long()
        self._record.messages.append(why)
        if not channel.listens:
            raise LimitError(why)
        self._step(KILL_PATIENCE * host.slowdown())
        self._killed = why
        self._send(channel, wire.command("kill"))

    def _what_took_long(self) -> str:
        if time.monotonic() >= self._deadline:
            return f"the run took longer than {self._limits.total:.0f} s"
        reached = [c.name for c in self._record.checkpoints if c.kind != "exit"]
        after = f"after checkpoint {reached[-1]}" if reached else "after its start"
        return f"{after} the program reached no further checkpoint within {self._limits.step:.0f} s"

    def _send(self, channel: Link, data: bytes) -> None:
        channel.settimeout(max(1.0, self._step_deadline - time.monotonic()))
        try:
            channel.sendall(data)
        except (OSError, EOFError) as error:
            raise GuestError(f"the guest takes no more orders: {error or type(error).__name__}") from None

    def _step(self, seconds: float) -> None:
        if self._killed:  # labrun has its last seconds, whatever it still says
            return
        self._step_deadline = time.monotonic() + seconds

    def _on_hello(self, frame: wire.Frame, channel: Link) -> None:
        if frame.number("proto") != wire.PROTOCOL:
            raise wire.ProtocolError(f"labrun speaks protocol {frame.number('proto')}, not {wire.PROTOCOL}")

    def _on_probe(self, frame: wire.Frame, channel: Link) -> None:
        name = frame.attributes.get("name", "")
        if not _NAME.fullmatch(name):
            raise wire.ProtocolError(f"labrun offers the probe {name!r}")
        if name == "config":  # as in /proc/config.gz
            self._directory.write("evidence/environment/config", _gunzip(frame.payload))
        else:
            self._directory.write(f"evidence/environment/{name}", frame.payload)
        if name == "warnings":
            self._record.messages += [f"guest: {line}" for line in frame.text.splitlines()[:50]]

    def _on_started(self, frame: wire.Frame, channel: Link) -> None:
        for name in ("evidence/output", "kernel.log"):  # that nothing is said will be evidence as well
            self._directory.append(name, b"")
        self._step(self._limits.step)
        self._record.timings["set_up"] = self._since()
        self._save()

    def _on_output(self, frame: wire.Frame, channel: Link) -> None:
        self._directory.append("evidence/output", frame.payload)

    def _on_note(self, frame: wire.Frame, channel: Link) -> None:
        self._notes.append(frame.text.replace("\n", " ")[:2000])

    def _on_checkpoint(self, frame: wire.Frame, channel: Link) -> None:
        name, kind = frame.attributes.get("name", ""), frame.attributes.get("kind", "")
        if not _NAME.fullmatch(name) or kind not in ("exec", "named", "stdin", "signal", "limit"):
            raise wire.ProtocolError(f"labrun announces the checkpoint {name!r} of kind {kind!r}")
        if kind == "named" and scenario.OWN.fullmatch(name):
            self._record.messages.append(f"the program's checkpoint {name!r} has a name of the lab's own: named-{name}")
            name = f"named-{name}"[:64]
        index = len(self._record.checkpoints)
        self._pending = Checkpoint(
            index=index, name=name, kind=kind, pid=frame.number("pid"), seconds=frame.number("ns") / 1e9,
            directory=f"evidence/{index:02d}-{name.replace('.', '_')}",
            signal=frame.number("signal") if kind == "signal" else 0,
        )  # fmt: skip
        if "partial" in frame.attributes:
            self._record.messages.append(f"at {name} not every task had stopped: its evidence may be torn")
        progress.update(f"running {self._case.scenario.name}", f"at {name}")

    def _on_file(self, frame: wire.Frame, channel: Link) -> None:
        name = wire.evidence_name(frame)
        if self._pending is not None:
            directory = self._pending.directory
        elif name.startswith("trace/"):  # what was recorded after the last checkpoint
            directory = self._exit_directory()
        else:
            raise wire.ProtocolError(f"labrun sends {name} outside a checkpoint")
        if found := _STATUS.fullmatch(name):
            self._pids.append(int(found[1]))
        self._directory.write(f"{directory}/{name}", frame.payload)
        if frame.attributes.get("truncated", "0") != "0":
            self._record.messages.append(f"{directory}/{name} is cut off: it was too long")
            self._directory.write(f"{directory}/{name}.truncated", b"")
        if name in ("trace/stats", "trace/graph-stats") and _LOST.search(frame.text):
            self._record.messages.append(f"{directory}/trace: the buffer overflowed: {frame.text.strip()[:200]}")

    def _exit_directory(self) -> str:
        return f"evidence/{len(self._record.checkpoints):02d}-exit"

    def _on_ready(self, frame: wire.Frame, channel: Link) -> None:
        if self._pending is None:
            raise wire.ProtocolError("labrun is ready outside a checkpoint")
        self._look_inside(self._pending)
        self._keep_core(self._pending)
        self._close_checkpoint(self._pending)
        self._step(self._limits.step)
        if not self._killed:  # after `kill` labrun waits for nothing, and may be gone already
            self._send(channel, wire.command("go"))

    def _look_inside(self, checkpoint: Checkpoint) -> None:
        pids, self._pids = self._pids, []
        wanted = self._case.inspect
        if wanted is None or self._inspector is None or self._guest is None:
            return
        parts = [part for part in ("kernel", "heap") if wanted.at(part, checkpoint.name)]
        if parts:
            took = self._inspector.look(self._guest, self._directory, checkpoint.directory, pids, parts)
            self._step_deadline += took  # the lab's own time is not the program's
            self._deadline += took
            self._record.messages += [f"at {checkpoint.name}: {trouble}" for trouble in self._inspector.troubles]
            timings = self._record.timings
            timings.setdefault("inspect_first", round(took, 3))
            timings["inspect"] = round(timings.get("inspect", 0.0) + took, 3)
            self._record.left_out.update(self._inspector.left_out)

    def _keep_core(self, checkpoint: Checkpoint) -> None:
        """The guest's memory as ``vmcore``, at the checkpoint that was asked for, the first time that it is reached."""
        wanted, core = self._case.vmcore, self._directory.path / "vmcore"
        failure = wanted == "failure" and checkpoint.kind in ("signal", "limit")
        if self._guest is None or core.exists() or not (failure or wanted == checkpoint.name):
            return
        try:
            with progress.step("dumping the guest's memory"):
                noted = dump(self._guest.monitor, core)
        except HostError as error:
            self._record.messages.append(f"there is no vmcore: {error.message}")
            return
        self._record.messages.append(f"vmcore is the guest's memory at {checkpoint.name}" + (
            "" if noted else "; it has no VMCOREINFO note, as the guest has no module qemu_fw_cfg"))
        self._step(self._limits.step)

    def _on_kmsg(self, frame: wire.Frame, channel: Link) -> None:
        self._directory.append("kernel.log", frame.payload.removesuffix(b"\n") + b"\n")
        for line in frame.text.splitlines():
            head, _, text = line.partition(";")
            level = head.partition(",")[0]
            if level.isdecimal() and int(level[:6]) >> 3 != 0:  # a facility of user space: /dev/kmsg was written to
                self._forged.add(comparable(_ESCAPED.sub(_unescaped, text)))
            elif _OOM.search(text):
                self._record.messages.append(f"kernel: {text[:300]}")

    def _on_exit(self, frame: wire.Frame, channel: Link) -> None:
        reason = frame.attributes.get("reason", "")
        code = frame.number("code") if "code" in frame.attributes else None
        signal = frame.number("signal") if "signal" in frame.attributes else None
        self._killed = self._killed or _LIMITS.get(reason, "")
        self._record.ended = Ended(code=code, signal=signal, killed_by_lab=self._killed and (reason or "limit"))
        if reason and not self._killed:
            self._record.messages.append(f"the program's end: {reason[:200]}")
        index = len(self._record.checkpoints)
        last = Checkpoint(index=index, name="exit", kind="exit", pid=0, directory=self._exit_directory(),
                          seconds=frame.number("ns") / 1e9 if "ns" in frame.attributes else 0.0)
        self._close_checkpoint(last)

    def _on_error(self, frame: wire.Frame, channel: Link) -> None:
        what, said = frame.attributes.get("what", ""), frame.text[:2000]
        if what in ("sysctl", "rlimit"):
            raise UsageError(f"the guest refuses the {what} setting: {said}",
                             "see --sysctl and --ulimit in `lab run --help`")
        raise LabError(f"labrun reports {what or 'an error'}: {said}")

    def _on_bye(self, frame: wire.Frame, channel: Link) -> None:
        self._save()

    def _close_checkpoint(self, checkpoint: Checkpoint) -> None:
        notes = "".join(note + "\n" for note in self._notes)
        self._directory.write(f"{checkpoint.directory}/notes", notes.encode())
        self._notes.clear()
        self._pending = None
        self._record.checkpoints.append(checkpoint)
        self._save()

    def _save(self) -> None:
        self._directory.save(self._record)


def _rest(channel: Link, size: int) -> bytes:
    """What a guest that takes no orders, and so can't be told to end, has written until now."""
    if channel.listens:
        return b""
    channel.settimeout(0)
    try:
        return channel.recv(size)
    except TimeoutError:
        return b""


def _unescaped(found: re.Match[str]) -> str:
    return chr(int(found[1], 16))


def _gunzip(content: bytes, limit: int = 4 << 20) -> bytes:
    """At most ``limit`` bytes of a gzip file; empty if it is none."""
    try:
        return zlib.decompressobj(wbits=31).decompress(content, limit)
    except zlib.error:
        return b""


def run_case(case: Case, recipe: Recipe, program: Program, directory: RunDirectory, record: RunRecord,
             limits: host.Limits, fall_back: Callable[[str], None] | None = None,
             inspector: Inspector | None = None) -> RunRecord:
    """Boots a guest, runs the case in it and writes everything but the findings."""
    record.program = {"sha256": program.sha256, "compiler": program.compiler, "command": list(program.command)}
    directory.save(record)
    deadline = time.monotonic() + limits.total
    recipe = orders.recipe(recipe, case, program)
    if recipe.record is not None and not recipe.record.again:
        directory.write(RECORD_ORDERS, recipe.orders)
    guest = Guest(recipe, limits, directory.path / "console.log", fall_back, deadline, ssh_at_once=False)
    with recording.recorded(record, directory):
        try:
            begin = time.monotonic()
            with guest:
                record.emulator["command"] = shlex.join(guest.command)
                record.boots = recording.boots(guest.attempts)
                record.timings["boot"] = round(time.monotonic() - begin, 3)
                record.timings.update(guest.timings)
                begin = time.monotonic()
                Session(case, directory, record, limits, deadline, inspector, last=True).run(guest, program)
                record.timings["run"] = round(time.monotonic() - begin, 3)
                begin = time.monotonic()
            record.timings["stop"] = round(time.monotonic() - begin, 3)
        finally:
            recording.keep_console(guest, record)
            recording.keep_digest(guest, record, directory, case.inspect)
            if inspector is not None:
                inspector.close()
            if case.vmcore and not (directory.path / "vmcore").exists():
                record.messages.append(f"there is no vmcore: {case.vmcore!r} was not reached")
    return record
