"""`make bench`: the lab's times, in turn with what they are compared with. Nothing is asserted here.

All subjects are measured once in every round, in the opposite order every other round; the ratios are
taken within rounds. So a host that is busy or changes its speed moves the times, hardly the ratios.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import circumstances
import inside
import peers
import subjects
import table
from subjects import Sample, Subject

from orchestrator import progress
from orchestrator.errors import HostError, LabError
from orchestrator.prepare import Prepared
from orchestrator.report.live import Live

KERNELS = ("5.10", "6.1", "6.12", "7.x")
DEFAULT = "6.12"  # the default image's
PEER = "6.1"  # the kernel that the peers are compared on: virtme-ng runs with all four
PEER_AIMS = {"cold": "ratio ≤ 0.3", "warm": "ratio ≤ 0.08"}

INTRODUCTION = """\
# Benchmarks

Written by `make bench`; to write it anew: `.venv/bin/python tests/benchmarks/bench.py --markdown docs/benchmarks.md`.

Every subject is measured once in each round, in the opposite order every other round. A ratio compares a subject with
its reference in the same round; the median over all rounds is shown. Times are seconds; `cpu` is user and system time.
They hold for the host below only; the ratios carry over.

- **bare QEMU, uname -r, power off**: the lab's emulator, kernel, memory and accelerator with QEMU's own devices (but
  no network card), and an initramfs with one program, which says what `uname -r` says and powers off; `cpu` is QEMU's
  from start to end. The reference of the boots.
- **lab, cold, to SSH**; **lab, warm, to SSH**: `Guest` from launch to an open SSH session; `cpu` is QEMU's until then.
  Cold boots, warm goes on from a saved state. The userland is the default one.
- **virtme-ng, uname -r**: the peer, from PyPI: `vng --disable-kvm --exec`, on the host's root file system by virtiofs
  (Debian's cloud kernels have no 9p), with the lab's emulator and kernel image, the modules of the kernel's packages,
  and the same memory and number of processors. kmod, busybox and virtiofsd are Debian's. Its guest starts the host's
  udev; on a host that has none, Debian's is put beneath /usr. **no udev**: without, where the host has none; then
  virtme-ng knows neither the command's output nor its exit status, and the command writes to the port itself.
- **lab exec -- uname -r**: the same task by the lab, cold (a boot) and warm.
- **lab run brk -q**: the whole command with everything in the cache, report and looks inside included; cold against a
  bare boot of the same kernel, warm against cold.
- `cpu` of a command is that of all processes that it started: QEMU, virtiofsd, compiler.
- **lab image build -q, from packages**: all pieces of the default image, the packages there, the pieces not.
- **lab --help**, **lab list**: until the process ends; the reference is the interpreter alone.
- **maps**, **trace**: evidence of 100,000 lines, to objects; the reference is splitting the same text into lines.
- **look inside**: what a run spends at one checkpoint to have the guest paused, read and running again, with the index
  of symbols in the cache; the first one of a process loads drgn, finds the kernel and reads the index as well.
- **lab matrix … -j 2**: some scenarios on the pairs of the images, two guests side by side; the reference is the same
  one by one. A ratio of 0.59 is 1.7 times the throughput.
- **lab matrix** (only with `--long`): all scenarios on the pairs of the images.
"""


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench.py", description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--runs", type=int, default=5, metavar="N", help="rounds (5)")
    parser.add_argument("--kernel", "-k", action="append", metavar="NAME",
                        help=f"a kernel to boot, repeatable ({', '.join(KERNELS)})")
    parser.add_argument("--peer-kernel", default=PEER, metavar="NAME",
                        help=f"the kernel that the peers are compared on ({PEER})")
    parser.add_argument("--peers", action="store_true", help="nothing but the peers and the lab on that kernel")
    parser.add_argument("--quick", action="store_true", help=f"one round, kernel {DEFAULT} only, and the peers' kernel")
    parser.add_argument("--long", action="store_true", help="the whole matrix as well: minutes in every round")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table and the host there as well")
    found = parser.parse_args(words)
    if found.quick:
        found.runs, found.kernel = 1, [DEFAULT]
    if found.runs < 1:
        parser.error("--runs: 1 or more are needed")
    return found


def beside_peers(prepared: Prepared, scratch: Path, failed: dict[str, str]) -> list[Subject]:
    """What is measured on the peers' kernel besides its boots; a peer that can't be measured is in ``failed``."""
    found = peers.virtme(prepared, scratch, failed)
    rivals = [peers.name(prepared.kernel.name), *(subject.name for subject in found)]
    return [*found, *subjects.commands(prepared, tuple(dict.fromkeys(rivals)), PEER_AIMS),
            *subjects.runs(prepared, scratch)]  # fmt: skip


def everything(options: argparse.Namespace, scratch: Path, failed: dict[str, str]) -> tuple[list[Subject], Prepared]:
    """All subjects in the order of the table, prepared; and the default guest, or the only one."""
    peer = subjects.kernel(options.peer_kernel)
    if options.peers:
        return [*subjects.boots(peer, scratch), *beside_peers(peer, scratch, failed)], peer
    default = subjects.kernel(None)
    names: Iterable[str] = dict.fromkeys((*(options.kernel or KERNELS), default.kernel.name, peer.kernel.name))
    found = [subject for name in names for subject in subjects.boots(subjects.kernel(name), scratch)]
    found += beside_peers(peer, scratch, failed)
    found += subjects.runs(default, scratch) if default.kernel.name != peer.kernel.name else []
    found += [subjects.build(scratch), *subjects.start_ups(), *subjects.parsers(), *inside.looks(default, scratch)]
    found += [*subjects.matrices(scratch), *([subjects.everything(scratch)] if options.long else [])]
    return found, default


def measure(found: Sequence[Subject], runs: int, samples: dict[str, list[Sample]], failed: dict[str, str]) -> None:
    """All rounds; ``samples`` fills on the way, so that an interrupt loses nothing. A peer that fails once is left out
    from then on."""
    for number in range(runs):
        for subject in found if number % 2 == 0 else reversed(found):
            if subject.name in failed:
                continue
            try:
                sample = subject.measure()
            except HostError as error:
                if not subject.foreign:
                    raise
                failed[subject.name] = error.message
                continue
            samples.setdefault(subject.name, []).append(sample)
            print(f"round {number + 1} of {runs}: {subject.name}: {sample.cpu:.2f} s CPU, {sample.wall:.2f} s"
                  + (f" ({sample.note})" if sample.note else ""), file=sys.stderr, flush=True)


def run(options: argparse.Namespace) -> int:
    samples: dict[str, list[Sample]] = {}
    failed: dict[str, str] = {}
    with subjects.place() as scratch:
        with Live() as live, progress.listening(live):
            found, prepared = everything(options, scratch, failed)
        before, code = circumstances.load(), 0
        try:
            measure(found, options.runs, samples, failed)
        except KeyboardInterrupt:
            print("interrupted: the table has what was measured until now", file=sys.stderr)
            code = 130
        rounds = max(map(len, samples.values()), default=0)
        busy = circumstances.others(before, circumstances.load())
        about = circumstances.lines(prepared, f"{rounds} round{'s' if rounds > 1 else ''}", busy)
        about += [f"not measured: {name}: {' '.join(why.split())[:400]}" for name, why in failed.items()]
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
