"""Bundles: what goes in comes out on a machine without a network, and a bundle that was touched is refused."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import shutil
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from locked_lab import LockedLab

from orchestrator.errors import LabError, PieceError, UsageError
from orchestrator.pieces import bundle, lock, store, upkeep
from orchestrator.pieces.bundle import Bundle
from orchestrator.pieces.download import digest
from orchestrator.prepare import find_symbols

BLOCK = 512


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[LockedLab]:
    with LockedLab(tmp_path).served() as found:
        yield found


def export(lab: LockedLab, name: str = "all.tar", *names: str, cache: str = "cache") -> Bundle:
    found = lab.store(cache)
    wanted = upkeep.select(found, names) if names else found.everything()
    return bundle.export(found, wanted, lab.folder / name)


@pytest.fixture
def packed(lab: LockedLab) -> Path:
    """A bundle of everything, and a mirror that refuses whatever is asked from then on."""
    export(lab)
    lab.refuses, lab.asked = True, []
    return lab.folder / "all.tar"


def test_all_pieces_come_out_without_a_network(lab: LockedLab, packed: Path) -> None:
    pieces = bundle.import_(lab.store("new"), packed)
    assert sorted(f"{piece.kind}/{piece.name}" for piece in pieces) == sorted(lab.lock)
    found = lab.store("new")
    kernel, userland = found.kernel("6.1"), found.userland("bookworm")
    assert kernel.release.startswith("6.1") and userland.cpio.stat().st_size and userland.sysroot
    symbols = find_symbols(found, kernel, userland)
    assert symbols.vmlinux and symbols.libc and symbols.missing == ()
    assert found.emulator().version == "10.0.13"
    assert upkeep.verify(found) == [] and sorted(found.cached()) == sorted(lab.lock)
    assert lab.asked == []
    first = lab.store()
    lab.refuses = False
    for one, other in zip(first.prepare(first.everything()), found.prepare(found.everything()), strict=True):
        assert (one.path / "manifest.json").read_bytes() == (other.path / "manifest.json").read_bytes()


def test_the_same_lock_gives_the_same_bytes(lab: LockedLab) -> None:
    one, other = export(lab, "one.tar"), export(lab, "other.tar", cache="another")
    assert one == other and one.sha256 == digest(lab.folder / "one.tar") == digest(lab.folder / "other.tar")
    assert one.size == (lab.folder / "one.tar").stat().st_size
    assert one.pieces == tuple(sorted(lab.lock)) and one.packages == 7, "libc6 once"


def test_it_is_a_tar_file(packed: Path) -> None:
    listed = subprocess.run(["tar", "-tvf", str(packed)], capture_output=True, text=True, check=True).stdout
    assert len(listed.splitlines()) == 8 and listed.splitlines()[0].endswith(" qemu-lab-bundle.json")
    with tarfile.open(packed) as archive:
        for member in archive.getmembers()[1:]:
            stream = archive.extractfile(member)
            assert stream and member.name == f"packages/{_sha256(stream.read())}.deb"


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_named_pieces_only(lab: LockedLab) -> None:
    done = export(lab, "some.tar", "kernel/6.1", "emulator/trixie")
    assert done.pieces == ("emulator/trixie", "kernel/6.1") and done.packages == 3
    lab.refuses, lab.asked = True, []
    found = lab.store("new")
    assert len(bundle.import_(found, lab.folder / "some.tar")) == 2
    assert found.kernel("6.1").release and lab.asked == []
    with pytest.raises(PieceError, match="can't download busybox"):
        found.userland("bookworm")


def test_an_image_brings_its_emulator(lab: LockedLab) -> None:
    ids = [one.id for one in upkeep.carried(lab.store(), ["default"])]
    assert ids == ["kernel/6.1", "userland/bookworm", "sysroot/bookworm", "emulator/trixie"]
    assert [one.id for one in upkeep.carried(lab.store(), ["kernel/6.1"])] == ["kernel/6.1"]


def test_through_pipes(lab: LockedLab, packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written))
    bundle.export(lab.store(), lab.store().everything(), Path("-"))
    assert written.getvalue() == packed.read_bytes()
    with subprocess.Popen(["cat", str(packed)], stdout=subprocess.PIPE, text=True) as process:
        monkeypatch.setattr(sys, "stdin", process.stdout)
        assert len(bundle.import_(lab.store("new"), Path("-"))) == 6
        monkeypatch.undo()


# -- damage ---------------------------------------------------------------------------------------


def refused(lab: LockedLab, path: Path, message: str, kind: type[LabError] = PieceError) -> None:
    """It is refused, and nothing is built of it; what it leaves are packages that the lock names."""
    found = lab.store("new")
    with pytest.raises(kind, match=message) as caught:
        bundle.import_(found, path)
    assert str(path) in caught.value.message and caught.value.hint
    assert found.cache.names() == [] and lab.asked == []
    pinned = {pin.sha256 for entry in lab.lock.values() for pin in entry.packages}
    left = [one for one in (lab.folder / "new").rglob("*") if one.is_file() and one.suffix not in (".use", ".lock")]
    assert all(one.suffix == ".deb" and one.stem in pinned and digest(one) == one.stem for one in left)


def test_cut_off_anywhere(lab: LockedLab, packed: Path) -> None:
    whole = packed.read_bytes()
    for size in (0, 1, 511, 512, 513, 3000, len(whole) // 2, len(whole) - 10240, len(whole) - 512, len(whole) - 1):
        packed.write_bytes(whole[:size])
        if size < BLOCK:
            refused(lab, packed, "no bundle of the lab", UsageError)
        else:
            refused(lab, packed, r"is cut off: it has \d+ bytes|cut off after")


def test_cut_off_on_the_way_through_a_pipe(lab: LockedLab, packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = packed.read_bytes()
    for size in (600, len(whole) // 2, len(whole) - 1):
        with subprocess.Popen(["head", "-c", str(size), str(packed)], stdout=subprocess.PIPE, text=True) as process:
            monkeypatch.setattr(sys, "stdin", process.stdout)
            refused(lab, Path("-"), rf"cut off after {size}")
            monkeypatch.undo()


def test_longer_than_it_is(lab: LockedLab, packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed.write_bytes(packed.read_bytes() + b"\0")
    refused(lab, packed, "goes on after its end: it has")
    with subprocess.Popen(["cat", str(packed)], stdout=subprocess.PIPE, text=True) as process:
        monkeypatch.setattr(sys, "stdin", process.stdout)
        refused(lab, Path("-"), "goes on after its end at")
        monkeypatch.undo()


def test_any_bit_that_is_turned(lab: LockedLab, packed: Path) -> None:
    whole = packed.read_bytes()
    with tarfile.open(packed) as archive:
        members = archive.getmembers()
    last = members[-1]
    places = {members[0].offset_data + 50, members[1].offset + 100, members[1].offset + 156, members[1].offset + 300,
              last.offset_data + last.size + 1, len(whole) - 1}  # fmt: skip
    places |= {member.offset_data + member.size // 2 for member in members[1:]}
    for place in sorted(places):
        packed.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        refused(lab, packed, "is changed|damaged|another member|stands between|another lock|is not as", LabError)


def test_a_changed_package_is_named_with_both_hashes(lab: LockedLab, packed: Path) -> None:
    pin = lab.pin("busybox")
    content = lab.pool[pin.filename]
    assert content
    other = content.replace(b"bin/busybox", b"bin/bus\0box")
    packed.write_bytes(packed.read_bytes().replace(content, other))
    refused(lab, packed, rf"busybox 1:1\.35\.0-4 is changed: wanted SHA-256 {pin.sha256}, found {_sha256(other)}")


def rebuilt(path: Path, change: Callable[[list[tuple[tarfile.TarInfo, bytes]]], object]) -> None:
    """Unpacks the bundle, lets ``change`` have its members, and packs it again as the lab would."""
    with tarfile.open(path) as archive:
        members = [(member, stream.read() if (stream := archive.extractfile(member)) else b"") for member in archive]
    change(members)
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        for member, data in members:
            archive.addfile(member, io.BytesIO(data))


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "", size: int = 0) -> tuple[tarfile.TarInfo, bytes]:
    found = tarfile.TarInfo(name)
    found.type, found.linkname, found.size = kind, target, size
    return found, bytes(size)


HOSTILE = {
    "traversal": member("../../evil", size=4),
    "absolute": member("/tmp/evil", size=4),
    "symlink": member("packages/x", tarfile.SYMTYPE, "/etc"),
    "hard-link": member("packages/x", tarfile.LNKTYPE, "/etc/passwd"),
    "device": member("packages/x", tarfile.CHRTYPE),
    "folder": member("packages", tarfile.DIRTYPE),
    "pipe": member("packages/x", tarfile.FIFOTYPE),
    "sparse": member("packages/x", tarfile.GNUTYPE_SPARSE),
    "long-name": member("././@LongLink", tarfile.GNUTYPE_LONGNAME, size=1 << 16),
    "extended": member("x", tarfile.XHDTYPE, size=1 << 16),
    "unknown-package": member(f"packages/{'0' * 64}.deb", size=4),
}


@pytest.mark.parametrize("extra", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("place", [1, 3, 8])
def test_members_that_do_not_belong_there(lab: LockedLab, packed: Path, extra: tuple[tarfile.TarInfo, bytes],
                                          place: int) -> None:  # fmt: skip
    rebuilt(packed, lambda members: members.insert(place, extra))
    refused(lab, packed, "another member|goes on after its end|stands between|cut off")
    assert not list(lab.folder.rglob("*evil*"))


def test_a_size_that_is_absurd(lab: LockedLab, packed: Path) -> None:
    for number, size in ((0, 1 << 40), (0, (8 << 20) + 1), (1, 1 << 40)):
        whole = packed.read_bytes()
        with tarfile.open(packed) as archive:
            found = archive.getmembers()[number]
        found.size = size
        head = found.tobuf(tarfile.GNU_FORMAT)
        packed.write_bytes(whole[: found.offset] + head + whole[found.offset + BLOCK :])
        refused(lab, packed, "no bundle of the lab|8388609 bytes, 8388608 are allowed|another member", LabError)
        packed.write_bytes(whole)


def test_attributes_are_not_followed(lab: LockedLab, packed: Path) -> None:
    def change(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
        members[1][0].mode = 0o4777

    rebuilt(packed, change)
    refused(lab, packed, "other attributes")


def test_packages_in_another_order(lab: LockedLab, packed: Path) -> None:
    rebuilt(packed, lambda members: members.reverse())
    refused(lab, packed, "no bundle of the lab", UsageError)


Content = dict[str, dict[str, dict[str, object]]]


def described(path: Path, change: Callable[[Content], object], *, raw: str = "") -> None:
    """Puts another description into the bundle, everything else of it in order."""

    def replaced(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
        head, data = members[0]
        content = json.loads(data)
        change(content)
        data = raw.encode() or (json.dumps(content, indent=1, sort_keys=True) + "\n").encode()
        head.size = len(data)
        members[0] = head, data

    rebuilt(path, replaced)


def test_another_format(lab: LockedLab, packed: Path) -> None:
    described(packed, lambda content: content.update(format=2))  # type: ignore[arg-type]
    refused(lab, packed, "a bundle of format 2; this lab reads 1", UsageError)


@pytest.mark.parametrize("raw", ["{}", "[]", "null", "7", '{"format": 1, "pieces": {}}', '{"format": 1, "pieces": [7]}',
                                 "[" * 100_000, '{"format": 1, "pieces":', "x",
                                 '{"format": 1, "pieces": {"kernel/6.1": 7}}'])  # fmt: skip
def test_descriptions_that_describe_nothing(lab: LockedLab, packed: Path, raw: str) -> None:
    described(packed, lambda _: None, raw=raw)
    refused(lab, packed, "its description is damaged|of another lock", LabError)


def test_a_bundle_of_another_lock_says_what_differs(lab: LockedLab, packed: Path) -> None:
    userland = lab.lock["userland/bookworm"]
    busybox = replace(userland.packages[0], version="1:1.35.0-5", sha256="55" * 32,
                      filename="pool/main/x/busybox_1.35.0-5_amd64.deb")  # fmt: skip
    moved = replace(userland, packages=(busybox, *userland.packages[1:]))
    lock.write(lab.images / "lock.yaml", {key: one for key, one in {**lab.lock, moved.id: moved}.items()
                                          if key != "kernel/6.1"})  # fmt: skip
    refused(lab, packed, r"of another lock \(lock → bundle\)\nkernel/6\.1: the lock does not name it\n"
                         r"userland/bookworm: busybox 1:1\.35\.0-5 → 1:1\.35\.0-4", UsageError)  # fmt: skip
    lock.write(lab.images / "lock.yaml", {})
    with pytest.raises(UsageError, match="has no lock"):
        bundle.import_(lab.store("new"), packed)


def test_a_bundle_that_claims_to_be_of_this_lock(lab: LockedLab, packed: Path) -> None:
    """Description and package agree with each other, and not with the lock."""
    other = b"!<arch>\nother"

    def change(content: Content) -> None:
        (kernel,) = content["pieces"]["kernel/6.1"]["packages"]  # type: ignore[misc]
        kernel.update(sha256=_sha256(other), size=len(other))

    described(packed, change)
    refused(lab, packed, "kernel/6.1: linux-image-6.1.0-50-cloud-amd64 6.1.176-1: other bytes, SHA-256", UsageError)


def test_what_is_no_bundle(lab: LockedLab, packed: Path) -> None:
    squeezed = lab.folder / "all.tar.gz"
    squeezed.write_bytes(gzip.compress(packed.read_bytes()))
    refused(lab, squeezed, "compressed by gzip, which no bundle is", UsageError)
    text = lab.folder / "text"
    text.write_text("x" * 5000)
    refused(lab, text, "no bundle of the lab", UsageError)
    refused(lab, lab.folder / "none", "No such file", UsageError)
    refused(lab, lab.folder, "Is a directory", UsageError)


# -- going on, and together -------------------------------------------------------------------------


def test_an_interrupted_import_goes_on(lab: LockedLab, packed: Path) -> None:
    whole = packed.read_bytes()
    packed.write_bytes(whole[: len(whole) // 2])
    with pytest.MonkeyPatch.context() as patch, packed.open() as half, pytest.raises(PieceError, match="cut off"):
        patch.setattr(sys, "stdin", half)
        patch.setattr(bundle.stat, "S_ISREG", lambda _: False)  # type: ignore[attr-defined]  # as a pipe
        bundle.import_(lab.store("new"), Path("-"))
    kept = {path: path.stat().st_ino for path in (lab.folder / "new/archives").glob("*.deb")}
    assert 0 < len(kept) < 7
    packed.write_bytes(whole)
    assert len(bundle.import_(lab.store("new"), packed)) == 6
    assert {path: path.stat().st_ino for path in kept} == kept, "not written again"
    assert not list((lab.folder / "new/archives").glob(".*"))


def test_again_changes_nothing_and_repairs_what_is_damaged(lab: LockedLab, packed: Path) -> None:
    bundle.import_(lab.store("new"), packed)
    before = {path: path.stat().st_mtime_ns for path in (lab.folder / "new").rglob("manifest.json")}
    bundle.import_(lab.store("new"), packed)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    shutil.rmtree(lab.folder / "new/archives")
    vmlinux = next((lab.folder / "new/pieces").glob("symbols-kernel-*/vmlinux"))
    good = vmlinux.read_bytes()
    vmlinux.write_bytes(b"damaged")
    bundle.import_(lab.store("new"), packed)
    assert vmlinux.read_bytes() == good and lab.asked == []


def test_several_at_once(lab: LockedLab, packed: Path) -> None:
    results: list[int] = []

    def run() -> None:
        results.append(len(bundle.import_(lab.store("new"), packed)))

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [6, 6, 6] and upkeep.verify(lab.store("new")) == [] and lab.asked == []


def test_large_packages_of_symbols_are_not_kept(lab: LockedLab, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (bundle, store):
        monkeypatch.setattr(module, "LARGE", 100)
    export(lab)
    assert len(list((lab.folder / "cache/archives").glob("*.deb"))) == 7, "the pieces are still to be built"
    lab.store().prepare(lab.store().everything())
    export(lab)
    dropped = [lab.pin("libc6-dbg"), lab.pin("linux-image-6.1.0-50-cloud-amd64-dbg")]
    archive = lab.store().archive
    assert not any(archive.path(pin).exists() for pin in dropped) and archive.path(lab.pin("busybox")).exists()
    lab.refuses, lab.asked = True, []
    for _ in range(2):
        bundle.import_(lab.store("new"), lab.folder / "all.tar")
        assert not any(lab.store("new").archive.path(pin).exists() for pin in dropped)
    assert lab.asked == []


def test_no_room(lab: LockedLab, packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = shutil.disk_usage("/")._replace(free=0)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: nothing)
    with pytest.raises(PieceError, match=r"are needed, 0\.0 MiB are free"):
        bundle.import_(lab.store("new"), packed)


# -- export ---------------------------------------------------------------------------------------


def test_what_the_mirror_has_no_more_is_no_bundle(lab: LockedLab) -> None:
    (lab.folder / "all.tar").write_text("the one of before")
    lab.pool[lab.pin("busybox").filename] = None
    with pytest.raises(PieceError, match=r"no longer serves busybox 1:1\.35\.0-4 .* not in the cache"):
        export(lab)
    assert (lab.folder / "all.tar").read_text() == "the one of before"
    assert not list(lab.folder.glob(".all*"))
    assert export(lab, "some.tar", "kernel/6.1").packages == 1


def test_what_the_lock_does_not_name_is_no_bundle(lab: LockedLab) -> None:
    lock.write(lab.images / "lock.yaml", {key: one for key, one in lab.lock.items() if key != "sysroot/bookworm"})
    with pytest.raises(PieceError, match="sysroot/bookworm is not in the lock"):
        export(lab)


def test_a_damaged_package_of_the_cache_does_not_get_in(lab: LockedLab) -> None:
    first = export(lab)
    path = lab.store().archive.path(lab.pin("busybox"))
    path.write_bytes(bytes(path.stat().st_size))
    assert export(lab, "again.tar") == first, "it was fetched again"


def test_an_export_without_a_network(lab: LockedLab, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (bundle, store):
        monkeypatch.setattr(module, "LARGE", 100)
    found = lab.store()
    found.prepare(found.everything())
    lab.refuses = True
    with pytest.raises(PieceError, match="can't download") as caught:
        export(lab)
    assert "--no-symbols leaves them out" in caught.value.hint
    assert export(lab, "some.tar", "kernel/6.1").packages == 1


@pytest.mark.parametrize("name", ["all.tar.gz", "all.tar.zst", "images"])
def test_where_no_bundle_is_written(lab: LockedLab, name: str) -> None:
    with pytest.raises(UsageError, match=r"is a folder|is not compressed by \.(gz|zst)"):
        export(lab, name)


# -- the key of a CI cache ----------------------------------------------------------------------------


def key(lab: LockedLab, cache: str = "cache") -> str:
    found = lab.store(cache)
    return upkeep.cache_key(found, upkeep.with_symbols(upkeep.needed(found, None, (), (), None)))


def test_the_key_is_that_of_the_pieces(lab: LockedLab, tmp_path_factory: pytest.TempPathFactory) -> None:
    first = key(lab)
    assert len(first) == 20 and int(first, 16)
    found = lab.store()
    wanted = upkeep.with_symbols(upkeep.needed(found, "default", ["6.1"], ["2.36"], "trixie"))
    assert upkeep.cache_key(found, reversed(wanted)) == first == upkeep.cache_key(found, found.everything())
    other = LockedLab(tmp_path_factory.mktemp("elsewhere"))
    assert key(other, "another") == first, "the same on every machine"
    assert not (lab.folder / "cache/pieces").exists() and lab.asked == []
    text = (lab.images / "lock.yaml").read_text()
    (lab.images / "lock.yaml").write_text("# another comment\n" + text)
    (lab.images / "catalogue.yaml").write_text((lab.images / "catalogue.yaml").read_text() + "\n# another\n")
    assert key(lab) == first


def test_the_key_changes_when_the_pieces_do(lab: LockedLab, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {key(lab)}
    for one in lab.lock.values():
        changed = replace(one, packages=(*one.packages[:-1], replace(one.packages[-1], sha256="77" * 32)))
        rest = {id_: replace(entry, packages=tuple(changed.packages[-1] if pin.filename == changed.packages[-1].filename
                                                   else pin for pin in entry.packages))
                for id_, entry in lab.lock.items()}  # fmt: skip
        lock.write(lab.images / "lock.yaml", rest)
        keys.add(key(lab))
    assert len(keys) == 1 + len({one.packages[-1].filename for one in lab.lock.values()})
    lock.write(lab.images / "lock.yaml", lab.lock)
    monkeypatch.setattr(upkeep, "FORMAT", 2)
    keys.add(key(lab))
    monkeypatch.undo()
    monkeypatch.setitem(store._ASSEMBLER, "kernel", 9)
    keys.add(key(lab))
    found = lab.store()
    keys.add(upkeep.cache_key(found, upkeep.needed(found, None, (), (), None)))
    keys.add(upkeep.cache_key(found, upkeep.needed(found, None, (), (), "")))
    assert len(keys) == 5 + len({one.packages[-1].filename for one in lab.lock.values()})


def test_no_key_without_the_lock(lab: LockedLab) -> None:
    lock.write(lab.images / "lock.yaml", {key: one for key, one in lab.lock.items() if key != "emulator/trixie"})
    with pytest.raises(PieceError, match="emulator/trixie is not in the lock"):
        key(lab)
    with pytest.raises(UsageError, match="unknown kernel"):
        upkeep.needed(lab.store(), None, ["6.2"], (), None)
