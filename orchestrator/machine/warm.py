"""Warm start: a state is made by a guest that boots for nothing else, and guests of their own go on from it."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from orchestrator.errors import GuestError, HostError
from orchestrator.host import Limits
from orchestrator.machine import qemu
from orchestrator.machine.recipe import Recipe, initramfs
from orchestrator.machine.running import Running
from orchestrator.machine.saved import FORMAT, State, States, Unusable
from orchestrator.machine.ssh import Identity
from orchestrator.model import Emulator, Piece

SEED = 64  # random bytes that a restored guest is given
# What QEMU loads for a machine of ours, beside the kernel (as `-trace load_file` shows; pvh.bin: for a vmlinux).
FIRMWARE = ("bios-256k.bin", "kvmvapic.bin", "linuxboot_dma.bin", "pvh.bin")
SAME = "kernel addresses (KASLR) and all that the kernel drew at random before the state was saved"
NOT_OWN = "this guest cannot be made its own"  # guest/init.c


class NeverOwn(GuestError):
    """The guest's init says that it can't be made one of its own: no state of it is of use."""


def key(recipe: Recipe) -> str:
    """A digest of all that shapes the state: kernel, initramfs, QEMU, its firmware and its whole command, the host's
    processor where the guest has it; and of the user, who alone may read it."""
    machine = replace(recipe.machine("INITRAMFS", qemu.Ram("RAM")), kernel=Path("KERNEL"))
    shaped = {
        "format": FORMAT,
        "command": qemu.command(("QEMU",), machine, qemu.Channels(3, 4, 5)),
        "kernel": _identity(recipe.kernel.vmlinuz, recipe.kernel.piece),
        "modules": recipe.kernel.modules and _archive(recipe.kernel.modules, recipe.kernel.piece),
        "userland": _archive(recipe.userland.cpio, recipe.userland.piece),
        "agent": recipe.agent.name,  # which is named by its content
        "emulator": [recipe.emulator.version, _identity(Path(recipe.emulator.argv[0]), recipe.emulator.piece)],
        "firmware": [_firmware(name, recipe.emulator) for name in FIRMWARE],
        "host": _processor(recipe.accelerator),
        "user": os.geteuid(),
    }
    return hashlib.sha256(json.dumps(shaped, sort_keys=True).encode()).hexdigest()[:32]


def _identity(path: Path, piece: Piece | None) -> list[Any]:
    """A piece by its key, which names its content; a user's own file by all that changes when it does."""
    if piece is not None:
        return [piece.key, path.name]
    found = path.stat()
    return [str(path.resolve()), found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns]


def _firmware(name: str, emulator: Emulator) -> list[Any]:
    """The file that QEMU finds by that name: in the working directory before all others (qemu_find_file(),
    system/datadir.c). What a piece brings is named by the piece."""
    found = next((path for folder in (Path(), *emulator.firmware) if (path := folder / name).is_file()), None)
    return [name] if found is None else _identity(found, None)


def _archive(path: Path, piece: Piece | None) -> list[Any]:
    """What was packed of a user's own tree is named by its content, and packed anew each time (pieces/user.py)."""
    return _identity(path, piece) if piece is not None else [path.name, path.stat().st_size]


