"""A dump of a running guest's memory, read by drgn as any other tool would."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator import host, resources
from orchestrator.machine.dump import dump
from orchestrator.machine.guest import Guest
from orchestrator.pieces import Store
from orchestrator.prepare import Choice, find_symbols, prepare

from conftest import NEWEST, OLDEST  # isort: skip

pytestmark = pytest.mark.guest


@pytest.mark.parametrize(("kernel", "userland"), [OLDEST, NEWEST])
def test_drgn_opens_a_dump(tmp_path: Path, kernel: str, userland: str) -> None:
    import drgn
    from drgn.helpers.linux.mm import for_each_vma
    from drgn.helpers.linux.pid import find_task

    prepared = prepare(Choice(kernel=kernel, userland=userland))
    symbols = find_symbols(Store(cache=resources.cache()), prepared.kernel, prepared.userland)
    command = "sleep 99 & echo $!; uname -r; wait"
    with Guest(prepared.recipe, host.limits()) as guest, guest.ssh.open(command) as channel:
        said = b""
        while said.count(b"\n") < 2:
            said += channel.recv(4096)
        pid, release = said.decode().split()
        assert dump(guest.monitor, tmp_path / "vmcore"), "no VMCOREINFO note"
        assert guest.monitor.execute("query-status")["running"]
    program = drgn.Program()
    program.set_core_dump(tmp_path / "vmcore")
    program.load_debug_info([symbols.vmlinux])
    assert program["init_uts_ns"].name.release.string_().decode() == release
    mm = find_task(program, int(pid)).mm
    assert len(list(for_each_vma(mm))) == mm.map_count.value_() > 10
