"""Deterministic cpio archives (newc): the same nodes give the same bytes, on every host.

The kernel unpacks concatenated newc archives into its initramfs, zero padding between them allowed
(Documentation/driver-api/early-userspace/buffer-format.rst).
"""

from __future__ import annotations

import io
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from orchestrator.errors import PieceError

_BLOCK = 512
_LIMIT = 0xFFFFFFFF  # a newc field has eight hexadecimal digits


@dataclass(frozen=True)
class Node:
    """One file of an archive. ``mode`` holds the type, too; ``device`` is (major, minor)."""

    path: str  # relative, "usr/bin/busybox"
    mode: int
    data: bytes | Path = b""  # content, a file that holds it, or a symlink's target
    device: tuple[int, int] = (0, 0)
    uid: int = 0
    gid: int = 0


def directory(path: str, mode: int = 0o755) -> Node:
    """A directory."""
    return Node(path, stat.S_IFDIR | mode)


def file(path: str, data: bytes | Path, mode: int = 0o644) -> Node:
    """A regular file."""
    return Node(path, stat.S_IFREG | mode, data)


def symlink(path: str, target: str) -> Node:
    """A symbolic link."""
    return Node(path, stat.S_IFLNK | 0o777, target.encode())


def character(path: str, major: int, minor: int, mode: int = 0o600) -> Node:
    """A character device."""
    return Node(path, stat.S_IFCHR | mode, device=(major, minor))


def archive(nodes: Iterable[Node]) -> bytes:
    """The archive as bytes: sorted, parents first and made up where they are missing."""
    stream = io.BytesIO()
    write(stream, nodes)
    return stream.getvalue()


def write(stream: IO[bytes], nodes: Iterable[Node]) -> None:
    """Writes the archive of ``nodes`` to ``stream``."""
    written = 0
    for inode, node in enumerate(_ordered(nodes), start=1):
        written += _write_node(stream, node, inode)
    written += _write_node(stream, Node("TRAILER!!!", 0), 0)
    stream.write(bytes(-written % _BLOCK))


def _ordered(nodes: Iterable[Node]) -> list[Node]:
    known = {node.path: node for node in nodes}
    for path in list(known):
        for parent in _parents(path):
            known.setdefault(parent, directory(parent))
    return sorted(known.values(), key=lambda node: node.path.split("/"))


def _parents(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def _write_node(stream: IO[bytes], node: Node, inode: int) -> int:
    name = node.path.encode("utf-8", "surrogateescape") + b"\0"
    size = node.data.stat().st_size if isinstance(node.data, Path) else len(node.data)
    if size > _LIMIT:
        raise PieceError(f"{node.path}: {size} bytes do not fit into a cpio archive (limit 4 GiB)")
    links = 2 if stat.S_ISDIR(node.mode) else 1
    fields = (inode, node.mode, node.uid, node.gid, links, 0, size, 0, 0, *node.device, len(name), 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + name
    head += bytes(-len(head) % 4)
    stream.write(head)
    _write_data(stream, node, size)
    stream.write(bytes(-size % 4))
    return len(head) + size + -size % 4


def _write_data(stream: IO[bytes], node: Node, size: int) -> None:
    if isinstance(node.data, bytes):
        stream.write(node.data)
        return
    left = size
    with node.data.open("rb") as source:
        while chunk := source.read(min(left, 1 << 20)):
            stream.write(chunk)
            left -= len(chunk)
    if left:
        raise PieceError(f"{node.data} became shorter while it was packed", "Run it again.")
