"""virtme-ng from PyPI: "boot, run `uname -r`, end" on the lab's QEMU, kernel image and modules.

It is no part of the lab: it lives in a folder of its own (.venv-bench), with what it needs of a host. That comes from
Debian packages, so that a host without it can be measured and nothing has to be installed: busybox and kmod for its
initramfs, and virtiofsd, because Debian's cloud kernels have no 9p.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from subjects import Sample, Subject, bare_name, check_said, child

from orchestrator.errors import HostError
from orchestrator.model import Kernel
from orchestrator.pieces import Store, debs
from orchestrator.pieces.packages import Suite
from orchestrator.prepare import Prepared

VERSION = "1.42"
PLACE = Path(__file__).parents[2] / ".venv-bench"
SUITE = "trixie"
PACKAGES = ("busybox-static", "kmod", "liblzma5", "virtiofsd")
FOLLOW = re.compile(r"lib(?!c-|debconf)|zlib1g$")
PATIENCE = 300.0  # seconds
# virtme-ng finds its ports by names that udev gives. On a host without udev the command looks for the one that is its
# standard output by itself; where virtme-ng has that open, the second uname writes to it.
COMMAND = ("for p in /sys/class/virtio-ports/*; do read n <$p/name; "
           "[ $n = virtme.stdout ] && { uname -r >/dev/${p##*/} || uname -r; }; done")
STATUSES = (0, 255)  # 255: it found no port for the exit status either


def name(kernel: str) -> str:
    """What the table calls it."""
    return f"{kernel}: virtme-ng {VERSION}, uname -r"


def virtme(prepared: Prepared, scratch: Path) -> Subject:
    """The subject, tried once. Raises LabError or OSError where virtme-ng can't be had or does not run here."""
    store = Store(cache=prepared.cache)
    tools = _tools(store)
    _install()
    programs = scratch / "virtme-ng"
    programs.mkdir()
    _write_programs(programs, tools, prepared.emulator.argv)
    image = _kernel(store, prepared.kernel, scratch)
    argv = [
        str(PLACE / "bin/vng"), "--run", str(image), "--disable-kvm", "--cpus", str(prepared.recipe.cpus),
        "--memory", f"{prepared.recipe.memory}M", "--busybox", str(tools / "usr/bin/busybox"), "--exec", COMMAND,
    ]  # fmt: skip
    path = f"{programs}:{PLACE / 'bin'}:{os.environ.get('PATH', os.defpath)}"
    extra = {"PATH": path, "HOME": str(programs)}  # HOME: none of the user's own settings

    def measure() -> Sample:
        sample, output = child(argv, extra, STATUSES, PATIENCE)
        check_said(prepared.kernel.release, output, argv)
        return sample

    measure()  # the first one makes modules.dep
    return Subject(name(prepared.kernel.name), measure, bare_name(prepared.kernel.name), foreign=True)


def _install() -> None:
    """virtme-ng in a venv of its own; nothing where it is already. Raises HostError."""
    if not (PLACE / "bin/pip").exists():
        _run(sys.executable, "-m", "venv", str(PLACE))
    pip = (str(PLACE / "bin/python"), "-m", "pip", "--disable-pip-version-check")
    if f"virtme-ng=={VERSION}" not in _run(*pip, "freeze").split():
        _run(*pip, "install", "-q", f"virtme-ng=={VERSION}")


def _run(*argv: str) -> str:
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = (done.stderr or done.stdout).strip().rpartition("\n")[2]
        raise HostError(f"`{shlex.join(argv)}` ends with {done.returncode}: {last}")
    return done.stdout


def _tools(store: Store) -> Path:
    """Debian's packages, unpacked; fetched once. Raises PieceError or HostError."""
    root = PLACE / "tools"
    if root.is_dir():
        return root
    pins = Suite(SUITE, store.folder / "apt", store.mirror).closure(list(PACKAGES), FOLLOW)
    store.archive.fetch(pins, lambda: store.mirror)
    fresh = PLACE / "tools.new"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    debs.merge_links(fresh)
    for pin in pins:
        debs.unpack(store.archive.path(pin), fresh, lambda path: not path.startswith("usr/share/"))
    fresh.rename(root)
    return root


def _write_programs(folder: Path, tools: Path, emulator: Sequence[str]) -> None:
    """Under the names by which virtme-ng looks for them; a package's program runs with that package's libraries."""
    loader = (str(tools / "usr/lib64/ld-linux-x86-64.so.2"), "--library-path", str(tools / "usr/lib/x86_64-linux-gnu"))
    found = {
        "qemu-system-x86_64": emulator,
        "depmod": (*loader, "--argv0", "depmod", str(tools / "usr/bin/kmod")),
        "modprobe": (*loader, "--argv0", "modprobe", str(tools / "usr/bin/kmod")),
        "virtiofsd": (*loader, str(tools / "usr/libexec/virtiofsd")),
    }
    for program, argv in found.items():
        (folder / program).write_text(f'#!/bin/sh\nexec {shlex.join(argv)} "$@"\n')
        (folder / program).chmod(0o755)


def _kernel(store: Store, kernel: Kernel, scratch: Path) -> Path:
    """The kernel's image, with all modules of its packages where virtme-ng looks for them."""
    root = scratch / "virtme-ng-root"
    debs.merge_links(root)
    packages = kernel.piece.packages if kernel.piece else ()
    store.archive.fetch(packages, lambda: store.mirror)
    for package in packages:
        debs.unpack(store.archive.path(package), root, lambda path: path.startswith("usr/lib/modules/"))
    image = root / "boot" / f"vmlinuz-{kernel.release}"
    image.parent.mkdir()
    shutil.copyfile(kernel.vmlinuz, image)
    return image
