"""virtme-ng from PyPI: "boot, run `uname -r`, end" on the lab's QEMU, kernel image and modules.

It is no part of the lab: it lives in a folder of its own (.venv-bench), with what it needs of a host. That comes from
Debian packages, so that a host without it can be measured and nothing has to be installed: busybox and kmod for its
initramfs, and virtiofsd, because Debian's cloud kernels have no 9p.

Its guest has the host's root file system, so what it costs depends on the host, on udev most: with it all devices of
the guest are announced to udev before the command runs, which takes as long again; without it virtme-ng finds neither
the port for the command's output nor that for its exit status. A host without udev is measured as it is, and once more
with Debian's udev beneath its /usr, in a mount namespace.
"""

from __future__ import annotations

import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from subjects import Sample, Subject, bare_name, check_said, child

from orchestrator.errors import HostError, LabError
from orchestrator.model import Kernel
from orchestrator.pieces import Store, debs
from orchestrator.pieces.packages import Suite
from orchestrator.prepare import Prepared

VERSION = "1.42"
PLACE = Path(__file__).parents[2] / ".venv-bench"
SUITE = "trixie"
TOOLS = ("busybox-static", "kmod", "liblzma5", "virtiofsd")
FOLLOW = re.compile(r"lib(?!c-|debconf)|zlib1g$")
PATIENCE = 300.0  # seconds
UDEV = ("/usr/lib/systemd/systemd-udevd", "/lib/systemd/systemd-udevd")  # where virtme-ng-init looks
BENEATH = 'mount -t overlay overlay -o "lowerdir=/usr:$1" /usr && shift && exec "$@"'
# Without udev the ports have no names in /dev: the command looks for that of its output by itself.
ITSELF = ("for p in /sys/class/virtio-ports/*; do read n <$p/name; "
          "[ $n = virtme.stdout ] && uname -r >/dev/${p##*/}; done; true")
NO_STATUS = 255  # vng's exit status where there is no port for it either


def name(kernel: str, udev: bool = True) -> str:
    """What the table calls it."""
    return f"{kernel}: virtme-ng {VERSION}, {'' if udev else 'no udev, '}uname -r"


def virtme(prepared: Prepared, scratch: Path, failed: dict[str, str]) -> list[Subject]:
    """The subjects that work, each tried once; for those that do not, ``failed`` has the reason by their names."""
    kernel = prepared.kernel
    has_udev = any(Path(path).exists() for path in UDEV)
    wanted = [True] if has_udev else [False, True]
    try:
        argv, extra = _command(prepared, scratch)
        store = Store(cache=prepared.cache)
    except (LabError, OSError) as error:
        failed.update({name(kernel.name, udev): str(error) for udev in wanted})
        return []

    def measure(udev: bool) -> Sample:
        words = [*argv, "uname -r" if udev else ITSELF]
        if udev and not has_udev:
            words = _beneath(_packages(store, _codename(), ("udev",)), words)
        sample, output = child(words, extra, (0,) if udev else (0, NO_STATUS), PATIENCE)
        check_said(kernel.release, output, words)
        return sample

    found = []
    for udev in wanted:
        try:
            measure(udev)  # the first one makes modules.dep as well
        except (LabError, OSError) as error:
            failed[name(kernel.name, udev)] = str(error)
            continue
        found.append(Subject(name(kernel.name, udev), lambda udev=udev: measure(udev),  # type: ignore[misc]
                             bare_name(kernel.name), foreign=True))  # fmt: skip
    return found


def _command(prepared: Prepared, scratch: Path) -> tuple[list[str], dict[str, str]]:
    """vng with all options but the guest's command, and its environment."""
    store = Store(cache=prepared.cache)
    tools = _packages(store, SUITE, TOOLS)
    _install()
    programs = scratch / "virtme-ng"
    programs.mkdir()
    _write_programs(programs, tools, prepared.emulator.argv)
    image = _kernel(store, prepared.kernel, scratch)
    argv = [
        str(PLACE / "bin/vng"), "--run", str(image), "--disable-kvm", "--cpus", str(prepared.recipe.cpus),
        "--memory", f"{prepared.recipe.memory}M", "--busybox", str(tools / "usr/bin/busybox"), "--exec",
    ]  # fmt: skip
    path = f"{programs}:{PLACE / 'bin'}:{os.environ.get('PATH', os.defpath)}"
    return argv, {"PATH": path, "HOME": str(programs)}  # HOME: none of the user's own settings


def _beneath(packages: Path, words: Sequence[str]) -> list[str]:
    """A command that sees the host's /usr filled up with what the packages have and the host lacks."""
    root = [] if os.geteuid() == 0 else ["--map-root-user"]
    return ["unshare", "--mount", *root, "sh", "-c", BENEATH, "sh", str(packages / "usr"), *words]


def _codename() -> str:
    """The host's own suite: what runs on its libc. (Another distribution than Debian has none at the mirror.)"""
    return platform.freedesktop_os_release().get("VERSION_CODENAME", "")


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


def _packages(store: Store, suite: str, names: Sequence[str]) -> Path:
    """Debian's packages with their libraries, unpacked; fetched once. Raises PieceError or HostError."""
    root = PLACE / f"{suite}-{names[0]}"
    if root.is_dir():
        return root
    pins = Suite(suite, store.folder / "apt", store.mirror).closure(list(names), FOLLOW)
    store.archive.fetch(pins, lambda: store.mirror)
    fresh = root.with_suffix(".new")
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
