"""The evidence as JSON lines: what was found, one object a line, none longer than evidence may be.

| "is" | what |
|---|---|
| format | first: pid, glibc, libc (its file), base, build_id, safe_linking (are links protected) |
| mp, variables | struct malloc_par by its own names; narenas, free_list, tcache_key … where this glibc has them |
| arena | the numbers of a malloc_state by their own names, its binmap; `mutex` ≠ 0: stopped within malloc |
| heap_info | of a thread's arena: address, ar_ptr, prev, size, mprotect_size; oldest first |
| heap | one walk: [start, end), reserved_end, `first` chunk, how many `chunks`; `tail` is what it ended at (top, fence, "" = broken); `guessed`: nothing but the walk itself says that a chunk begins at `first` |
| chunks | of the heap before: from `first` on, size words with their flags, a letter each (heap_values.STATES) |
| bin, tcache | lists that hold something, in order; `from`: the place of this line's first chunk, `length` of all |
| back | of the broken bin before: chunks that only its other end leads to |
| mmapped | chunks with a mapping of their own, which is [start, end) |
| thread, stack | struct pthread of each thread; of the stacks that glibc keeps |
| check | an invariant: what, ok, detail, glibc's own check, arena (index), `at`: the first bad address |
| broken | what could not be read at all, and why |
| end | last: how many lines there are |

`broken` in other lines is {at, why} or null: the first bad address, from which on it can't be followed.
"""  # noqa: E501

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from orchestrator.collect.ptmalloc import rules
from orchestrator.collect.ptmalloc.model import Arena, Cache, Chain, Check, Flaw, Walk
from orchestrator.collect.ptmalloc.snapshot import Snapshot
from orchestrator.collect.ptmalloc.threads import Posix

VERSION = 1
MAX_LINE = 19_000  # characters, of the 20,000 that evidence may have (collect/lines.py)
AT_ONCE = 700  # numbers of up to 20 digits that surely fit, with the rest of the line

Line = dict[str, Any]


def lines(header: Line, found: Snapshot, checks: Iterable[Check]) -> Iterator[str]:
    """All lines of the file, without their ends."""
    count = 0
    try:
        for line in _all(header, found, checks):
            written = json.dumps(line, separators=(",", ":"))
            count += 1
            yield written
    except Exception as error:  # what was left half is refused by who reads it
        count += 1
        yield json.dumps({"is": "broken", "what": "heap", "why": f"it can't be written: {error}"[:400]})
    yield json.dumps({"is": "end", "lines": count + 1}, separators=(",", ":"))


def _all(header: Line, found: Snapshot, checks: Iterable[Check]) -> Iterator[Line]:
    yield {"is": "format", "name": "ptmalloc", "version": VERSION, **header}
    if found.parameters:
        yield {"is": "mp", **found.parameters}
    if found.variables:
        yield {"is": "variables", **found.variables}
    for arena in found.arenas:
        yield from _arena(arena)
    for cache in found.caches:
        yield from _cache(cache)
    for chunk in found.mapped:
        yield {"is": "mmapped", **asdict(chunk)}
    for thread in found.threads:
        yield _thread(thread)
    for kept in found.kept:
        yield {"is": "stack", "pthread": kept.address, **kept.numbers, "broken": kept.flaw or None}
    for check in checks:
        yield {"is": "check", **asdict(check)}
    for trouble in found.trouble:
        yield {"is": "broken", "what": trouble.what, "why": trouble.why}


def _arena(arena: Arena) -> Iterator[Line]:
    yield {"is": "arena", "address": arena.address, "index": arena.index, "main": arena.is_main, **arena.numbers,
           "binmap": list(arena.binmap), "broken": _flaw(arena.flaw)}  # fmt: skip
    for heap in arena.heaps:
        yield {"is": "heap_info", "arena": arena.address, "address": heap.info, "ar_ptr": heap.arena,
               "prev": heap.prev, "size": heap.size, "mprotect_size": heap.mprotect_size}  # fmt: skip
    for walk in arena.walks:
        yield from _walk(walk)
    for chain in arena.chains:
        head = {"is": "bin", "arena": arena.address, "kind": chain.kind, "index": chain.index}
        yield from _chain(head, chain)


def _walk(walk: Walk) -> Iterator[Line]:
    yield {"is": "heap", "arena": walk.arena, "info": walk.info, "start": walk.start, "end": walk.end,
           "reserved_end": walk.reserved_end, "first": walk.first, "chunks": len(walk.sizes), "guessed": walk.guessed,
           "tail": walk.tail, "broken": _flaw(walk.flaw)}  # fmt: skip
    step = _step(walk.sizes)
    for low in range(0, len(walk.sizes), step):
        yield {"is": "chunks", "first": walk.addresses[low], "sizes": walk.sizes[low : low + step].tolist(),
               "states": walk.states[low : low + step].decode()}  # fmt: skip


def _step(sizes: Sequence[int]) -> int:
    """How many chunks fit into a line: each takes its size, a comma and a letter."""
    return max((MAX_LINE - 200) // (len(str(max(sizes, default=0))) + 2), 1)


def _chain(head: Line, chain: Chain) -> Iterator[Line]:
    """A list, in as many lines as it needs; ``from`` is the place of a line's first chunk in the list."""
    first = True
    for low in range(0, max(len(chain.chunks), 1), AT_ONCE):
        line: Line = {**head, "from": low, "chunks": chain.chunks[low : low + AT_ONCE]}
        if first:
            line |= {"length": len(chain.chunks), "broken": _flaw(chain.flaw)}
        yield line
        first = False
    for low in range(0, len(chain.back), AT_ONCE):
        yield {**head, "is": "back", "from": low, "chunks": chain.back[low : low + AT_ONCE]}


def _cache(cache: Cache) -> Iterator[Line]:
    for chain in cache.chains:
        low, high = rules.tcache_sizes(chain.index)
        head = {"is": "tcache", "tid": cache.tid, "address": cache.address, "index": chain.index, "size": low,
                "largest": high, "count": chain.count}  # fmt: skip
        yield from _chain(head, chain)


def _thread(thread: Posix) -> Line:
    cache = thread.cache
    numbers = {("pthread_tid" if name == "tid" else name): value for name, value in thread.numbers.items()}
    return {"is": "thread", "tid": thread.tid, "pthread": thread.address, **numbers, "arena": thread.arena,
            "tcache": cache.address if cache else 0, "tcache_state": cache.state if cache else "none",
            "cached": False, "broken": thread.flaw or None}  # fmt: skip


def _flaw(flaw: Flaw | None) -> Line | None:
    return None if flaw is None else {"at": flaw.at, "why": flaw.why}
