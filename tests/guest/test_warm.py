"""Warm start on real guests: many from one state, each its own; a state that is not what was saved is never used."""

from __future__ import annotations

import contextlib
import re
import shutil
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import NEWEST, OLDEST, Lab

from orchestrator import host, resources
from orchestrator.agent import agent
from orchestrator.machine import warm
from orchestrator.machine.guest import Guest
from orchestrator.machine.recipe import Recipe
from orchestrator.machine.saved import States
from orchestrator.prepare import Choice, prepare

PAIRS = [pytest.param(*pair, id="-".join(pair)) for pair in (OLDEST, ("6.1", "bookworm"), ("6.12", "trixie"), NEWEST)]
# Whatever a guest could have in common with another: random bytes of three kinds, layouts, canaries, keys, identifiers.
LOOK = """
head -c 64 /dev/urandom | od -An -v -tx1 | tr -d ' \\n'; echo
cat /proc/sys/kernel/random/uuid /proc/sys/kernel/random/boot_id
for i in 1 2 3; do grep -E 'stack|vdso|libc|heap' /proc/self/maps | cut -d- -f1; done
od -An -v -tx1 /proc/self/auxv | tr -d ' \\n'; echo
od -An -v -tx1 /lab/hostkey | tr -d ' \\n'; echo
od -An -v -tx1 /root/.ssh/authorized_keys | tr -d ' \\n'; echo
grep -E 'stack|vdso|heap' /proc/1/maps | cut -d- -f1
"""


def recipe_of(kernel: str, userland: str, states: Path) -> Recipe:
    return replace(prepare(Choice(kernel=kernel, userland=userland)).recipe, states=states)


def at_random(guest: Guest, pid: str) -> str:
    """The 16 bytes that the kernel gave a process by AT_RANDOM (getauxval(3)); libc makes its canary of them."""
    auxv = bytes.fromhex(output(guest, f"od -An -v -tx1 /proc/{pid}/auxv | tr -d ' \\n'"))
    place = dict(struct.iter_unpack("<QQ", auxv))[25]
    read = f"dd if=/proc/{pid}/mem bs=1 skip={place} count=16 2>/dev/null"
    return output(guest, f"{read} | od -An -v -tx1 | tr -d ' \\n'")


def output(guest: Guest, command: str) -> str:
    said = bytearray()
    assert guest.ssh.stream(command, lambda size: b"", said.extend, lambda data: None, 60) == 0
    return said.decode()


@pytest.mark.parametrize(("kernel", "userland"), PAIRS)
def test_guests_from_one_state_share_nothing_random(kernel: str, userland: str, tmp_path: Path) -> None:
    recipe = recipe_of(kernel, userland, tmp_path)
    with contextlib.ExitStack() as stack:
        guests = [stack.enter_context(Guest(recipe, host.limits())) for _ in range(2)]
        assert [[a.how for a in guest.attempts] for guest in guests] == [["saved", "restored"], ["restored"]]
        looks = [output(guest, LOOK).split() for guest in guests]
        for guest, look in zip(guests, looks, strict=True):
            fresh = output(guest, "sleep 1000 >/dev/null 2>&1 </dev/null & echo $!").strip()
            look += [at_random(guest, pid) for pid in ("1", fresh)]
            assert {len(word) for word in look[-2:]} == {32}
        kept = [output(guest, "cat /proc/cmdline; uname -a") for guest in guests]
        clocks = [float(output(guest, "date +%s")) for guest in guests]
    assert len(looks[0]) > 14 and all(re.fullmatch(r"[0-9a-f-]{8,}", word) for word in looks[0]), looks[0]
    assert not set(looks[0]) & set(looks[1])
    assert kept[0] == kept[1]  # while it is the same machine
    assert all(abs(clock - time.time()) < 60 for clock in clocks)
    (state,) = States(tmp_path).sizes()
    assert state == warm.key(recipe)


def test_a_guest_restored_later_has_the_time(tmp_path: Path) -> None:
    """The state stands still, as if since 2020; the guest's clock does not go on from it."""
    recipe = recipe_of("6.12", "trixie", tmp_path)
    then = replace(recipe.emulator, argv=(*recipe.emulator.argv, "-rtc", "base=2020-01-01T00:00:00"))
    with Guest(replace(recipe, emulator=then), host.limits()) as guest:
        assert guest.state is not None
    with Guest(recipe, host.limits()) as guest:
        assert [attempt.how for attempt in guest.attempts] == ["restored"]
        before = int(time.time())
        asked = "date +%s; cut -d' ' -f1 /proc/uptime; date -r /dev/null +%s"
        now, uptime, boot = map(float, output(guest, asked).split())
        assert before - 1 <= now <= time.time() + 1
        assert uptime < 60
        assert 0 <= boot - 1577836800 < 600, "the state was made in 2020, by its own clock"


