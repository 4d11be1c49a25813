"""`make soak`: many runs in a row in one process, then many guests at once; nothing may grow. Exit 1 if it does.

The runs are those of `lab run`, warm, through `experiment.run`; every tenth looks inside its guest. What a first run
leaves in the process for good (modules, symbols of the kernel) is there before the reference is taken. The cache is one
of its own, for what others do with the user's would count; its pieces are the user's.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import circumstances
import subjects

from orchestrator import experiment, host, progress, resources
from orchestrator.errors import LabError
from orchestrator.machine.guest import Guest
from orchestrator.model import Outcome
from orchestrator.prepare import Choice, Prepared, prepare
from orchestrator.report.live import Live

SETTLE = 5.0  # seconds for what ends by itself (threads of SSH) to be gone
LOOKS = 10  # measurements along the runs
SHOWN = 20  # failures
MIB = 1 << 20
SHARED = ("pieces", "archives", "apt", "index")  # of the cache

INTRODUCTION = """\
# Soak

Written by `make soak ARGS='--markdown docs/soak.md'`: `lab run {scenario}` in one process, {runs} times, each from a
saved state, and without looking inside but for one in {every}; then {guests} guests from that state at once. Counted is
what the process has or left behind, after a garbage collection: its memory, file descriptors (sockets are some of
them), threads, children and theirs (QEMU is one), files in its temporary folder, and in its cache saved states,
half-made ones, locks, and all other files. The reference is what there was after the first runs. At the end {bound} MiB
more memory are within bounds, and nothing more of anything else.
"""


@dataclass(frozen=True)
class Counts:
    """What the process has and what it left behind; ``memory`` in MiB."""

    memory: float
    descriptors: int
    sockets: int
    threads: int
    children: int
    qemu: int
    temporary: int
    states: int
    unfinished: int  # states that were not made, or not removed, to the end
    locks: int
    files: int  # of the cache, besides those

    def cells(self) -> list[str]:
        return [f"{value:.1f}" if isinstance(value, float) else str(value) for value in vars(self).values()]


# How much more than at the reference may be there at the end.
BOUNDS = Counts(memory=8.0, descriptors=0, sockets=0, threads=0, children=0, qemu=0, temporary=0, states=0,
                unfinished=0, locks=0, files=0)  # fmt: skip
NAMES = {
    "memory": "memory, MiB", "descriptors": "fds", "sockets": "sockets", "threads": "threads",
    "children": "children", "qemu": "QEMU", "temporary": "temp", "states": "states", "unfinished": "half",
    "locks": "locks", "files": "cache",
}  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One measurement. ``seconds`` is the median of the runs since the one before; 0.0 where there were none."""

    when: str
    counts: Counts
    seconds: float = 0.0


class Probe:
    """Counts, in this process and in the folders that it may leave things in."""

    def __init__(self, temporary: Path, cache: Path) -> None:
        self._temporary, self._cache = temporary, cache

    def counts(self) -> Counts:
        gc.collect()
        links = [_link(path) for path in Path("/proc/self/fd").iterdir()]
        children = _children(os.getpid())
        files = [Path(folder) / name for folder, _, names in os.walk(self._cache) for name in names]
        locks = [path for path in files if path.suffix == ".lock"]
        states = [path.name for path in (self._cache / "states").glob("*") if path.is_dir()]
        return Counts(
            memory=_memory("self") / MIB, descriptors=len(links) - 1,  # one is that of the listing
            sockets=sum(link.startswith("socket:") for link in links),
            threads=len(list(Path("/proc/self/task").iterdir())), children=len(children),
            qemu=sum(b"qemu-system" in _command(pid) for pid in children),
            temporary=sum(1 for _ in self._temporary.rglob("*")),
            states=sum(not name.startswith(".") for name in states),
            unfinished=sum(name.startswith(".") for name in states), locks=len(locks), files=len(files) - len(locks),
        )  # fmt: skip

    def settled(self, reference: Counts) -> Counts:
        """As `counts`, when what ends by itself has ended."""
        deadline = time.monotonic() + SETTLE
        while True:
            found = self.counts()
            if not grown(found, reference) or time.monotonic() > deadline:
                return found
            time.sleep(0.05)


