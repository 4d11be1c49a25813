"""A run whose every text tries to become markup, script, or another line: what no renderer may let through."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from synthetic_run import FAILED, GREW, HEAP, Builder, Map

from orchestrator.model import Ending, Evidence, Finding, Operand, Outcome
from orchestrator.rundir import Boot, ConsoleEvent

EVIL = "</script></style><img src=x onerror=alert(1)><script>alert(2)</script>\"' onload='alert(3)"
TRICKS = "\u202egpj.exe\u2066\x1b[2J\x07\x00\u2028\u2029<!--<script>"
BAD = EVIL + TRICKS


def hostile(path: Path) -> Builder:
    """A run directory with such names, notes, findings, messages, console and output."""
    run = Builder(path)
    name = f"/tmp/{EVIL.replace('/', '_')}\u202egpj"
    run.at("start", notes=f"evil={BAD[:200]}\n")
    run.at("grown", Map(HEAP, 16, "rw-p", name, 4, 0, 99), notes=f"{EVIL}={HEAP:#x}\n")
    run.directory.write("evidence/output", f"{BAD}\n".encode(errors="surrogatepass"))
    run.directory.write("console.log", f"{BAD}\nKernel panic - {EVIL}\n".encode())
    record = run.record
    record.case |= {"scenario": BAD, "summary": BAD, "kernel": BAD, "userland": BAD,
                    "settings": {"sysctls": [[BAD, BAD]], "append": [BAD]}}  # fmt: skip
    record.environment |= {"release": BAD, "glibc": BAD, "version": BAD}
    record.emulator |= {"version": BAD, "reason": BAD, "command": BAD, "accelerator": BAD}
    record.pieces = [{"kind": BAD, "name": BAD, "version": BAD, "packages": [BAD], "key": BAD, "drift": BAD}]
    record.messages, record.left_out = [BAD], {BAD: BAD}
    record.boots = [Boot(1, BAD, 1.0, 1.0, BAD)]
    record.console = [ConsoleEvent("panic", BAD, 1.0)]
    record.host, record.program, record.timings = {BAD: BAD}, {"compiler": BAD, "command": [BAD]}, {BAD: 1.0}
    record.findings = [finding(Outcome.FAIL), finding(Outcome.PASS), replace(GREW, source=f"https://x.example/{EVIL}")]
    record.ending, record.ending_detail = Ending.PANIC, BAD
    return run


def finding(outcome: Outcome) -> Finding:
    """A finding that is hostile in every part, with evidence that is elsewhere, nowhere, or a link."""
    places = ("../../../etc/passwd", "/etc/passwd", BAD, "evidence/00-start/notes", "program")
    evidence = tuple(Evidence(file, 1, BAD) for file in places)
    return replace(FAILED, id=BAD, claim=BAD, at=BAD, check=BAD, because=BAD, source=BAD, message=BAD, when=BAD,
                   outcome=outcome, operands=(Operand(BAD, BAD, evidence, BAD),))  # fmt: skip
