"""What a record of QEMU's is good for, and what gdb is told; the replay itself needs a guest (tests/guest)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from synthetic_run import Builder

from orchestrator import recording, replay
from orchestrator.errors import UsageError
from orchestrator.model import Ending, Inspect, Settings, Symbols
from orchestrator.rundir import RECORD_LOG, RECORD_ORDERS

PIECES = [{"kind": "kernel", "name": "6.1", "key": "k1", "packages": ["linux-image-6.1=6.1.1-1"], "drift": ""},
          {"kind": "sysroot", "name": "bookworm", "key": "s1", "packages": ["libc6-dev=1"], "drift": ""}]  # fmt: skip
ELF = b"\x7fELF\x02\x01\x01" + bytes(9)


def recorded(path: Path) -> Builder:
    run = Builder(path).at("start").at("exit", kind="exit")
    run.record.deterministic = {"raw": "00" * 32, "agent": "agent-1.cpio", "guest": "11" * 32, "record": True}
    run.record.pieces = [dict(piece) for piece in PIECES]
    for name in (RECORD_LOG, RECORD_ORDERS, "program"):
        run.directory.write(name, ELF + b"\3\0")
    run.directory.save(run.record)
    return run


@pytest.mark.parametrize("name", [RECORD_LOG, RECORD_ORDERS, "program"])
def test_without_one_of_its_files_there_is_nothing_to_replay(tmp_path: Path, name: str) -> None:
    recorded(tmp_path / "run").directory.file(name).unlink()
    with pytest.raises(UsageError, match=f"{name} is gone"):
        replay.find(tmp_path / "run")


def test_a_run_without_a_record_is_refused(tmp_path: Path) -> None:
    run = Builder(tmp_path / "run").at("exit", kind="exit")
    run.directory.save(run.record)
    with pytest.raises(UsageError, match="no record") as caught:
        replay.find(tmp_path / "run")
    assert "--record" in caught.value.hint


def check(run: Builder, monkeypatch: pytest.MonkeyPatch, **now: Any) -> None:
    """Against what there is now: the same pieces, QEMU and agent, but for ``now``."""
    pieces = now.get("pieces", PIECES)
    monkeypatch.setattr(recording, "pieces", lambda case: pieces)
    prepared = SimpleNamespace(emulator=SimpleNamespace(version=now.get("qemu", run.record.emulator["version"])),
                               recipe=SimpleNamespace(agent=Path(now.get("agent", "/c/agent-1.cpio")),
                                                      content=lambda: now.get("guest", "11" * 32)))
    replay._check(run.record, SimpleNamespace(), prepared)  # type: ignore[arg-type]


def test_the_very_same_machine_is_needed_and_what_differs_is_named(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = recorded(tmp_path / "run")
    check(run, monkeypatch)
    other = [{**PIECES[0], "key": "k2", "packages": ["linux-image-6.1=6.1.2-1"]}, PIECES[1]]
    with pytest.raises(UsageError, match=r"kernel 6\.1: linux-image-6\.1=6\.1\.1-1 then, .*=6\.1\.2-1 now"):
        check(run, monkeypatch, pieces=other)
    check(run, monkeypatch, pieces=[PIECES[0], {**PIECES[1], "key": "s2"}])  # the program is there: nothing is compiled
    with pytest.raises(UsageError, match=r"QEMU .* then, 7\.0 now"):
        check(run, monkeypatch, qemu="7.0")
    with pytest.raises(UsageError, match="init, labrun"):
        check(run, monkeypatch, agent="/c/agent-2.cpio")
    with pytest.raises(UsageError, match="bytes of kernel or initramfs"):
        check(run, monkeypatch, guest="22" * 32)


def test_it_is_looked_into_as_it_was() -> None:
    assert replay._inspect({"kernel": ["start"], "heap": []}) == Inspect(("start",), ())
    assert replay._inspect(None) is None


def test_what_was_cut_off_is_not_compared(tmp_path: Path) -> None:
    run = recorded(tmp_path / "run")
    whole = replay.Replayed(run.record, replace(run.record, ending=Ending.LOST_GUEST), run.directory, ("kernel.log",))
    assert whole.how == "1 files: kernel.log; it ended as lost-guest" and not whole.cut_off
    del run.record.deterministic["raw"]
    cut = replay.Replayed(run.record, replace(run.record, ending=Ending.LOST_GUEST), run.directory, ())
    assert cut.cut_off and cut.how == ""


def test_settings_come_back_as_they_were() -> None:
    settings = Settings(append=("panic=5",), sysctls=(("kernel.x", "0"),), defines=(("M", "1"),))
    told = {"append": ["panic=5"], "sysctls": [["kernel.x", "0"]], "defines": [["M", "1"]], "ulimits": []}
    assert replay._settings(told) == settings


def test_gdb_is_given_symbols_where_the_run_had_them(tmp_path: Path) -> None:
    run = recorded(tmp_path / "run")
    maps = ("555555554000-555555555000 r--p 00000000 00:10 5 /case/program\n"
            "7ffff7dcb000-7ffff7df3000 r--p 00000000 00:02 9 /usr/lib/x86_64-linux-gnu/libc.so.6\n")
    run.directory.write("evidence/00-start/proc/214/maps", maps.encode())
    symbols = Symbols(vmlinux=Path("/s/vmlinux"), libc=Path("/s/libc.debug"))
    case: Any = SimpleNamespace(scenario=SimpleNamespace(directory=tmp_path / "mine"))
    prepared: Any = SimpleNamespace(find_symbols=lambda: symbols)
    found = replay.Recorded(run.directory, run.record, case, prepared)
    words = replay.gdb(found, Path("/t/socket"))
    assert words[0] == "gdb" and words[-1] == "target remote /t/socket" and "file /s/vmlinux" in words
    assert f"add-symbol-file {tmp_path}/run/program -o 0x555555554000" in words
    assert "add-symbol-file /s/libc.debug -o 0x7ffff7dcb000" in words and f"directory {tmp_path}/mine" in words
    run.directory.write("program", ELF + b"\2\0")  # one that runs where it was linked
    assert f"add-symbol-file {tmp_path}/run/program -o 0x0" in replay.gdb(found, Path("/t/socket"))
    bare = replace(symbols, vmlinux=None, libc=None)
    prepared.find_symbols = lambda: bare
    assert not any("vmlinux" in word for word in replay.gdb(found, Path("/t/socket")))
