"""Pieces from a real mirror: the same bytes each time, and nothing wrong is ever used, whatever happens."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Lab

from orchestrator import elf, progress, resources
from orchestrator.errors import PieceError
from orchestrator.pieces import Store, Wanted, upkeep
from orchestrator.pieces.cache import _describe
from orchestrator.pieces.download import digest

pytestmark = pytest.mark.guest

NOWHERE = "http://127.0.0.1:9/debian"  # discard: nothing listens
BUILD = (
    "import sys; from pathlib import Path; from orchestrator.pieces import Store, upkeep; "
    "store = Store(cache=Path(sys.argv[1])); store.prepare(upkeep.select(store, sys.argv[2:]))"
)


@pytest.fixture(scope="session")
def archives() -> Path:
    """The folder with all packages, fetched once."""
    store = Store(cache=resources.cache())
    store.prepare(pieces_of(store))
    return store.archive.folder


def pieces_of(store: Store) -> list[Wanted]:
    """All pieces but the kernels' symbols, whose packages of some 300 MiB are not kept."""
    return [wanted for wanted in store.everything() if not wanted.name.startswith("kernel-")]


@pytest.fixture
def cache(tmp_path: Path, archives: Path) -> Path:
    """A new cache that needs no download."""
    shutil.copytree(archives, tmp_path / "cache/archives")
    return tmp_path / "cache"


