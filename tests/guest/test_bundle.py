"""From a machine with a network to one without: export, import, and a locked run there."""

from __future__ import annotations

from pathlib import Path

from conftest import Lab

from orchestrator import resources
from orchestrator.pieces import Store

NOWHERE = "http://127.0.0.1:9/debian"  # discard: nothing listens


def test_a_locked_run_without_a_network(lab: Lab, tmp_path: Path) -> None:
    done = lab("image", "export", "bundle.tar", "default")
    assert done.returncode == 0, done.stderr
    there = {"LAB_CACHE": str(tmp_path / "there"), "LAB_DEBIAN_MIRROR": NOWHERE}
    refused = lab("run", "brk", "--locked", "--no-inspect", env=there)
    assert refused.returncode == 3 and "no network" in refused.stderr
    done = lab("image", "import", "bundle.tar", env=there)
    assert done.returncode == 0, done.stderr
    done = lab("run", "brk", "--locked", "--no-inspect", "-o", "run", env=there)
    assert done.returncode == 0, done.stdout + done.stderr
    here = Store(cache=resources.cache())
    kernel = here.kernel(here.image().kernel).piece
    assert kernel and kernel.key in (tmp_path / "run/run.json").read_text()


def test_locked_symbols_are_no_skip(lab: Lab, tmp_path: Path) -> None:
    """Where a run looks inside, symbols that can't be had are an error under --locked, and a SKIP without it."""
    done = lab("image", "export", "bundle.tar", "default")
    assert done.returncode == 0, done.stderr
    there = {"LAB_CACHE": str(tmp_path / "there"), "LAB_DEBIAN_MIRROR": NOWHERE}
    assert lab("image", "import", "bundle.tar", env=there).returncode == 0
    done = lab("run", "brk", "--locked", "-o", "run", env=there)
    assert done.returncode == 3 and "--no-inspect does without symbols" in done.stderr
    assert not (tmp_path / "run").exists()


def test_files_of_the_users_are_no_part_of_a_lock(lab: Lab) -> None:
    for words in (("run", "brk"), ("exec", "--", "true"), ("shell",), ("matrix", "brk")):
        done = lab(words[0], "--locked", "--kernel", "./bzImage", *words[1:])
        assert done.returncode == 2 and "bzImage is not in the lock" in done.stderr, done.stderr
