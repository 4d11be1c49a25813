"""cpio archives and Debian packages: the same bytes each time, and nothing leaves its destination."""

from __future__ import annotations

import stat
import tarfile
from pathlib import Path

import pytest
from pieces_samples import deb, file, link, unpack_cpio

from orchestrator.errors import PieceError
from orchestrator.pieces import cpio, debs


def everything(_: str) -> bool:
    return True


def test_order_of_nodes_does_not_matter() -> None:
    nodes = [cpio.file("usr/bin/a", b"12345"), cpio.symlink("bin", "usr/bin"), cpio.character("dev/console", 5, 1)]
    assert cpio.archive(nodes) == cpio.archive(reversed(nodes))


def test_archive_holds_what_was_given() -> None:
    nodes = [cpio.file("b/x", b"odd"), cpio.character("dev/console", 5, 1), cpio.directory("root", 0o700)]
    found = unpack_cpio(cpio.archive(nodes))
    assert list(found) == ["b", "b/x", "dev", "dev/console", "root"]
    assert found["b/x"][:2] == (stat.S_IFREG | 0o644, b"odd")
    assert found["root"][0] == stat.S_IFDIR | 0o700
    assert found["dev/console"][2][9:11] == (5, 1)
    assert all(numbers[5] == 0 for _, _, numbers in found.values()), "times"


def test_archives_can_be_concatenated() -> None:
    assert len(cpio.archive([cpio.file("x", b"1")])) % 512 == 0


def test_content_may_lie_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"content")
    assert cpio.archive([cpio.file("x", tmp_path / "x")]) == cpio.archive([cpio.file("x", b"content")])


def test_old_layout_is_merged(tmp_path: Path) -> None:
    package = deb(
        tmp_path / "x.deb",
        [
            file("./lib/x86_64-linux-gnu/ld-2.31.so", b"ld", 0o755),
            link("./lib64/ld.so.2", "/lib/x86_64-linux-gnu/ld-2.31.so"),
            link("./lib64/again.so", "../lib/x86_64-linux-gnu/ld-2.31.so"),
            link("./usr/lib/x86_64-linux-gnu/libm.so", "/lib/x86_64-linux-gnu/libm.so.6"),
        ],
    )
    found = {entry.path: entry for entry in debs.entries(package, everything)}
    assert found["usr/lib/x86_64-linux-gnu/ld-2.31.so"].executable
    assert found["usr/lib64/ld.so.2"].target == "../lib/x86_64-linux-gnu/ld-2.31.so"
    assert found["usr/lib64/again.so"].target == "../lib/x86_64-linux-gnu/ld-2.31.so"
    assert found["usr/lib/x86_64-linux-gnu/libm.so"].target == "libm.so.6"


def test_hard_links_become_files(tmp_path: Path) -> None:
    package = deb(tmp_path / "x.deb", [file("./usr/a", b"1"), link("./usr/b", "./usr/a", tarfile.LNKTYPE)])
    assert [entry.data for entry in debs.entries(package, everything)] == [b"1", b"1"]


@pytest.mark.parametrize("name", ["../evil", "usr/../../evil", "/etc/evil"])
def test_paths_stay_inside(tmp_path: Path, name: str) -> None:
    package = deb(tmp_path / "x.deb", [file(name, b"evil")])
    with pytest.raises(PieceError, match="leaves the package"):
        debs.unpack(package, tmp_path / "root", everything)


def test_symlinks_are_not_followed_out(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    package = deb(tmp_path / "x.deb", [link("./usr/x", "../../../outside"), file("./usr/x/evil", b"evil")])
    with pytest.raises(PieceError):
        debs.unpack(package, root, everything)
    assert not list(tmp_path.rglob("evil"))


def test_symlinked_folder_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    package = deb(tmp_path / "x.deb", [link("./usr/x", "y"), file("./usr/x/evil", b"evil")])
    with pytest.raises(PieceError, match="is a symlink"):
        debs.unpack(package, root, everything)


def test_damaged_package_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "x.deb").write_bytes(b"!<arch>\nnothing")
    with pytest.raises(PieceError):
        list(debs.entries(tmp_path / "x.deb", everything))