def test_a_guest_that_takes_no_random_bytes_boots_at_once_the_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a kernel before 4.17, which has no RNDRESEEDCRNG: that is found out once."""
    prepared, guest_folder = prepare(Choice(kernel="6.1", userland="bookworm")), tmp_path / "guest"
    shutil.copytree(resources.data("guest"), guest_folder)
    source = (guest_folder / "own.c").read_text()
    (guest_folder / "own.c").write_text(source.replace("ioctl(fd, RNDRESEEDCRNG)", "ioctl(fd, _IO('R', 0x7f))"))
    monkeypatch.setattr(resources, "data", lambda name: guest_folder)
    (tmp_path / "compiled").mkdir()
    old = agent(prepared.sysroot, prepared.sysroot_key, tmp_path)
    recipe = replace(prepared.recipe, agent=old, states=tmp_path / "states")
    for expected in (["saved", "restored", "booted"], ["booted"]):
        with Guest(recipe, host.limits()) as guest:
            assert [attempt.how for attempt in guest.attempts] == expected
            assert "the kernel takes no entropy" in guest.unusable
            assert output(guest, "echo fine") == "fine\n"


def damage_ram(folder: Path) -> None:
    (folder / "ram").chmod(0o600)
    with (folder / "ram").open("r+b") as ram:
        ram.seek(16 << 20)
        ram.write(b"\xff" * 4096)


def damage_devices(folder: Path) -> None:
    (folder / "devices").write_bytes((folder / "devices").read_bytes()[:-100])


def forge_devices(folder: Path) -> None:
    """So that only QEMU can tell: the digest is right, the content is not."""
    import hashlib
    import json

    content = (folder / "devices").read_bytes()
    (folder / "devices").write_bytes(content[: len(content) // 2])
    data = json.loads((folder / "state.json").read_text())
    data["digests"]["devices"] = hashlib.sha256(content[: len(content) // 2]).hexdigest()
    (folder / "state.json").write_text(json.dumps(data))


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (damage_ram, "its memory is not what was saved"),
        (damage_devices, "its devices are not what was saved"),
        (forge_devices, "a guest did not come up from it"),
    ],
)
def test_a_damaged_state_is_dropped_and_the_guest_boots(
    lab: Lab, tmp_path: Path, damage: Callable[[Path], None], why: str
) -> None:
    """Said once, and recorded; the next run makes a new state."""
    states = tmp_path / "cache-states"
    recipe = recipe_of("6.1", "bookworm", states)
    with Guest(recipe, host.limits()):
        pass
    (key,) = States(states).sizes()
    damage(states / key)
    with Guest(recipe, host.limits()) as guest:
        assert guest.attempts[-1].how == "booted" and guest.state is None and why in guest.unusable
        assert output(guest, "echo fine") == "fine\n"
    assert States(states).sizes() == {}


def test_many_at_once_from_one_state_that_none_of_them_has_found(tmp_path: Path) -> None:
    """As two users of one cache, at the same time: it is made once."""
    recipe = recipe_of("6.1", "bookworm", tmp_path)
    guests = [Guest(recipe, host.limits()) for _ in range(4)]
    hows: list[list[str]] = []

    def use(guest: Guest) -> None:
        with guest:
            assert output(guest, "echo fine") == "fine\n"
            hows.append([attempt.how for attempt in guest.attempts])

    threads = [threading.Thread(target=use, args=(guest,)) for guest in guests]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(hows) == [["restored"]] * 3 + [["saved", "restored"]]


def test_the_record_says_what_a_guest_goes_on_from(lab: Lab) -> None:
    """The second of two runs is restored, whoever made the state; --cold boots."""
    for name, options in (("one", ()), ("two", ()), ("cold", ("--cold",))):
        assert lab("run", "brk", "-q", "--no-inspect", "-o", name, *options).returncode == 0
    two, cold = lab.record("two"), lab.record("cold")
    assert [boot.how for boot in two.boots] == ["restored"] and [boot.how for boot in cold.boots] == ["booted"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", two.restored["made"]) and "KASLR" in two.restored["same"]
    assert cold.restored == {}
    console = (lab.folder / "two" / "console.log").read_text()
    assert console.index("Linux version") < console.index("[lab: restored from") < console.index("LAB: own")
    shown = lab("check", "two").stdout
    assert f"restored from a state made {two.restored['made']}" in " ".join(shown.split())


def test_restored_and_booted_guests_lead_to_the_same_findings(lab: Lab) -> None:
    for name, options in (("warm", ()), ("cold", ("--cold",))):
        assert lab("run", "stack-overflow", "-q", "-o", name, *options).returncode == 0
    warmed, cold = (
        {(finding.id, finding.outcome) for finding in lab.record(name).findings} for name in ("warm", "cold")
    )
    assert warmed == cold
    symbols = [(lab.folder / name / "evidence/environment/symbols").read_text() for name in ("warm", "cold")]
    assert symbols[0] == symbols[1] != ""


def test_a_kernel_without_the_port_is_reached_through_ssh(lab: Lab) -> None:
    words = ("run", "brk", "-q", "--no-inspect", "-k", "6.1", "-u", "bookworm")
    assert lab(*words, "-o", "port").returncode == 0
    assert lab(*words, "-o", "ssh", "--append", "module_blacklist=virtio_console").returncode == 0
    assert [lab.record(name).emulator["link"] for name in ("port", "ssh")] == ["virtio port", "SSH"]
    found = [{(f.id, f.outcome) for f in lab.record(name).findings} for name in ("port", "ssh")]
    assert found[0] == found[1]


KILLER = """
#include <signal.h>
#include <unistd.h>
int main(void)
{
	kill(getppid(), SIGKILL);	/* labrun */
	pause();
	return 0;
}
"""


def test_a_labrun_that_is_killed_is_noticed_at_once(lab: Lab) -> None:
    (lab.folder / "killer.c").write_text(KILLER)
    begin = time.monotonic()
    done = lab("run", "killer.c", "-o", "run", "--timeout", "200")
    assert done.returncode == 4, done.stdout + done.stderr
    record = lab.record("run")
    assert record.ending.value == "lost-guest" and "labrun was ended by signal 9" in record.ending_detail
    assert time.monotonic() - begin < 150
