"""`lab doctor`: what this host has, what is wrong with it, and what to do about each thing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator import accelerator, host, resources, toolchain
from orchestrator.errors import LabError
from orchestrator.model import PieceKind

if TYPE_CHECKING:
    from orchestrator.pieces import Store

NEEDED_SPACE = 1 << 30  # bytes: all pieces of the catalogue, with their downloads


@dataclass(frozen=True)
class Check:
    """One line of the doctor's. ``state``: ok, note (works, but look), wrong (something will fail)."""

    name: str
    state: str
    detail: str
    advice: str = ""


def examine() -> Iterator[Check]:
    """All checks, in the order in which a run would stumble; each is made when it is asked for."""
    for check in (_host, _python, _tools, _compiler, _keyring, _mirror, _cache, _qemu, _accelerator, _speed):
        try:
            yield check()
        except LabError as error:
            yield Check(check.__name__.strip("_"), "wrong", error.message, error.hint)


def _host() -> Check:
    about = host.describe()
    detail = f"{about['system']}, Linux {about['kernel']}, {about['cpus']} CPUs, {about['memory_mib']} MiB available"
    if about["machine"] != "x86_64":
        return Check("host", "wrong", detail, "the lab's programs and emulator are built for x86-64 hosts")
    if int(about["memory_mib"]) < 1024:
        return Check("host", "wrong", detail, "a guest takes up to 768 MiB; --memory sets it")
    return Check("host", "ok", detail)


def _python() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    return Check("python", "ok" if sys.version_info >= (3, 11) else "wrong", version)


def _tools() -> Check:
    places = {"apt-get": "apt", "dpkg-deb": "dpkg", "/usr/lib/apt/apt-helper": "apt", "setpriv": "util-linux"}
    missing = sorted({package for tool, package in places.items() if shutil.which(tool) is None})
    if missing:
        return Check("tools", "wrong", f"missing: {', '.join(missing)}", f"apt install {' '.join(missing)}")
    return Check("tools", "ok", "apt, dpkg-deb, setpriv")


def _compiler() -> Check:
    return Check("compiler", "ok", toolchain.compiler_version(toolchain.find_compiler()))


def _keyring() -> Check:
    ring = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
    if ring.is_file():
        return Check("keyring", "ok", str(ring))
    return Check("keyring", "note", "Debian's archive keyring is missing: the lock can't be renewed here",
                 "apt install debian-archive-keyring")


def _cache() -> Check:
    place = resources.cache()
    existing = next(folder for folder in (place, *place.parents) if folder.exists())
    if not os.access(existing, os.W_OK):
        return Check("cache", "wrong", f"{place} can't be written", "set LAB_CACHE to a folder of yours")
    free = shutil.disk_usage(existing).free
    pieces = len(list((place / "pieces").glob("*/manifest.json")))
    detail = f"{place}: {pieces} pieces, {free >> 20} MiB free on that disk"
    if free < NEEDED_SPACE:
        return Check("cache", "wrong", detail, "free some space (`lab image prune`), or set LAB_CACHE elsewhere")
    return Check("cache", "ok", detail)


def _qemu() -> Check:
    from orchestrator.pieces import Store, Wanted

    store = Store(cache=resources.cache())
    name = store.emulator_name(None)
    locked = store.lock.get(Wanted(PieceKind.EMULATOR, name).id)
    system = shutil.which("qemu-system-x86_64")
    also = f"; also {system} (--qemu system)" if system else ""
    what = f"{locked.version if locked else name} of Debian {name}, run in place{also}"
    if not _cached(store, PieceKind.EMULATOR, name):
        return Check("qemu", "note", f"{what}; not downloaded yet", "the first run does that, or `lab image build`")
    own = store.emulator(None)
    advice = "`lab image verify` repairs it; or use your own: --qemu PATH"
    try:
        done = subprocess.run([*own.argv, "--version"], capture_output=True, text=True, errors="replace", timeout=20,
                              check=False, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Check("qemu", "wrong", f"the lab's QEMU does not run here: {error}", advice)
    if done.returncode != 0:
        return Check("qemu", "wrong", f"the lab's QEMU does not run here: {done.stderr.strip()[:200]}", advice)
    return Check("qemu", "ok", what)


def _cached(store: Store, kind: PieceKind, name: str) -> bool:
    """Whether a piece is there, without making it."""
    from orchestrator.pieces.store import entry_name

    entry = store.lock.get(f"{kind}/{name}")
    return entry is not None and (store.cache.folder / entry_name(entry)).is_dir()


def _mirror() -> Check:
    from orchestrator.pieces import Store

    return Check("mirror", "ok", Store(cache=resources.cache()).mirror)


def _accelerator() -> Check:
    accelerator.forget(resources.cache())
    found = accelerator.prove(_first_lines())
    if found.name == "kvm":
        return Check("accelerator", "ok", f"kvm: {found.reason}")
    problem = accelerator.device_problem()
    advice = "no harm: emulation (TCG) is used, and a guest boots in seconds"
    if "group" in problem:
        advice += "; for KVM: add yourself to the group kvm and log in again"
    return Check("accelerator", "note", f"tcg: {found.reason}", advice)


def _first_lines() -> Callable[[float], bool] | None:
    """The proof's second stage, where a kernel and an emulator are in the cache already; else None."""
    from orchestrator.machine.firstline import prints_first_line
    from orchestrator.pieces import Store

    store = Store(cache=resources.cache())
    image = store.catalogue.default_image
    pieces = ((PieceKind.KERNEL, image.kernel), (PieceKind.EMULATOR, store.emulator_name(None)))
    if not all(_cached(store, kind, name) for kind, name in pieces):
        return None

    def boots(limit: float) -> bool:
        return prints_first_line(store.emulator(None), store.kernel(image.kernel).vmlinuz, "kvm", limit)

    return boots


def _speed() -> Check:
    factor = host.slowdown()
    detail = f"time limits are scaled by {factor}"
    if factor > 3:
        return Check("speed", "note", detail, "this host is slow or busy just now")
    return Check("speed", "ok", detail)
