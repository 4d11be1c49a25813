"""`make bench`: the lab's times, in turn with what they are compared with. Nothing is asserted here.

All subjects are measured once in every round, in the opposite order every other round; the ratios are
taken within rounds. So a host that is busy or changes its speed moves the times, hardly the ratios.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import re
import resource
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import inside
import subjects
import table
from subjects import Sample, Subject

from orchestrator import progress
from orchestrator.errors import LabError
from orchestrator.prepare import Prepared
from orchestrator.report.live import Live

KERNELS = ("5.10", "6.1", "6.12", "7.x")
DEFAULT = "6.12"  # the default image's: the kernel of `lab run brk`

INTRODUCTION = """\
# Benchmarks

Written by `make bench`; to write it anew: `.venv/bin/python tests/benchmarks/bench.py --markdown docs/benchmarks.md`.

Every subject is measured once in each round, in the opposite order every other round. A ratio compares a subject with
its reference in the same round; the median over all rounds is shown. Times are seconds; `cpu` is user and system time.
They hold for the host below only; the ratios carry over.

- **lab, cold, to SSH**: `Guest` from launch to an open SSH session; `cpu` is QEMU's until then. The userland is the
  default one.
- **bare QEMU to power off**: the same emulator, kernel, memory and accelerator with QEMU's own devices (but no network
  card), and an initramfs that powers off as its first user process; `cpu` is QEMU's from start to end. The reference
  of the boots.
- **lab image build -q, from packages**: all pieces of the default image, the packages there, the pieces not.
- **lab --help**, **lab list**: until the process ends; the reference is the interpreter alone.
- **maps**, **trace**: evidence of 100,000 lines, to objects; the reference is splitting the same text into lines.
- **lab run brk -q**: the whole command with everything in the cache, `cpu` with QEMU and compiler; the reference is a
  bare boot of the same kernel.
- **look inside**: what a run spends at one checkpoint to have the guest paused, read and running again, with the index
  of symbols in the cache; the first one of a process loads drgn, finds the kernel and reads the index as well.
- **lab matrix brk -j 2**: the pairs of the images, two guests side by side; the reference is the same one by one.
- **lab matrix** (only with `--matrix`): all scenarios on the pairs of the images.
"""


@dataclass(frozen=True)
class Load:
    """What the machine and this benchmark have used so far: ``busy``, ``own`` CPU seconds, at ``when``."""

    when: float
    busy: float
    own: float


def load() -> Load:
    fields = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    busy = sum(fields) - fields[3] - fields[4]  # without idle and iowait (proc_stat(5))
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    own = sum(part.ru_utime + part.ru_stime for part in usage)
    return Load(time.monotonic(), busy / os.sysconf("SC_CLK_TCK"), own)


def others(before: Load, after: Load) -> float:
    """How many processors' worth of time went to other processes."""
    return max(0.0, (after.busy - before.busy) - (after.own - before.own)) / max(0.001, after.when - before.when)


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench.py", description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--runs", type=int, default=5, metavar="N", help="rounds (5)")
    parser.add_argument("--kernel", "-k", action="append", metavar="NAME",
                        help=f"a kernel to boot, repeatable ({', '.join(KERNELS)})")
    parser.add_argument("--quick", action="store_true", help=f"one round, kernel {DEFAULT} only")
    parser.add_argument("--matrix", action="store_true", help="the whole matrix as well: minutes in every round")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table and the host there as well")
    found = parser.parse_args(words)
    if found.quick:
        found.runs, found.kernel = 1, [DEFAULT]
    if found.runs < 1:
        parser.error("--runs: 1 or more are needed")
    return found


def everything(kernels: Iterable[str], scratch: Path, matrix: bool) -> tuple[list[Subject], Prepared]:
    """All subjects in the order of the table, prepared; and the guest of `lab run brk`."""
    default = subjects.kernel(None)
    names = dict.fromkeys((*kernels, default.kernel.name))
    found = [subject for name in names for subject in subjects.boots(subjects.kernel(name), scratch)]
    found += [subjects.build(scratch), *subjects.start_ups(), *subjects.parsers()]
    found += [subjects.whole_run(default, scratch), *inside.looks(default, scratch)]
    found += [*subjects.matrices(scratch), *([subjects.everything(scratch)] if matrix else [])]
    return found, default


def measure(found: Sequence[Subject], runs: int, samples: dict[str, list[Sample]]) -> None:
    """All rounds; ``samples`` fills on the way, so that an interrupt loses nothing."""
    for number in range(runs):
        for subject in found if number % 2 == 0 else reversed(found):
            sample = subject.measure()
            samples.setdefault(subject.name, []).append(sample)
            print(f"round {number + 1} of {runs}: {subject.name}: {sample.cpu:.2f} s CPU, {sample.wall:.2f} s"
                  + (f" ({sample.note})" if sample.note else ""), file=sys.stderr, flush=True)


def circumstances(prepared: Prepared, rounds: int, busy: float) -> list[str]:
    """Date, host, emulator and accelerator; nothing that names the machine."""
    cores = len(os.sched_getaffinity(0))
    found = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    state = "busy" if busy > 0.2 else "quiet"
    return [
        f"{datetime.date.today().isoformat()}, {rounds} round{'s' if rounds > 1 else ''}",
        f"host: {found[1] if found else platform.machine()}, {cores} cores, Linux {platform.release()}, "
        f"Python {platform.python_version()}",
        f"the host was {state}: other processes used {busy:.1f} of {cores} cores meanwhile",
        f"QEMU {prepared.emulator.version}, accelerator {prepared.accelerator.name}: {prepared.accelerator.reason}",
    ]


def run(options: argparse.Namespace) -> int:
    samples: dict[str, list[Sample]] = {}
    with subjects.place() as scratch:
        with Live() as live, progress.listening(live):
            found, prepared = everything(options.kernel or KERNELS, scratch, options.matrix)
        before, code = load(), 0
        try:
            measure(found, options.runs, samples)
        except KeyboardInterrupt:
            print("interrupted: the table has what was measured until now", file=sys.stderr)
            code = 130
        rounds = max(map(len, samples.values()), default=0)
        about = circumstances(prepared, rounds, others(before, load()))
    result = table.rows(found, samples)
    print("\n".join(about), end="\n\n")
    print(table.text(result), end="", flush=True)
    if options.markdown and code == 0:
        notes = [f"- {sample.note}" for taken in samples.values() for sample in taken if sample.note]
        parts = (INTRODUCTION, "\n".join(f"- {line}" for line in (*about, *notes)) + "\n", table.markdown(result))
        options.markdown.write_text("\n".join(parts), encoding="utf-8")
    return code


def main() -> int:
    try:
        return run(arguments())
    except LabError as error:
        print(f"bench: {error.message}" + (f"\nbench: hint: {error.hint}" if error.hint else ""), file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
