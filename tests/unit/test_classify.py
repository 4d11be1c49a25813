"""The console classifier: lines in the forms that kernels from 5.10 to 7.x print (from their sources; panics also from
real guests, in tests/guest), and lines that only look so."""

import pytest

from orchestrator.kernel_log import comparable
from orchestrator.machine.classify import classify, lab_line
from orchestrator.model import Ending

TROUBLE = [
    ("[    1.966624] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)", Ending.PANIC),
    ("[   12.000001] Kernel panic - not syncing: sysrq triggered crash", Ending.PANIC),
    ("[    3.100000][    T1] Kernel panic - not syncing: Attempted to kill init! exitcode=0x0000000b", Ending.PANIC),
    ("[   10.500000] BUG: kernel NULL pointer dereference, address: 0000000000000000", Ending.OOPS),
    ("[   10.500000] BUG: unable to handle page fault for address: ffffffffdeadbeef", Ending.OOPS),
    ("[   10.600000] Oops: 0002 [#1] PREEMPT SMP NOPTI", Ending.OOPS),
    ("[   10.600000] general protection fault, probably for non-canonical address 0x6b6b: 0000 [#1] SMP", Ending.OOPS),
    ("[   10.600000] Oops: general protection fault, probably for non-canonical address: 0000 [#1] SMP", Ending.OOPS),
    ("[   44.100000] double fault: 0000 [#1] SMP PTI", Ending.OOPS),
    ("[   20.000000] kernel BUG at mm/slub.c:321!", Ending.BUG),
    ("[   20.000000] BUG: Bad page state in process cat  pfn:00123", Ending.BUG),
    ("[   20.000000] BUG: KASAN: use-after-free in foo+0x1/0x2", Ending.BUG),
    ("[   30.100000] WARNING: CPU: 0 PID: 1 at kernel/cpu.c:123 foo+0x12/0x34", Ending.WARNING),
    ("[   30.100000] WARNING: kernel/cpu.c:123 at foo+0x12/0x34, CPU#0: swapper/1", Ending.WARNING),
    ("[  100.200000] watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [loop:123]", Ending.LOCKUP),
    ("[  100.200000] NMI watchdog: Watchdog detected hard LOCKUP on cpu 0", Ending.LOCKUP),
    ("[  242.900000] INFO: task cat:99 blocked for more than 120 seconds.", Ending.HUNG_TASK),
    ("[  242.900000] INFO: task cat:9 blocked on a mutex likely owned by task dog:3 for more than 120 seconds.",
     Ending.HUNG_TASK),
    ("[   60.000000] rcu: INFO: rcu_preempt self-detected stall on CPU", Ending.RCU_STALL),
    ("[   60.000000] rcu: INFO: rcu_sched detected stalls on CPUs/tasks:", Ending.RCU_STALL),
    ("<0>[    1.900000] Kernel panic - not syncing: early", Ending.PANIC),
    ("left by a program[    1.900000] Kernel panic - not syncing: behind it", Ending.PANIC),
    ("[  100.200000] NMI watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [loop:123]", Ending.LOCKUP),
    ("Kernel panic - not syncing: without time stamps", Ending.PANIC),
]

PEACE = [
    "[    0.000000] Linux version 6.12.107+deb13-cloud-amd64",
    "[    0.100000] DEBUG: something",
    "[    0.900000] systemd: WARNING without the kernel's form",
    "[    1.100000] random: crng init done",
    "[    1.100000] INFO: task scheduling is fine",
    "LAB: ready 2050",
    "",
    "\x1b[31mfoo\x1b[0m",
    "[    5.000000] myapp: BUG: off by one",
    "[    5.000000] my app: Kernel panic - not syncing: only a word",
    "[    5.000000] program[12]: Oops: I did it again [#1]",
]


@pytest.mark.parametrize(("line", "kind"), TROUBLE)
def test_trouble_is_named(line: str, kind: Ending) -> None:
    assert classify(line) is kind


@pytest.mark.parametrize("line", PEACE)
def test_ordinary_lines_are_not_trouble(line: str) -> None:
    assert classify(line) is None


def test_hostile_line_is_classified_in_bounded_time() -> None:
    assert classify("WARNING: " + "at " * 2000) is None
    assert classify("INFO: task " + "x" * 4000) is None


def test_a_line_compares_equal_from_console_and_dev_kmsg() -> None:
    text = "Kernel panic - not syncing: forged \x07 and long " + "x" * 600
    assert comparable("[    1.900000] " + text[:480]) == comparable(text + "\n")
    assert comparable("[    1.900000] a real one") != comparable("another")


def test_lab_lines() -> None:
    assert lab_line("LAB: ready 2050") == ("ready", "2050")
    assert lab_line("LAB: fail no network device") == ("fail", "no network device")
    assert lab_line("[ 1.000000] LAB: ready 1") is None
    assert lab_line("LABEL: ready") is None
