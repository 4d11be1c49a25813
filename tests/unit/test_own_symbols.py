"""Debug information of a user's own kernel and userland, and whether it is the running kernel's."""

from __future__ import annotations

import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from pieces_samples import bzimage, elf, images, vmlinux

from orchestrator.errors import UsageError
from orchestrator.model import Kernel, Symbols, Userland
from orchestrator.pieces import Store, own_symbols
from orchestrator.pieces.user import user_kernel, user_userland
from orchestrator.prepare import check_vmlinux, find_kernel, find_symbols

ID = bytes(range(20))
LD_ID = bytes(range(1, 21))
DWARF = elf(ID, dwarf=True)
LIBC = elf(ID, more=b"GNU C Library (X GLIBC 2.38-1) stable release version 2.38.\n")


def kernel(folder: Path, place: str = "bzImage") -> Path:
    (folder / place).parent.mkdir(parents=True, exist_ok=True)
    (folder / place).write_bytes(bzimage("6.9.0-mine"))
    return folder / place


def debug(path: Path, content: bytes = DWARF) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("image", "place"),
    [("bzImage", "vmlinux"), ("linux/arch/x86/boot/bzImage", "linux/vmlinux"), ("bzImage", "modules/build/vmlinux")],
)
def test_vmlinux_in_its_usual_places(tmp_path: Path, image: str, place: str) -> None:
    path = kernel(tmp_path, image)
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules/modules.builtin").write_text("")
    assert user_kernel(path, tmp_path / "modules", tmp_path / "cache").vmlinux is None
    found = debug(tmp_path / place)
    assert user_kernel(path, tmp_path / "modules", tmp_path / "cache").vmlinux == found
    given = debug(tmp_path / "given")
    assert user_kernel(path, vmlinux=given).vmlinux == given, "what is given comes first"


def test_vmlinux_of_a_kernel_by_a_symlink(tmp_path: Path) -> None:
    path = kernel(tmp_path, "linux/arch/x86/boot/bzImage")
    (tmp_path / "linux/arch/x86_64/boot").mkdir(parents=True)
    (tmp_path / "linux/arch/x86_64/boot/bzImage").symlink_to("../../x86/boot/bzImage")
    assert path.is_file()
    found = debug(tmp_path / "linux/vmlinux")
    assert user_kernel(tmp_path / "linux/arch/x86_64/boot/bzImage").vmlinux == found


def test_a_vmlinux_without_debug_information_is_not_taken(tmp_path: Path) -> None:
    debug(tmp_path / "vmlinux", vmlinux("6.9.0-mine"))
    assert user_kernel(kernel(tmp_path)).vmlinux is None
    assert user_kernel(tmp_path / "vmlinux").vmlinux is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file"),
        (b"", "not an ELF"),
        (elf(ID), "no debug information"),
        (elf(dwarf=True), "no build-id"),
        (b"#!/bin/sh\n", "not an ELF"),
        (DWARF[:-10], "cut off"),
    ],
)
def test_a_given_vmlinux_that_is_none(tmp_path: Path, content: bytes | None, message: str) -> None:
    given = tmp_path / "given"
    if content is not None:
        given.write_bytes(content)
    with pytest.raises(UsageError, match=f"--vmlinux {given}: .*({message})") as caught:
        user_kernel(kernel(tmp_path), vmlinux=given)
    assert "CONFIG_DEBUG_INFO" in caught.value.hint


def test_a_kernel_of_the_catalogue_brings_its_own(tmp_path: Path) -> None:
    store = Store(tmp_path / "cache", images=images(tmp_path))
    with pytest.raises(UsageError, match="--vmlinux goes with --kernel PATH"):
        find_kernel(store, "6.1", None, debug(tmp_path / "vmlinux"))


def tree(folder: Path, *, old: bool = False) -> Path:
    """A root file system with a libc and a loader, and the debug file of the libc only."""
    libraries = folder / ("lib/x86_64-linux-gnu" if old else "usr/lib/x86_64-linux-gnu")
    libraries.mkdir(parents=True)
    if old:
        debug(libraries / "libc-2.31.so", LIBC)
        (libraries / "libc.so.6").symlink_to("libc-2.31.so")
        (folder / "lib64").mkdir()
        debug(libraries / "ld-2.31.so", elf(LD_ID))
        (folder / "lib64/ld-linux-x86-64.so.2").symlink_to("/lib/x86_64-linux-gnu/ld-2.31.so")
    else:
        debug(libraries / "libc.so.6", LIBC)
        debug(libraries / "ld-linux-x86-64.so.2", elf(LD_ID))
    debug(folder / f"usr/lib/debug/.build-id/{ID.hex()[:2]}/{ID.hex()[2:]}.debug")
    return folder


