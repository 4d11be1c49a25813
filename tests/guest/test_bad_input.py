"""What goes wrong: one clear message, the right exit code, no QEMU left behind, what was collected is kept."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest
from conftest import Lab

from orchestrator.model import Ending

PROGRAMS = Path(__file__).parents[1] / "data/programs"


def program(name: str) -> str:
    return str(PROGRAMS / f"{name}.c")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("run", "brkk"), "did you mean brk"),
        (("run", "brk", "-k", "6.13"), "6.12"),
        (("run", "brk", "-u", "bookwrm"), "bookworm"),
        (("run", "brk", "-i", "nope"), "default"),
        (("run", "brk", "--kernel", "./missing"), "no such file"),
        (("run", "brk", "--kernel", "/etc/os-release"), "not a kernel"),
        (("run", "brk", "--userland", "./missing"), "no such"),
        (("run", "brk", "--qemu", "/bin/true"), "QEMU"),
        (("run", "brk", "--accel", "warp"), "tcg"),
        (("run", "brk", "--ulimit", "stack"), "NAME=VALUE"),
        (("run", "brk", "--ulimit", "stak=1"), "stack"),
        (("run", "brk", "--modules", "."), "--kernel PATH"),
        (("run", "brk", "--json", "./missing/record.json"), "no folder"),
        (("run", program("broken")), "undeclared_word"),
        (("check", "."), "run.json"),
    ],
)
def test_usage(lab: Lab, words: tuple[str, ...], said: str) -> None:
    done = lab(*words, "-q") if words[0] == "run" else lab(*words)
    assert done.returncode == 2, done.stdout + done.stderr
    assert said in done.stderr and "Traceback" not in done.stderr
    assert not (lab.folder / "runs").exists()


def test_a_broken_scenario_file_names_its_line(lab: Lab) -> None:
    folder = lab.folder / "mine"
    folder.mkdir()
    (folder / "mine.c").write_text("int main(void) { return 0; }\n")
    (folder / "scenario.yaml").write_text("name: mine\nsummary: x\nclaims: [a.b]\nexpectation: []\n")
    done = lab("run", "./mine")
    assert done.returncode == 2
    assert "scenario.yaml:4" in done.stderr and "expectations" in done.stderr


def test_a_scenario_that_checks_nothing_is_an_error(lab: Lab) -> None:
    folder = lab.folder / "mine"
    folder.mkdir()
    (folder / "mine.c").write_text("int main(void) { return 0; }\n")
    (folder / "scenario.yaml").write_text("name: mine\nsummary: x\nclaims: [a.b]\nexpectations: []\n")
    done = lab("run", "./mine")
    assert done.returncode in (2, 3) and "expectation" in done.stdout + done.stderr


def test_a_kernel_that_panics(lab: Lab) -> None:
    done = lab("run", "brk", "-o", "run", "-a", "rdinit=/nonexistent")
    assert done.returncode == 4 and "anic" in done.stdout
    record = lab.record("run")
    assert record.ending is Ending.PANIC and [b.outcome for b in record.boots] == ["panic", "panic"]
    assert "Kernel panic" in (lab.folder / "run/console.log").read_text(errors="replace")
    assert record.findings and all(f.outcome.value == "ERROR" for f in record.findings)


def test_a_kernel_that_hangs(lab: Lab) -> None:
    done = lab("run", "brk", "-o", "run", "-a", "rdinit=/usr/bin/cat", "--timeout", "15")
    assert done.returncode == 5, done.stdout
    assert lab.record("run").ending is Ending.TIMEOUT


def test_a_kernel_without_network(lab: Lab) -> None:
    done = lab("run", "brk", "-o", "run", "-a", "module_blacklist=virtio_net")
    assert done.returncode == 4
    assert "CONFIG_VIRTIO_NET" in done.stdout + done.stderr
    assert len(lab.record("run").boots) == 1, "init said why: no second boot"


def test_a_program_that_never_reaches_its_checkpoint(lab: Lab) -> None:
    done = lab("run", program("endless"), "-o", "run", "--timeout", "20")
    record = lab.record("run")
    assert done.returncode == 5 and record.ending is Ending.TIMEOUT
    assert record.ended is not None and record.ended.signal == 9 and record.ended.killed_by_lab


def test_a_program_that_floods_its_output(lab: Lab) -> None:
    done = lab("run", program("flood"), "-o", "run")
    assert done.returncode == 5, done.stdout
    assert (lab.folder / "run/evidence/output").stat().st_size <= 2 << 20
    assert "\x1b[2J" not in done.stdout


def test_a_program_that_forks_without_end(lab: Lab) -> None:
    done = lab("run", program("forks"), "-o", "run", "--timeout", "60")
    assert done.returncode == 5, done.stdout
    record = lab.record("run")
    assert record.ending is Ending.TIMEOUT and record.ended is not None


@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM"])
def test_a_program_that_is_killed(lab: Lab, name: str) -> None:
    done = lab("run", program("killed"), "-o", "run", "-D", f"SIGNAL={name}")
    record = lab.record("run")
    assert done.returncode == 1 and record.ending is Ending.COMPLETED
    assert record.ended is not None and record.ended.signal == getattr(signal, name)
    assert [c.kind for c in record.checkpoints if c.kind in ("stdin", "signal")] == ["stdin"]


def test_a_sysctl_that_does_not_exist(lab: Lab) -> None:
    done = lab("run", "brk", "-o", "run", "--sysctl", "kernel.nonsense=1")
    assert done.returncode == 2 and "nonsense" in done.stderr
    assert lab.record("run").exit_code == 2


def wait_for(path: Path, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.02)


@pytest.mark.parametrize("moment", ["console.log", "evidence/00-exec"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_at_any_time(lab: Lab, moment: str, number: int) -> None:
    running = lab.start("run", program("endless"), "-o", "run")
    wait_for(lab.folder / "run" / moment)
    running.send_signal(number)
    said, _ = running.communicate(timeout=30)
    assert running.returncode == 130, said
    record = lab.record("run")
    assert record.ending is Ending.INTERRUPTED and "Traceback" not in said


def caught(pid: int) -> set[int]:
    """The signals that a process has handlers for (SigCgt of /proc/PID/status)."""
    status = Path(f"/proc/{pid}/status").read_text()
    mask = int(next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:")), 16)
    return {number for number in range(1, 65) if mask >> (number - 1) & 1}


def test_interrupted_before_anything(lab: Lab) -> None:
    running = lab.start("run", "brk", "-o", "run")
    started = time.monotonic() + 20
    while signal.SIGTERM not in caught(running.pid):  # Python itself has none: the lab's own are in place
        assert time.monotonic() < started
    running.send_signal(signal.SIGINT)
    said, _ = running.communicate(timeout=30)
    assert running.returncode == 130 and "Traceback" not in said, said


@pytest.mark.parametrize("moment", ["console.log", "evidence/00-exec"])
def test_kill_9_leaves_a_valid_record_and_no_qemu(lab: Lab, moment: str) -> None:
    running = lab.start("run", program("endless"), "-o", "run")
    wait_for(lab.folder / "run" / moment)
    running.kill()
    running.communicate(timeout=30)
    deadline = time.monotonic() + 5
    while lab.left() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert lab.left() == []
    assert lab.record("run").ending is Ending.UNFINISHED


def test_a_full_disk(lab: Lab) -> None:
    (lab.folder / "small").mkdir()
    unshare = ("unshare", "-m") if os.getuid() == 0 else ("unshare", "-Urm")
    mounted = (*unshare, "sh", "-c", 'mount -t tmpfs -o size=300k none small && "$@"; code=$?; '
               'cp small/run/run.json . 2>/dev/null; exit $code', "sh")
    done = lab("run", "brk", "-o", "small/run", prefix=mounted)
    assert done.returncode == 3, done.stdout + done.stderr
    assert "No space left" in done.stdout + done.stderr and "Traceback" not in done.stderr
    assert json.loads((lab.folder / "run.json").read_text())["schema"] == 1


def test_no_network_and_an_empty_cache(lab: Lab) -> None:
    nowhere = {"LAB_CACHE": str(lab.folder / "cache"), "LAB_DEBIAN_MIRROR": "http://127.0.0.1:9/debian"}
    done = lab("run", "brk", "-o", "run", env=nowhere)
    assert done.returncode == 3 and "Traceback" not in done.stderr, done.stderr
    assert "127.0.0.1:9" in done.stderr


def test_no_network_and_a_filled_cache(lab: Lab) -> None:
    assert lab("exec", "--", "true").returncode == 0
    assert lab("exec", "--", "true", env={"LAB_DEBIAN_MIRROR": "http://127.0.0.1:9/debian"}).returncode == 0


def test_output_that_is_not_empty(lab: Lab) -> None:
    (lab.folder / "run").mkdir()
    (lab.folder / "run/precious").write_text("x")
    done = lab("run", "brk", "-o", "run")
    assert done.returncode == 2 and "not empty" in done.stderr
    assert (lab.folder / "run/precious").read_text() == "x"
