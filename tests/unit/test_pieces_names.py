"""Names, catalogue, lock and mirror: what a user writes, and what is said when it is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from pieces_samples import CATALOGUE, images

from orchestrator.errors import PieceError, UsageError
from orchestrator.model import PackagePin, PieceKind
from orchestrator.pieces import Store, catalogue, lock, mirror, upkeep
from orchestrator.pieces.lock import Locked

PIN = PackagePin("libc6", "2.36-9", "00" * 32, 1000, "pool/main/g/glibc/libc6_2.36-9_amd64.deb")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(cache=tmp_path / "cache", images=images(tmp_path))


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("6.1", ["6.1"]),
        ("6.1*", ["6.1", "6.12"]),
        ("*", ["5.10", "6.1", "6.12", "7.x"]),
        ("6.1.176-1", ["6.1"]),
        ("6.12.107", ["6.12"]),
        ("7.3", ["7.x"]),
        ("7.x", ["7.x"]),
    ],
)
def test_kernel_names(store: Store, pattern: str, names: list[str]) -> None:
    assert store.kernel_names(pattern) == names


@pytest.mark.parametrize("pattern", ["6", "6.", "6.?", "[6].1", "6.2", "", "9*"])
def test_unknown_kernels(store: Store, pattern: str) -> None:
    with pytest.raises(UsageError, match="unknown kernel") as caught:
        store.kernel_names(pattern)
    assert "6.12" in caught.value.hint


def test_userlands_by_suite_and_glibc(store: Store) -> None:
    assert store.userland_names("bookworm") == store.userland_names("2.36") == ["bookworm"]
    with pytest.raises(UsageError) as caught:
        store.userland_names("bookwrm")
    assert "did you mean bookworm" in caught.value.message


def test_default_and_named_images(store: Store) -> None:
    assert (store.image().kernel, store.image("default").userland) == ("6.12", "trixie")
    with pytest.raises(UsageError, match="unknown image"):
        store.image("defualt")


def test_select_by_any_name(store: Store) -> None:
    assert [wanted.id for wanted in upkeep.select(store, ["kernel/6.1"])] == ["kernel/6.1"]
    assert [wanted.id for wanted in upkeep.select(store, ["2.36"])] == ["userland/bookworm", "sysroot/bookworm"]
    assert len(upkeep.default(store)) == 4
    assert [wanted.id for wanted in upkeep.select(store, ["symbols/kernel-6.1"])] == ["symbols/kernel-6.1"]


def test_symbols_come_only_when_they_are_asked_for(store: Store) -> None:
    named = [wanted for name in ("6.1", "bookworm", "default") for wanted in upkeep.select(store, [name])]
    assert not [wanted for wanted in (*named, *upkeep.default(store)) if wanted.kind is PieceKind.SYMBOLS]
    added = set(upkeep.with_symbols(named)) - set(named)
    assert {wanted.name for wanted in added} == {f"kernel-{k}" for k in ("6.1", "6.12")} | {
        f"userland-{u}" for u in ("bookworm", "trixie")}  # fmt: skip
    without = store.everything(with_symbols=False)
    assert store.everything()[: len(without)] == without
    assert {wanted.kind for wanted in store.everything()[len(without) :]} == {PieceKind.SYMBOLS}


def test_shipped_catalogue_is_locked() -> None:
    shipped = Store(cache=Path("/nonexistent"))
    assert {wanted.id for wanted in shipped.everything()} == set(shipped.lock)
    assert all(entry.packages for entry in shipped.lock.values())


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("kernels:", "kernals:", "unknown section 'kernals'"),
        ("suites: [bullseye], ", "", "suites is missing"),
        ("suite: bookworm", "suite: 12", "suite must be a str"),
        ("default: true", "defualt: true", "unknown key 'defualt'"),
        ('kernel: "6.12"', 'kernel: "6.13"', "unknown kernel '6.13'"),
        ("bookworm: {", "bookworm: [", "not valid YAML"),
    ],
)
def test_catalogue_errors_name_the_place(tmp_path: Path, old: str, new: str, message: str) -> None:
    (tmp_path / "catalogue.yaml").write_text(CATALOGUE.replace(old, new, 1))
    with pytest.raises(UsageError, match=message) as caught:
        catalogue.load(tmp_path)
    assert str(tmp_path) in caught.value.message


def test_lock_round_trip(tmp_path: Path) -> None:
    old = {"userland/x": Locked(PieceKind.USERLAND, "x", "2.36", "bookworm", (PIN,), "Fri, 06 Nov")}
    lock.write(tmp_path / "lock.yaml", old)
    assert lock.read(tmp_path / "lock.yaml") == old
    assert lock.read(tmp_path / "none.yaml") == {}


def test_locked_refuses_what_is_not_in_the_lock(tmp_path: Path) -> None:
    store = Store(cache=tmp_path / "cache", locked=True, images=images(tmp_path))
    with pytest.raises(PieceError, match="not in the lock"):
        store.kernel("5.10")


SOURCES = """
# Types: deb
Types: deb
URIs: https://other.example/linux/debian
Suites: bookworm
Components: stable

Types: deb deb-src
URIs: https://off.example/debian
Suites: bookworm
Components: main
Enabled: no

Types: deb
URIs: https://foreign.example/debian
Suites: bookworm
Components: main
Signed-By: /etc/apt/keyrings/foreign.gpg

Types: deb
# a comment
URIs: https://deb.example/debian-security
Suites: bookworm-security
Components: main

Types: deb
URIs: https://good.example/debian/
Suites: bookworm
 bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
"""


def test_mirror_from_deb822_sources(tmp_path: Path) -> None:
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list.d/debian.sources").write_text(SOURCES)
    assert list(mirror._from_sources(tmp_path)) == ["https://good.example/debian/"]


def test_mirror_from_sources_list(tmp_path: Path) -> None:
    (tmp_path / "mirrors").write_text("# first\nhttps://cloud.example/debian priority:1\n")
    (tmp_path / "sources.list").write_text(
        "# deb https://off.example/debian sid main\n"
        "deb https://ubuntu.example/ubuntu noble main\n"
        "deb-src https://source.example/debian sid main\n"
        "deb [arch=amd64] https://good.example/debian sid main contrib # mine\n"
        f"deb mirror+file://{tmp_path}/mirrors sid main\n"
    )
    assert list(mirror._from_sources(tmp_path)) == ["https://good.example/debian", "https://cloud.example/debian"]


def test_mirror_from_bootstrap_tools(tmp_path: Path) -> None:
    tool = tmp_path / "debootstrap"
    tool.write_text('DEF_MIRROR="http://ubuntu.example/ubuntu"\nif x; then DEF="http://good.example/debian"\nfi\n')
    assert list(mirror._from_tools((tool,))) == ["http://good.example/debian"]


def test_mirror_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_DEBIAN_MIRROR", "http://env.example/debian/")
    assert mirror.find() == "http://env.example/debian"
    assert mirror.find("http://option.example/debian") == "http://option.example/debian"
    with pytest.raises(UsageError, match="not a mirror"):
        mirror.find("ftp.example")
