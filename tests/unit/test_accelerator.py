"""The proof of KVM. Whether /dev/kvm works here does not matter: each stage is driven to both ends."""

from pathlib import Path

import pytest

from orchestrator import accelerator
from orchestrator.errors import HostError


@pytest.fixture
def working_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accelerator, "device_problem", lambda: "")
    monkeypatch.setattr(accelerator, "loop_nanoseconds", lambda: 0.8)


def test_a_loop_at_full_speed_and_a_kernel_that_speaks(working_loop: None) -> None:
    found = accelerator.prove(lambda limit: True)
    assert (found.name, found.proved) == ("kvm", "loop and kernel")


def test_a_kernel_that_says_nothing_is_no_proof(working_loop: None) -> None:
    found = accelerator.prove(lambda limit: False)
    assert found.name == "tcg" and "printed nothing" in found.reason


def test_a_slow_loop_is_emulation(working_loop: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accelerator, "loop_nanoseconds", lambda: 438.0)
    found = accelerator.prove(lambda limit: pytest.fail("the second stage is not needed"))
    assert found.name == "tcg" and "438 ns" in found.reason


def test_a_missing_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accelerator, "device_problem", lambda: "this host has no /dev/kvm")
    assert accelerator.prove().reason == "this host has no /dev/kvm"


def test_kvm_asked_for_where_it_does_not_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accelerator, "device_problem", lambda: "this host has no /dev/kvm")
    with pytest.raises(HostError, match="this host has no /dev/kvm") as error:
        accelerator.choose("kvm", tmp_path)
    assert error.value.exit_code == 3 and error.value.hint


def test_the_proof_is_remembered_for_this_boot_only(working_loop: None, tmp_path: Path,
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[float] = []

    def first_lines(limit: float) -> bool:
        calls.append(limit)
        return True

    for _ in range(3):
        assert accelerator.choose("auto", tmp_path, first_lines).name == "kvm"
    assert len(calls) == 1
    monkeypatch.setattr(accelerator, "_host_boot", lambda: "after a reboot")
    accelerator.choose("auto", tmp_path, first_lines)
    assert len(calls) == 2


def test_a_guest_that_did_not_boot_is_remembered_as_well(working_loop: None, tmp_path: Path) -> None:
    assert accelerator.choose("auto", tmp_path, lambda limit: True).name == "kvm"
    accelerator.mistrust(tmp_path, "silence")
    assert accelerator.choose("auto", tmp_path).name == "tcg"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"host": 1}', '{"host": "x", "found": {"bad": 1}}'])
def test_a_damaged_memory_is_no_memory(content: str, working_loop: None, tmp_path: Path) -> None:
    (tmp_path / "accelerator.json").write_text(content)
    assert accelerator.choose("auto", tmp_path, lambda limit: True).name == "kvm"


def test_tcg_asks_for_no_proof(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accelerator, "prove", lambda *_: pytest.fail("nothing to prove"))
    assert accelerator.choose("tcg", tmp_path).reason == "asked for"


def test_here_and_now_the_answer_comes_in_time() -> None:
    """Whatever this host is, the first stage ends by itself within its limit."""
    try:
        assert accelerator.loop_nanoseconds() > 0
    except HostError as error:
        assert error.message
