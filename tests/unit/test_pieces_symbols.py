"""Symbols: the debug information of exactly the kernel or libc that they go with, and only when it is wanted."""

from __future__ import annotations

import json
import tarfile
import zlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from pieces_samples import bzimage, deb, elf, file, images, link

from orchestrator.errors import PieceError
from orchestrator.model import PackagePin, Piece, PieceKind, Userland
from orchestrator.pieces import Store, Wanted, catalogue, lock, store, symbols, upkeep
from orchestrator.pieces.download import Archive, GoneError, digest
from orchestrator.pieces.lock import Locked
from orchestrator.pieces.resolve import Resolver

RELEASE = "6.1.0-50-cloud-amd64"
ID = bytes(range(20))
SYMBOLS = Wanted(PieceKind.SYMBOLS, "kernel-6.1")
Members = list[tuple[tarfile.TarInfo, bytes]]


def pin(name: str, version: str = "6.1.176-1", folder: str = "pool/main/l/linux-signed-amd64") -> PackagePin:
    return PackagePin(name, version, "00" * 32, 1000, f"{folder}/{name}_{version}_amd64.deb")


KERNEL = Locked(PieceKind.KERNEL, "6.1", "6.1.176-1", "bookworm",
                (pin(f"linux-image-{RELEASE}"), pin("linux-image-cloud-amd64")))  # fmt: skip
USERLAND = Locked(PieceKind.USERLAND, "bookworm", "2.36", "bookworm",
                  (pin("busybox"), pin("libc6", "2.36-9", "pool/main/g/glibc")))  # fmt: skip


def test_source_of_a_kernel() -> None:
    found = symbols.source(KERNEL)
    assert (found.name, found.version, found.beside) == (f"linux-image-{RELEASE}-dbg", "6.1.176-1", ())
    assert found.filename == f"pool/main/l/linux/linux-image-{RELEASE}-dbg_6.1.176-1_amd64.deb"


def test_source_of_a_kernel_in_parts() -> None:
    parts = tuple(pin(f"linux-{part}-7.3.4-cloud-amd64", "7.3.4-1") for part in ("base", "binary", "image", "modules"))
    assert symbols.source(replace(KERNEL, packages=parts)).name == "linux-image-7.3.4-cloud-amd64-dbg"


def test_source_of_a_userland() -> None:
    epoch = replace(USERLAND, packages=(pin("libc6", "1:2.36-9", "pool/main/g/glibc"),))
    assert symbols.source(epoch).filename == "pool/main/g/glibc/libc6-dbg_2.36-9_amd64.deb"
    assert symbols.source(USERLAND).beside == (USERLAND.packages[1],)
    with pytest.raises(PieceError, match="userland/bookworm is made of no package"):
        symbols.source(replace(USERLAND, packages=()))


@pytest.mark.parametrize("name", ["6.1", "emulator-trixie", "kernel-", ""])
def test_names_say_what_they_go_with(name: str) -> None:
    with pytest.raises(PieceError, match="kernel-NAME or userland-NAME"):
        symbols.owner(name)
    assert symbols.owner("userland-my-own") == (PieceKind.USERLAND, "my-own")


def kernel_package(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    return deb(path, [*members, file("./usr/lib/debug/lib/modules/x/kernel/net/x.ko", b"module")])


@pytest.mark.parametrize("split", [False, True], ids=["boot", "modules"])
def test_vmlinux_is_the_only_thing_taken(tmp_path: Path, split: bool) -> None:
    content = elf(ID, dwarf=True)
    boot = f"./usr/lib/debug/boot/vmlinux-{RELEASE}"
    tree = f"./usr/lib/debug/lib/modules/{RELEASE}/vmlinux"
    real, other = (tree, boot) if split else (boot, tree)
    package = kernel_package(tmp_path / "x.deb", link(other, f"/{real[2:]}"), file(real, content), file(real, b"again"))
    (tmp_path / "piece").mkdir()
    facts = symbols.assemble_kernel([deb(tmp_path / "a.deb", []), package], tmp_path / "piece")
    assert facts == {"release": RELEASE, "build_id": ID.hex()}
    assert (tmp_path / "piece/vmlinux").read_bytes() == content
    assert json.loads((tmp_path / "piece/symbols.json").read_text()) == facts
    assert len(list((tmp_path / "piece").iterdir())) == 2


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([], "hold no vmlinux"),
        ([link(f"./usr/lib/debug/boot/vmlinux-{RELEASE}", "elsewhere")], "hold no vmlinux"),
        ([file(f"./usr/lib/debug/boot/vmlinux-{RELEASE}", elf(ID))], "no build-id or no debug information"),
        ([file(f"./usr/lib/debug/boot/vmlinux-{RELEASE}", elf(dwarf=True))], "no build-id or no debug information"),
    ],
)
def test_packages_without_a_vmlinux(tmp_path: Path, members: Members, message: str) -> None:
    with pytest.raises(PieceError, match=message):
        symbols.assemble_kernel([kernel_package(tmp_path / "x.deb", *members)], tmp_path)


