"""Run directories for the tests of comparisons: two kernels, repeats under another ASLR, a copy."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from synthetic_run import BASE, GREW, HEAP, Builder, Map, heap, smaps

from orchestrator.comparison import differ, sides
from orchestrator.comparison.model import Comparison, Difference
from orchestrator.model import Evidence, Finding, Operand

OLD = replace(GREW, id="place", claim="brk.random", at="grown", when='kernel < "6.4"', check="note('x') == 1",
              because="Before 6.4 it is so.", source="mm/old.c; 0123456789ab (6.4)")  # fmt: skip
NEW = replace(OLD, when='kernel >= "6.4"', check="note('x') == 2", because="Since 6.4 it is otherwise.",
              source="mm/new.c")  # fmt: skip
RELEASE = {"6.1": "6.1.0-50-cloud-amd64", "6.12": "6.12.107-cloud-amd64"}
GLIBC = {"bookworm": "2.36", "trixie": "2.41"}


def moved(by: int) -> list[Map]:
    """The base mappings elsewhere, as another draw of ASLR would have them; [vsyscall] stays."""
    return [one if one.name == "[vsyscall]" else replace(one, start=one.start + by) for one in BASE]


def make(path: Path, kernel: str = "6.1", userland: str = "bookworm", *, by: int = 0, kib: int = 4,
         findings: tuple[Finding, ...] = (GREW,), started: str = "2026-01-01T00:00:00+00:00", minflt: int = 90,
         log: str = "", **case: object) -> Path:
    """A run of brk: start, and grown with a heap of that size; ``by`` is what ASLR adds to every address."""
    run = Builder(path)
    run.record.started = started
    run.record.case |= {"kernel": kernel, "userland": userland, "settings": {"append": []}, "fingerprint": "f", **case}
    run.record.environment |= {"release": RELEASE.get(kernel, kernel), "glibc": GLIBC.get(userland, userland)}
    grown = Map(HEAP + by, kib, "rw-p", "[heap]")
    for name, extra in (("start", []), ("grown", [grown])):
        run.at(name)
        folder = f"{run.record.checkpoints[-1].directory}/proc/214"
        run.directory.write(f"{folder}/smaps", smaps(*moved(by), *extra).encode())
        run.directory.write(f"{folder}/stat", stat(minflt).encode())
    run.directory.write("kernel.log", log.encode())
    run.record.findings = list(findings)
    run.directory.save(run.record)
    return path


def stat(minflt: int) -> str:
    """A line of /proc/PID/stat with that many minor faults."""
    return f"214 (program) T 1 1 1 0 -1 4194304 {minflt} 0 0 0 {' '.join(['0'] * 40)}\n"


def operand(text: str, value: str, file: str = "evidence/01-grown/notes", line: int = 1) -> Operand:
    """A part of a check with its value."""
    return Operand(text, value, (Evidence(file, line, f"{text}={value}"),))


def edited(path: Path, **values: object) -> Path:
    """The run with other values in its run.json."""
    file = path / "run.json"
    data = json.loads(file.read_text())
    data.update(values)
    file.write_text(json.dumps(data))
    return path


def compared(*places: Path) -> Comparison:
    """The comparison of these places."""
    found, left_out = sides.read(places)
    rule, cases, alone = sides.match(found)
    return differ.compare(found, rule, cases, alone, left_out)


def differences(*places: Path) -> list[Difference]:
    """All differences of all cases."""
    return [one for case in compared(*places).cases for one in case.differences]


def whats(*places: Path) -> list[str]:
    """The same by topic and name."""
    return [f"{one.topic.value}: {one.what}" for one in differences(*places)]


def two_kernels(folder: Path) -> tuple[Path, Path]:
    """6.1 and 6.12 differ in a form, in the size of the heap, and in a value that no finding explains."""
    cited = Evidence("evidence/01-grown/proc/214/smaps", _line(), "the heap")
    old = replace(OLD, operands=(Operand("vma('[heap]').size", "4096 (4 KiB)", (cited,)),))
    new = replace(NEW, operands=(Operand("vma('[heap]').size", "8192 (8 KiB)", (cited,)),))
    return (make(folder / "old", findings=(GREW, old)),
            make(folder / "new", "6.12", by=0x1000_0000, kib=8, findings=(GREW, new)))  # fmt: skip


def _line() -> int:
    """The line of smaps in which [heap] begins."""
    text = smaps(*BASE, heap(4)).split("\n")
    return next(number for number, line in enumerate(text, 1) if line.endswith("[heap]"))
