"""A user's own pieces: a kernel by path, with its modules; a userland as a folder or a tar file."""

from __future__ import annotations

import contextlib
import dataclasses
import mmap
import os
import re
import shutil
import stat
import struct
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from orchestrator import progress, resources
from orchestrator.errors import UsageError
from orchestrator.model import Kernel, Userland
from orchestrator.pieces import cpio, own_symbols
from orchestrator.pieces.cache import Cache
from orchestrator.pieces.download import digest
from orchestrator.pieces.kernel import bzimage_release, pack_modules

_SETUP = 0x10000  # the setup part of a bzImage, which holds its release, lies within
_NEED_KERNEL = (
    "Give an x86-64 bzImage (arch/x86/boot/bzImage, /boot/vmlinuz-*), or an uncompressed vmlinux of a kernel "
    "with CONFIG_PVH=y."
)
_MAGIC = {
    b"\x1f\x8b": "a gzip file",
    b"\xfd7zXZ": "an xz file",
    b"\x28\xb5\x2f\xfd": "a zstd file",
    b"!<arch>": "a Debian package or an archive of objects",
    b"QFI\xfb": "a disk image (qcow2)",
    b"070701": "a cpio archive",
    b"#!": "a script",
    b"PK": "a zip file",
}
_SKELETON = ("dev", "proc", "sys", "run", "root", "tmp", "etc")


def user_kernel(
    path: Path, modules: Path | None = None, cache: Path | None = None, vmlinux: Path | None = None
) -> Kernel:
    """A kernel that the user built, with the modules that it needs to be reached, and its vmlinux if one is given or
    found. UsageError if it is none."""
    if not path.is_file():
        raise UsageError(f"{path}: {_what(path)}, not a kernel", _NEED_KERNEL)
    with path.open("rb") as stream:
        head = stream.read(_SETUP)
    if head[0x202:0x206] == b"HdrS":
        release = bzimage_release(head)
    elif head[:4] == b"\x7fELF":
        release = _vmlinux_release(path)
    else:
        raise UsageError(f"{path}: {_what(path)}, not a kernel for x86-64", _NEED_KERNEL)
    archive = None
    if modules is not None:
        archive = _stored(cache or resources.cache(), lambda out: out.write(pack_modules(modules)))
    debug = own_symbols.vmlinux(path, release, modules, vmlinux)
    return Kernel(str(path), path.absolute(), archive, config=None, release=release, vmlinux=debug)


def user_userland(path: Path, cache: Path | None = None) -> Userland:
    """A userland that the user made, packed as it is, with the folders that a guest needs added."""
    if not path.exists():
        raise UsageError(f"{path}: {_what(path)}", "Give a folder or a tar file with a root file system.")
    cache = cache or resources.cache()
    with progress.step(f"packing {path}"), contextlib.ExitStack() as stack:
        if path.is_dir():
            nodes = list(_from_folder(path))
        else:
            nodes = list(_from_tar(path, Path(stack.enter_context(tempfile.TemporaryDirectory()))))
        glibc = _glibc(path, nodes)
        archive = _stored(cache, lambda out: cpio.write(out, _completed(nodes)))
        tree = {node.path: node for node in nodes}
        symbols = own_symbols.libraries(tree, lambda found: found if path.is_dir() else _kept(cache, found))
    sysroot = path.absolute() if (path / "usr/include/stdio.h").is_file() else None
    return Userland(str(path), glibc, archive, sysroot, symbols=symbols)


def _vmlinux_release(path: Path) -> str:
    """The release in an ELF vmlinux; it must be one that QEMU can enter (PVH, arch/x86/platform/pvh)."""
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as image:
        if len(image) < 64 or image[4:6] != b"\x02\x01" or struct.unpack_from("<H", image, 18)[0] != 62:
            raise UsageError(f"{path}: an ELF file, but not for x86-64", _NEED_KERNEL)
        banner = re.search(rb"Linux version (\d\S*)", image)
        if banner is None:
            raise UsageError(f"{path}: an ELF file, but not a Linux kernel", _NEED_KERNEL)
        try:
            startable = _has_pvh_note(image)
        except struct.error:
            raise UsageError(f"{path}: a vmlinux that was cut off", _NEED_KERNEL) from None
        if not startable:
            raise UsageError(f"{path}: a vmlinux without a PVH note: QEMU can't start it", _NEED_KERNEL)
        return banner[1].decode("ascii", "replace")


def _has_pvh_note(image: mmap.mmap) -> bool:
    """Whether a PT_NOTE segment holds XEN_ELFNOTE_PHYS32_ENTRY (type 18 of "Xen")."""
    table = struct.unpack_from("<Q", image, 32)[0]
    size, count = struct.unpack_from("<HH", image, 54)
    for start in range(table, table + size * count, size or 1):
        if start + 56 > len(image):
            return False
        kind, _, offset = struct.unpack_from("<IIQ", image, start)
        length = struct.unpack_from("<Q", image, start + 32)[0]
        if kind == 4 and struct.pack("<I", 18) + b"Xen\0" in image[offset : offset + length]:
            return True
    return False


