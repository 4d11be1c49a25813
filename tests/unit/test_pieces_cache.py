"""The cache: verified on use, repaired when damaged, safe with several builders, pruned with care."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from pieces_samples import images

from orchestrator import progress
from orchestrator.pieces import Store
from orchestrator.pieces.cache import Cache, _state
from orchestrator.pieces.prune import prune


class Builder:
    """Assembles a piece, and counts how often."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.built = 0
        self.seconds = seconds

    def __call__(self, folder: Path) -> dict[str, str]:
        self.built += 1
        time.sleep(self.seconds)
        (folder / "root").mkdir()
        (folder / "root/file").write_text("content")
        (folder / "link").symlink_to("root/file")
        return {"release": "1"}


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path)


def test_built_once(cache: Cache) -> None:
    builder = Builder()
    for _ in range(3):
        entry = cache.build("x", {"piece": "kernel/x"}, builder)
    assert builder.built == 1
    assert entry.info["info"] == {"release": "1"}
    assert cache.get("x") == entry


def _flip(path: Path) -> None:
    before = path.stat()
    path.write_text("tnetnoc")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: _flip(path / "root/file"),
        lambda path: (path / "root/file").unlink(),
        lambda path: (path / "root/file").chmod(0o755),
        lambda path: (path / "manifest.json").unlink(),
        lambda path: (path / "manifest.json").write_text("{}"),
        lambda path: (path / "manifest.json").write_text((path / "manifest.json").read_text().replace('"1"', '"2"')),
        lambda path: ((path / "link").unlink(), (path / "link").symlink_to("/etc")),
    ],
    ids=["flip", "missing", "mode", "no-manifest", "empty-manifest", "changed-manifest", "link"],
)
def test_damage_is_noticed_said_and_repaired(cache: Cache, damage) -> None:  # type: ignore[no-untyped-def]
    builder = Builder()
    path = cache.build("x", {}, builder).path
    damage(path)
    events: list[progress.Event] = []
    with progress.listening(events.append):
        assert cache.get("x") is None
        cache.build("x", {}, builder)
    assert builder.built == 2
    assert any("damaged" in event.what for event in events if event.kind == "note")
    assert (path / "root/file").read_text() == "content"
    assert [found.name for found in cache.folder.iterdir()] == ["x"]


def test_file_that_does_not_belong_is_found_by_verify(cache: Cache) -> None:
    path = cache.build("x", {}, Builder()).path
    assert cache.damage("x") == ""
    (path / "root/extra").write_text("")
    assert "extra" in cache.damage("x")


def test_bit_rot_that_no_stamp_shows_is_found_by_verify(cache: Cache) -> None:
    path = cache.build("x", {}, Builder()).path
    _flip(path / "root/file")
    stamp = {name: _state(path / name) for name in ("root/file", "link")}
    (path / "stamp.json").write_text(json.dumps(dict(sorted(stamp.items()))))
    assert cache.get("x") is not None
    assert "root/file" in cache.damage("x")
    assert cache.get("x") is None


def test_lost_stamp_only_costs_time(cache: Cache) -> None:
    builder = Builder()
    path = cache.build("x", {}, builder).path
    (path / "stamp.json").write_text("nonsense")
    assert cache.get("x") is not None
    assert builder.built == 1


def test_failed_build_leaves_nothing(cache: Cache) -> None:
    def fail(folder: Path) -> dict[str, str]:
        (folder / "half").write_text("")
        raise OSError("no space")

    with pytest.raises(OSError, match="no space"):
        cache.build("x", {}, fail)
    assert list(cache.folder.iterdir()) == []
    assert cache.get("x") is None


def test_leftovers_of_a_killed_build_are_not_used_and_go(cache: Cache) -> None:
    half = cache.folder / ".build-x-killed"
    half.mkdir(parents=True)
    (half / "file").write_text("half")
    assert cache.get("x") is None
    cache.build("x", {}, Builder())
    assert not half.exists()


def test_two_builders_build_once(cache: Cache) -> None:
    builder = Builder(seconds=0.2)
    threads = [threading.Thread(target=cache.build, args=("x", {}, builder)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert builder.built == 1


def _foreign(folder: Path, name: str) -> None:
    """Builds an entry in another process, so that ours does not hold it."""
    program = (
        "import sys; from pathlib import Path; from orchestrator.pieces.cache import Cache; "
        "Cache(Path(sys.argv[1])).build(sys.argv[2], {}, "
        "lambda f: ((f / 'file').write_text('content'), {})[1])"
    )
    subprocess.run([sys.executable, "-c", program, str(folder), name], check=True)


def test_prune_spares_what_is_in_use(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    folder = tmp_path / "cache"
    store = Store(cache=folder, images=images(tmp_path / "images"))
    _foreign(folder, "old")
    _foreign(folder, "used")
    assert store.cache.get("used") is not None
    dry = prune(store, everything=False, keep_days=None, dry_run=True)
    assert store.cache.names() == ["old", "used"]
    done = prune(store, everything=False, keep_days=None, dry_run=False)
    assert [(item.path.name, item.kept) for item in done] == [("old", False), ("used", True)]
    assert [item.size for item in done] == [item.size for item in dry]
    assert store.cache.names() == ["used"]


def test_prune_removes_states_that_nobody_used(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    store = Store(cache=tmp_path / "cache", images=images(tmp_path / "images"))
    now = time.time()
    for name, age in (("a" * 32, 3), ("b" * 32, 0), (".new-killed", 1), (".new-running", 0)):
        folder = tmp_path / "cache" / "states" / name
        folder.mkdir(parents=True)
        with (folder / "ram").open("wb") as ram:
            ram.truncate(1 << 30)  # nothing but a hole
        os.utime(folder, (now - age * 86400, now - age * 86400))

    def left() -> list[str]:
        return sorted(path.name for path in (tmp_path / "cache" / "states").iterdir())

    gone = prune(store, everything=False, keep_days=None, dry_run=False)
    assert [(item.path.name, item.reason) for item in gone] == [(".new-killed", "leftover")] and gone[0].size < 1 << 20
    prune(store, everything=False, keep_days=2, dry_run=False)
    assert left() == [".new-running", "b" * 32]
    prune(store, everything=True, keep_days=None, dry_run=False)
    assert left() == [".new-running"]


def test_prune_spares_states_of_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "images").mkdir()
    store = Store(cache=tmp_path / "cache", images=images(tmp_path / "images"))
    states = tmp_path / "cache" / "states"
    (states / ("a" * 32)).mkdir(parents=True)
    (states / f"{'b' * 32}.cold").write_text("{}")
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    assert prune(store, everything=True, keep_days=None, dry_run=False) == []
    monkeypatch.undo()
    gone = prune(store, everything=True, keep_days=None, dry_run=False)
    assert [item.path.name for item in gone] == ["a" * 32, f"{'b' * 32}.cold"] and not list(states.iterdir())


def test_prune_removes_leftovers(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    store = Store(cache=tmp_path / "cache", images=images(tmp_path / "images"))
    for leftover in ("pieces/.build-x-1", "archives/.part-1", "apt/trixie"):
        (tmp_path / "cache" / leftover).mkdir(parents=True)
    prune(store, everything=False, keep_days=None, dry_run=False)
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_dir() and path.parent.name != "cache"] == []