def test_a_damaged_kernel_package(tmp_path: Path) -> None:
    package = kernel_package(tmp_path / "x.deb", file(f"./usr/lib/debug/boot/vmlinux-{RELEASE}", bytes(1 << 20)))
    package.write_bytes(package.read_bytes()[: 1 << 19])
    with pytest.raises(PieceError):
        symbols.assemble_kernel([package], tmp_path)


DEBUG = {name: elf(ID[:-1] + bytes([number]), dwarf=True) for number, name in enumerate(("libc", "ld", "libpthread"))}
FOLDER = "./usr/lib/x86_64-linux-gnu"


def library(name: str, version: str = "2.31") -> bytes:
    number = list(DEBUG).index(name)
    banner = f"GNU C Library (Debian GLIBC {version}-1) stable release version {version}.\n".encode()
    return elf(ID[:-1] + bytes([number]), link=("x.debug", zlib.crc32(DEBUG[name])), more=banner)


def debug_files(contents: Mapping[str, bytes]) -> Members:
    ids = {name: (ID[:-1] + bytes([number])).hex() for number, name in enumerate(DEBUG)}
    return [file(f"./usr/lib/debug/.build-id/{ids[name][:2]}/{ids[name][2:]}.debug", data)
            for name, data in contents.items()]  # fmt: skip


def old_libc(path: Path) -> Path:
    """As glibc was laid out before 2.34: names with the version, and symlinks to them, not yet below /usr."""
    members = []
    for name, soname in symbols.LIBRARIES.items():
        members += [file(f"./lib/x86_64-linux-gnu/{name}-2.31.so", library(name)),
                    link(f"./lib/x86_64-linux-gnu/{soname}", f"{name}-2.31.so")]  # fmt: skip
    return deb(path, members)


def new_libc(path: Path) -> Path:
    return deb(path, [file(f"{FOLDER}/{soname}", library(name, "2.36")) for name, soname in symbols.LIBRARIES.items()])


def test_debug_files_by_build_id(tmp_path: Path) -> None:
    debug = deb(tmp_path / "dbg.deb", debug_files(DEBUG))
    for number, libc in enumerate((old_libc(tmp_path / "old.deb"), new_libc(tmp_path / "new.deb"))):
        piece = tmp_path / str(number)
        piece.mkdir()
        info = symbols.assemble_userland([libc, debug], piece)
        names = list(DEBUG)[: 3 - number]
        assert {path.name for path in piece.iterdir()} == {"symbols.json", *(f"{name}.debug" for name in names)}
        assert all((piece / f"{name}.debug").read_bytes() == DEBUG[name] for name in names)
        assert list(info) == ["glibc", *names] and info["libc"] == (ID[:-1] + b"\0").hex()
        facts = json.loads((piece / "symbols.json").read_text())
        assert facts["glibc"] == ("2.31", "2.36")[number]
        assert facts["libc"]["library"] == f"{FOLDER[2:]}/{('libc-2.31.so', 'libc.so.6')[number]}"


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        ({"libc": DEBUG["libc"]}, "no debug information of ld-linux"),
        ({**DEBUG, "ld": DEBUG["libc"]}, "is not the debug information of ld-linux"),
        ({**DEBUG, "libc": elf(ID[:-1] + b"\0")}, "is not the debug information of libc.so.6"),
        ({**DEBUG, "libc": elf(ID[:-1] + b"\0", dwarf=True, more=b"other")}, "their CRC-32 differs"),
    ],
)
def test_debug_files_of_something_else(tmp_path: Path, contents: Mapping[str, bytes], message: str) -> None:
    packages = [new_libc(tmp_path / "libc.deb"), deb(tmp_path / "dbg.deb", debug_files(contents))]
    with pytest.raises(PieceError, match=message):
        symbols.assemble_userland(packages, tmp_path)