def start(cache: Path, *names: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", BUILD, str(cache), *names])


def wait_for(found: Callable[[], object], process: subprocess.Popen[bytes]) -> None:
    """Until ``found`` is true; fails if the process ends before, or after a minute."""
    limit = time.monotonic() + 60
    while not found():
        assert process.poll() is None, "it ended too soon"
        assert time.monotonic() < limit
        time.sleep(0.001)


def test_same_lock_same_bytes(cache: Path, archives: Path) -> None:
    first = Store(cache=archives.parent)
    second = Store(cache=cache, mirror=NOWHERE)
    for one, other in zip(
        first.prepare(pieces_of(first)), second.prepare(pieces_of(second)), strict=True
    ):
        assert one.path != other.path
        assert _describe(one.path) == _describe(other.path), one.name
        assert (one.path / "manifest.json").read_bytes() == (other.path / "manifest.json").read_bytes()


def test_two_builds_at_once(cache: Path) -> None:
    builders = [start(cache, "kernel/6.1", "trixie") for _ in range(3)]
    assert [process.wait(120) for process in builders] == [0, 0, 0]
    store = Store(cache=cache, mirror=NOWHERE)
    assert len(store.cache.names()) == 4
    assert not list(store.cache.folder.glob(".*"))
    assert upkeep.verify(store) == []


def test_killed_during_download(tmp_path: Path) -> None:
    folder = tmp_path / "archives"
    process = start(tmp_path, "kernel/5.10")
    wait_for(lambda: list(folder.glob(".part-*")), process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert all(path.stem == digest(path) for path in folder.glob("*.deb"))
    assert Store(cache=tmp_path).kernel("5.10").release.startswith("5.10.")


def test_killed_during_build(cache: Path) -> None:
    pieces = cache / "pieces"
    process = start(cache, "emulator/trixie")
    wait_for(lambda: list(pieces.glob(".build-*/root/usr/bin/*")), process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    store = Store(cache=cache, mirror=NOWHERE)
    assert store.cache.names() == []
    assert store.emulator().version
    assert not list(pieces.glob(".*"))


def test_damaged_piece_is_built_anew(cache: Path) -> None:
    store = Store(cache=cache, mirror=NOWHERE)
    vmlinuz = store.kernel("6.1").vmlinuz
    good = vmlinuz.read_bytes()
    before = vmlinuz.stat()
    with vmlinuz.open("r+b") as stream:
        stream.seek(100_000)
        stream.write(b"damage")
    os.utime(vmlinuz, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert vmlinuz.read_bytes() != good
    assert store.kernel("6.1").vmlinuz.read_bytes() == good


def test_damaged_package_is_fetched_again(tmp_path: Path) -> None:
    store = Store(cache=tmp_path)
    piece = store.kernel("5.10").piece
    assert piece is not None
    largest = max(piece.packages, key=lambda pin: pin.size)
    package = store.archive.path(largest)
    package.write_bytes(bytes(largest.size))
    shutil.rmtree(piece.path)
    assert Store(cache=tmp_path).kernel("5.10").release
    assert digest(package) == largest.sha256


def test_no_network(cache: Path, tmp_path: Path) -> None:
    filled = Store(cache=cache, mirror=NOWHERE)
    filled.prepare(pieces_of(filled))
    shutil.rmtree(cache / "archives")
    again = Store(cache=cache, mirror=NOWHERE)
    assert again.kernel("6.12").vmlinuz.is_file()
    empty = Store(cache=tmp_path / "empty", mirror=NOWHERE)
    with pytest.raises(PieceError, match="no network") as caught:
        empty.kernel("6.12")
    assert "In the cache, usable without a network: nothing" in caught.value.hint


def test_version_that_is_gone(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    shutil.copytree(resources.data("images"), folder)
    text = (folder / "lock.yaml").read_text()
    gone = re.sub(r"(name: busybox, .*sha256: )\w+(.*filename: pool/)main/b/", rf"\g<1>{'f' * 64}\2gone/", text)
    assert gone != text
    (folder / "lock.yaml").write_text(gone)
    with pytest.raises(PieceError, match="no longer serves busybox"):
        Store(cache=tmp_path / "cache", locked=True, images=folder).userland("bookworm")
    events: list[progress.Event] = []
    with progress.listening(events.append):
        found = Store(cache=tmp_path / "cache", images=folder).userland("bookworm")
    assert found.piece is not None and "no longer serves busybox" in found.piece.drift
    assert any("resolved anew" in event.what for event in events if event.kind == "note")
    offline = Store(cache=tmp_path / "cache", images=folder, mirror=NOWHERE).userland("bookworm")
    assert offline.piece == found.piece


PROGRAM = """
#include <asm/mman.h>
#include <gnu/libc-version.h>
#include <linux/perf_event.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
static void *run(void *value) { return value; }
int main(int argc, char **argv) {
    pthread_t thread;
    pthread_create(&thread, 0, run, argv);
    pthread_join(thread, 0);
    printf("%s %f\\n", gnu_get_libc_version(), exp(strtol("1", 0, 10) * argc));
    return 0;
}
"""


@pytest.mark.parametrize("name", ["bullseye", "bookworm", "trixie", "testing"])
@pytest.mark.parametrize("link", [(), ("-static",), ("-static-pie",)], ids=["dynamic", "static", "static-pie"])
def test_sysroot_is_what_programs_are_linked_with(
    archives: Path, tmp_path: Path, name: str, link: tuple[str, ...]
) -> None:
    userland = Store(cache=archives.parent).userland(name)
    root = userland.sysroot
    assert root is not None
    libraries = root / "usr/lib/x86_64-linux-gnu"
    (tmp_path / "x.c").write_text(PROGRAM)
    command = ["gcc", f"--sysroot={root}", f"-B{libraries}/", "-O2", "-pthread", *link, "x.c", "-lm", "-o", "x"]
    subprocess.run(command, cwd=tmp_path, check=True)
    loader = [] if link else [str(root / "usr/lib64/ld-linux-x86-64.so.2"), "--library-path", str(libraries)]
    said = subprocess.run([*loader, str(tmp_path / "x")], capture_output=True, text=True, check=True).stdout
    assert said == f"{userland.glibc} 2.718282\n"


def test_emulator_needs_nothing_of_the_host(archives: Path) -> None:
    emulator = Store(cache=archives.parent).emulator()
    done = subprocess.run(
        [*emulator.argv, "--version"], env={}, cwd="/", capture_output=True, text=True, check=True
    )
    assert f"version {emulator.version}" in done.stdout
    assert int(emulator.version.split(".")[0]) >= 10


def test_manifest_names_the_packages(archives: Path) -> None:
    piece = Store(cache=archives.parent).kernel("7.x").piece
    assert piece is not None
    content = json.loads((piece.path / "manifest.json").read_text())["content"]
    assert content["piece"] == "kernel/7.x"
    assert {pin["name"] for pin in content["packages"]} == {pin.name for pin in piece.packages}


def test_lock_is_what_apt_resolves(tmp_path: Path, archives: Path) -> None:
    """A lock made from nothing names the same sets of packages, in whatever versions."""
    folder = tmp_path / "images"
    shutil.copytree(resources.data("images"), folder)
    old = Store(cache=archives.parent).lock
    (folder / "lock.yaml").unlink()
    fresh = Store(cache=tmp_path / "cache", images=folder)
    found, lines = upkeep.relocked(fresh, update=False)
    upkeep.relock(fresh, found)
    new = Store(cache=tmp_path / "cache", images=folder).lock
    assert lines and new.keys() == old.keys()
    for key in ("kernel/6.1", "userland/bookworm", "sysroot/bullseye"):
        assert len(new[key].packages) == len(old[key].packages)


def test_symbols_are_those_of_the_running_kernel(archives: Path, lab: Lab) -> None:
    """The default kernel's only: its package is 300 MiB to download, once."""
    store = Store(cache=archives.parent)
    name = store.image().kernel
    found = store.kernel_symbols(store.kernel(name))
    done = lab("exec", "-q", "-k", name, "--", "/lab/labrun probe")
    assert done.returncode == 0, done.stderr
    assert found.vmlinux and elf.build_id(found.vmlinux) == found.vmlinux_build_id
    assert re.search(rf"^probe \d+ name=buildid\n{found.vmlinux_build_id}$", done.stdout, re.MULTILINE)
    assert re.search(r"^probe \d+ name=vmcoreinfo\n0x[0-9a-f]+ [0-9a-f]+$", done.stdout, re.MULTILINE)


@pytest.mark.parametrize("name", ["bullseye", "bookworm", "trixie", "testing"])
def test_symbols_of_a_libc_describe_its_allocator(archives: Path, name: str) -> None:
    store = Store(cache=archives.parent)
    found = store.userland_symbols(store.userland(name))
    assert found.libc and found.ld and (found.libpthread is not None) == (name == "bullseye")
    shown = subprocess.run(["readelf", "-sW", str(found.libc)], capture_output=True, text=True, check=True).stdout
    assert re.search(r"\bmain_arena$", shown, re.MULTILINE) and re.search(r"\bmp_$", shown, re.MULTILINE)
