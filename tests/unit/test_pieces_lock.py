"""The lock: what is said of changes and of one that was edited, and that nothing else is used with --locked."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from locked_lab import LockedLab
from pieces_samples import images

from orchestrator import prepare, progress
from orchestrator.errors import LabError, PieceError, UsageError
from orchestrator.matrix import preparation
from orchestrator.matrix.record import Options
from orchestrator.matrix.selection import Pair
from orchestrator.model import PackagePin, PieceKind
from orchestrator.pieces import Store, lock, upkeep
from orchestrator.pieces.lock import Lock, Locked
from orchestrator.prepare import Choice

PIN = PackagePin("libc6", "2.36-9", "00" * 32, 1000, "pool/main/g/glibc/libc6_2.36-9_amd64.deb")
TRIXIE = PackagePin("libc6", "2.41-1", "22" * 32, 1000, "pool/main/g/glibc/libc6_2.41-1_amd64.deb")
USERLAND = Locked(PieceKind.USERLAND, "x", "2.36", "bookworm", (PIN,))


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[LockedLab]:
    with LockedLab(tmp_path).served() as found:
        yield found


# -- what changes ---------------------------------------------------------------------------------


def entry(*pins: PackagePin, expired: str = "") -> Lock:
    return {"userland/x": replace(USERLAND, packages=pins, expired=expired)}


@pytest.mark.parametrize(
    ("old", "new", "lines"),
    [
        (entry(PIN), entry(PIN), []),
        (entry(PIN), entry(replace(PIN, version="2.36-10")), ["libc6 2.36-9 → 2.36-10"]),
        (entry(PIN), entry(PIN, replace(PIN, name="zlib1g", version="1.2")), ["zlib1g 1.2 added"]),
        (entry(PIN, replace(PIN, name="zlib1g", version="1.2")), entry(PIN), ["zlib1g 1.2 removed"]),
        (entry(PIN), entry(replace(PIN, sha256="11" * 32)),
         [f"libc6 2.36-9: other bytes, SHA-256 {'00' * 32} → {'11' * 32}"]),
        (entry(PIN), entry(replace(PIN, size=7)), ["libc6 2.36-9: size 1000 → 7"]),
        (entry(PIN), entry(replace(PIN, filename="pool/x.deb")), [f"libc6 2.36-9: {PIN.filename} → pool/x.deb"]),
        (entry(PIN, expired="Fri"), entry(PIN), ["expired Fri → (none)"]),
        ({}, entry(PIN), ["is new", "libc6 2.36-9 added"]),
        (entry(PIN), {}, ["is removed", "libc6 2.36-9 removed"]),
    ],
)  # fmt: skip
def test_changes(old: Lock, new: Lock, lines: list[str]) -> None:
    assert lock.changes(old, new) == [f"userland/x: {line}" for line in lines]


class Answers:
    """Resolves everything to what it was made with."""

    def __init__(self, entries: Lock) -> None:
        self.entries = entries

    def resolve(self, kind: PieceKind, name: str, owner: Locked | None = None) -> Locked:
        return self.entries[f"{kind}/{name}"]


def newer(lab: LockedLab) -> Lock:
    """What the mirror has next week: another busybox."""
    userland = lab.lock["userland/bookworm"]
    busybox = replace(userland.packages[0], version="1:1.35.0-5", sha256="55" * 32,
                      filename="pool/main/x/busybox_1.35.0-5_amd64.deb")  # fmt: skip
    return {**lab.lock, "userland/bookworm": replace(userland, packages=(busybox, *userland.packages[1:]))}


def test_update_is_shown_before_it_is_written(lab: LockedLab) -> None:
    store = lab.store()
    store.__dict__["resolver"] = Answers(newer(lab))
    assert upkeep.relocked(store, update=False) == (lab.lock, [])
    new, lines = upkeep.relocked(store, update=True)
    assert lines == ["userland/bookworm: busybox 1:1.35.0-4 → 1:1.35.0-5"]
    assert lock.read(lab.images / "lock.yaml") == lab.lock
    upkeep.relock(store, new)
    assert lock.read(lab.images / "lock.yaml") == new


def test_a_lock_that_can_not_be_read_is_written_anew_by_update_only(lab: LockedLab) -> None:
    (lab.images / "lock.yaml").write_text("pieces: [")
    store = lab.store()
    store.__dict__["resolver"] = Answers(lab.lock)
    with pytest.raises(UsageError, match=r"lock\.yaml:\d: not YAML"):
        upkeep.relocked(store, update=False)
    events: list[progress.Event] = []
    with progress.listening(events.append):
        new, lines = upkeep.relocked(store, update=True)
    assert new == lab.lock and "kernel/6.1: is new" in lines
    assert any("written anew" in event.what for event in events)


def test_what_the_catalogue_has_no_more_goes(lab: LockedLab) -> None:
    gone = replace(lab.lock["kernel/6.1"], name="5.10")
    lock.write(lab.images / "lock.yaml", {**lab.lock, gone.id: gone})
    with pytest.raises(UsageError, match=r"lock\.yaml:\d+: pieces\.kernel/5\.10: the catalogue has no such piece"):
        assert lab.store().lock
    new, lines = upkeep.relocked(lab.store(), update=False)
    assert new == lab.lock and lines[0] == "kernel/5.10: is removed"


# -- an edited lock -------------------------------------------------------------------------------

HASH = "967aa62605721081c3eb2a17650611a792aa802d76a6511d1840242623d204c9"
EDITS = {
    "short-hash": (HASH, HASH[:-1], r"sha256: '\w+' \(63 characters\) is no SHA-256; allowed: 64 hexadecimal digits"),
    "no-hex": (HASH, "g" + HASH[1:], r"is no SHA-256"),
    "number-for-hash": (f"sha256: {HASH}", f"sha256: {'1' * 64}", r"sha256: it is a number; allowed: a text"),
    "other-hash-of-a-shared-file": (HASH, "f" * 64, r"libc6 2\.41-12\+deb13u4 has another SHA-256 here than in line "),
    "version-of-a-package": ("version: 2.41-12+deb13u4", "version: 2.41-12+deb13u5",
                             r"libc6 2\.41-12\+deb13u5 does not lie in libc6_2\.41-12\+deb13u4_amd64\.deb"),
    "version-of-a-piece": ("version: 10.0.13", "version: 10.0.14",
                           r"trixie\.version: 10\.0\.14 is not the version of its packages; allowed: 10\.0\.13"),
    "version-of-a-kernel": ("version: 6.1.176-1", "version: 6.1.177-1", r"6\.1\.177-1 is not the version of its"),
    "number-for-version": ("version: '2.41'", "version: 2.41", r"version: it is a number; allowed: a text"),
    "unknown-piece": ("kernel/6.12:", "kernel/6.l2:", r"kernel/6\.l2: the catalogue has no such piece; did you mean"),
    "unknown-kind": ("kernel/6.12:", "kernal/6.12:", r"kernal/6\.12: the catalogue has no such piece"),
    "piece-twice": ("kernel/6.12:", "kernel/6.1:", r"kernel/6\.1: the key is there twice"),
    "key-twice": ("    suite: trixie", "    suite: trixie\n    suite: sid", r"suite: the key is there twice"),
    "package-twice": ("name: libatomic1, version: 14.2.0-19", "name: libc6, version: 14.2.0-19", r"does not lie in"),
    "unknown-key": ("    suite: trixie", "    suit: trixie", r"suit: unknown key; did you mean suite"),
    "missing-key": (f", sha256: {HASH}", "", r"the key 'sha256' is missing"),
    "size-as-text": ("size: 2846580", "size: '2846580'", r"size: it is 2846580; allowed: a whole number"),
    "size-zero": ("size: 2846580", "size: 0", r"size: it is 0; allowed: a whole number from 1"),
    "size-absurd": ("size: 2846580", "size: 99999999999999", r"allowed: a whole number from 1 to 4294967296"),
    "leaves-the-pool": ("filename: pool/main/g/glibc/libc6_", "filename: pool/../../g/libc6_", r"leaves the mirror"),
    "another-host": ("filename: pool/main/g/glibc/libc6_", "filename: http://e/libc6_", r"is not possible here"),
    "no-mapping": ("pieces:\n", "pieces: 7\nrest:\n", r"unknown key"),
    "cut-off": ("_amd64.deb}\n", "_amd64.deb\n", r"not YAML"),
}  # fmt: skip


@pytest.mark.parametrize(("old", "new", "message"), EDITS.values(), ids=EDITS)
def test_an_edited_lock_is_refused_with_file_and_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    shipped = Path(__file__).parents[2] / "images"
    text = (shipped / "lock.yaml").read_text()
    assert old in text
    for path in shipped.glob("*.yaml"):
        (tmp_path / path.name).write_text(path.read_text())
    (tmp_path / "lock.yaml").write_text(text.replace(old, new, 1))
    with pytest.raises(UsageError, match=message) as caught:
        assert Store(tmp_path / "cache", images=tmp_path).lock
    (line,) = re.findall(rf"^{re.escape(str(tmp_path))}/lock\.yaml:(\d+): ", caught.value.message)
    edited = (tmp_path / "lock.yaml").read_text().splitlines()
    near = "\n".join(edited[max(0, int(line) - 2) : int(line) + 1])
    shown = (new.strip() or "name: libc6,").splitlines()[-1][:40]
    assert shown in near or "twice" in message or "another SHA" in message, near
    assert "lab image lock --update" in caught.value.hint


@pytest.mark.parametrize("text", ["", "pieces: {}", "pieces: []", "x", "pieces: {kernel/6.1: {version: '1'}}", "\0"])
def test_what_is_no_lock(tmp_path: Path, text: str) -> None:
    (tmp_path / "lock.yaml").write_text(text)
    if text == "pieces: {}":
        assert lock.read(tmp_path / "lock.yaml") == {}
        return
    with pytest.raises(UsageError, match=r"lock\.yaml"):
        lock.read(tmp_path / "lock.yaml")


def test_a_piece_of_no_package(tmp_path: Path) -> None:
    (tmp_path / "lock.yaml").write_text("pieces:\n  kernel/6.1: {version: '1', suite: x, packages: []}\n")
    with pytest.raises(UsageError, match=r"lock\.yaml:2: .* one package at least"):
        lock.read(tmp_path / "lock.yaml")


# -- --locked -------------------------------------------------------------------------------------


def test_all_that_is_locked_is_had(lab: LockedLab) -> None:
    store = lab.store()
    assert [piece.drift for piece in store.prepare(store.everything())] == [""] * 6
    assert store.emulator().version == "10.0.13"
    kernel, userland = store.kernel("6.1"), store.userland("bookworm")
    assert prepare.find_symbols(store, kernel, userland).missing == ()


@pytest.mark.parametrize("name", ["kernel/6.1", "userland/bookworm", "sysroot/bookworm", "emulator/trixie",
                                  "symbols/kernel-6.1", "symbols/userland-bookworm"])  # fmt: skip
def test_what_the_lock_does_not_name_is_refused(lab: LockedLab, name: str) -> None:
    lock.write(lab.images / "lock.yaml", {key: one for key, one in lab.lock.items() if key != name})
    store = lab.store()
    with pytest.raises(PieceError, match=f"{name} is not in the lock"):
        store.prepare(upkeep.select(store, [name]))
    with pytest.raises(PieceError, match=f"{name} is not in the lock"):
        store.prepare(store.everything())
    assert not [path for path in lab.asked if "dists" in path]


@pytest.mark.parametrize(
    ("name", "package"),
    [("kernel/6.1", "linux-image-6.1.0-50-cloud-amd64"), ("userland/bookworm", "busybox"),
     ("sysroot/bookworm", "libc6-dev"), ("emulator/trixie", "qemu-system-x86"),
     ("symbols/userland-bookworm", "libc6-dbg"), ("symbols/kernel-6.1", "linux-image-6.1.0-50-cloud-amd64-dbg")],
)  # fmt: skip
@pytest.mark.parametrize("locked", [True, False])
def test_other_bytes_from_the_mirror(lab: LockedLab, name: str, package: str, locked: bool) -> None:
    pin = lab.pin(package)
    good = lab.pool[pin.filename]
    assert good
    lab.pool[pin.filename] = good[:-1] + b"x"
    store = lab.store(locked=locked)
    with pytest.raises(PieceError) as caught:
        store.prepare(upkeep.select(store, [name]))
    said = caught.value.message
    assert f"serves other bytes for {package} {pin.version}" in said and f"wanted SHA-256 {pin.sha256}" in said
    assert re.search(rf"served SHA-256 (?!{pin.sha256})[0-9a-f]{{64}}, {pin.size} bytes", said)
    assert not store.archive.path(pin).exists() and not [one for one in store.cache.names() if "kernel-6.1" in one]
    lab.pool[pin.filename] = good
    assert store.prepare(upkeep.select(store, [name]))


def test_a_page_instead_of_a_package(lab: LockedLab) -> None:
    pin = lab.pin("busybox")
    lab.pool[pin.filename] = b"<html>log in first</html>"
    with pytest.raises(PieceError, match=r"served SHA-256 \w+, 25 bytes"):
        lab.store().userland("bookworm")


def test_a_size_that_is_not_the_packages(lab: LockedLab) -> None:
    kernel = lab.lock["kernel/6.1"]
    wrong = replace(kernel, packages=(replace(kernel.packages[0], size=7),))
    lock.write(lab.images / "lock.yaml", {**lab.lock, "kernel/6.1": wrong})
    with pytest.raises(PieceError, match=rf"SHA-256 (\w+), 7 bytes\nserved SHA-256 \1, {kernel.packages[0].size} b"):
        lab.store().kernel("6.1")


def test_a_version_that_is_served_no_more(lab: LockedLab) -> None:
    pin = lab.pin("busybox")
    lab.pool[pin.filename] = None
    with pytest.raises(PieceError, match=rf"userland/bookworm: \S+ no longer serves busybox 1:1\.35.*{pin.sha256}"):
        lab.store().userland("bookworm")


def test_what_was_resolved_without_the_lock_does_not_count(lab: LockedLab) -> None:
    lab.pool[lab.pin("busybox").filename] = None
    changed = newer(lab)["userland/bookworm"]
    members = lab.add("busybox", "1:1.35.0-5", [])
    changed = replace(changed, packages=(members, *changed.packages[1:]))
    loose = lab.store(locked=False)
    loose.__dict__["resolver"] = Answers({changed.id: changed})
    with pytest.raises(PieceError, match="hold no usr/bin/busybox"):
        loose.userland("bookworm")  # it drifts to a package that is empty here
    assert loose.known(upkeep.select(loose, ["userland/bookworm"])[0])[0] == changed
    with pytest.raises(PieceError, match="no longer serves busybox"):
        lab.store().userland("bookworm")


def test_symbols_that_are_refused_are_no_skip(lab: LockedLab) -> None:
    store = lab.store()
    kernel, userland = store.kernel("6.1"), store.userland("bookworm")
    pin = lab.pin("libc6-dbg")
    lab.pool[pin.filename] = b"other"
    loose = prepare.find_symbols(lab.store(locked=False), kernel, userland)
    assert loose.vmlinux and "serves other bytes for libc6-dbg" in loose.missing[0]
    with pytest.raises(PieceError, match="serves other bytes for libc6-dbg") as caught:
        prepare.find_symbols(store, kernel, userland)
    assert "--no-inspect does without" in caught.value.hint


@pytest.mark.parametrize("choice", [{"kernel": "./bzImage"}, {"userland": "./root"}, {"qemu": "system"},
                                    {"qemu": "/usr/bin/qemu-system-x86_64"}])  # fmt: skip
def test_what_no_lock_can_name_is_refused(choice: dict[str, str]) -> None:
    ((option, value),) = choice.items()
    with pytest.raises(UsageError, match=rf"--{option} {value} is not in the lock"):
        prepare.prepare(Choice(**choice, locked=True))  # type: ignore[arg-type]
    pair = Pair(choice.get("kernel", "6.1"), choice.get("userland", "bookworm"))
    with pytest.raises(UsageError, match=rf"--{option} {value} is not in the lock"):
        preparation.prepare_pairs(Options(qemu=choice.get("qemu"), locked=True), [Pair("6.1", "bookworm"), pair])


def test_nothing_is_asked_of_a_mirror_by_a_lock_that_can_not_be_read(tmp_path: Path) -> None:
    images(tmp_path)
    text = (tmp_path / "lock.yaml").read_text()
    (tmp_path / "lock.yaml").write_text(text.replace("kernel/6.12:", "kernel/6.1:"))
    for locked in (True, False):
        with pytest.raises(LabError, match="twice"):
            Store(tmp_path / "cache", "http://127.0.0.1:9/debian", locked=locked, images=tmp_path).kernel("6.12")