def test_packages_without_a_libc(tmp_path: Path) -> None:
    with pytest.raises(PieceError, match=r"hold no libc\.so\.6"):
        symbols.assemble_userland([deb(tmp_path / "dbg.deb", debug_files(DEBUG))], tmp_path)


class Mirror:
    """A catalogue with one kernel and one userland, its packages downloaded already, and a lock of them."""

    def __init__(self, folder: Path) -> None:
        self.cache = folder / "cache"
        self.images = folder / "images"
        self.images.mkdir()
        images(self.images)
        self.archive = Archive(self.cache / "archives")
        self.archive.folder.mkdir(parents=True)
        tree = f"./usr/lib/modules/{RELEASE}"
        kernel = [file(f"./boot/vmlinuz-{RELEASE}", bzimage(RELEASE)), file(f"{tree}/modules.builtin", b"")]
        debug = file(f"./usr/lib/debug/boot/vmlinux-{RELEASE}", elf(ID, dwarf=True))
        self.kernel = replace(KERNEL, packages=(self.add(KERNEL.packages[0], kernel),))
        self.debug = self.add(pin(f"linux-image-{RELEASE}-dbg"), [debug])
        libc = (file(f"{FOLDER}/{soname}", library(name, "2.36")) for name, soname in symbols.LIBRARIES.items())
        self.libc = self.add(pin("libc6", "2.36-9", "pool/main/g/glibc"), list(libc))
        self.libc_debug = self.add(pin("libc6-dbg", "2.36-9", "pool/main/g/glibc"), debug_files(DEBUG))
        self.userland = replace(USERLAND, packages=(self.libc,))

    def add(self, package: PackagePin, members: Members) -> PackagePin:
        path = deb(self.archive.folder / "new", members)
        found = replace(package, sha256=digest(path), size=path.stat().st_size)
        path.replace(self.archive.path(found))
        return found

    def symbols(self, of: Locked, *packages: PackagePin, version: str = "") -> Locked:
        name = symbols.name(of.kind, of.name)
        return Locked(PieceKind.SYMBOLS, name, version or of.version, "bookworm", packages)

    def store(self, *entries: Locked, locked: bool = False) -> Store:
        lock.write(self.images / "lock.yaml", {entry.id: entry for entry in entries})
        return Store(self.cache, "http://127.0.0.1:9/debian", locked=locked, images=self.images)


@pytest.fixture
def mirror(tmp_path: Path) -> Mirror:
    return Mirror(tmp_path)


def test_symbols_are_a_piece(mirror: Mirror) -> None:
    entries = (mirror.kernel, mirror.userland, mirror.symbols(mirror.kernel, mirror.debug),
               mirror.symbols(mirror.userland, mirror.libc, mirror.libc_debug))  # fmt: skip
    found = mirror.store(*entries, locked=True)
    kernel = found.kernel("6.1")
    of_kernel = found.kernel_symbols(kernel)
    assert of_kernel.vmlinux and of_kernel.vmlinux.read_bytes() == elf(ID, dwarf=True)
    assert of_kernel.vmlinux_build_id == ID.hex() and of_kernel.libc is None
    assert found.kernel_symbols(kernel) == of_kernel
    (piece,) = found.prepare([Wanted(PieceKind.SYMBOLS, "userland-bookworm")])
    assert (piece.version, piece.drift) == ("2.36", "")
    assert {"symbols/kernel-6.1", "symbols/userland-bookworm"} <= set(found.cached())
    (row,) = [row for row in upkeep.rows(found) if row.name == "kernel-6.1"]
    assert row.locked and row.cached and row.size > 100