def _processor(accelerator: str) -> list[str]:
    """The host's processor: under KVM the guest has it; under TCG its time-stamp counter, whose frequency a saved guest
    has measured already (target/i386/tcg, helper_rdtsc())."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    wanted = ("model name", "flags", "microcode") if accelerator == "kvm" else ("model name",)
    found = sorted({line for line in lines if line.startswith(wanted)})
    return [os.uname().release, *found] if accelerator == "kvm" else found


def make(recipe: Recipe, limits: Limits, deadline: float, states: States, place: Path,
         name: str, advice: str, started: Callable[[Running], None]) -> None:
    """Boots a guest without keys in ``place`` and keeps its state under ``name``. ``started`` is given QEMU as it
    runs. Raises what a boot raises; NeverOwn; OSError; Unusable if the state can't be saved."""
    begin = time.monotonic()
    size = recipe.memory << 20
    with (place / "ram").open("wb+") as ram, initramfs(recipe, None) as initrd:
        ram.truncate(size)
        machine = recipe.machine(f"/proc/self/fd/{initrd}", qemu.Ram(f"/proc/self/fd/{ram.fileno()}"))
        running = Running(recipe.emulator.argv, machine, place / "console", inherited=(initrd, ram.fileno()))
    try:
        started(running)
        until = min(begin + limits.boot, deadline)
        running.greet(limits, begin, until)
        try:
            running.await_word("saved", limits, begin, until, advice)
        except GuestError:
            if never := never_own(running):
                raise NeverOwn(never) from None
            raise
        seconds = time.monotonic() - begin
        try:
            _save(running, place / "devices", until)
        except (GuestError, HostError) as error:
            raise Unusable(error.message) from None
    finally:
        running.stop()
    states.keep(name, place, kernel=recipe.kernel.name, userland=recipe.userland.name, seconds=seconds, memory=size)


def _save(running: Running, devices: Path, deadline: float) -> None:
    """The devices into a file; the memory is in one already. The guest stands still from then on."""
    devices.touch(0o600)
    _capable(running)
    running.monitor.execute("migrate", uri=f"file:{devices}")
    _await_end(running, deadline)


def _capable(running: Running) -> None:
    """The state has no memory that is shared with a file (x-ignore-shared, migration/ram.c); its end is an event."""
    capabilities = [{"capability": name, "state": True} for name in ("x-ignore-shared", "events")]
    running.monitor.execute("migrate-set-capabilities", capabilities=capabilities)


def _await_end(running: Running, deadline: float) -> None:
    def over(event: dict[str, Any]) -> bool:
        return event.get("event") == "MIGRATION" and event["data"]["status"] in ("completed", "failed")

    event = running.monitor.event(over, max(1.0, deadline - time.monotonic()))
    if event["data"]["status"] != "completed":
        why = running.monitor.execute("query-migrate").get("error-desc", running.said() or "it does not say why")
        raise GuestError(f"QEMU does not take the guest's state along: {why}")


def restore(recipe: Recipe, state: State, identity: Identity, log: Path | None, limits: Limits,
            deadline: float) -> Running:
    """A guest that goes on from the state, with the time, random bytes and keys of its own. Raises LimitError,
    NeverOwn, another GuestError, or HostError; QEMU is ended then."""
    begin = time.monotonic()
    machine = recipe.machine("", qemu.Ram(f"/proc/self/fd/{state.ram}", private=True))
    running = Running(recipe.emulator.argv, machine, log, inherited=(state.ram, state.devices),
                      heard=state.console + f"[lab: restored from a state of {state.saved.made}]\n".encode())
    try:
        until = min(begin + limits.boot, deadline)
        running.greet(limits, begin, until)
        _capable(running)
        running.monitor.execute("migrate-set-parameters", **{"announce-rounds": 0})  # nobody else is on its network
        running.monitor.execute("migrate-incoming", uri=f"file:/proc/self/fd/{state.devices}")
        _await_end(running, until)  # before it, what is said to the serial port would be lost
        running.console.say(own_line(identity, time.time_ns(), os.urandom(SEED)))
        running.await_word("own", limits, begin, until)
    except (OSError, GuestError) as error:
        said, never = running.said(), never_own(running)  # QEMU names what it can't take of a state
        running.stop()
        if never:
            raise NeverOwn(never) from None
        raise GuestError(f"{error}" + (f": {said}" if said else "")) from None
    except BaseException:
        running.stop()
        raise
    return running


def never_own(running: Running) -> str:
    """What init has said of why its guest can't be made its own; empty if it has not."""
    said = running.console.words.get("fail", "")
    return said if said.startswith(NOT_OWN) else ""


def own_line(identity: Identity, now: int, seed: bytes) -> str:
    """What guest/own.c reads. ``now`` in nanoseconds since 1970."""
    seconds, nanoseconds = divmod(now, 10**9)
    words = (seed, identity.host_key, identity.authorized)
    return f"own {seconds:x} {nanoseconds:x} " + " ".join(word.hex() for word in words)
