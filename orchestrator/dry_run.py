"""`lab run --dry-run`: the QEMU commands that a guest would be started with, for reading, and which way it comes up.

Descriptors are shown as the files behind them.
"""

from __future__ import annotations

import shlex

from orchestrator.machine import barred, qemu, warm
from orchestrator.machine.recipe import Recipe
from orchestrator.machine.saved import States, Unusable


def text(recipe: Recipe) -> str:
    """Commands, each with a remark below it. Changes nothing."""
    if recipe.states is None:
        return _boot(recipe, "boots")
    states, key = States(recipe.states), warm.key(recipe)
    if why := barred.why(states.folder, key):
        return _boot(recipe, f"boots, as this guest can't be restored: {why}")
    folder = states.folder / key
    going_on = _command(recipe, "", qemu.Ram(str(folder / "ram"), private=True))
    how = f"its devices come over QMP (migrate-incoming file:{folder}/devices); --cold boots"
    try:
        with states.opened(key) as state:
            made = "" if state is None else state.saved.made
    except Unusable as error:
        return _boot(recipe, f"boots, as the saved state is not used: {error}")
    if made:
        return f"{going_on}\n# goes on from a state made {made}: {how}"
    saved = _command(recipe, "INITRAMFS", qemu.Ram(str(folder / "ram")))
    return (f"{saved}\n# boots once, to be saved; {_archives(recipe)}\n"
            f"{going_on}\n# goes on from that state, as later runs do: {how}")  # fmt: skip


def _boot(recipe: Recipe, how: str) -> str:
    return f"{_command(recipe, 'INITRAMFS')}\n# {how}; {_archives(recipe)} and the run's keys"


def _archives(recipe: Recipe) -> str:
    return f"INITRAMFS is the concatenation of: {shlex.join(map(str, recipe.initramfs))}"


def _command(recipe: Recipe, initrd: str, ram: qemu.Ram | None = None) -> str:
    return shlex.join(qemu.command(recipe.emulator.argv, recipe.machine(initrd, ram), qemu.Channels(3, 4, 5)))
