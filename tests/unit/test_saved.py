"""Saved states on disk: what is not, to the bit, what was saved is never used; what is too much goes, oldest first."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.machine.saved import FORMAT, PAGE, States, Unusable, digest

SIZE = 64 * PAGE
KEY = "k" * 32


def make(states: States, key: str = KEY, content: bytes = b"kernel") -> Path:
    """A state whose memory holds ``content`` in its third page, and holes elsewhere."""
    with states.making(key, patience=5) as place:
        with (place / "ram").open("wb") as ram:
            ram.truncate(SIZE)
            ram.seek(2 * PAGE)
            ram.write(content)
        (place / "devices").write_bytes(b"QEVM devices")
        (place / "console").write_bytes(b"LAB: ready 1\n")
        states.keep(key, place, kernel="6.12", userland="trixie", seconds=2.0, memory=SIZE)
    return states.folder / key


def outcome(states: States, key: str = KEY) -> str:
    """"restored", "none", or why it is unusable."""
    try:
        with states.opened(key) as state:
            return "restored" if state is not None else "none"
    except Unusable as error:
        return str(error)


def test_what_was_kept_is_found_and_held_open(tmp_path: Path) -> None:
    states = States(tmp_path / "states")
    assert outcome(states) == "none"
    make(states)
    with states.opened(KEY) as state:
        assert state is not None
        states.drop(KEY)  # somebody else prunes meanwhile
        assert os.pread(state.ram, 6, 2 * PAGE) == b"kernel" and state.console == b"LAB: ready 1\n"
        assert (state.saved.kernel, state.saved.userland, state.saved.format) == ("6.12", "trixie", FORMAT)
    assert outcome(states) == "none"


def rewrite(name: str, content: bytes) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        (folder / name).chmod(0o600)
        (folder / name).write_bytes(content)

    return damage


def flip(folder: Path) -> None:
    (folder / "ram").chmod(0o600)
    with (folder / "ram").open("r+b") as ram:
        ram.seek(40 * PAGE)
        ram.write(b"\1")


def replace(folder: Path) -> None:
    """Another file of the same size and times."""
    old = (folder / "ram").stat()
    (folder / "other").write_bytes(bytes(SIZE))
    os.utime(folder / "other", ns=(old.st_atime_ns, old.st_mtime_ns))
    (folder / "other").replace(folder / "ram")


def shorten(folder: Path) -> None:
    os.truncate(folder / "ram", SIZE - PAGE)


def link(folder: Path) -> None:
    (folder / "ram").replace(folder / "elsewhere")
    (folder / "ram").symlink_to("elsewhere")


def described(**changes: object) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        data = json.loads((folder / "state.json").read_text())
        (folder / "state.json").write_text(json.dumps({**data, **changes}))

    return damage


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (flip, "its memory is not what was saved"),
        (replace, "its memory is not what was saved"),
        (shorten, "its memory has another size"),
        (rewrite("devices", b"QEVM device!"), "its devices are not what was saved"),
        (rewrite("console", b""), "its console are not what was saved"),
        (rewrite("state.json", b"{"), "its state.json is damaged"),
        (rewrite("state.json", b"[]"), "its state.json is damaged"),
        (rewrite("state.json", b"\0" * 100), "its state.json is damaged"),
        (described(format=FORMAT + 1), "another version of the lab made it"),
        (described(memory="big"), "its state.json is damaged"),
        (described(digests=None), "its state.json is damaged"),
        (lambda folder: (folder / "ram").unlink(), "a file of it is missing"),
        (lambda folder: (folder / "state.json").unlink(), "a file of it is missing"),
        (link, "it can't be read"),
    ],
)
def test_a_damaged_state_is_never_used(tmp_path: Path, damage: Callable[[Path], None], why: str) -> None:
    states = States(tmp_path)
    damage(make(states))
    assert outcome(states).startswith(why)


def test_a_copy_is_hashed_once_and_then_known(tmp_path: Path) -> None:
    """As a CI system restores a cache: other inodes, other times, holes filled, the same content."""
    states = States(tmp_path)
    folder = make(states)
    content = (folder / "ram").read_bytes()
    (folder / "ram").unlink()
    (folder / "ram").write_bytes(content)
    stamp = (folder / "stamp").read_text()
    assert outcome(states) == "restored"
    assert (folder / "stamp").read_text() != stamp  # from now on the copy is known by its inode and times
    (folder / "stamp").unlink()
    assert outcome(states) == "restored"


def test_the_digest_is_of_content_and_place_not_of_holes(tmp_path: Path) -> None:
    def of(pages: dict[int, bytes], sparse: bool) -> str:
        path = tmp_path / "file"
        with path.open("wb") as file:
            file.truncate(SIZE) if sparse else file.write(bytes(SIZE))
            for number, content in pages.items():
                file.seek(number * PAGE)
                file.write(content)
        with path.open("rb") as file:
            return digest(file.fileno())

    assert of({3: b"x"}, True) == of({3: b"x"}, False)
    assert len({of({3: b"x"}, True), of({4: b"x"}, True), of({3: b"y"}, True), of({}, True)}) == 4


def test_the_least_recently_used_states_go_first(tmp_path: Path) -> None:
    states = States(tmp_path)
    for number in range(3):
        folder = make(states, key=f"{number}" * 32, content=b"x" * PAGE * 8)
        os.utime(folder, (number, number))
    size = max(states.sizes().values())
    os.utime(tmp_path / ("0" * 32), (9, 9))  # it was used again
    States(tmp_path, limit=2 * size).trim()
    assert {key[0] for key in states.sizes()} == {"0", "2"}
    States(tmp_path, limit=0).trim(besides="2" * 32)  # what was just made stays
    assert {key[0] for key in states.sizes()} == {"2"}


def test_on_a_disk_that_is_almost_full_none_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.machine.saved.SPARE", 1 << 60)
    with pytest.raises(Unusable, match="almost full"), States(tmp_path).making(KEY, patience=1):
        pass


def test_what_is_not_kept_leaves_nothing(tmp_path: Path) -> None:
    states = States(tmp_path)
    with pytest.raises(RuntimeError, match="boot failed"), states.making(KEY, patience=1) as place:
        (place / "ram").touch()
        raise RuntimeError("boot failed")
    assert [path.name for path in tmp_path.iterdir()] == [f".{KEY}.lock"] and states.sizes() == {}


def test_one_makes_it_and_the_others_wait(tmp_path: Path) -> None:
    states, order = States(tmp_path), []
    begun = threading.Event()

    def other() -> None:
        begun.wait()
        with States(tmp_path).making(KEY, patience=20) as place:
            order.append("other")
            assert place.is_dir() and outcome(states) == "restored"

    thread = threading.Thread(target=other)
    thread.start()
    with states.making(KEY, patience=5) as place:
        begun.set()
        with pytest.raises(Unusable, match="somebody else is making it"), States(tmp_path).making(KEY, 0.05):
            pass
        order.append("first")
        for name in ("ram", "devices", "console"):
            (place / name).write_bytes(bytes(SIZE) if name == "ram" else b"")
        states.keep(KEY, place, kernel="k", userland="u", seconds=1, memory=SIZE)
    thread.join()
    assert order == ["first", "other"]


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Unusable, match="it can't be made in"), States(tmp_path / "file").making(KEY, 1):
        pass


def test_using_a_state_is_remembered(tmp_path: Path) -> None:
    states = States(tmp_path)
    folder = make(states)
    os.utime(folder, (1, 1))
    assert outcome(states) == "restored" and folder.stat().st_mtime > time.time() - 60


def test_another_users_states_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where several users share a folder in which all may write."""
    states = States(tmp_path, limit=0)
    make(states)
    make(states, key="m" * 32)
    assert set(states.sizes()) == {"m" * 32}
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    states.drop("m" * 32)
    states.trim()
    assert set(states.sizes()) == {"m" * 32}
