"""The stacks of threads: block, guard, what is in use, struct pthread at the top, and what glibc does with them.

A block is one that pthread_create() took; it is known by its address, so that a later thread in the same block shows.
Where the lab did not look at glibc's own lists, a stack is the mapping that a thread's stack pointer lies in.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.collect.heap_values import HeapEvidence
from orchestrator.collect.objects import ENTRIES, PAGE, PRESENT, KernelObjects
from orchestrator.errors import LabError
from orchestrator.inspection import bits, vmas
from orchestrator.inspection.moment import Moment, Run
from orchestrator.model import Checkpoint
from orchestrator.rundir import safe

MAX_STACKS = 64  # threads and kept stacks of a process at a checkpoint
MAX_PROCESSES = 4
MAX_CITED = 400  # lines of evidence
MAX_RUNS = 64  # runs of touched pages of one stack
MAX_PAGES = 1 << 18  # pages of a block that are looked for
# "202 0x5… 0x189 … SP IP" of a thread that waits in a system call, "-1 SP IP" of one that doesn't (proc_pid_syscall())
_SYSCALL = re.compile(r"-?\d{1,10}(?: 0x[0-9a-f]{1,16}){0,6} 0x([0-9a-f]{1,16}) 0x([0-9a-f]{1,16})")

Shown = dict[str, Any]


@dataclass(frozen=True)
class _Block:
    """What pthread_create() took, from ``start`` to ``end``; its struct pthread lies at ``pthread``."""

    start: int
    size: int
    guard: int
    pthread: int
    tid: int | None  # None: no thread has it
    cached: int | None  # its place in the cache, from 0; None: it is in use
    line: int
    flaw: str

    @property
    def end(self) -> int:
        return self.start + self.size


def data(run: Run) -> Shown | None:
    """The threads and their stacks at each checkpoint; None for a run in which no process had two threads."""
    places: list[Shown] = []
    for step, checkpoint in enumerate(run.record.checkpoints):
        for pid in _processes(run, checkpoint):
            place = {"step": step, "at": run.label(checkpoint), "pid": pid, **_place(run.at(checkpoint, pid))}
            if pid == checkpoint.pid or len(place["threads"]) > 1 or place["blocks"]:
                places.append(place)
    several = any(len(place["threads"]) > 1 or place["blocks"] for place in places)
    lines = [[place["file"], block["line"]] for place in places for block in place["blocks"]]
    lines += [[thread["file"], 1] for place in places for thread in place["threads"] if thread["file"]]
    return {"places": places, "blocks": _histories(places), "evidence": lines[:MAX_CITED]} if several else None


def _processes(run: Run, checkpoint: Checkpoint) -> list[int]:
    """Those with any evidence there, the program's own first."""
    found = {*run.pids(checkpoint, "heap"), *run.pids(checkpoint, "kernel")}
    folder = f"{checkpoint.directory}/proc/{checkpoint.pid}"
    if safe(folder) and run.directory.file(folder).is_dir():
        found.add(checkpoint.pid)
    return sorted(found, key=lambda pid: (pid != checkpoint.pid, pid))[:MAX_PROCESSES]


def _place(moment: Moment) -> Shown:
    """One process at one checkpoint."""
    pointers = dict(_pointers(moment))
    blocks, remark = _blocks(moment)
    owned = {block.tid for block in blocks}
    threads = [_thread(moment, tid, where, tid in owned) for tid, where in sorted(pointers.items())]
    return {
        "threads": threads[:MAX_STACKS], "blocks": [_block(moment, block, pointers) for block in blocks[:MAX_STACKS]],
        "more": max(0, len(blocks) - MAX_STACKS) + max(0, len(threads) - MAX_STACKS), "remark": remark,
        "file": moment.heap[0].file if moment.heap else "", "cache": _cache_size(blocks),
    }  # fmt: skip


# -- threads ---------------------------------------------------------------------------------------


def _pointers(moment: Moment) -> Iterator[tuple[int, Shown]]:
    """Each thread with where its stack pointer was, as far as /proc/PID/task/TID/syscall says."""
    folder = f"{moment.checkpoint.directory}/proc/{moment.pid}/task"
    tids: set[int] = set()
    if safe(folder) and (place := moment.run.directory.file(folder)).is_dir():
        tids |= {int(one.name) for one in place.iterdir() if re.fullmatch(r"\d{1,9}", one.name)}
    if (kernel := _kernel(moment)) is not None:
        tids |= {task.fields["tid"] for task in kernel.tasks}
    for tid in sorted(tids)[: MAX_STACKS * 2]:
        file = f"{folder}/{tid}/syscall"
        found = _SYSCALL.fullmatch(_line(moment, file))
        yield tid, {"sp": int(found[1], 16), "ip": int(found[2], 16), "file": file} if found else {}


