"""Emulators: a pinned QEMU with all its libraries, run in place by its own dynamic loader."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from orchestrator.errors import PieceError
from orchestrator.pieces import debs

PACKAGES = ["ipxe-qemu", "qemu-system-data", "qemu-system-x86", "seabios"]
FOLLOW = re.compile(r"lib(?!c-gconv|c-bin|pam|semanage|debconf|nss-)|zlib1g$|qemu-system-common$")
_PROGRAM = "usr/bin/qemu-system-x86_64"
_LOADER = "usr/lib64/ld-linux-x86-64.so.2"
_LIBRARIES = ("usr/lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu/nss")
_DATA = ("usr/share/qemu", "usr/share/seabios", "usr/lib/ipxe/qemu")
_WANTED = re.compile(
    r"usr/bin/qemu-system-x86_64$|usr/lib64/|usr/lib/x86_64-linux-gnu/([^/]+|nss/[^/]+|qemu/(accel|hw)-[^/]+)$|"
    r"usr/share/seabios/(bios-256k|bios|vgabios-stdvga)\.bin$|usr/lib/ipxe/qemu/efi-(virtio|e1000)\.rom$|"
    r"usr/share/qemu/((bios-256k|bios|pvh|linuxboot(_dma)?|multiboot(_dma)?|kvmvapic)\.(bin|rom)|"
    r"vgabios-stdvga\.bin|efi-(virtio|e1000)\.rom|keymaps/en-us)$"
)


def assemble(packages: Iterable[Path], destination: Path) -> dict[str, str]:
    """Unpacks to ``destination``/root, and proves that the program starts and finds its firmware."""
    root = destination / "root"
    if ":" in str(root):
        raise PieceError(f"{root}: a colon separates the loader's library folders", "Set LAB_CACHE to another path.")
    debs.merge_links(root)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        jobs = [
            pool.submit(debs.unpack, package, root, lambda path: bool(_WANTED.match(path)))
            for package in packages
        ]
        for job in jobs:
            job.result()
    version = re.search(r"version (\d+\.\d+\.\d+)", _run(root, "--version"))
    if version is None:
        raise PieceError(f"{root / _PROGRAM} does not tell its version")
    machine = ("-machine", "q35,accel=tcg", "-nodefaults", "-no-user-config", "-display", "none", "-S")
    _run(root, *machine, "-device", "virtio-net-pci", "-monitor", "stdio", stdin="quit\n")
    return {"version": version[1]}


def argv(root: Path) -> tuple[str, ...]:
    """The command that starts the emulator: its loader, its libraries only, its firmware."""
    libraries = ":".join(str(root / folder) for folder in _LIBRARIES)
    data = (option for folder in _DATA for option in ("-L", str(root / folder)))
    loader = (str(root / _LOADER), "--inhibit-cache", "--library-path", libraries)
    return (*loader, str(root / _PROGRAM), *data)


def _run(root: Path, *arguments: str, stdin: str = "") -> str:
    command = [*argv(root), *arguments]
    done = subprocess.run(
        command, env={}, input=stdin, capture_output=True, text=True, timeout=60, check=False
    )
    if done.returncode != 0:
        raise PieceError(f"the unpacked QEMU does not start: {' '.join(command)}\n{done.stderr.strip()}")
    return done.stdout