def _what(path: Path) -> str:
    if path.is_dir():
        return "a folder"
    if not path.exists():
        return "there is no such file"
    try:
        with path.open("rb") as stream:
            head = stream.read(_SETUP)
    except OSError as error:
        raise UsageError(f"{path}: can't be read: {error.strerror}") from error
    if not head:
        return "an empty file"
    if head[0x38:0x3C] == b"ARM\x64":
        return "a kernel for arm64"
    return next((what for magic, what in _MAGIC.items() if head.startswith(magic)), "a file of unknown kind")


def _kept(cache: Path, file: Path) -> Path:
    """A copy in the cache of what was unpacked only for now."""
    return _stored(cache, lambda out: out.write(file.read_bytes()), ".debug")


def _stored(cache: Path, write: Callable[[IO[bytes]], object], suffix: str = ".cpio") -> Path:
    """The file that ``write`` writes, in the cache under its content's hash."""
    folder = cache / "user"
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".part-") as scratch:
        new = Path(scratch) / "archive"
        with new.open("wb") as stream:
            write(stream)
            stream.flush()
            os.fsync(stream.fileno())
        name = digest(new)[:32]
        Cache(cache).hold(f"user-{name}")
        return new.replace(folder / f"{name}{suffix}")


def _from_folder(root: Path) -> Iterator[cpio.Node]:
    """The tree as it lies there; what belongs to the user who packs it belongs to root in the guest."""
    for path in root.rglob("*"):
        status = path.lstat()
        name = str(path.relative_to(root))
        data: bytes | Path = b""
        if stat.S_ISLNK(status.st_mode):
            data = os.fsencode(path.readlink())
        elif stat.S_ISREG(status.st_mode):
            data = path
        elif not (stat.S_ISDIR(status.st_mode) or stat.S_ISCHR(status.st_mode)):
            continue  # sockets, pipes
        device = (os.major(status.st_rdev), os.minor(status.st_rdev))
        uid, gid = (0, 0) if status.st_uid == os.getuid() else (status.st_uid, status.st_gid)
        yield cpio.Node(name, status.st_mode, data, device, uid, gid)


def _from_tar(path: Path, scratch: Path) -> list[cpio.Node]:
    """The members of a tar file, compressed or not; their content is kept in ``scratch``."""
    try:
        with tarfile.open(path) as archive:
            found: dict[str, cpio.Node] = {}
            for number, member in enumerate(archive):
                name = str(PurePosixPath(member.name.lstrip("/")))
                if ".." in name.split("/"):
                    raise UsageError(f"{path}: the member {member.name!r} leaves the archive")
                if name != "." and (node := _member(archive, member, name, scratch / str(number), found)):
                    found[name] = node
            return list(found.values())
    except (tarfile.TarError, EOFError, OSError) as error:
        raise UsageError(
            f"{path}: {_what(path)}, not a tar file: {error}",
            "Give a folder or a tar file (plain, gz, bz2 or xz) with a root file system.",
        ) from error


def _member(
    archive: tarfile.TarFile,
    member: tarfile.TarInfo,
    name: str,
    content: Path,
    found: dict[str, cpio.Node],
) -> cpio.Node | None:
    mode, owner = member.mode & 0o7777, (member.uid, member.gid)
    if member.isdir():
        return cpio.Node(name, stat.S_IFDIR | mode, b"", (0, 0), *owner)
    if member.issym():
        return cpio.Node(name, stat.S_IFLNK | 0o777, os.fsencode(member.linkname), (0, 0), *owner)
    if member.islnk():
        first = found.get(str(PurePosixPath(member.linkname.lstrip("/"))))
        return dataclasses.replace(first, path=name) if first else None
    if member.ischr():
        return cpio.Node(name, stat.S_IFCHR | mode, b"", (member.devmajor, member.devminor), *owner)
    stream = archive.extractfile(member)
    if stream is None:
        return None
    with content.open("wb") as out:
        shutil.copyfileobj(stream, out)
    return cpio.Node(name, stat.S_IFREG | mode, content, (0, 0), *owner)


def _completed(nodes: list[cpio.Node]) -> list[cpio.Node]:
    """The nodes, and what every guest needs if they lack it."""
    present = {node.path for node in nodes}
    extra = [cpio.directory(name, 0o700 if name == "root" else 0o755) for name in _SKELETON]
    extra.append(cpio.character("dev/console", 5, 1))
    return [*nodes, *(node for node in extra if node.path not in present)]


def _glibc(path: Path, nodes: list[cpio.Node]) -> str:
    """The version that the tree's libc.so.6 states."""
    tree = {node.path: node for node in nodes}
    for folder in own_symbols.FOLDERS:
        libc = own_symbols.resolved(tree, f"{folder}/libc.so.6")  # a symlink before glibc 2.34
        if libc and (found := re.search(rb"GNU C Library [^\n]*version (\d+\.\d+)", libc.read_bytes())):
            return found[1].decode()
    raise UsageError(
        f"{path}: no glibc in it (libc.so.6 in lib, lib64 or lib/x86_64-linux-gnu)",
        "A userland is the root file system of an x86-64 Linux with glibc, a shell and dropbear.",
    )