@pytest.mark.parametrize("old", [False, True], ids=["new", "old"])
@pytest.mark.parametrize("form", ["folder", "tar"])
def test_debug_files_inside_a_userland(tmp_path: Path, old: bool, form: str) -> None:
    root = tree(tmp_path / "root", old=old)
    if form == "tar":
        with tarfile.open(tmp_path / "root.tar", "w") as archive:
            archive.add(root, ".")
    found = user_userland(root if form == "folder" else tmp_path / "root.tar", tmp_path / "cache").symbols
    assert found and found.libc and found.libc.read_bytes() == DWARF
    assert (found.libc_build_id, found.ld, found.ld_build_id) == (ID.hex(), None, LD_ID.hex())
    assert len(found.missing) == 1 and found.missing[0].startswith("ld-linux-x86-64.so.2: the userland has no")


def test_a_library_that_was_not_stripped_describes_itself(tmp_path: Path) -> None:
    root = tree(tmp_path / "root")
    loader = debug(root / "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2", elf(LD_ID, dwarf=True))
    found = user_userland(root, tmp_path / "cache").symbols
    assert found and found.ld == loader and not found.missing


def test_a_debug_file_of_something_else_is_not_taken(tmp_path: Path) -> None:
    root = tree(tmp_path / "root")
    debug(root / f"usr/lib/debug/.build-id/{ID.hex()[:2]}/{ID.hex()[2:]}.debug", elf(LD_ID, dwarf=True))
    found = user_userland(root, tmp_path / "cache").symbols
    assert found and found.libc is None and len(found.missing) == 2


def test_symlinks_do_not_lead_out_of_a_tree(tmp_path: Path) -> None:
    root = tree(tmp_path / "root")
    path = root / f"usr/lib/debug/.build-id/{ID.hex()[:2]}/{ID.hex()[2:]}.debug"
    path.unlink()
    path.symlink_to(debug(tmp_path / "outside"))
    loop = root / "usr/lib/x86_64-linux-gnu/libpthread.so.0"
    loop.symlink_to("libpthread.so.0")
    found = user_userland(root, tmp_path / "cache").symbols
    assert found and found.libc is None and found.libpthread is None


def test_symbols_of_own_pieces_need_no_network(tmp_path: Path) -> None:
    store = Store(tmp_path / "cache", "http://127.0.0.1:9/debian", images=images(tmp_path))
    own = Kernel("./bzImage", tmp_path / "bzImage", None, None, "6.9", vmlinux=debug(tmp_path / "vmlinux"))
    userland = Userland("./root", "2.38", tmp_path / "x.cpio", None, symbols=Symbols(missing=("libc.so.6: none",)))
    found = find_symbols(store, own, userland)
    assert (found.vmlinux, found.vmlinux_build_id) == (tmp_path / "vmlinux", ID.hex())
    assert found.missing == ("libc.so.6: none",) and found.pieces == ()
    without = find_symbols(store, replace(own, vmlinux=None), userland)
    assert without.vmlinux is None and len(without.missing) == 2 and "--vmlinux" in without.missing[0]


def test_a_vmlinux_of_another_kernel_is_refused(tmp_path: Path) -> None:
    found = Symbols(vmlinux=tmp_path / "vmlinux", vmlinux_build_id=ID.hex())
    check_vmlinux(found, ID.hex())
    check_vmlinux(Symbols(), "")
    with pytest.raises(UsageError, match=f"of another kernel: build-id {ID.hex()}, the running one has {LD_ID.hex()}"):
        check_vmlinux(found, LD_ID.hex())
    with pytest.raises(UsageError, match="no build-id in /sys/kernel/notes"):
        check_vmlinux(found, "")


def test_places_of_an_installed_kernel() -> None:
    places = own_symbols._places(Path("/boot/vmlinuz-6.9"), "6.9", None)
    assert Path("/usr/lib/debug/boot/vmlinux-6.9") in places
    assert Path("/usr/lib/debug/lib/modules/6.9/vmlinux") in places
