"""Heap evidence made up chunk by chunk, and runs that have it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from inspect_samples import ARENA, HEAP, PTHREAD, write
from synthetic_run import LIBC, PID, Builder

Record = dict[str, Any]
AT_ONCE = 1000  # chunks of a line


def format_line(**values: Any) -> Record:
    return {"is": "format", "name": "ptmalloc", "version": 1, "pid": PID, "glibc": "2.36", "libc": LIBC,
            "base": 0x7F2713C4E000, "build_id": "cd" * 20, "safe_linking": True, **values}  # fmt: skip


def addresses(chunks: Sequence[tuple[int, str]], first: int = HEAP) -> list[int]:
    """Where each of these chunks (size, state) begins."""
    return list(accumulate((size for size, _ in chunks[:-1]), initial=first))


def walk(chunks: Sequence[tuple[int, str]], first: int = HEAP, arena: int = ARENA, **values: Any) -> list[Record]:
    """A heap of chunks (size, state); the size words have PREV_INUSE."""
    words = [size | 1 for size, _ in chunks]
    states = "".join(state for _, state in chunks)
    end = first + sum(size for size, _ in chunks)
    begins = addresses(chunks, first) if chunks else []
    head = {"is": "heap", "arena": arena, "info": 0, "start": first, "end": end, "reserved_end": end, "first": first,
            "chunks": len(chunks), "guessed": False, "tail": "top", "broken": None, **values}  # fmt: skip
    return [head, *({"is": "chunks", "first": begins[low], "sizes": words[low : low + AT_ONCE],
                     "states": states[low : low + AT_ONCE]} for low in range(0, len(chunks), AT_ONCE))]  # fmt: skip


def main_arena(**values: Any) -> Record:
    return {"is": "arena", "address": ARENA, "index": 0, "main": True, "top": 0, "next": ARENA, "system_mem": 0x21000,
            "max_system_mem": 0x21000, "binmap": [0, 0, 0, 0], "broken": None, **values}  # fmt: skip


def thread_arena(address: int, index: int, **values: Any) -> Record:
    return main_arena(address=address, index=index, main=False, **values)


def tcache(index: int, chunks: Sequence[int], tid: int = PID, **values: Any) -> list[Record]:
    size = 32 + 16 * index
    head = {"is": "tcache", "tid": tid, "address": HEAP + 0x10, "index": index, "size": size, "largest": size,
            "count": len(chunks), "length": len(chunks), "broken": None, **values}  # fmt: skip
    return [{**head, "from": low, "chunks": list(chunks[low : low + 700])}
            for low in range(0, max(len(chunks), 1), 700)]  # fmt: skip


def bin_of(kind: str, index: int, chunks: Sequence[int], arena: int = ARENA, **values: Any) -> Record:
    return {"is": "bin", "arena": arena, "kind": kind, "index": index, "from": 0, "chunks": list(chunks),
            "length": len(chunks), "broken": None, **values}  # fmt: skip


def mapped(chunk: int, size: int) -> Record:
    return {"is": "mmapped", "chunk": chunk, "prev_size": 0, "size": size | 2, "start": chunk, "end": chunk + size}


def thread(tid: int = PID, **values: Any) -> Record:
    return {"is": "thread", "tid": tid, "pthread": PTHREAD, "pthread_tid": tid, "arena": ARENA, "tcache": HEAP + 0x10,
            "tcache_state": "live", "stackblock": 0, "cached": False, "broken": None, **values}  # fmt: skip


def check(what: str, ok: bool = True, **values: Any) -> Record:
    return {"is": "check", "what": what, "ok": ok, "detail": "", "glibc": "", "arena": 0, "at": 0, **values}


def run_of(path: Path, *moments: Sequence[Record]) -> Builder:
    """A run whose checkpoints "one", "two", … have these heaps; an empty one is no evidence."""
    run = Builder(path)
    for name, records in zip(("one", "two", "three", "four"), moments, strict=False):
        run.at(name)
        if records:
            write(run, name, "heap", list(records))
    run.directory.save(run.record)
    return run


BEFORE = [(656, "u"), (48, "u"), (48, "t"), (64, "u"), (96, "u"), (128, "n"), (4096, "T")]
AFTER = [(656, "u"), (48, "t"), (48, "u"), (160, "s"), (32, "u"), (96, "n"), (96, "u"), (4000, "T")]


def two_moments() -> tuple[list[Record], list[Record]]:
    """A heap twice. Meanwhile a chunk came into the cache, another out of it, two merged, one was split, and one was
    taken from the top."""
    before, after = addresses(BEFORE), addresses(AFTER)
    first = [format_line(), main_arena(top=before[6]), *walk(BEFORE), bin_of("unsorted", 1, [before[5]]),
             *tcache(1, [before[2]]), thread(), check("sizes")]  # fmt: skip
    second = [format_line(), main_arena(top=after[7]), *walk(AFTER), bin_of("unsorted", 1, [after[5]]),
              bin_of("small", 10, [after[3]]), *tcache(1, [after[1]]), mapped(0x7F0000000000, 0x21000), thread(),
              check("sizes")]  # fmt: skip
    return first, second
