"""Deterministic runs: the same raw evidence to the last bit, on a host that is busy too; recorded and replayed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import NEWEST, OLDEST, Lab

from orchestrator.model import Ending, Outcome
from orchestrator.rundir import RunRecord

# one that is single-threaded by nature, with traces and kernel objects; threads; a stack that overflows
SCENARIOS = ("brk", "threads", "stack-overflow")


def run(lab: Lab, name: str, *words: str) -> RunRecord:
    lab("run", *words, "--deterministic", "-q", "-o", name)
    return lab.record(name)


@contextmanager
def busy() -> Iterator[None]:
    """A host with something else to do on each processor."""
    load = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in os.sched_getaffinity(0)]
    try:
        yield
    finally:
        for one in load:
            one.kill()
            one.wait()


@pytest.mark.parametrize(("scenario", "pair"), list(zip(SCENARIOS, (OLDEST, NEWEST, NEWEST), strict=True)))
def test_raw_evidence_is_the_same(lab: Lab, scenario: str, pair: tuple[str, str]) -> None:
    words = (scenario, "-k", pair[0], "-u", pair[1])
    alone = run(lab, "alone", *words)
    with busy():
        again = run(lab, "again", *words)
    assert alone.ending is Ending.COMPLETED and alone.outcome is Outcome.PASS
    assert again.deterministic["raw"] == alone.deterministic["raw"]
    assert again.deterministic["threads"] == (scenario == "threads")
    for name in ("console.log", "kernel.log", "evidence"):
        assert same(lab.folder / "alone" / name, lab.folder / "again" / name)
    assert [one.seconds for one in again.checkpoints] == [one.seconds for one in alone.checkpoints]


def same(one: Path, other: Path) -> bool:
    return subprocess.run(["diff", "-rq", one, other], capture_output=True, check=False).returncode == 0


def test_another_program_is_another_run(lab: Lab) -> None:
    assert lab("run", "brk", "--deterministic", "-q", "-o", "a").returncode == 0
    assert lab("run", "brk", "--deterministic", "-q", "-o", "b", "--env", "A=1").returncode == 0
    assert lab.record("a").deterministic["raw"] != lab.record("b").deterministic["raw"]


@pytest.mark.parametrize(("words", "said"), [
    (("--accel", "kvm"), "only an emulator counts instructions"),
    (("--cpus", "2"), "one processor's instructions"),
    (("--vmcore", "grown"), "--vmcore"),
])  # fmt: skip
def test_what_can_not_be_deterministic_is_refused(lab: Lab, words: tuple[str, ...], said: str) -> None:
    done = lab("run", "brk", "--deterministic", *words)
    assert done.returncode == 2 and said in done.stderr, done.stderr


def test_a_program_that_does_not_end_is_at_a_limit(lab: Lab) -> None:
    (lab.folder / "spin.c").write_text('#include <stdio.h>\nint main(void)\n{\n\tputs("here");\n\tfflush(stdout);\n'
                                       "\tfor (;;)\n\t\t;\n}\n")
    done = lab("run", "spin.c", "--deterministic", "-q", "-o", "spin", "--timeout", "40")
    assert done.returncode == 5, done.stdout + done.stderr
    record = lab.record("spin")
    assert record.ending is Ending.TIMEOUT and [one.name for one in record.checkpoints] == ["exec"]
    assert (lab.folder / "spin/evidence/output").read_text() == "here\n", "what it had said is not lost"
    assert "raw" not in record.deterministic, "where it was cut off was this host's doing"


def test_the_program_may_not_use_the_ports_at_which_its_guest_stands_still(lab: Lab) -> None:
    """Who may has an I/O bitmap, which costs instructions at each way back from the kernel."""
    (lab.folder / "ports.c").write_text("#include <sys/io.h>\nint main(void)\n{\n\treturn inb(0xe9);\n}\n")
    lab("run", "ports.c", "--deterministic", "-q", "-o", "ports")
    ended = lab.record("ports").ended
    assert ended is not None and ended.signal == 11


def test_instructions_are_counted_to_the_last_one(lab: Lab) -> None:
    """Twice, in a matrix: the same table, and another kernel another one."""
    for name in ("first", "second"):
        done = lab("matrix", "cost", "-k", "5.10", "-k", "7.x", "-u", "2.41", "-q", "-o", name, timeout=600)
        assert done.returncode == 0, done.stdout
    first, second = (
        {kernel: costs(lab.folder / f"{name}/cost-{kernel}-trixie") for kernel in ("5.10", "7.x")}
        for name in ("first", "second")
    )
    assert first == second and len(first["5.10"]) > 30
    assert first["5.10"]["counter.nops"] == 1000 and first["5.10"]["counter.nothing"] == 0
    assert first["5.10"]["brk.grow"] < first["7.x"]["brk.grow"], "a maple tree is dearer than a linked list"
    assert first["5.10"]["heap.malloc-tcache"] == first["7.x"]["heap.malloc-tcache"], "the same glibc"


def costs(run: Path) -> dict[str, int]:
    lines = [line for notes in sorted(run.glob("evidence/*/notes")) for line in notes.read_text().splitlines()]
    found = dict(line.split("=", 1) for line in lines if line.startswith("cost."))
    return {key.removeprefix("cost."): int(value) for key, value in found.items()}


def test_costs_without_counting_are_errors(lab: Lab) -> None:
    """A check of what was not counted has no evidence."""
    folder = lab.folder / "mine"
    assert lab("new", "mine").returncode == 0
    source = next(folder.glob("*.c"))
    text = source.read_text().replace("lab_checkpoint(", 'lab_cost_begin("x"); lab_cost_end("x"); lab_checkpoint(', 1)
    source.write_text(text)
    yaml = folder / "scenario.yaml"
    text = yaml.read_text()
    first = text.index("    check:")
    yaml.write_text(text[:first] + '    check: cost("x") >= 0\n' + text[text.index("    because:", first):])
    done = lab("run", str(folder), "-o", "mine-run")
    assert done.returncode == 3 and "were not counted" in done.stdout, done.stdout
    record = lab.record("mine-run")
    assert not record.deterministic


def test_a_recorded_run_happens_again(lab: Lab) -> None:
    assert lab("run", "brk", "--record", "-q", "-o", "run").returncode == 0
    record = lab.record("run")
    assert record.deterministic["record"]
    again = lab("replay", "run", "-o", "again")
    assert again.returncode == 0 and again.stdout == f"SAME  raw evidence {record.deterministic['raw']}\n", again.stderr
    assert same(lab.folder / "run/evidence", lab.folder / "again/evidence")
    assert "rr=replay" in lab.record("again").emulator["command"]

    other = lab.folder / "other"  # a record that tells of other pieces
    shutil.copytree(lab.folder / "run", other)
    told = json.loads((other / "run.json").read_text())
    told["pieces"][0]["key"], told["pieces"][0]["packages"] = "0" * 16, ["linux-image-0=1"]
    (other / "run.json").write_text(json.dumps(told))
    done = lab("replay", "other")
    assert done.returncode == 2 and "linux-image-0=1 then" in done.stderr, done.stderr

    log = lab.folder / "run/record/qemu"
    whole = log.read_bytes()
    log.write_bytes(whole[: len(whole) // 2])
    assert lab("replay", "run", timeout=600).returncode not in (0, 2)
    log.write_bytes(b"nothing like a record" * 100)
    done = lab("replay", "run")
    assert done.returncode == 1 and "DIFFERS" in done.stdout and "invalid" in done.stdout, done.stdout + done.stderr
    log.unlink()
    done = lab("replay", "run")
    assert done.returncode == 2 and "record/qemu is gone" in done.stderr


def test_a_debugger_walks_through_a_recorded_run(lab: Lab) -> None:
    """As gdb speaks to QEMU: it stands before the first instruction, and stops where it is told to."""
    assert lab("run", "brk", "--record", "-q", "-o", "run").returncode == 0
    running = lab.start("replay", "run", "--gdb", "-q")
    try:
        assert running.stdout is not None
        line = next(line for line in running.stdout if line.startswith("gdb "))
        assert "vmlinux" in line and "add-symbol-file" in line and "/program -o 0x555555554000" in line
        address = line.rstrip().rstrip("'").rpartition("target remote ")[2]
        found = subprocess.run(["nm", lab.folder / "run/program"], capture_output=True, text=True, check=True).stdout
        main = 0x555555554000 + int(next(one for one in found.splitlines() if one.endswith(" T main")).split()[0], 16)
        assert stopped_at(address, main) == main
    finally:
        running.send_signal(2)
        running.wait(60)


def stopped_at(path: str, breakpoint_at: int) -> int:
    """The program counter at which a guest stops that is let run to a hardware breakpoint (GDB remote protocol)."""
    import socket

    with socket.socket(socket.AF_UNIX) as stub:
        stub.settimeout(200)
        stub.connect(path)

        def ask(text: str) -> str:
            stub.sendall(f"${text}#{sum(text.encode()) & 255:02x}".encode())
            said = b""
            while b"#" not in said.lstrip(b"+") or len(said.partition(b"#")[2]) < 2:
                chunk = stub.recv(1 << 16)
                assert chunk, "QEMU has left"
                said += chunk
            stub.sendall(b"+")
            return said.lstrip(b"+").decode().lstrip("$").partition("#")[0]

        assert ask("?")[0] in "ST"
        assert ask(f"Z1,{breakpoint_at:x},1") == "OK"
        assert ask("c")[0] in "ST"
        registers = ask("g")
        return int.from_bytes(bytes.fromhex(registers[16 * 16 : 17 * 16]), "little")
