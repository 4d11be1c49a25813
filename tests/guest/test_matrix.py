"""`lab matrix` in real guests: shared boots, a crash that costs only itself, interruption, resume, nothing left."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from conftest import Lab

from orchestrator import schema
from orchestrator.model import Ending, Outcome

HEAD = '#include <fcntl.h>\n#include <unistd.h>\n#include "lab.h"\n\nint main(void)\n{\n'
TAIL = '\tlab_note_u64("answer", ANSWER);\n\tlab_checkpoint("said");\n\treturn 0;\n}\n'
WRITE = '\tint fd = open("{}", O_WRONLY);\n\n\tif (write(fd, "{}", {}) < 0)\n\t\treturn 1;\n\tclose(fd);\n'
YAML = """\
name: {name}
summary: says a number
claims: [test.answer]
cflags: [-DANSWER={answer}]
checkpoints: [said]
{more}
expectations:
  - id: answer
    claim: test.answer
    at: said
    check: note("answer") == 42
    because: the program says so
    source: {name}.c
"""
VICTIM = """\
\tchar host[65] = "";

\tgethostname(host, sizeof(host) - 1);
\tif (host[0] == 'x') {
\t\tlab_note_u64("answer", 1);
\t\tlab_checkpoint("said");
\t\treturn 0;
\t}
"""
PAIRS = ("-i", "bullseye", "-i", "newest")  # the oldest and the newest


def scenario(place: Path, name: str, body: str = "", answer: int = 42, more: str = "") -> None:
    folder = place / name
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.c").write_text(HEAD + body + TAIL)
    (folder / "scenario.yaml").write_text(YAML.format(name=name, answer=answer, more=more))


def record(lab: Lab, name: str = "m") -> dict[str, Any]:
    data: dict[str, Any] = json.loads((lab.folder / name / "matrix.json").read_text())
    jsonschema.Draft202012Validator(schema.load("matrix")).validate(data)
    return data


def states(data: dict[str, Any]) -> dict[str, str]:
    return {case["directory"]: case["state"] for case in data["cases"]}


def until(fact: Callable[[], bool], process: subprocess.Popen[str], seconds: float = 120) -> None:
    """Waits for something that a running matrix does."""
    end = time.monotonic() + seconds
    while not fact():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < end, "it never came so far"
        time.sleep(0.05)


def running(lab: Lab, name: str) -> bool:
    """Whether the program of a case has started."""
    try:
        case = next(one for one in record(lab)["cases"] if one["scenario"] == name)
    except (OSError, ValueError):
        return False
    return case["state"] == "running" and (lab.folder / "m" / case["directory"] / "kernel.log").exists()


def test_a_matrix(lab: Lab) -> None:
    scenario(lab.folder, "good")
    scenario(lab.folder, "bad", answer=41)
    scenario(lab.folder, "crash", WRITE.format("/proc/sysrq-trigger", "c", 1))
    scenario(lab.folder, "picky", "#if __GLIBC_MINOR__ < 36\n#error too old\n#endif\n")
    words = ("brk", "./good", "./bad", "./crash", "./picky")
    done = lab("matrix", *words, *PAIRS, "-j", "2", "-o", "m", "--json", "m.json")
    assert done.returncode == 4, done.stdout + done.stderr
    data = record(lab)
    assert json.loads((lab.folder / "m.json").read_text()) == data
    assert data["state"] == "done" and data["exit_code"] == 4
    codes = {case["directory"]: case["exit_code"] for case in data["cases"]}
    for pair, picky in (("5.10-bullseye", 2), ("7.x-testing", 0)):
        expected = {"brk": 0, "good": 0, "bad": 1, "crash": 4, "picky": picky}
        assert {name: codes[f"{name}-{pair}"] for name in expected} == expected
        assert lab.record(f"m/brk-{pair}").outcome is Outcome.PASS
        assert lab.record(f"m/crash-{pair}").ending is Ending.PANIC
        assert "Kernel panic" in (lab.folder / f"m/crash-{pair}/console.log").read_text(errors="replace")
        assert "Kernel panic" not in (lab.folder / f"m/good-{pair}/console.log").read_text(errors="replace")
        assert "Linux version" in (lab.folder / f"m/good-{pair}/console.log").read_text(errors="replace")
    assert data["boots"] <= 8, "a boot serves several cases"
    assert "too old" in lab.record("m/picky-5.10-bullseye").ending_detail
    assert lab("check", "m/bad-7.x-testing").returncode == 1 and lab("check", "m/good-7.x-testing").returncode == 0

    lines = done.stdout.splitlines()
    assert lines[1].split() == ["bullseye", "testing"] and all(len(line) <= 80 for line in lines[:7])
    assert lines[4].split() == ["bad", "FAIL", "1/1", "FAIL", "1/1"]
    assert "FAIL answer (test.answer) at said" in done.stdout and "m/bad-5.10-bullseye" in done.stdout
    last = " ".join(done.stdout.split("\n\n")[-1].split())
    assert last.startswith("CRASHED 10 cases: 5 passed, 2 failed, 1 in error, 2 crashed,")
    told = [line for line in done.stderr.splitlines() if "/10 " in line]
    assert len(told) == 10 and all(len(line) <= 100 for line in told) and " left" in told[0]


def test_interrupted_and_resumed(lab: Lab) -> None:
    scenario(lab.folder, "first")
    scenario(lab.folder, "patient", "\tfor (volatile int on = 1; on;)\n\t\t;\n")
    scenario(lab.folder, "last")
    words = ("./first", "./patient", "./last", "-k", "5.10", "-u", "bullseye", "-j", "1", "-o", "m")
    process = lab.start("matrix", *words)
    until(lambda: running(lab, "patient"), process)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "lab matrix --resume m" in said
    assert lab.left() == []
    before = record(lab)
    assert before["state"] == "interrupted" and states(before)["patient-5.10-bullseye"] == "interrupted"
    assert lab.record("m/patient-5.10-bullseye").ending is Ending.INTERRUPTED
    kept = {name: (lab.folder / "m" / name / "run.json").stat().st_mtime_ns
            for name, state in states(before).items() if state == "done"}  # fmt: skip
    assert 0 < len(kept) < 3

    scenario(lab.folder, "patient")  # it has become quick
    done = lab("matrix", "--resume", "m")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr.count("patient has changed") == 1
    assert set(states(record(lab)).values()) == {"done"}
    for name, stamp in kept.items():
        assert (lab.folder / "m" / name / "run.json").stat().st_mtime_ns == stamp, "what is done stays"
    assert record(lab)["boots"] == before["boots"] + 1
    assert lab("matrix", "--resume", "m", "-q").returncode == 0, "nothing is left to do"


def test_one_lab_at_a_time(lab: Lab) -> None:
    scenario(lab.folder, "patient", "\tfor (volatile int on = 1; on;)\n\t\t;\n")
    process = lab.start("matrix", "./patient", "-k", "5.10", "-u", "bullseye", "-o", "m")
    until(lambda: running(lab, "patient"), process)
    before = (lab.folder / "m/matrix.json").read_bytes()
    done = lab("matrix", "--resume", "m")
    assert done.returncode == 2 and "another lab is at work in m" in done.stderr and "Ctrl-C" in done.stderr
    assert (lab.folder / "m/matrix.json").read_bytes() == before
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 130


def test_a_worker_that_is_killed_costs_one_case(lab: Lab) -> None:
    scenario(lab.folder, "patient", "\tfor (volatile int on = 1; on;)\n\t\t;\n")
    scenario(lab.folder, "short")
    words = ("./patient", "./short", "-k", "5.10", "-u", "bullseye", "-j", "1", "-o", "m")
    process = lab.start("matrix", *words)
    until(lambda: running(lab, "patient"), process)
    os.kill(child(process.pid), signal.SIGKILL)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 3 and "killed by signal 9" in said, said
    assert states(record(lab)) == {"patient-5.10-bullseye": "done", "short-5.10-bullseye": "done"}
    assert lab.record("m/short-5.10-bullseye").outcome is Outcome.PASS
    shutil.copy(lab.folder / "short/short.c", lab.folder / "patient/patient.c")
    assert lab("matrix", "--resume", "m", "-q").returncode == 0, "what the host spoilt is run again"


def test_a_failure_in_a_used_guest_is_confirmed_in_a_fresh_one(lab: Lab) -> None:
    leave = '\tsethostname("x", 1);\n'  # nothing that the lab looks at
    scenario(lab.folder, "careless", leave)
    scenario(lab.folder, "victim", VICTIM)
    scenario(lab.folder, "wrong", answer=41)
    words = ("./careless", "./victim", "./wrong", "-k", "5.10", "-u", "bullseye", "-j", "1", "-o", "m")
    done = lab("matrix", *words)
    assert done.returncode == 1, done.stdout + done.stderr
    cases = {case["scenario"]: case for case in record(lab)["cases"]}
    assert {name: (case["outcome"], case["first"]) for name, case in cases.items()} == {
        "careless": ("PASS", ""), "victim": ("PASS", "FAIL"), "wrong": ("FAIL", "FAIL")}
    assert record(lab)["boots"] == 3
    messages = " ".join(lab.record("m/victim-5.10-bullseye").messages)
    assert "repeated in a fresh guest: first FAIL: answer (in the guest" in messages
    assert "the fresh guest says PASS, which counts" in messages
    assert "the fresh guest confirms FAIL" in " ".join(lab.record("m/wrong-5.10-bullseye").messages)
    assert lab.record("m/first-runs/victim-5.10-bullseye").outcome is Outcome.FAIL
    assert "PASS 1*" in done.stdout and "PASS in a fresh guest; FAIL in a used one" in " ".join(done.stdout.split())


def test_evidence_counts_as_long_as_the_program_is_the_same(lab: Lab) -> None:
    scenario(lab.folder, "one")
    assert lab("matrix", "./one", "-k", "5.10", "-u", "bullseye", "-o", "m", "-q").returncode == 0
    assert lab("run", "./one", "-k", "5.10", "-u", "bullseye", "-o", "r", "-q").returncode == 0
    assert lab.record("r").case["fingerprint"] == lab.record("m/one-5.10-bullseye").case["fingerprint"] != ""
    assert "confirmed" in lab("claims", "m", "-c", "test.answer").stdout
    file = lab.folder / "one/scenario.yaml"
    file.write_text(file.read_text().replace("the program says so", "in other words"))
    assert "confirmed" in lab("claims", "m", "-c", "test.answer").stdout
    (lab.folder / "one/one.c").write_text(HEAD + "\t;\n" + TAIL)
    said = " ".join(lab("claims", "m", "-c", "test.answer").stdout.split())
    assert "not run" in said and "the program or the settings of one have changed since: run it again" in said
    check = lab("check", "m/one-5.10-bullseye")
    assert check.returncode == 0 and "have changed since" in " ".join(check.stdout.split())


def child(pid: int) -> int:
    """The process that one has started."""
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


def test_nothing_survives_a_killed_lab(lab: Lab) -> None:
    scenario(lab.folder, "patient", "\tfor (volatile int on = 1; on;)\n\t\t;\n")
    process = lab.start("matrix", "./patient", "-k", "5.10", "-u", "bullseye", "-o", "m")
    until(lambda: running(lab, "patient"), process)
    process.kill()
    process.wait()
    end = time.monotonic() + 10
    while lab.left() and time.monotonic() < end:
        time.sleep(0.05)
    assert lab.left() == []
    assert record(lab)["state"] == "running", "valid, and not done"


def test_what_a_case_leaves_behind_is_noticed(lab: Lab) -> None:
    scenario(lab.folder, "dirty", WRITE.format("/proc/sys/vm/overcommit_ratio", "51", 2))
    scenario(lab.folder, "good")
    scenario(lab.folder, "tidy", WRITE.format("/proc/sys/vm/overcommit_ratio", "52", 2), more="own_boot: true")
    done = lab("matrix", "./dirty", "./good", "./tidy", "-k", "5.10", "-u", "bullseye", "-j", "1", "-o", "m")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "dirty-5.10-bullseye left something behind" in done.stderr and "overcommit_ratio" in done.stderr
    assert "tidy-5.10-bullseye left" not in done.stderr
    assert record(lab)["boots"] == 3
    assert any("fresh guest" in message for message in lab.record("m/good-5.10-bullseye").messages)


def test_a_guest_that_does_not_boot(lab: Lab) -> None:
    scenario(lab.folder, "one")
    scenario(lab.folder, "two")
    words = ("./one", "./two", "-k", "5.10", "-u", "bullseye", "-a", "rdinit=/nonexistent", "-o", "m", "-j", "1")
    done = lab("matrix", *words)
    assert done.returncode == 4, done.stdout + done.stderr
    assert record(lab)["boots"] == 2, "twice for the first case, never for the others"
    assert {lab.record(f"m/{name}-5.10-bullseye").ending for name in ("one", "two")} == {Ending.PANIC}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("brkk",), "did you mean brk"),
        (("b*k*k",), "brk"),
        (("brk", "-k", "6.2"), "6.12"),
        (("brk", "-u", "x*"), "bookworm"),
        (("brk", "-i", "nope"), "newest"),
        (("brk", "-k", "./missing"), "no such file"),
        (("brk", "--modules", "."), "--kernel PATH"),
        (("brk", "--accel", "warp"), "tcg"),
        (("brk", "-D", "1X"), "--define"),
        (("brk", "-j", "0"), "-j"),
        (("brk", "-o", "/proc/nothing/here"), "cannot write"),
        (("--resume", "."), "matrix.json"),
        (("--resume", "m", "-k", "6.1"), "kernel"),
        (("--resume", "m", "brk"), "scenario"),
        (("brk", "--json", "./missing/x.json"), "no folder"),
        (("brk", "--shard", "4/3"), "I/N is needed"),
        (("brk", "--shard", ""), "I/N is needed"),
        (("--resume", "m", "--shard", "1/2"), "shard"),
    ],
)
def test_usage(lab: Lab, words: tuple[str, ...], said: str) -> None:
    done = lab("matrix", *words)
    assert done.returncode == 2, done.stdout + done.stderr
    assert said in done.stderr and "Traceback" not in done.stderr
    assert not list(lab.folder.iterdir())
