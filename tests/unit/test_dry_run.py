"""`--dry-run` says what would be started, and which way the guest would come up."""

from __future__ import annotations

from pathlib import Path

from fake_qemu import with_fake_qemu
from test_guest import come_up, ways
from test_warm import recipe

from orchestrator import dry_run
from orchestrator.machine import barred, warm
from orchestrator.machine.recipe import Recipe

assert recipe  # a fixture


def parts(text: str) -> tuple[list[str], list[str]]:
    """Commands, and what is said of them."""
    lines = text.splitlines()
    return [line for line in lines if line[0] != "#"], [line for line in lines if line[0] == "#"]


def started(text: str) -> list[str]:
    return ["restores" if "-incoming" in one else "saves" if "share=on" in one else "boots" for one in parts(text)[0]]


def test_each_way_is_shown_and_is_the_one_that_follows(recipe: Recipe, tmp_path: Path) -> None:
    fake = with_fake_qemu(recipe, tmp_path)
    before = dry_run.text(fake)
    assert started(before) == ["saves", "restores"] and "# boots once, to be saved; INITRAMFS is" in before
    assert [how for how, _ in ways(come_up(fake))] == ["saved", "restored"]
    after = dry_run.text(fake)
    assert started(after) == ["restores"] and "# goes on from a state made 2" in after
    commands, _ = parts(after)
    assert commands == parts(before)[0][1:] and str(tmp_path / "states" / warm.key(fake) / "ram") in commands[0]
    assert [how for how, _ in ways(come_up(fake))] == ["restored"]


def test_a_guest_that_boots_is_shown_so_with_the_reason(recipe: Recipe, tmp_path: Path) -> None:
    fake = with_fake_qemu(recipe, tmp_path)
    come_up(fake)
    states, key = tmp_path / "states", warm.key(fake)
    (states / key / "console").write_bytes(b"other")
    text = dry_run.text(fake)
    assert started(text) == ["boots"] and "the saved state is not used: its console are not what was saved" in text
    assert (states / key).is_dir(), "looking changes nothing"
    barred.add(states, key, "state", "it is deaf", certain=True)
    text = dry_run.text(fake)
    assert started(text) == ["boots"] and "# boots, as this guest can't be restored: it is deaf" in text


def test_without_states_it_boots(recipe: Recipe, tmp_path: Path) -> None:
    from dataclasses import replace

    fake = replace(with_fake_qemu(recipe, tmp_path), states=None)
    text = dry_run.text(fake)
    assert started(text) == ["boots"] and text.endswith("and the run's keys") and "# boots; INITRAMFS" in text