def test_userland_symbols(mirror: Mirror) -> None:
    found = mirror.store(mirror.userland, mirror.symbols(mirror.userland, mirror.libc, mirror.libc_debug))
    piece = Piece(PieceKind.USERLAND, "bookworm", "2.36", "key", Path("x"), mirror.userland.packages)
    of_userland = found.userland_symbols(Userland("bookworm", "2.36", Path("cpio"), None, piece))
    assert of_userland.libc and of_userland.libc.read_bytes() == DEBUG["libc"]
    assert of_userland.ld and of_userland.ld.read_bytes() == DEBUG["ld"]
    assert (of_userland.libc_build_id, of_userland.ld_build_id) == (ID[:-1].hex() + "00", ID[:-1].hex() + "01")
    assert (of_userland.libpthread, of_userland.libpthread_build_id, of_userland.vmlinux) == (None, "", None)
    assert [piece.name for piece in of_userland.pieces] == ["userland-bookworm"]
    with pytest.raises(PieceError, match=r"userland bookworm is 2\.35, its symbols are of 2\.36"):
        found.userland_symbols(Userland("bookworm", "2.35", Path("cpio"), None, replace(piece, version="2.35")))


def test_the_large_package_goes_once_the_piece_is_built(mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "LARGE", 100)
    found = mirror.store(mirror.kernel, mirror.symbols(mirror.kernel, mirror.debug))
    found.kernel_symbols(found.kernel("6.1"))
    assert not mirror.archive.path(mirror.debug).exists()
    assert mirror.archive.path(mirror.kernel.packages[0]).exists()
    again = mirror.store(mirror.kernel, mirror.symbols(mirror.kernel, mirror.debug))
    assert again.kernel_symbols(again.kernel("6.1")).vmlinux


OTHER = pin(f"linux-image-{RELEASE}-dbg", "6.1.175-1")


def test_symbols_of_another_version_do_not_count(mirror: Mirror) -> None:
    entries = (mirror.kernel, mirror.symbols(mirror.kernel, OTHER, version="6.1.175-1"))
    refusing = mirror.store(*entries, locked=True)
    with pytest.raises(PieceError, match=r"not in the lock for 6\.1\.176-1, which kernel/6\.1 is: it has 6\.1\.175-1"):
        refusing.kernel_symbols(refusing.kernel("6.1"))

    class Answer:
        def resolve(self, kind: PieceKind, name: str, owner: Locked) -> Locked:
            assert (kind, name, owner) == (PieceKind.SYMBOLS, "kernel-6.1", mirror.kernel)
            return mirror.symbols(owner, mirror.debug)

    found = mirror.store(*entries)
    found.__dict__["resolver"] = Answer()
    (piece,) = found.kernel_symbols(found.kernel("6.1")).pieces
    assert piece.version == "6.1.176-1" and "it has 6.1.175-1" in piece.drift
    remembered = mirror.store(*entries)
    assert remembered.known(SYMBOLS)[0] == mirror.symbols(mirror.kernel, mirror.debug)
    moved = replace(mirror.kernel, version="6.1.177-1", packages=(pin(f"linux-image-{RELEASE}", "6.1.177-1"),))
    assert mirror.store(moved, *entries[1:]).known(SYMBOLS) == (None, ""), "it was resolved for another kernel"


def test_libc_of_another_build_does_not_fit(mirror: Mirror) -> None:
    entry = mirror.symbols(mirror.userland, mirror.libc, mirror.libc_debug)
    assert symbols.fits(entry, mirror.userland)
    rebuilt = replace(mirror.userland, packages=(replace(mirror.libc, sha256="11" * 32),))
    assert not symbols.fits(entry, rebuilt)


class Suite:
    name, expired = "bookworm", ""

    def __init__(self, version: str) -> None:
        self.version = version

    def records(self, names: list[str]) -> dict[str, dict[str, str]]:
        if not self.version:
            return {}
        record = {"Version": self.version, "SHA256": "22" * 32, "Size": "7", "Filename": "pool/listed.deb"}
        return {name: {"Package": name, **record} for name in names}


