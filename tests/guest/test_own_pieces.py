"""A user's own kernel, userland and emulator, as files that the lab never saw before."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import Lab

from orchestrator import resources
from orchestrator.model import PieceKind
from orchestrator.pieces import Store, Wanted


def unpacked(wanted: Wanted, place: Path) -> Path:
    """The packages of a piece, unpacked as somebody who has never heard of the lab would."""
    store = Store(resources.cache())
    store.prepare([wanted])
    entry = store.lock.get(wanted.id)
    assert entry is not None
    for pin in entry.packages:
        if not store.archive.has(pin):
            store.archive.fetch([pin], lambda: store.mirror)
        subprocess.run(["dpkg-deb", "-x", str(store.archive.path(pin)), str(place)], check=True)
    return place


@pytest.fixture
def kernel(tmp_path: Path) -> tuple[Path, Path]:
    """A bzImage and its modules, out of the catalogue's sight."""
    root = unpacked(Wanted(PieceKind.KERNEL, "6.1"), tmp_path / "kernel")
    image = shutil.copy(next((root / "boot").glob("vmlinuz-*")), tmp_path / "bzImage")
    return Path(image), next((root / "lib/modules").iterdir())


def test_own_kernel_with_modules(lab: Lab, kernel: tuple[Path, Path]) -> None:
    image, modules = kernel
    done = lab("run", "brk", "--kernel", str(image), "--modules", str(modules), "-o", "run", "--bisect")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr.splitlines()[-1].startswith("lab: exit 0: good")
    assert lab.record("run").environment["release"].startswith("6.1.")


def test_own_kernel_without_its_modules_says_what_it_must_have(lab: Lab, kernel: tuple[Path, Path]) -> None:
    done = lab("run", "brk", "--kernel", str(kernel[0]), "-o", "run")
    assert done.returncode == 4
    assert "CONFIG_VIRTIO_NET" in done.stdout and "--modules" in done.stdout


def test_a_kernel_file_that_was_cut_off(lab: Lab, kernel: tuple[Path, Path]) -> None:
    image = kernel[0]
    image.write_bytes(image.read_bytes()[: 1 << 20])
    done = lab("run", "brk", "--kernel", str(image), "-o", "run", "--timeout", "20", "--bisect")
    assert done.returncode == 125 and "Traceback" not in done.stderr, "git bisect can't test it"
    assert "the program was not started" in done.stderr.splitlines()[-1]
    code = lab.record("run").exit_code
    assert code in (3, 4, 5) and ("CONFIG_SERIAL_8250_CONSOLE" in done.stdout or code == 3)


@pytest.mark.parametrize("form", ["folder", "tar"])
def test_own_userland(lab: Lab, tmp_path: Path, form: str) -> None:
    piece = Store(resources.cache()).userland("bookworm")
    root = tmp_path / "root"
    root.mkdir()
    with piece.cpio.open("rb") as archive:
        subprocess.run([Path("/usr/bin/env"), "python3", "-c", UNPACK, str(root)], stdin=archive, check=True)
    own = root
    if form == "tar":
        own = tmp_path / "root.tar"
        subprocess.run(["tar", "-C", str(root), "-cf", str(own), "."], check=True)
    done = lab("exec", "-q", "--userland", str(own), "--", "/lib/x86_64-linux-gnu/libc.so.6")
    assert done.returncode == 0, done.stderr
    assert "version 2.36" in done.stdout


# newc, as in the kernel's Documentation/driver-api/early-userspace/buffer-format.rst; devices are left out
UNPACK = r"""
import os, stat, sys
data, at, root = sys.stdin.buffer.read(), 0, sys.argv[1]
while data[at:at + 6] == b"070701":
    field = [int(data[at + 6 + 8 * i:at + 14 + 8 * i], 16) for i in range(13)]
    mode, size, length = field[1], field[6], field[11]
    name = data[at + 110:at + 109 + length].decode()
    begin = at + 110 + length + -(110 + length) % 4
    body, at = data[begin:begin + size], begin + size + -size % 4
    path = os.path.join(root, name)
    if name == "TRAILER!!!":
        break
    if stat.S_ISDIR(mode):
        os.makedirs(path, exist_ok=True)
    elif stat.S_ISLNK(mode):
        os.symlink(body.decode(), path)
    elif stat.S_ISREG(mode):
        with open(path, "wb") as file:
            file.write(body)
    if stat.S_ISDIR(mode) or stat.S_ISREG(mode):
        os.chmod(path, mode & 0o7777)
"""
