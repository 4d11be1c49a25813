"""Small packages, kernels and catalogues for the tests of the pieces; nothing here needs a network."""

from __future__ import annotations

import io
import struct
import tarfile
from collections.abc import Iterable
from pathlib import Path

CATALOGUE = """
kernels:
  "5.10": {suites: [bullseye], package: linux-image-cloud-amd64}
  "6.1": {suites: [bookworm], package: linux-image-cloud-amd64}
  "6.12": {suites: [trixie], package: linux-image-cloud-amd64}
  "7.x": {suites: [testing, unstable], package: linux-image-cloud-amd64, versions: "7.*"}
userlands:
  bookworm: {suite: bookworm}
  trixie: {suite: trixie}
emulators:
  trixie: {suite: trixie, default: true}
images:
  default: {kernel: "6.12", userland: trixie}
"""

def package(name: str, version: str, sha256: str = "00" * 32, folder: str = "pool/main/x") -> str:
    """A package of a lock, as a line of YAML."""
    file = f"{name}_{version.partition(':')[2] or version}_amd64.deb"
    return f"{{name: {name}, version: '{version}', sha256: '{sha256}', size: 1000, filename: {folder}/{file}}}"


LOCK = f"""
pieces:
  kernel/6.1: {{version: 6.1.176-1, suite: bookworm, packages: [{package("linux-image-6.1", "6.1.176-1")}]}}
  kernel/6.12: {{version: 6.12.107-1, suite: trixie, packages: [{package("linux-image-6.12", "6.12.107-1")}]}}
  kernel/7.x:
    version: 7.3.4-1~bpo13+1
    suite: testing
    packages: [{package("linux-image-7.3", "7.3.4-1~bpo13+1")}]
  userland/bookworm: {{version: "2.36", suite: bookworm, packages: [{package("libc6", "2.36-9")}]}}
"""


def images(folder: Path) -> Path:
    """A folder with a catalogue and a lock."""
    (folder / "catalogue.yaml").write_text(CATALOGUE)
    (folder / "lock.yaml").write_text(LOCK)
    return folder


def file(name: str, data: bytes = b"", mode: int = 0o644) -> tuple[tarfile.TarInfo, bytes]:
    """A regular file for ``deb``."""
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(data), mode
    return member, data


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tuple[tarfile.TarInfo, bytes]:
    """A symlink (or hard link) for ``deb``."""
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member, b""


def deb(path: Path, members: Iterable[tuple[tarfile.TarInfo, bytes]]) -> Path:
    """A Debian package with these members, without compression (deb(5))."""
    parts = [("debian-binary", b"2.0\n"), ("control.tar", _tar([])), ("data.tar", _tar(members))]
    archive = b"!<arch>\n"
    for name, data in parts:
        archive += f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(data):<10}`\n".encode() + data
        archive += b"\n" * (len(data) % 2)
    path.write_bytes(archive)
    return path


def _tar(members: Iterable[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for member, data in members:
            archive.addfile(member, io.BytesIO(data))
    return stream.getvalue()


def bzimage(release: str) -> bytes:
    """The beginning of a bzImage, as arch/x86/boot/header.S lays it out."""
    image = bytearray(0x1000)
    image[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", image, 0x20E, 0x300 - 0x200)
    text = f"{release} (builder@host) #1 SMP".encode()
    image[0x300 : 0x300 + len(text)] = text
    return bytes(image)


def vmlinux(release: str, *, pvh: bool = True, machine: int = 62) -> bytes:
    """An ELF file with a kernel's banner, and a PVH note if wanted."""
    note = struct.pack("<III", 4, 4, 18) + b"Xen\0" + bytes(4) if pvh else bytes(16)
    head = b"\x7fELF\x02\x01\x01" + bytes(9)
    head += struct.pack("<HHIQQQIHHHHHH", 2, machine, 1, 0, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 4, 4, 120, 0, 0, len(note), len(note), 4)
    return head + segment + note + f"Linux version {release} (x@y)\n".encode()


def note(kind: int, owner: bytes, content: bytes, align: int = 4) -> bytes:
    """One ELF note; elf(5)."""
    head = struct.pack("<III", len(owner) + 1, len(content), kind) + owner + b"\0"
    head += bytes(-len(head) % align)
    return head + content + bytes(-len(content) % align)


def elf(
    build_id: bytes = b"", *, dwarf: bool = False, link: tuple[str, int] | None = None, more: bytes = b"", kind: int = 1
) -> bytes:
    """An ELF file with sections: a build-id, debug information (of that section type), the link to a debug file."""
    named: list[tuple[str, int, bytes]] = [("", 0, b"")]
    if build_id:
        named.append((".note.gnu.build-id", 7, note(1, b"Other", b"x") + note(3, b"GNU", build_id)))
    if dwarf:
        named.append((".debug_info", kind, b"DWARF"))
    if link:
        name = link[0].encode() + b"\0"
        named.append((".gnu_debuglink", 1, name + bytes(-len(name) % 4) + struct.pack("<I", link[1])))
    named += [(".rodata", 1, more), (".shstrtab", 3, b"")]
    strings, content, table = b"", b"", b""
    for name, _, _ in named:
        strings += name.encode() + b"\0"
    named[-1] = (".shstrtab", 3, strings)
    at = 0
    for name, section, data in named:
        table += struct.pack("<IIQQQQIIQQ", at, section, 0, 0, 64 + len(content), len(data), 0, 0, 4, 0)
        at, content = at + len(name) + 1, content + data
    head = b"\x7fELF\x02\x01\x01" + bytes(9)
    head += struct.pack("<HHIQQQI", 3, 62, 1, 0, 0, 64 + len(content), 0)
    head += struct.pack("<HHHHHH", 64, 56, 0, 64, len(named), len(named) - 1)
    return head + content + table


def module(*depends: str) -> bytes:
    """A kernel module's .modinfo."""
    return b"\x7fELF\0license=GPL\0depends=" + ",".join(depends).encode() + b"\0name=x\0"


def unpack_cpio(archive: bytes) -> dict[str, tuple[int, bytes, tuple[int, ...]]]:
    """Path -> (mode, data, all numbers of the header), in the archive's order."""
    found: dict[str, tuple[int, bytes, tuple[int, ...]]] = {}
    at = 0
    while True:
        assert archive[at : at + 6] == b"070701"
        numbers = tuple(int(archive[at + 6 + 8 * i : at + 14 + 8 * i], 16) for i in range(13))
        name = archive[at + 110 : at + 110 + numbers[11] - 1].decode()
        at = (at + 110 + numbers[11] + 3) & ~3
        if name == "TRAILER!!!":
            assert not any(archive[at:])
            return found
        found[name] = (numbers[1], archive[at : at + numbers[6]], numbers)
        at = (at + numbers[6] + 3) & ~3