def _link(path: Path) -> str:
    try:
        return str(path.readlink())
    except OSError:
        return ""


def _memory(pid: str, field: str = "VmRSS") -> int:
    """Bytes (proc_pid_status(5), or proc_pid_smaps(5) for Pss); 0 if it is gone."""
    name = "smaps_rollup" if field == "Pss" else "status"
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/{name}").read_text().splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) << 10
    return 0


def _children(pid: int) -> list[int]:
    """All descendants; orphans among them are ours, because we adopt them."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += [int(word) for word in task.read_text().split()]
    return found + [one for child in found for one in _children(child)]


def _command(pid: int) -> bytes:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def grown(now: Counts, reference: Counts) -> list[str]:
    """What is beyond its bound, in words."""
    more = {name: getattr(now, name) - getattr(reference, name) for name in NAMES}
    return [f"{NAMES[name]}: {more[name]:+.4g}, at most {getattr(BOUNDS, name):+.4g}"
            for name in NAMES if more[name] > getattr(BOUNDS, name)]  # fmt: skip


class Soak:
    """The runs, then the guests; ``rows`` and ``failures`` fill on the way."""

    def __init__(self, options: argparse.Namespace, prepared: Prepared, scratch: Path, probe: Probe) -> None:
        self._options, self._prepared, self._scratch, self._probe = options, prepared, scratch, probe
        self.rows: list[Row] = []
        self.failures: list[str] = []
        self.said: list[str] = []

    def measure(self) -> None:
        self._look("before", self._probe.counts())
        for number in range(2):  # the second one comes to what the first one has left
            self._run(number, inspect=None)
            self._run(number, inspect=False)
        reference = self._probe.counts()
        self._look("4 runs, the reference", reference)
        self._runs(reference)
        self._guests(reference)
        self.failures += [f"at the end, {text}" for text in grown(self.rows[-1].counts, reference)]

    def _runs(self, reference: Counts) -> None:
        """In a row; the last measurement is that after all of them."""
        total, taken = self._options.runs, []
        every = max(1, total // LOOKS)
        for number in range(1, total + 1):
            taken.append(self._run(number, inspect=None if number % self._options.every == 0 else False))
            if number % every == 0 or number == total:
                self._look(f"{number} more", self._probe.settled(reference), median(taken))
                taken = []
        self.failures += [f"after the runs, {text}" for text in grown(self.rows[-1].counts, reference)]

    def _run(self, number: int, inspect: bool | None) -> float:
        """One run, which must pass, from a saved state; seconds."""
        output, begin = self._scratch / "run", time.monotonic()
        request = experiment.Request(self._options.scenario, self._options.choice, output=output, inspect=inspect)
        record = experiment.run(request).record
        taken = time.monotonic() - begin
        if record.outcome is not Outcome.PASS:
            self.failures.append(f"run {number}: {record.outcome}, {record.ending_detail or record.messages}")
        elif not record.restored:
            self.failures.append(f"run {number} was not restored: {record.messages}")
        shutil.rmtree(output)
        return taken

    def _guests(self, reference: Counts) -> None:
        """All open together, each asked once all are."""
        begin = time.monotonic()
        with contextlib.ExitStack() as stack:
            guests = [stack.enter_context(Guest(self._prepared.recipe, host.limits()))
                      for _ in range(self._options.guests)]  # fmt: skip
            taken = time.monotonic() - begin
            answers = [_ask(guest) for guest in guests]
            share = [_memory(str(guest.pid), "Pss") / MIB for guest in guests]
            self._look(f"{len(guests)} guests at once", self._probe.counts())
            self.failures += [f"guest {n} was not restored: {guest.unusable}"
                              for n, guest in enumerate(guests) if guest.state is None]  # fmt: skip
        self._look("all guests ended", self._probe.settled(reference))
        if len(set(answers)) != len(guests):
            self.failures.append(f"{len(guests)} guests gave {len(set(answers))} different random answers")
        self.said.append(f"{len(guests)} guests were up after {taken:.1f} s; one's share of the host's memory (PSS) is "
                         f"{median(share):.0f} MiB")

    def _look(self, when: str, counts: Counts, seconds: float = 0.0) -> None:
        self.rows.append(Row(when, counts, seconds))
        print(table(self.rows[-1:], _text).splitlines()[1], file=sys.stderr, flush=True)


def _ask(guest: Guest) -> str:
    """Sixteen random bytes of the guest, as text."""
    with guest.ssh.open("head -c 16 /dev/urandom") as channel:
        return channel.makefile("rb").read().hex()


def table(rows: Sequence[Row], cell: Callable[[Sequence[str]], str]) -> str:
    """``cell`` makes a line of its cells."""
    head = ["when", *NAMES.values(), "s a run"]
    lines = [[row.when, *row.counts.cells(), f"{row.seconds:.2f}" if row.seconds else ""] for row in rows]
    return "".join(cell(line) + "\n" for line in (head, *lines))


def _text(cells: Sequence[str]) -> str:
    return f"{cells[0]:<22}" + "".join(f"  {cell:>7}" for cell in cells[1:])


def _markdown(rows: Sequence[Row]) -> str:
    first, _, rest = table(rows, lambda cells: f"| {' | '.join(cells)} |").partition("\n")
    return f"{first}\n| --- |{' --: |' * (len(NAMES) + 1)}\n{rest}"


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="soak.py", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=200, metavar="N", help="in a row (200)")
    parser.add_argument("--guests", type=int, default=16, metavar="N", help="at once (16)")
    parser.add_argument("--every", type=int, default=10, metavar="N", help="every Nth run looks inside (10)")
    parser.add_argument("--scenario", default="brk", metavar="NAME", help="(brk)")
    parser.add_argument("--kernel", "-k", metavar="NAME", help="another one than the default")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table and the host there as well")
    found = parser.parse_args(words)
    if min(found.runs, found.guests, found.every) < 1:
        parser.error("1 or more are needed")
    found.choice = Choice(kernel=found.kernel)
    return found


def own_places(scratch: Path) -> Path:
    """A temporary folder, which is returned, and a cache, for this process and its children."""
    users, own, temporary = resources.cache(), scratch / "cache", scratch / "tmp"
    temporary.mkdir()
    own.mkdir()
    for name in SHARED:
        (users / name).mkdir(exist_ok=True)
        (own / name).symlink_to(users / name)
    with contextlib.suppress(FileNotFoundError):  # else it is found out again
        shutil.copy2(users / "accelerator.json", own)
    os.environ["LAB_CACHE"] = str(own)
    os.environ["TMPDIR"], tempfile.tempdir = str(temporary), None
    return temporary


def run(options: argparse.Namespace) -> int:
    subjects.adopt()
    with subjects.place() as scratch:
        temporary = own_places(scratch)
        with Live() as live, progress.listening(live):
            prepared = prepare(options.choice)
        soak = Soak(options, prepared, scratch, Probe(temporary, prepared.cache))
        before = circumstances.load()
        soak.measure()
        busy = circumstances.others(before, circumstances.load())
    about = circumstances.lines(prepared, f"{options.runs} runs, {options.guests} guests", busy)
    more = [f"and {len(soak.failures) - SHOWN} failures more"] if len(soak.failures) > SHOWN else []
    about += [*soak.said, *(soak.failures[:SHOWN] or ["nothing grew beyond its bound"]), *more]
    print("\n".join(about), end="\n\n")
    print(table(soak.rows, _text), end="", flush=True)
    if options.markdown:
        head = INTRODUCTION.format(**vars(options), bound=f"{BOUNDS.memory:.0f}")
        said = "".join(f"- {line}\n" for line in about)
        options.markdown.write_text(f"{head}\n{said}\n{_markdown(soak.rows)}", encoding="utf-8")
    return 1 if soak.failures else 0


def main() -> int:
    try:
        return run(arguments())
    except LabError as error:
        print(f"soak: {error.message}" + (f"\nsoak: hint: {error.hint}" if error.hint else ""), file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
