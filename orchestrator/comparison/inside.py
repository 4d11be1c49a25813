"""What the lab saw inside a process at a checkpoint, made comparable: the kernel's objects, glibc's heap, threads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from orchestrator.collect.heap_values import STATES, Arena, HeapEvidence, Stack, Thread
from orchestrator.collect.lines import Document
from orchestrator.comparison.model import Seen, Topic
from orchestrator.comparison.places import exact
from orchestrator.errors import LabError
from orchestrator.inspection.moment import Moment
from orchestrator.model import Evidence

_COUNTS = {"map_count": True, "locked_vm": True, "rss_anon": False, "rss_file": False, "rss_shmem": False,
           "rss_swap": True}  # fmt: skip
# struct malloc_par: addresses are left out; the rest is limits and counts
_ADDRESSES = frozenset({"sbrk_base"})
_COMMON = ("used", "top")  # words that are in many checks of single chunks, which do not speak of the sum


def seen(moment: Moment, broken: list[str]) -> Iterator[Seen]:
    """All of it; what can't be read is told in ``broken``."""
    if moment.checkpoint in moment.run.inspected and moment.pid in moment.run.pids(moment.checkpoint, "kernel"):
        try:
            yield from list(_kernel(moment))
        except LabError as error:
            broken.append(error.message)
    if moment.heap is not None:
        yield from _heap(moment.at, *moment.heap)


def _kernel(moment: Moment) -> Iterator[Seen]:
    found, at = moment.kernel, moment.at
    if found.mm is not None:
        for name, steady in _COUNTS.items():
            value = found.mm.fields[name]
            yield Seen(Topic.KERNEL, f"mm.{name}", at, str(value), steady,
                       moment.line(found.mm), word=name)  # fmt: skip
    counts, whole = found.counts(), moment.document.at(0)
    for kind, pages in sorted(counts.items()):
        yield Seen(Topic.KERNEL, f"pages mapped: {kind}", at, _of(pages, "page"), False, whole)
    # How many tables there are is decided by where mappings were placed, and two repeats may agree by chance.
    yield Seen(Topic.KERNEL, "levels of page tables", at, " > ".join(found.levels), True, whole)


def _heap(at: str, document: Document, found: HeapEvidence) -> Iterator[Seen]:
    # with several threads it is the scheduler that decides who takes what
    steady = len(found.threads) < 2 and len(found.arenas) < 2
    yield from _parameters(at, document, found, steady)
    yield Seen(Topic.HEAP, "arenas", at, str(len(found.arenas)), True, _line(document, found.arenas))
    yield from _sums(at, document, found, steady)
    yield from _lists(at, document, found, steady)
    yield from _threads(at, document, found)
    flaws = sorted({check.what for check in found.failed()} | {one.what for one in found.broken})
    if found.checks:
        yield Seen(Topic.HEAP, "invariants that do not hold", at, ", ".join(flaws) or "none", True, document.at(0))


def _line(document: Document, items: Sequence[Arena | Thread | Stack]) -> Evidence | None:
    return document.at(items[0].line) if items else None


def _parameters(at: str, document: Document, found: HeapEvidence, steady: bool) -> Iterator[Seen]:
    line = document.at(found.lines.get("mp", 0))
    for name, value in found.parameters.items():
        if name not in _ADDRESSES:
            yield Seen(Topic.HEAP, f"mp_.{name}", at, str(value), steady or not name.endswith(("mmaps", "mem")), line,
                       word=name)  # fmt: skip


def _sums(at: str, document: Document, found: HeapEvidence, steady: bool) -> Iterator[Seen]:
    counts: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    for (letter, length), count in found.sums().items():
        counts[STATES[letter].name] += count
        sizes[STATES[letter].name] += length * count
    for state, count in counts.items():
        yield Seen(Topic.HEAP, f"chunks: {state}", at, f"{_of(count, 'chunk')}, {exact(sizes[state])}", steady,
                   document.at(0), word=f"{state}_bytes" if state in _COMMON else state)  # fmt: skip
    total = sum(arena.numbers.get("system_mem", 0) for arena in found.arenas)
    yield Seen(Topic.HEAP, "system_mem of all arenas", at, exact(total), steady, _line(document, found.arenas),
               word="system_mem")  # fmt: skip


def _lists(at: str, document: Document, found: HeapEvidence, steady: bool) -> Iterator[Seen]:
    """Which list has how many chunks: of all arenas, and of all threads' caches."""
    lists: dict[str, tuple[Counter[int], int]] = {}
    for arena in found.arenas:
        for one in arena.bins:
            lists.setdefault(one.kind, (Counter(), one.line))[0][one.index] += len(one.chunks)
    for cache in found.tcaches:
        lists.setdefault("tcache", (Counter(), cache.line))[0][cache.index] += len(cache.chunks)
    for kind, (lengths, line) in lists.items():
        shown = [f"[{index}] {count}" for index, count in sorted(lengths.items())]
        more = f" and {len(shown) - 12} more" if len(shown) > 12 else ""
        yield Seen(Topic.HEAP, f"lists: {kind}", at, ", ".join(shown[:12]) + more, steady, document.at(line), word=kind)


def _threads(at: str, document: Document, found: HeapEvidence) -> Iterator[Seen]:
    """Stacks of threads, and those that are kept for later ones: size of the block, of the guard."""
    made = [thread for thread in found.threads[1:] if not thread.numbers.get("user_stack")]
    blocks: tuple[tuple[str, Sequence[Thread | Stack]], ...] = (
        ("stacks of threads", made), ("stacks kept for later", found.stacks))
    for what, ones in blocks:
        kinds = Counter(f"{exact(one.numbers.get('stackblock_size', 0))} with a guard of "
                        f"{exact(one.numbers.get('guardsize', 0))}" for one in ones)  # fmt: skip
        shown = ", ".join(f"{count} × {kind}" if count > 1 else kind for kind, count in sorted(kinds.items()))
        yield Seen(Topic.THREAD, what, at, shown or "none", True, _line(document, ones))
    states = Counter(thread.tcache_state for thread in found.threads)
    shown = ", ".join(f"{count} × {state}" for state, count in sorted(states.items()))
    yield Seen(Topic.THREAD, "caches of threads", at, shown, True, _line(document, found.threads))


def _of(count: int, one: str) -> str:
    return f"{count} {one}{'' if count == 1 else 's'}"
