"""What a line of the kernel's log means for the guest: pure, tested on captured logs.

The texts are the kernel's own; each pattern names where it is printed. ``LAB:`` lines are those
of guest/init.c.
"""

from __future__ import annotations

import re

from orchestrator.kernel_log import text_of
from orchestrator.model import Ending

# The first pattern that matches decides: lock-ups and stalls are printed with "BUG:" as well.
_PATTERNS: tuple[tuple[Ending, re.Pattern[str]], ...] = tuple(
    (kind, re.compile(pattern))
    for kind, pattern in (
        (Ending.PANIC, r"^Kernel panic - not syncing"),  # kernel/panic.c, vpanic()
        (Ending.LOCKUP, r"^(?:(?:NMI )?watchdog: )?BUG: soft lockup|^(?:NMI )?watchdog: .*hard LOCKUP"),
        (Ending.RCU_STALL, r"^(?:rcu: )?INFO: rcu.*(?:self-detected stall|detected (?:expedited )?stalls?)"),
        (Ending.HUNG_TASK, r"^INFO: task .{1,80} blocked (?:on .{1,80} )?for more than \d+ seconds"),  # hung_task.c
        (Ending.OOPS, r"^BUG: unable to handle|^BUG: kernel NULL pointer"),  # arch/x86/mm/fault.c
        (Ending.OOPS, r"^(?:general protection fault|Oops: |double fault: |invalid opcode: ).*\[#\d+\]"),  # dumpstack.c
        (Ending.BUG, r"^kernel BUG at |^BUG: "),  # lib/bug.c; KASAN, bad page state, …
        # kernel/panic.c, __warn(): "WARNING: CPU: 0 PID: 1 at f.c:1 fn"; from 6.19 on
        # "WARNING: f.c:1 at fn, CPU#0: comm/1"
        (Ending.WARNING, r"^WARNING: (?:CPU: \d+ |.{1,200} at .{1,200}CPU#\d+)"),
    )
)

FATAL = frozenset({Ending.PANIC, Ending.OOPS, Ending.BUG})

_CLOCK = re.compile(r"\[ *(\d{1,12}\.\d{6})\]")


def clock(line: str) -> float:
    """Seconds by the kernel's own clock, of printk's time stamp; 0 where the line has none."""
    found = _CLOCK.search(line)
    return float(found[1]) if found else 0.0

def classify(line: str) -> Ending | None:
    """The kind of trouble that a console line reports, or None for an ordinary line.

    printk's time stamp is optional: a kernel may be configured without it.
    """
    text = text_of(line)
    return next((kind for kind, pattern in _PATTERNS if pattern.search(text)), None)


def lab_line(line: str) -> tuple[str, str] | None:
    """("ready", "1234") from "LAB: ready 1234"; None for a line that is not init's."""
    found = re.match(r"LAB: (\w+) ?(.{0,500})", line)
    return (found[1], found[2].rstrip()) if found else None
