"""Nothing that the lab starts outlives it: proved by killing a lab of our own."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from orchestrator import processes

PARENT = """
import sys, subprocess
from orchestrator import processes
child = processes.start(["sleep", "60"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print(child.pid, flush=True)
sys.stdin.read()
"""


def gone(pid: int) -> bool:
    """Whether the process has ended, waiting for it at most five seconds."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state in "ZX":
            return True
        os.sched_yield()
    return False


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_a_child_dies_with_us(number: int) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert Path(f"/proc/{child}").exists()
    parent.send_signal(number)
    parent.communicate()
    assert gone(child)


def test_a_child_whose_parent_is_another_by_then_does_not_start() -> None:
    argv = processes.tethered(["true"])
    argv[argv.index(str(os.getpid()))] = "1"
    assert subprocess.run(argv, check=False).returncode == 125


def test_arguments_pass_unchanged() -> None:
    words = ["a b", "$HOME", "'", "*", ""]
    done = subprocess.run(processes.tethered(["printf", "%s|", *words]), capture_output=True, text=True, check=True)
    assert done.stdout == "a b|$HOME|'|*||"


def test_end_is_soft_then_hard() -> None:
    stubborn = processes.start([sys.executable, "-c", "import signal, time; signal.signal(15, signal.SIG_IGN); print(1,"
                                " flush=True); time.sleep(60)"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert stubborn.stdout is not None
    stubborn.stdout.readline()
    assert processes.end(stubborn, 0.01) == -signal.SIGKILL
    stubborn.stdout.close()


def test_cpu_seconds_of_a_process_that_is_gone() -> None:
    assert processes.cpu_seconds(2**22 + 1) == 0.0
    assert processes.cpu_seconds(os.getpid()) > 0.0
