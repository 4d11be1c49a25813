"""How a guest comes up, and what is remembered of how it did not: with a QEMU that does as it is told."""

from __future__ import annotations

import os
import shutil
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import pytest
from fake_qemu import CPU, NEVER, WARNING, change_plan, with_fake_qemu
from test_warm import recipe

from orchestrator.errors import GuestError
from orchestrator.host import Limits
from orchestrator.machine import barred, guest, warm
from orchestrator.machine.guest import Guest
from orchestrator.machine.recipe import Recipe
from orchestrator.machine.saved import States

assert recipe  # a fixture
LIMITS = Limits(boot=20, silence=5, step=20, total=20)
BOOTED = [("booted", "ready")]


def come_up(recipe: Recipe, fall_back: list[str] | None = None, log: Path | None = None,
            limits: Limits = LIMITS) -> Guest:
    """A guest that was up, and is ended."""
    told = None if fall_back is None else fall_back.append
    made = Guest(recipe, limits, log, fall_back=told, ssh_at_once=False)
    with made:
        assert made.running.port is not None
    return made


def ways(made: Guest) -> list[tuple[str, str]]:
    return [(attempt.how, attempt.outcome) for attempt in made.attempts]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a guest that says nothing is given up soon."""
    monkeypatch.setattr(guest, "LEAST", 1.0)


def test_a_state_is_made_once_and_restored(recipe: Recipe, tmp_path: Path) -> None:
    fake = with_fake_qemu(recipe, tmp_path)
    first, second = come_up(fake), come_up(fake)
    assert ways(first) == [("saved", "ready"), ("restored", "ready")] and ways(second) == [("restored", "ready")]
    assert first.unusable == second.unusable == ""
    assert min(attempt.cpu_seconds for attempt in (*first.attempts, *second.attempts)) >= CPU / 2


def test_what_was_seen_before_the_save_has_its_time(recipe: Recipe, tmp_path: Path) -> None:
    """The kernel's own, and not that of the restore."""
    seen = come_up(with_fake_qemu(recipe, tmp_path)).console.sightings
    assert [(one.line, one.seconds, one.saved) for one in seen] == [(WARNING, 1.25, True)]


def test_a_guest_that_says_it_cannot_be_restored_is_not_saved_again(recipe: Recipe, tmp_path: Path) -> None:
    """A kernel that takes no entropy, say: each run would cost a boot and a restore more."""
    fake = with_fake_qemu(recipe, tmp_path, restore=NEVER)
    assert ways(come_up(fake)) == [("saved", "ready"), ("restored", "lost-guest"), *BOOTED]
    assert fake.states is not None and States(fake.states).sizes() == {}
    later = come_up(fake)
    assert ways(later) == BOOTED
    assert "can't be restored" in later.unusable and "the kernel takes no entropy" in later.unusable
    assert ways(come_up(replace(fake, append=("nokaslr",))))[0] == ("saved", "ready"), "another guest"
    for note in fake.states.glob("*.cold"):
        os.utime(note, (1, 1))
    assert len(ways(come_up(fake))) == 3, "a note counts for a week"


def test_a_guest_that_cannot_be_made_to_wait_boots(recipe: Recipe, tmp_path: Path) -> None:
    """Its console is no terminal: that is no reason not to run in it."""
    said = "LAB: fail this guest cannot be made its own: its console is no terminal"
    fake = with_fake_qemu(recipe, tmp_path, save=said)
    first = come_up(fake)
    assert ways(first) == [("saved", "unusable"), *BOOTED] and "its console is no terminal" in first.unusable
    assert ways(come_up(fake)) == BOOTED


def test_what_init_lacks_otherwise_is_an_error(recipe: Recipe, tmp_path: Path) -> None:
    fake = with_fake_qemu(recipe, tmp_path, save="LAB: fail no devtmpfs")
    with pytest.raises(GuestError, match="no devtmpfs"):
        come_up(fake)


