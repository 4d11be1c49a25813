"""A QEMU that ends in the middle of a restore is a guest that did not come up, told with QEMU's own words."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from test_warm import recipe

from orchestrator.errors import GuestError
from orchestrator.host import Limits
from orchestrator.machine import warm
from orchestrator.machine.recipe import Recipe
from orchestrator.machine.saved import Saved, State
from orchestrator.machine.ssh import new_identity
from orchestrator.model import Emulator

assert recipe  # a fixture

# Greets, answers each command, says that the state was taken, and ends; its channels are the descriptors it is given.
QEMU = """#!/bin/sh
for word; do case $word in socket,id=monitor,fd=*) fd=${word##*=};; esac; done
exec python3 -c '
import json, socket, sys
s = socket.socket(fileno=int(sys.argv[1]))
f = s.makefile("rw")
def say(m): f.write(json.dumps(m) + "\\n"); f.flush()
say({"QMP": {}})
for line in f:
    say({"return": {}})
    if "migrate-incoming" in line:
        print("qemu: Missing section footer", file=sys.stderr, flush=True)
        if sys.argv[2] == "completed":
            say({"event": "MIGRATION", "data": {"status": "completed"}})
        break
' $fd OUTCOME
"""


@pytest.mark.parametrize("outcome", ["completed", "nothing"])
def test_a_qemu_that_ends_while_it_restores(recipe: Recipe, tmp_path: Path, outcome: str) -> None:
    script = tmp_path / "fake"
    script.write_text(QEMU.replace("OUTCOME", outcome))
    script.chmod(0o755)
    fake = replace(recipe, emulator=Emulator("fake", (str(script),), "10.0"))
    with (tmp_path / "ram").open("wb+") as ram, (tmp_path / "devices").open("wb+") as devices:
        saved = Saved(1, "2026-01-01T00:00:00Z", "k", "u", 1.0, 1, {})
        state = State("key", saved, ram.fileno(), devices.fileno(), b"LAB: ready 1\n")
        with pytest.raises(GuestError, match="Missing section footer"):
            warm.restore(fake, state, new_identity(), None, Limits(20, 20, 20, 20), 1e12)