def _kernel(moment: Moment) -> KernelObjects | None:
    """The kernel objects; None where there are none, or none that can be read, which the page tables' picture tells."""
    def read() -> KernelObjects | None:
        with contextlib.suppress(LabError):
            return moment.kernel
        return None

    return moment.run.once(f"kernel objects {moment.checkpoint.index} {moment.pid}", read)


def _line(moment: Moment, file: str) -> str:
    path = moment.run.directory.file(file)
    if not path.is_file() or path.is_symlink():
        return ""
    with path.open("rb") as content:
        return content.read(512).decode("ascii", "replace").strip()


def _thread(moment: Moment, tid: int, where: Shown, has_block: bool) -> Shown:
    """A thread, with the mapping that its stack pointer lies in where it has no block of glibc's."""
    sp = where.get("sp", 0)
    shown: Shown = {"tid": tid, "main": tid == moment.pid, "file": where.get("file", "")}
    shown |= {"sp": f"{sp:#x}", "ip": f"{where['ip']:#x}"} if sp else {}
    found = _area(moment, sp) if sp and not has_block else None
    if found is not None and found.closed:  # it ran into its guard
        above = _area(moment, found.end)
        shown["in_guard"] = True
        found = above if above is not None and not above.closed else None
    if found is not None:
        guard = _area(moment, found.start - 1)
        shown["mapping"] = {
            "start": f"{found.start:#x}", "end": f"{found.end:#x}", "size": found.end - found.start,
            "perms": found.perms, "name": found.name, "below": found.end - sp, "touched": found.rss,
            "guard": guard.end - guard.start if guard and guard.end == found.start and guard.closed else 0,
            "regions": "gu" in found.flags, "key": found.key,
        }  # fmt: skip
    return shown


@dataclass(frozen=True)
class _Area:
    """A mapping, by /proc, else by the kernel's own objects; ``rss`` in bytes, None where it is not known."""

    start: int
    end: int
    perms: str
    name: str
    flags: tuple[str, ...] = ()
    rss: int | None = None

    @property
    def closed(self) -> bool:
        return self.perms.startswith("---")

    @property
    def key(self) -> str:
        return f"vma:{self.start:#x}-{self.end:#x}"

    def __str__(self) -> str:
        return f"{self.start:#x}-{self.end:#x} {self.perms}"


def _area(moment: Moment, address: int) -> _Area | None:
    """The mapping that an address lies in."""
    if moment.mappings is not None:
        vma = moment.mapping_at(address)
        if vma is None:
            return None
        return _Area(vma.start, vma.end, vma.perms, vma.name[:120], vma.flags, dict(vma.fields).get("Rss"))
    kernel = _kernel(moment)
    item = kernel.vma_at(address) if kernel is not None else None
    if item is None:
        return None
    fields = item.fields
    return _Area(fields["start"], fields["end"], vmas.perms(fields["flags"]), str(fields["name"])[:120])


# -- blocks ----------------------------------------------------------------------------------------


def _blocks(moment: Moment) -> tuple[list[_Block], str]:
    """glibc's blocks, by address, and why there are none. The main thread's stack is none: the kernel made it."""
    if moment.heap is None:
        why = moment.run.record.left_out.get("heap", "") or "the lab did not look at glibc's own lists here"
        if moment.pid in moment.run.pids(moment.checkpoint, "heap"):
            why = "; ".join(moment.troubles)[:400]
        return [], f"{why}: stacks are the mappings that the stack pointers lie in"
    found: dict[int, _Block] = {}
    for one in _all(moment.heap[1]):
        if 0 < one.start < 1 << 57 and 0 < one.size < 1 << 47:
            found.setdefault(one.start, one)
    return sorted(found.values(), key=lambda block: -block.start), ""


def _all(heap: HeapEvidence) -> Iterator[_Block]:
    for thread in heap.threads:
        yield _made(thread.numbers, thread.pthread, thread.tid, None, thread.line, thread.broken)
    for place, stack in enumerate(heap.stacks):
        yield _made(stack.numbers, stack.pthread, None, place, stack.line, stack.broken)


