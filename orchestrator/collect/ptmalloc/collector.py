"""One process's heap and threads, from its memory to evidence lines."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import PurePath
from typing import TypeVar

from orchestrator.collect.ptmalloc import lists, records, rules
from orchestrator.collect.ptmalloc.arenas import fill_arena, find_arenas
from orchestrator.collect.ptmalloc.layout import ChunkWords, Layout, NotInLayout
from orchestrator.collect.ptmalloc.mapped import find_mapped
from orchestrator.collect.ptmalloc.memory import Memory, OutOfBudget, Reader, Unreadable
from orchestrator.collect.ptmalloc.model import Check, Flaw
from orchestrator.collect.ptmalloc.process import Broken, Libc, Process, find_library, open_libc
from orchestrator.collect.ptmalloc.process_checks import check_all
from orchestrator.collect.ptmalloc.snapshot import Snapshot
from orchestrator.collect.ptmalloc.spans import Spans
from orchestrator.collect.ptmalloc.states import Placement, place_chunks
from orchestrator.collect.ptmalloc.threads import Posix, read_kept, read_stacks, read_thread

VARIABLES = ("narenas", "free_list", "global_max_fast", "tcache_key", "__nptl_nthreads")
SECONDS = 60.0
MAX_WHY = 400  # characters of an error that nobody expected
T = TypeVar("T")


def collect(process: Process, layout: Layout, reader: Reader, seconds: float = SECONDS) -> Iterator[str]:
    """The lines of ``heap/PID.jsonl``, without their ends. Whatever the memory holds: what could be read is there,
    and what could not is said in "broken" lines. No Exception leaves it."""
    found, checks = Snapshot(), list[Check]()
    library = find_library(process.mappings, "libc")
    try:
        libc = open_libc(process, layout, Memory(reader, process.mappings, seconds))
        found.trouble = libc.trouble
        placement = _fill(found, process, libc)
        if not any(found.is_broken(part) for part in ("threads", "arenas", "lists")):  # else they would accuse the heap
            _attempt(found, "checks", lambda: checks.extend(check_all(libc, found, placement)), None)
    except Broken as error:
        found.trouble.append(error)
    except (Unreadable, OutOfBudget) as error:
        found.trouble.append(Broken("heap", str(error)))
    except NotInLayout as error:
        found.trouble.append(Broken("layout", f"this glibc is not one that is known: {error}"))
    except Exception as error:
        found.trouble.append(Broken("heap", unexpected(error)))
    header = {
        "pid": process.pid, "glibc": layout.version, "libc": library.file if library else "",
        "base": library.base if library else 0, "build_id": layout.build_id,
        "safe_linking": lists.links(layout) is rules.reveal,
    }  # fmt: skip
    yield from records.lines(header, found, checks)


def _attempt(found: Snapshot, part: str, make: Callable[[], T], otherwise: T) -> T:
    """What ``make`` gives. An error that no memory should bring about is that part's trouble alone."""
    try:
        return make()
    except (Broken, Unreadable, OutOfBudget, NotInLayout):
        raise
    except Exception as error:
        found.trouble.append(Broken(part, unexpected(error)))
        return otherwise


def unexpected(error: Exception) -> str:
    """What to report of a flaw in the lab itself: the error, and where it came up."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({PurePath(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return f"unexpected {type(error).__name__}{place}: {error}"[:MAX_WHY]


def _fill(found: Snapshot, process: Process, libc: Libc) -> Placement:
    """All parts, each as far as it goes."""
    words = ChunkWords.of(libc.layout)
    found.parameters = libc.numbers(libc.layout.struct("malloc_par"), libc.address("mp_"))
    library = {"__nptl_nthreads": "libpthread"} if "libpthread" in libc.libraries else {}
    values = {name: libc.variable(name, library.get(name, "libc")) for name in VARIABLES}
    found.variables = {name: value for name, value in values.items() if value is not None}
    found.threads = [
        _attempt(found, "threads", partial(read_thread, libc, thread, words),
                 Posix(thread.fsbase, thread.tid, {}, flaw="it could not be read"))
        for thread in process.threads
    ]  # fmt: skip
    _attempt(found, "arenas", lambda: _find_arenas(found, libc), None)
    walked = Spans()
    for arena in found.arenas:
        try:
            _attempt(found, "arenas", partial(fill_arena, libc, arena, words, walked), None)
        except Unreadable as error:
            arena.flaw = arena.flaw or Flaw(error.address, str(error))
    placement = _attempt(found, "lists", lambda: place_chunks(found), Placement())
    _attempt(found, "stacks", lambda: _fill_stacks(found, libc), None)
    _attempt(found, "mmapped", lambda: _fill_mapped(found, libc, words), None)
    return placement


def _find_arenas(found: Snapshot, libc: Libc) -> None:
    found.arenas, found.ring = find_arenas(libc)


def _fill_stacks(found: Snapshot, libc: Libc) -> None:
    found.stacks, found.kept_bytes = read_stacks(libc)
    found.kept = [read_kept(libc, address) for stacks in found.stacks if stacks.name == "cache"
                  for address in stacks.threads]  # fmt: skip


def _fill_mapped(found: Snapshot, libc: Libc, words: ChunkWords) -> None:
    """The search goes through all memory that may have a mapped chunk: the heap itself is known by then."""
    count, total = found.parameters["n_mmaps"], found.parameters["mmapped_mem"]
    try:
        found.mapped.extend(find_mapped(libc.memory, count, total, _taken(found), words))
    except OutOfBudget as error:
        found.trouble.append(Broken("mmapped", f"{len(found.mapped)} of {count} mapped chunks were found: {error}"))


def _taken(found: Snapshot) -> list[tuple[int, int]]:
    """Memory that is no mapped chunk: heaps and stacks."""
    taken = [(walk.start, walk.reserved_end) for walk in found.walks()]
    for thread in [*found.threads, *found.kept]:
        block, size = thread.numbers.get("stackblock", 0), thread.numbers.get("stackblock_size", 0)
        if block and 0 < size < 1 << 40:
            taken.append((block, block + size))
    return taken
