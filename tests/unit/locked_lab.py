"""A whole small lab for the tests of locks and bundles: every kind of piece, its packages at a mirror on this host."""

from __future__ import annotations

import contextlib
import tarfile
import threading
import zlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

from pieces_samples import bzimage, deb, elf, file

from orchestrator.model import PackagePin, PieceKind
from orchestrator.pieces import Store, lock, symbols
from orchestrator.pieces.download import digest
from orchestrator.pieces.lock import Locked

CATALOGUE = """
kernels: {"6.1": {suites: [bookworm], package: linux-image-cloud-amd64}}
userlands: {bookworm: {suite: bookworm}}
emulators: {trixie: {suite: trixie}}
images: {default: {kernel: "6.1", userland: bookworm}}
"""
RELEASE = "6.1.0-50-cloud-amd64"
LIBRARIES = "./usr/lib/x86_64-linux-gnu"
LOADER = b"""#!/bin/sh
case "$*" in
*--list-full*) echo bin/sh ;;
*--version*) echo "QEMU emulator version 10.0.13" ;;
esac
"""  # stands for libc's loader, which the assemblers run
Members = list[tuple[tarfile.TarInfo, bytes]]


def _id(number: int) -> bytes:
    return bytes([*range(19), number])


def _libc() -> tuple[Members, Members]:
    """libc6 and libc6-dbg."""
    files: Members = [file("./usr/lib64/ld-linux-x86-64.so.2", LOADER, 0o755)]
    debug: Members = []
    banner = b"GNU C Library (Debian GLIBC 2.36-9) stable release version 2.36.\n"
    for number, name in enumerate(("libc", "ld")):
        content, hexadecimal = elf(_id(number), dwarf=True), _id(number).hex()
        debug.append(file(f"./usr/lib/debug/.build-id/{hexadecimal[:2]}/{hexadecimal[2:]}.debug", content))
        stripped = elf(_id(number), link=("x.debug", zlib.crc32(content)), more=banner)
        files.append(file(f"{LIBRARIES}/{symbols.LIBRARIES[name]}", stripped, 0o755))
    return files, debug


class LockedLab:
    """A catalogue and its lock below ``folder``; ``pool`` is what the mirror has, by filename (None: no longer)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.images = folder / "images"
        self.images.mkdir(parents=True)
        (self.images / "catalogue.yaml").write_text(CATALOGUE)
        self.pool: dict[str, bytes | None] = {}
        self.asked: list[str] = []
        self.refuses = False
        self.address = "http://127.0.0.1:9/debian"  # until it is served
        self.lock = {entry.id: entry for entry in self._entries()}
        lock.write(self.images / "lock.yaml", self.lock)

    def _entries(self) -> Iterator[Locked]:
        libc, debug = _libc()
        tree = f"./usr/lib/modules/{RELEASE}"
        c = self.add("libc6", "2.36-9", libc)
        programs = ("bin/busybox", "sbin/dropbear", "bin/dropbearkey", "lib/openssh/sftp-server")
        busybox = self.add("busybox", "1:1.35.0-4", [file(f"./usr/{path}", path.encode(), 0o755) for path in programs])
        headers = [file(f"{LIBRARIES}/{name}", b"x") for name in ("crt1.o", "libc.so", "libc.a", "libgcc_eh.a")]
        dev = self.add("libc6-dev", "2.36-9", [*headers, file("./usr/include/stdio.h", b"")])
        qemu = self.add("qemu-system-x86", "1:10.0.13+ds-0", [file("./usr/bin/qemu-system-x86_64", b"qemu", 0o755)])
        image = self.add(f"linux-image-{RELEASE}", "6.1.176-1", [
            file(f"./boot/vmlinuz-{RELEASE}", bzimage(RELEASE)), file(f"{tree}/modules.builtin", b"")])  # fmt: skip
        vmlinux = self.add(f"linux-image-{RELEASE}-dbg", "6.1.176-1", [
            file(f"./usr/lib/debug/boot/vmlinux-{RELEASE}", elf(_id(9), dwarf=True))])  # fmt: skip
        c_debug = self.add("libc6-dbg", "2.36-9", debug)
        yield Locked(PieceKind.KERNEL, "6.1", "6.1.176-1", "bookworm", (image,))
        yield Locked(PieceKind.USERLAND, "bookworm", "2.36", "bookworm", (busybox, c))
        yield Locked(PieceKind.SYSROOT, "bookworm", "2.36", "bookworm", (c, dev))
        yield Locked(PieceKind.EMULATOR, "trixie", "10.0.13", "trixie", (c, qemu))
        yield Locked(PieceKind.SYMBOLS, "kernel-6.1", "6.1.176-1", "bookworm", (vmlinux,))
        yield Locked(PieceKind.SYMBOLS, "userland-bookworm", "2.36", "bookworm", (c, c_debug))

    def add(self, name: str, version: str, members: Members) -> PackagePin:
        """A package at the mirror."""
        path = deb(self.folder / "new.deb", members)
        filename = f"pool/main/x/{name}_{version.partition(':')[2] or version}_amd64.deb"
        self.pool[filename] = path.read_bytes()
        return PackagePin(name, version, digest(path), path.stat().st_size, filename)

    def pin(self, name: str) -> PackagePin:
        """The package of that name."""
        return next(pin for entry in self.lock.values() for pin in entry.packages if pin.name == name)

    def store(self, cache: str = "cache", *, locked: bool = True) -> Store:
        """The pieces, in the cache of that name."""
        return Store(self.folder / cache, self.address, locked=locked, images=self.images)

    @contextlib.contextmanager
    def served(self) -> Iterator[LockedLab]:
        """The mirror answers while the block runs: with the pool, or with 403 if it ``refuses``."""

        class Answer(BaseHTTPRequestHandler):
            def do_GET(handler) -> None:  # noqa: N805
                name = unquote(handler.path).removeprefix("/debian/")
                self.asked.append(name)
                content = self.pool.get(name)
                handler.send_response(403 if self.refuses else 404 if content is None else 200)
                body = b"" if self.refuses or content is None else content
                handler.send_header("Content-Length", str(len(body)))
                handler.end_headers()
                handler.wfile.write(body)

            def log_message(handler, *_: object) -> None:  # noqa: N805
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        self.address = f"http://127.0.0.1:{server.server_port}/debian"
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
            thread.join()
