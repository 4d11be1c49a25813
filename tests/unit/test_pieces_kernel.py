"""Kernels: release, modules in the order to load them, and a user's own files."""

from __future__ import annotations

import lzma
from pathlib import Path

import pytest
from pieces_samples import bzimage, deb, file, module, unpack_cpio, vmlinux

from orchestrator.errors import PieceError, UsageError
from orchestrator.pieces import kernel
from orchestrator.pieces.user import user_kernel, user_userland

RELEASE = "6.12.1-cloud-amd64"
TREE = f"usr/lib/modules/{RELEASE}"


def names(archive: bytes) -> list[str]:
    return [path.removeprefix("lab/modules/") for path in unpack_cpio(archive) if path.endswith(".ko")]


def test_modules_are_in_load_order_and_unpacked() -> None:
    tree: dict[str, bytes | Path] = {
        f"{TREE}/modules.builtin": b"kernel/drivers/virtio/virtio_pci.ko\nkernel/drivers/virtio-ring.ko\n",
        f"{TREE}/kernel/net/failover.ko.xz": lzma.compress(module()),
        f"{TREE}/kernel/net/net_failover.ko.xz": lzma.compress(module("failover")),
        f"{TREE}/kernel/virtio_net.ko.xz": lzma.compress(module("net_failover", "virtio_ring")),
        f"{TREE}/kernel/virtio-rng.ko": module(),
        f"{TREE}/kernel/unwanted.ko": module(),
    }
    archive = kernel.modules_archive(tree)
    assert names(archive) == ["00-failover.ko", "01-net_failover.ko", "02-virtio_net.ko", "03-virtio_rng.ko"]
    assert unpack_cpio(archive)["lab/modules/00-failover.ko"][1] == module()


def test_missing_dependency_is_an_error() -> None:
    with pytest.raises(PieceError, match="virtio_net needs net_failover"):
        kernel.modules_archive({"virtio_net.ko": module("net_failover"), "modules.builtin": b""})


@pytest.mark.parametrize(
    "image", [f"boot/vmlinuz-{RELEASE}", f"usr/lib/modules/{RELEASE}/vmlinuz"], ids=["boot", "usr-lib-modules"]
)
def test_kernel_is_found_in_both_places(tmp_path: Path, image: str) -> None:
    packages = [
        deb(tmp_path / "a.deb", [file(f"./{image}", bzimage(RELEASE))]),
        deb(tmp_path / "b.deb", [file(f"./lib/modules/{RELEASE}/modules.builtin", b"")]),
    ]
    assert kernel.assemble(packages, tmp_path) == {"release": RELEASE}
    assert (tmp_path / "vmlinuz").read_bytes() == bzimage(RELEASE)


def test_user_kernels(tmp_path: Path) -> None:
    for name, content in (("bzImage", bzimage("6.9.0-mine")), ("vmlinux", vmlinux("6.9.0-mine"))):
        (tmp_path / name).write_bytes(content)
        assert user_kernel(tmp_path / name).release == "6.9.0-mine"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "an empty file"),
        (b"\x1f\x8b\x08rest", "a gzip file"),
        (b"#!/bin/sh\n", "a script"),
        (bytes(0x38) + b"ARM\x64", "a kernel for arm64"),
        (vmlinux("6.9", pvh=False), "without a PVH note"),
        (vmlinux("6.9", machine=183), "not for x86-64"),
        (b"\x7fELF" + bytes(4), "not for x86-64"),
        (b"\x7fELF\x02\x01\x01" + bytes(11) + b"\x3e\x00" + bytes(60), "not a Linux kernel"),
    ],
)
def test_what_is_no_kernel_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(UsageError, match=message) as caught:
        user_kernel(tmp_path / "x")
    assert "bzImage" in caught.value.hint


def test_missing_kernel_and_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        user_kernel(tmp_path / "nothing")
    with pytest.raises(UsageError, match="a folder"):
        user_kernel(tmp_path)


def test_user_modules(tmp_path: Path) -> None:
    tree = tmp_path / "lib/modules/6.9.0-mine"
    tree.mkdir(parents=True)
    (tree / "modules.builtin").write_text("")
    (tree / "virtio_net.ko").write_bytes(module())
    assert names(kernel.pack_modules(tree)) == names(kernel.pack_modules(tmp_path)) == ["00-virtio_net.ko"]
    (tmp_path / "bzImage").write_bytes(bzimage("6.9.0-mine"))
    found = user_kernel(tmp_path / "bzImage", tree, tmp_path / "cache")
    assert found.modules is not None and names(found.modules.read_bytes()) == ["00-virtio_net.ko"]
    with pytest.raises(UsageError, match="no kernel's modules"):
        kernel.pack_modules(tmp_path / "cache")


def test_user_userland(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "usr/lib/x86_64-linux-gnu").mkdir(parents=True)
    libc = b"\0GNU C Library (X GLIBC 2.38-1) stable release version 2.38.\n"
    (root / "usr/lib/x86_64-linux-gnu/libc.so.6").write_bytes(libc)
    found = user_userland(root, tmp_path / "cache")
    assert (found.glibc, found.sysroot) == ("2.38", None)
    assert {"dev/console", "root", "proc"} <= unpack_cpio(found.cpio.read_bytes()).keys()
    assert user_userland(root, tmp_path / "cache").cpio == found.cpio


def test_userland_without_glibc(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    with pytest.raises(UsageError, match="no glibc"):
        user_userland(tmp_path / "root", tmp_path / "cache")
    (tmp_path / "x.tar").write_bytes(b"nonsense")
    with pytest.raises(UsageError, match="not a tar file"):
        user_userland(tmp_path / "x.tar", tmp_path / "cache")