def resolver(mirror: Mirror, version: str, monkeypatch: pytest.MonkeyPatch) -> Resolver:
    found = Resolver(mirror.cache / "apt", "http://mirror", catalogue.load(mirror.images), mirror.archive)
    monkeypatch.setattr(found, "_suite", lambda name: Suite(version))
    return found


def test_resolved_from_the_suite(mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    found = resolver(mirror, "6.1.176-1", monkeypatch).resolve(PieceKind.SYMBOLS, "kernel-6.1", mirror.kernel)
    assert (found.id, found.version, found.unsigned) == ("symbols/kernel-6.1", "6.1.176-1", "")
    assert [(one.name, one.sha256) for one in found.packages] == [(f"linux-image-{RELEASE}-dbg", "22" * 32)]
    assert symbols.fits(found, mirror.kernel)


@pytest.mark.parametrize(("version", "why"), [("2.36-10", "bookworm has libc6-dbg 2.36-10"), ("", "no longer has")])
def test_a_version_that_the_suite_has_replaced(
    mirror: Mirror, monkeypatch: pytest.MonkeyPatch, version: str, why: str
) -> None:
    asked = []

    def adopt(filename: str, address: str) -> tuple[str, int]:
        asked.append(f"{address}/{filename}")
        return "33" * 32, 9

    monkeypatch.setattr(mirror.archive, "adopt", adopt)
    found = resolver(mirror, version, monkeypatch)
    entry = found.resolve(PieceKind.SYMBOLS, "userland-bookworm", mirror.userland)
    assert asked == ["http://mirror/pool/main/g/glibc/libc6-dbg_2.36-9_amd64.deb"]
    assert entry.packages == (mirror.libc, PackagePin("libc6-dbg", "2.36-9", "33" * 32, 9, asked[0][14:]))
    assert why in entry.unsigned and "named by no signed list" in entry.unsigned
    assert lock.parse(entry.id, lock.as_data(entry)) == entry


def test_a_version_that_is_gone(mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    def adopt(filename: str, address: str) -> tuple[str, int]:
        raise GoneError("http://mirror has no libc6-dbg")

    monkeypatch.setattr(mirror.archive, "adopt", adopt)
    found = resolver(mirror, "2.36-10", monkeypatch)
    with pytest.raises(PieceError, match=r"needs libc6-dbg 2\.36-9, but bookworm has libc6-dbg 2\.36-10") as caught:
        found.resolve(PieceKind.SYMBOLS, "userland-bookworm", mirror.userland)
    assert "--update" in caught.value.hint


def test_relock_adds_symbols_and_leaves_the_rest(mirror: Mirror) -> None:
    class Answer:
        def __init__(self) -> None:
            self.asked: list[str] = []

        def resolve(self, kind: PieceKind, name: str, owner: Locked | None) -> Locked:
            self.asked.append(f"{kind}/{name}")
            if owner is None:
                if kind is PieceKind.KERNEL:
                    return Locked(kind, name, "6.1.176-1", "bookworm", (pin(f"linux-image-{name}"),))
                leader = pin("qemu-system-x86" if kind is PieceKind.EMULATOR else "libc6")
                return Locked(kind, name, "6.1.176", "bookworm", (leader,))
            source = symbols.source(owner)
            return Locked(kind, name, owner.version, "bookworm", (*source.beside, pin(source.name, source.version)))

    answer = Answer()
    found = mirror.store(mirror.kernel, mirror.symbols(mirror.kernel, OTHER))
    found.__dict__["resolver"] = answer
    planned, _ = upkeep.relocked(found, update=False)
    assert "kernel/5.10" not in lock.read(mirror.images / "lock.yaml"), "nothing is written before it is shown"
    upkeep.relock(found, planned)
    new = lock.read(mirror.images / "lock.yaml")
    assert set(new) == {wanted.id for wanted in found.everything()}
    assert new["kernel/6.1"] == mirror.kernel and "kernel/6.1" not in answer.asked
    assert symbols.fits(new["symbols/kernel-6.1"], mirror.kernel), "what did not fit was resolved anew"
    answer.asked.clear()
    again = Store(mirror.cache, images=mirror.images)
    again.__dict__["resolver"] = answer
    assert upkeep.relocked(again, update=False) == (new, []) and answer.asked == []