def _made(numbers: Mapping[str, int], pthread: int, tid: int | None, cached: int | None, line: int,
          flaw: str | None) -> _Block:
    start, size, guard = (numbers.get(name, 0) for name in ("stackblock", "stackblock_size", "guardsize"))
    return _Block(start, size, guard, pthread, tid, cached, line, (flaw or "")[:200])


def _block(moment: Moment, block: _Block, pointers: Mapping[int, Shown]) -> Shown:
    where = pointers.get(block.tid, {}) if block.tid is not None else {}
    sp = where.get("sp", 0)
    inside = block.start <= sp < block.end
    mapping = _area(moment, block.start + block.guard)
    shown: Shown = {
        "start": f"{block.start:#x}", "end": f"{block.end:#x}", "size": block.size, "pthread": f"{block.pthread:#x}",
        "top": block.end - block.pthread, "tid": block.tid, "cached": block.cached, "line": block.line,
        "guard": _guard(moment, block), "touched": _touched(moment, block), "flaw": block.flaw,
        "mapping": str(mapping or ""), "key": mapping.key if mapping else "",
    }  # fmt: skip
    if sp:
        shown |= {"sp": f"{sp:#x}", "file": where["file"], "elsewhere": not inside}
        shown |= {"depth": block.pthread - sp} if inside and sp <= block.pthread else {}
    return shown


def _guard(moment: Moment, block: _Block) -> Shown:
    """What lies in the first bytes of the block, which struct pthread calls its guard."""
    shown: Shown = {"size": block.guard, "start": f"{block.start:#x}", "how": "", "says": ""}
    if not block.guard:
        return {**shown, "how": "none", "says": "struct pthread has no guard"}
    area = _area(moment, block.start)
    if area is None:
        return {**shown, "how": "unknown", "says": "no mapping is known there"}
    if area.closed and area.end >= block.start + block.guard:
        return {**shown, "how": "mapping", "says": f"mapping {area}"}
    if "guard" in _marker(moment, block.start):
        return {**shown, "how": "region", "says": f"guard markers (MADV_GUARD_INSTALL) in the page tables of {area}"}
    if "gu" in area.flags:
        return {**shown, "how": "region", "says": f"{area} may have guard regions (VmFlags gu); the page tables "
                "do not say which"}  # fmt: skip
    return {**shown, "how": "open", "says": f"{area}: nothing guards it"}


def _marker(moment: Moment, address: int) -> list[str]:
    """What the page-table entry of a page that is not present marks."""
    kernel = _kernel(moment)
    if kernel is None:
        return []
    last = kernel.walk(address).steps[-1]
    return bits.marker(last.value) if last.level == "pte" and last.value and not last.value & PRESENT else []


def _touched(moment: Moment, block: _Block) -> Shown | None:
    """The pages that the tables map: [first, count] in pages from the block's start; None where it is not known."""
    kernel = _kernel(moment)
    if kernel is None or not (tables := kernel.tables):
        return None
    pages: set[int] = set()
    covers = PAGE * ENTRIES
    for base in range(block.start // covers * covers, min(block.end, block.start + MAX_PAGES * PAGE), covers):
        found = tables.get(("pte", base))
        pages |= {base + index * PAGE for index, value in found.entries.items() if value & PRESENT} if found else set()
    inside = sorted((page - block.start) // PAGE for page in pages if block.start <= page < block.end)
    runs: list[list[int]] = []
    for page in inside:
        if runs and runs[-1][0] + runs[-1][1] == page:
            runs[-1][1] += 1
        elif len(runs) < MAX_RUNS:
            runs.append([page, 1])
    return {"pages": len(inside), "runs": runs}


def _cache_size(blocks: list[_Block]) -> int:
    """Bytes of the stacks that glibc keeps for later threads."""
    return sum(block.size for block in blocks if block.cached is not None)


# -- over time -------------------------------------------------------------------------------------


def _histories(places: list[Shown]) -> list[Shown]:
    """Each block of each process with what became of it: [place, thread or None, number in the cache or None]."""
    found: dict[tuple[int, str], Shown] = {}
    for at, place in enumerate(places):
        for block in place["blocks"]:
            history = found.setdefault((place["pid"], block["start"]), {
                "pid": place["pid"], "start": block["start"], "size": block["size"], "was": [],
            })  # fmt: skip
            history["was"].append([at, block["tid"], block["cached"]])
    return sorted(found.values(), key=lambda one: (one["pid"], -int(one["start"], 16)))[: MAX_STACKS]
