"""Processes that never outlive us, whatever ends us, SIGKILL included.

The kernel does the killing: ``setpriv --pdeathsig`` (util-linux; prctl(2), PR_SET_PDEATHSIG) is
set before the program is executed. A parent that died before the prctl took effect is noticed by
a shell in between, which compares its parent's pid with ours.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from orchestrator.errors import HostError

_CHECK_PARENT = '[ "$PPID" = "$1" ] || exit 125; shift; exec "$@"'


def tethered(argv: Sequence[str]) -> list[str]:
    """``argv`` wrapped so that the kernel kills it when the calling thread's process is gone.

    Raises HostError where util-linux' setpriv is missing.
    """
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise HostError("setpriv is missing: without it QEMU could outlive the lab",
                        "install util-linux 2.33 or newer")
    return [setpriv, "--pdeathsig", "KILL", "/bin/sh", "-c", _CHECK_PARENT, "sh", str(os.getpid()), *argv]


def start(argv: Sequence[str], *, stdout: IO[bytes] | int, stderr: IO[bytes] | int,
          pass_fds: Sequence[int] = ()) -> subprocess.Popen[bytes]:
    """Starts ``argv`` tethered, in a session of its own (Ctrl-C is ours to handle), without stdin.

    PR_SET_PDEATHSIG follows the *thread* that forks: call it from one that lives as long as
    the process is wanted. Raises HostError if the program can't be started.
    """
    try:
        return subprocess.Popen(tethered(argv), stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr,
                                pass_fds=tuple(pass_fds), start_new_session=True)
    except OSError as error:
        raise HostError(f"cannot start {argv[0]}: {error.strerror}") from None


def end(process: subprocess.Popen[bytes], patience: float) -> int:
    """Waits ``patience`` seconds for the process, then SIGTERM, then SIGKILL; returns its exit status."""
    for number in (None, signal.SIGTERM, signal.SIGKILL):
        if number is not None and process.poll() is None:
            process.send_signal(number)
        try:
            return process.wait(patience if number is None else 2.0)
        except subprocess.TimeoutExpired:
            continue
    return process.wait()


def cpu_seconds(pid: int) -> float:
    """User and system time of a living process with its threads, seconds (proc_pid_stat(5))."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / float(os.sysconf("SC_CLK_TCK"))
