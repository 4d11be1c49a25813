"""A run whose second thread ends, and whose block a third one gets: glibc's lists, page tables, stack pointers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from inspect_samples import PID, RW, checkpoint, heap, kernel, write
from synthetic_run import Builder

BLOCK = 0x7F2710000000
SIZE = 0x21000


def thread(tid: int) -> dict[str, Any]:
    return {"is": "thread", "tid": tid, "pthread": BLOCK + SIZE - 0x940, "pthread_tid": tid, "stackblock": BLOCK,
            "stackblock_size": SIZE, "guardsize": 4096, "arena": 0, "tcache": 0, "tcache_state": "none",
            "cached": False, "broken": None}  # fmt: skip


def kept() -> dict[str, Any]:
    return {"is": "stack", "pthread": BLOCK + SIZE - 0x940, "tid": 0, "stackblock": BLOCK, "stackblock_size": SIZE,
            "guardsize": 4096, "broken": None}  # fmt: skip


def threaded(path: Path, guard: str = "---p", entry: tuple[int, int, str] | None = None) -> Builder:
    """A thread, its stack in the cache, another thread in the same block."""
    run = Builder(path)
    for name, record in (("first", thread(301)), ("joined", kept()), ("second", thread(302))):
        checkpoint(run, name, "", 4)
        pages = {BLOCK + SIZE - 0x1000: (0x77, RW, "a")}
        if entry is not None:
            pages[BLOCK] = entry
        write(run, name, "kernel", kernel(pages, []))
        write(run, name, "heap", [*heap("uuuuT", []), record])
        folder = run.record.checkpoints[-1].directory
        maps = f"{BLOCK:x}-{BLOCK + 0x1000:x} {guard} 00000000 00:00 0 \n" \
               f"{BLOCK + 0x1000:x}-{BLOCK + SIZE:x} rw-p 00000000 00:00 0 \n"
        run.directory.write(f"{folder}/proc/{PID}/maps", maps.encode())
        run.directory.file(f"{folder}/proc/{PID}/smaps").unlink()
        run.directory.write(f"{folder}/proc/{PID}/task/{PID}/syscall", b"running\n")
        if record["is"] == "thread":
            line = f"202 0x1 0x2 0x0 0x0 0x0 0xffffffff {BLOCK + SIZE - 0x1240:#x} 0x7f27130000aa\n"
            run.directory.write(f"{folder}/proc/{PID}/task/{record['tid']}/syscall", line.encode())
    return run
