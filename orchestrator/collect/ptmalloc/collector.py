"""One process's heap and threads, from its memory to evidence lines."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.collect.ptmalloc import lists, records, rules
from orchestrator.collect.ptmalloc.arenas import fill_arena, find_arenas
from orchestrator.collect.ptmalloc.layout import ChunkWords, Layout
from orchestrator.collect.ptmalloc.mapped import find_mapped
from orchestrator.collect.ptmalloc.memory import Memory, OutOfBudget, Reader, Unreadable
from orchestrator.collect.ptmalloc.model import Check, Flaw
from orchestrator.collect.ptmalloc.process import Broken, Libc, Process, find_library, open_libc
from orchestrator.collect.ptmalloc.process_checks import check_all
from orchestrator.collect.ptmalloc.snapshot import Snapshot
from orchestrator.collect.ptmalloc.spans import Spans
from orchestrator.collect.ptmalloc.states import Placement, place_chunks
from orchestrator.collect.ptmalloc.threads import read_kept, read_stacks, read_thread

VARIABLES = ("narenas", "free_list", "global_max_fast", "tcache_key", "__nptl_nthreads")
SECONDS = 60.0


def collect(process: Process, layout: Layout, reader: Reader, seconds: float = SECONDS) -> Iterator[str]:
    """The lines of ``heap/PID.jsonl``, without their ends. Whatever the memory holds: what could be read is there,
    and what could not is said in "broken" lines. Only what ``reader`` raises beside OSError passes through."""
    found, checks = Snapshot(), list[Check]()
    memory = Memory(reader, process.mappings, seconds)
    library = find_library(process.mappings, "libc")
    try:
        libc = open_libc(process, layout, memory)
        found.trouble = libc.trouble
        placement = _fill(found, process, libc)
        checks = list(check_all(libc, found, placement))
    except Broken as error:
        found.trouble.append(error)
    except (Unreadable, OutOfBudget) as error:
        found.trouble.append(Broken("heap", str(error)))
    except LookupError as error:
        found.trouble.append(Broken("layout", f"this glibc is not one that is known: {error}"))
    header = {
        "pid": process.pid, "glibc": layout.version, "libc": library.file if library else "",
        "base": library.base if library else 0, "build_id": layout.build_id,
        "safe_linking": lists.links(layout) is rules.reveal,
    }  # fmt: skip
    yield from records.lines(header, found, checks)


def _fill(found: Snapshot, process: Process, libc: Libc) -> Placement:
    """All parts, each as far as it goes."""
    words = ChunkWords.of(libc.layout)
    found.parameters = libc.numbers(libc.layout.struct("malloc_par"), libc.address("mp_"))
    library = {"__nptl_nthreads": "libpthread"} if "libpthread" in libc.libraries else {}
    values = {name: libc.variable(name, library.get(name, "libc")) for name in VARIABLES}
    found.variables = {name: value for name, value in values.items() if value is not None}
    found.threads = [read_thread(libc, thread, words) for thread in process.threads]
    found.arenas, found.ring = find_arenas(libc)
    walked = Spans()
    for arena in found.arenas:
        try:
            fill_arena(libc, arena, words, walked)
        except Unreadable as error:
            arena.flaw = arena.flaw or Flaw(error.address, str(error))
    placement = place_chunks(found)
    found.stacks, found.kept_bytes = read_stacks(libc)
    found.kept = [read_kept(libc, address) for stacks in found.stacks if stacks.name == "cache"
                  for address in stacks.threads]  # fmt: skip
    parameters = found.parameters
    try:
        found.mapped.extend(find_mapped(libc.memory, parameters["n_mmaps"], parameters["mmapped_mem"], _taken(found),
                                        words))  # fmt: skip
    except OutOfBudget as error:  # it looks through all memory that may have one: the heap itself is known by now
        found.trouble.append(Broken("mmapped", f"only {len(found.mapped)} mapped chunks were found: {error}"))
    return placement


def _taken(found: Snapshot) -> list[tuple[int, int]]:
    """Memory that is no mapped chunk: heaps and stacks."""
    taken = [(walk.start, walk.reserved_end) for walk in found.walks()]
    for thread in [*found.threads, *found.kept]:
        block, size = thread.numbers.get("stackblock", 0), thread.numbers.get("stackblock_size", 0)
        if block and 0 < size < 1 << 40:
            taken.append((block, block + size))
    return taken