@pytest.mark.usefixtures("impatient")
def test_two_states_in_a_row_that_bring_no_guest_up_are_enough(recipe: Recipe, tmp_path: Path) -> None:
    """A console that takes no input, say. One failure may be an accident."""
    fake = with_fake_qemu(recipe, tmp_path, restore="deaf")
    in_vain = [("saved", "ready"), ("restored", "lost-guest"), *BOOTED]
    assert ways(come_up(fake)) == in_vain
    change_plan(tmp_path)
    assert ways(come_up(fake))[-1] == ("restored", "ready")
    assert fake.states is not None
    States(fake.states).drop(warm.key(fake))
    change_plan(tmp_path, restore="deaf")
    for expected in (in_vain, in_vain, BOOTED):
        assert ways(come_up(fake)) == expected


def test_a_full_disk_is_not_kvms_fault(recipe: Recipe, tmp_path: Path) -> None:
    """QEMU gets SIGBUS where the file of its memory can't grow; under KVM it may also stop the guest."""
    fake, told = with_fake_qemu(replace(recipe, accelerator="kvm"), tmp_path, save="dies"), list[str]()
    made = come_up(fake, told, tmp_path / "console.log")
    assert ways(made) == [("saved", "lost-guest"), *BOOTED] and made.recipe.accelerator == "kvm"
    assert told == [] and "the boot that was to be saved failed" in made.unusable
    assert (tmp_path / "console-1.log").exists()


def test_a_file_system_that_cannot_hold_the_memory_is_not_kvms_fault(recipe: Recipe, tmp_path: Path) -> None:
    """Nor the guest's: on another one it may be saved."""
    fake, told = with_fake_qemu(replace(recipe, accelerator="kvm"), tmp_path, save="refuses"), list[str]()
    for _ in range(3):
        made = come_up(fake, told)
        assert ways(made) == [("saved", "unusable"), *BOOTED] and made.recipe.accelerator == "kvm"
        assert told == [] and "can't mmap" in made.unusable


@pytest.mark.parametrize(("save", "ways_up", "accelerator"), [
    ("faults", [("saved", "lost-guest"), *BOOTED], "kvm"),
    ("deaf", [("saved", "lost-guest"), *BOOTED], "tcg"),
])  # fmt: skip
def test_a_silent_kvm_is_tried_again_only_where_its_memory_failed(
        recipe: Recipe, tmp_path: Path, save: str, ways_up: list[tuple[str, str]], accelerator: str) -> None:
    fake, told = with_fake_qemu(replace(recipe, accelerator="kvm"), tmp_path, kvm_save=save), list[str]()
    made = come_up(fake, told, limits=replace(LIMITS, silence=1))
    assert ways(made) == ways_up and made.recipe.accelerator == accelerator
    assert len(told) == (accelerator == "tcg")


def test_a_kvm_that_fails_without_the_file_as_well_is_told(recipe: Recipe, tmp_path: Path) -> None:
    fake = with_fake_qemu(replace(recipe, accelerator="kvm"), tmp_path, kvm_save="dies", kvm_boot="dies")
    told = list[str]()
    made = come_up(fake, told, tmp_path / "console.log")
    assert ways(made) == [("saved", "lost-guest"), ("booted", "lost-guest"), *BOOTED]
    assert made.recipe.accelerator == "tcg" and len(told) == 1
    assert fake.states is not None and not list(fake.states.glob("*.cold")), "that says nothing of its states"


def test_a_guest_that_fails_in_both_ways_is_lost(recipe: Recipe, tmp_path: Path) -> None:
    fake = with_fake_qemu(recipe, tmp_path, save="dies", boot="dies")
    with pytest.raises(GuestError, match="signal 7"):
        come_up(fake)


def test_boots_that_cannot_be_saved_are_noted_where_the_disk_has_room(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = with_fake_qemu(recipe, tmp_path, save="dies")
    assert fake.states is not None
    usage, asked = namedtuple("usage", "free"), list[int]()

    def fills_up(_: Path) -> object:
        asked.append(1)
        return usage(0 if len(asked) % 2 == 0 else 1 << 60)

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "disk_usage", fills_up)
        assert ways(come_up(fake)) == [("saved", "lost-guest"), *BOOTED]
    assert not list(fake.states.glob("*.cold"))
    for expected in ("saved", "saved", "booted"):
        assert ways(come_up(fake))[0][0] == expected
    assert barred.why(fake.states, warm.key(fake))
