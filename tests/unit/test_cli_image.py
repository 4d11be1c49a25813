"""`lab image` as it is typed: lock, export, import and key; what is written, what is only shown, and the exit codes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from locked_lab import LockedLab
from typer.testing import CliRunner, Result

from orchestrator import resources
from orchestrator.cli import app, image
from orchestrator.errors import LabError
from orchestrator.model import PieceKind
from orchestrator.pieces import Store, lock
from orchestrator.pieces.lock import Locked


@pytest.fixture
def lab(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[LockedLab]:
    with LockedLab(tmp_path_factory.mktemp("lab")).served() as found:
        monkeypatch.setattr(resources, "data", lambda name: found.images)
        monkeypatch.setenv("LAB_CACHE", str(found.folder / "cache"))
        monkeypatch.setenv("LAB_DEBIAN_MIRROR", found.address)
        yield found


def run(*words: str, answer: str = "") -> Result:
    return CliRunner().invoke(app.image, words, input=answer)


def failed(result: Result) -> LabError:
    assert isinstance(result.exception, LabError), result.output
    return result.exception


@pytest.fixture
def moved(lab: LockedLab, monkeypatch: pytest.MonkeyPatch) -> LockedLab:
    """A mirror that has another busybox."""
    userland = lab.lock["userland/bookworm"]
    newer = replace(userland.packages[0], version="1:1.35.0-5", filename="pool/main/x/busybox_1.35.0-5_amd64.deb")

    class Answers:
        def resolve(self, kind: PieceKind, name: str, owner: Locked | None) -> Locked:
            found = lab.lock[f"{kind}/{name}"]
            return replace(found, packages=(newer, *found.packages[1:])) if found is userland else found

    monkeypatch.setattr(Store, "resolver", Answers())
    return lab


LINE = "userland/bookworm: busybox 1:1.35.0-4 → 1:1.35.0-5\n"


def test_lock_shows_then_writes(moved: LockedLab) -> None:
    path = moved.images / "lock.yaml"
    before = path.read_bytes()
    for words in (("lock",), ("lock", "--dry-run")):
        done = run(*words)
        assert (done.exit_code, done.stdout) == (0, "nothing changes\n")
    done = run("lock", "--update", "--dry-run")
    assert (done.exit_code, done.stdout) == (0, LINE) and path.read_bytes() == before
    done = run("lock", "--update")
    assert (done.exit_code, done.stdout) == (0, f"{LINE}written: {path}\n"), "without a terminal nothing is asked"
    assert lock.read(path)["userland/bookworm"].packages[0].version == "1:1.35.0-5"


def test_lock_asks_on_a_terminal(moved: LockedLab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image, "_terminal", lambda: True)
    before = (moved.images / "lock.yaml").read_bytes()
    done = run("lock", "--update", answer="n\n")
    assert done.exit_code == 0 and "nothing was written" in done.stdout
    assert (moved.images / "lock.yaml").read_bytes() == before
    assert "written:" in run("lock", "--update", "--yes").stdout
    assert (moved.images / "lock.yaml").read_bytes() != before


def test_lock_without_a_mirror_changes_nothing(lab: LockedLab) -> None:
    before = (lab.images / "lock.yaml").read_bytes()
    assert failed(run("lock", "--update", "--mirror", "http://127.0.0.1:9/debian")).exit_code == 3
    assert (lab.images / "lock.yaml").read_bytes() == before


def test_a_lock_that_was_edited(lab: LockedLab) -> None:
    path = lab.images / "lock.yaml"
    path.write_text(path.read_text().replace("suite: trixie", "suite: [trixie]"))
    for words in (("key",), ("list",), ("build",), ("lock",), ("export", "x.tar"), ("import", "x.tar")):
        error = failed(run(*words))
        assert error.exit_code == 2 and f"{path}:" in error.message and "a list; allowed: a text" in error.message


def test_build_locked(lab: LockedLab) -> None:
    lock.write(lab.images / "lock.yaml", {key: one for key, one in lab.lock.items() if key != "emulator/trixie"})
    error = failed(run("build", "--locked"))
    assert error.exit_code == 3 and "emulator/trixie is not in the lock" in error.message
    assert run("build", "--locked", "symbols/kernel-6.1").exit_code == 0


def test_from_here_to_there(lab: LockedLab, monkeypatch: pytest.MonkeyPatch) -> None:
    file = lab.folder / "all.tar"
    done = run("export", str(file))
    assert done.exit_code == 0 and done.stdout.startswith(f"{file}: 6 pieces, 7 packages, ")
    first = run("key").stdout
    lab.refuses, lab.asked = True, []
    monkeypatch.setenv("LAB_CACHE", str(lab.folder / "there"))
    assert run("key").stdout == first
    done = run("import", str(file))
    assert done.exit_code == 0 and done.stdout.endswith("of the lock, not in the cache: nothing\n"), done.output
    assert run("build", "--all", "--locked").exit_code == 0 and lab.asked == []
    file.write_bytes(file.read_bytes()[:-1])
    assert failed(run("import", str(file))).exit_code == 3
    assert failed(run("import", str(lab.folder / "none"))).exit_code == 2


def test_keys(lab: LockedLab) -> None:
    key = run("key").stdout
    assert len(key) == 21 and key == run("key", "--all").stdout == run("key", "-i", "default", "-k", "6.*").stdout
    others = {run("key", *words).stdout for words in (("--no-symbols",), ("--qemu", "system"))}
    assert len({key, *others}) == 3 and run("key", "--qemu", "./qemu").stdout in others
    assert failed(run("key", "-k", "6.2")).exit_code == 2
