"""The accelerator's second proof, with real kernels: a kernel that speaks, one that does not, no kernel at all."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from conftest import Lab

from orchestrator import accelerator, host
from orchestrator.errors import HostError
from orchestrator.machine.firstline import prints_first_line
from orchestrator.prepare import Choice, Prepared, prepare


@pytest.fixture(scope="module")
def prepared() -> Prepared:
    """The default image."""
    return prepare(Choice(accel="tcg"))


def test_a_kernel_that_starts_is_heard(prepared: Prepared) -> None:
    assert prints_first_line(prepared.emulator, prepared.kernel.vmlinuz, "tcg", 30 * host.slowdown())


def test_firmware_alone_proves_nothing(prepared: Prepared, tmp_path: Path) -> None:
    broken = tmp_path / "bzImage"
    image = bytearray(prepared.kernel.vmlinuz.read_bytes())
    image[0x8000:0x10000] = bytes(0x8000)  # the decompressor, after the real-mode part
    broken.write_bytes(image)
    assert not prints_first_line(prepared.emulator, broken, "tcg", 5)


def test_auto_decides_in_time_and_right(lab: Lab, prepared: Prepared) -> None:
    """Whatever this host's KVM is: `auto` must not choose one under which a guest does not boot."""
    begin = time.monotonic()
    found = accelerator.prove(lambda limit: prints_first_line(prepared.emulator, prepared.kernel.vmlinuz, "kvm", limit))
    assert time.monotonic() - begin < 2.5 * host.slowdown()
    if found.name == "kvm":
        assert lab("exec", "-q", "--accel", "kvm", "--", "true").returncode == 0
        return
    assert found.reason
    refused = lab("exec", "-q", "--accel", "kvm", "--", "true")
    assert refused.returncode == 3 and "KVM does not work here" in refused.stderr


def test_a_proved_kvm_that_does_not_boot_a_guest_gives_way_to_tcg(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proof forged: where KVM does not work, the guest is booted with TCG instead, said and remembered."""
    try:
        accelerator.loop_nanoseconds()
        if accelerator.prove().name == "kvm":
            return  # it works here: nothing gives way
    except HostError:
        pass
    cache = lab.folder / "cache"
    forged = accelerator.Accelerator("kvm", "forged for a test", "loop and kernel")
    accelerator._remember(cache, forged)
    monkeypatch.setattr("orchestrator.resources.cache", lambda: cache)
    done = lab("run", "brk", "--no-inspect", "-o", "run", env={"LAB_CACHE": str(cache)}, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    record = lab.record("run")
    assert len(record.boots) == 2 and record.emulator["accelerator"] == "tcg"
    remembered = accelerator._remembered(cache)
    assert remembered is not None and remembered.name == "tcg"
