"""Chunks with a mapping of their own (IS_MMAPPED). No list of glibc's has them: they are looked for at the
places where malloc puts them, until as many are found as mp_ counts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from orchestrator.collect.ptmalloc import rules
from orchestrator.collect.ptmalloc.layout import ChunkWords
from orchestrator.collect.ptmalloc.memory import OF_MAPPED, PAGE, WORD, Block, Mapping, Memory, Unreadable
from orchestrator.collect.ptmalloc.model import Mapped
from orchestrator.collect.ptmalloc.spans import Spans


def find_mapped(memory: Memory, count: int, total: int, taken: Iterable[tuple[int, int]],
                words: ChunkWords) -> Iterator[Mapped]:
    """``count`` and ``total`` (bytes) are what mp_ says; ``taken`` are stretches that are something else. It ends
    when both are reached, ``total`` but for what 2.43 counts too much (see process_checks)."""
    if count <= 0:
        return
    occupied, left, have = Spans(taken), total, 0
    for mapping in memory.mappings:
        if not mapping.is_private_data:
            continue
        for start, end in _free_parts(memory, mapping, occupied):
            for chunk in _scan(memory, start, end, words):
                memory.charge(OF_MAPPED)
                yield chunk
                have, left = have + 1, left - (chunk.end - chunk.start)
                if have >= count and left < PAGE:
                    return


def _free_parts(memory: Memory, mapping: Mapping, occupied: Spans) -> Iterator[tuple[int, int]]:
    """The parts of a mapping that are not occupied."""
    low = mapping.start
    memory.check_time()
    for start, end in occupied.within(mapping.start, mapping.end):
        memory.check_time()
        if start > low:
            yield low, start
        low = max(low, end + PAGE - 1 & -PAGE)
    if low < mapping.end:
        yield low, mapping.end


def _scan(memory: Memory, start: int, end: int, words: ChunkWords) -> Iterator[Mapped]:
    """Page by page; what a chunk has is passed over, and pages that are not there: the first one of a mapped chunk
    has its header."""
    low = start
    for block in memory.scan(start, end):
        for page in _marked(block, words):
            if page < low:
                continue
            found = _at_page(memory, page, end, words)
            if found is not None:
                yield found
                low = found.end


def _marked(block: Block, words: ChunkWords) -> list[int]:
    """The pages of a block that begin as a mapped chunk does."""
    prevs, sizes = (block.words[word :: PAGE // WORD].tolist() for word in (words.prev, words.size))
    return [block.start + place * PAGE for place, (prev, size) in enumerate(zip(prevs, sizes, strict=True))
            if size & rules.SIZE_BITS == rules.IS_MMAPPED and not prev & ~rules.MMAP_HP]  # fmt: skip


def _at_page(memory: Memory, page: int, end: int, words: ChunkWords) -> Mapped | None:
    """The chunk whose mapping begins with this page, which is marked. When memalign() moved the chunk to an aligned
    place the old header stays, and what it says is no longer true."""
    memory.check_time()
    header = _header(memory, page, words)
    if header is None:
        return None
    prev, word = header
    for power in range(5, (end - page).bit_length()):
        chunk = (page + rules.HEADER + (1 << power) - 1 & -(1 << power)) - rules.HEADER
        # up to 2.42 the space before it had to be enough for a chunk: _int_memalign()
        for place in (chunk, chunk + (1 << power)):
            header = _header(memory, place, words) if page < place < end - rules.HEADER else None
            if header is not None and header[0] & ~rules.MMAP_HP == place - page:
                found = _fitting(place, *header, page, end)
                if found is not None:
                    return found
    return _fitting(page, prev, word, page, end)


def _header(memory: Memory, chunk: int, words: ChunkWords) -> tuple[int, int] | None:
    """prev_size and the size word, with no more than their page; None where they can't be read."""
    try:
        read = memory.words(chunk, max(words.prev, words.size) + 1, narrow=True)
    except Unreadable:
        return None
    return read[words.prev], read[words.size]


def _fitting(chunk: int, prev: int, word: int, start: int, end: int) -> Mapped | None:
    """The chunk, if its mapping ends with a page: mmap_size()."""
    size = word & ~rules.SIZE_BITS
    if word & rules.SIZE_BITS != rules.IS_MMAPPED or size < rules.MINSIZE:
        return None
    # 614cfd0f8a28 (2.43): its size does not count the header's worth of bytes that are left at the end
    for trailer in (rules.HEADER, 0):
        stop = chunk + size + trailer
        if stop <= end and stop & PAGE - 1 == 0:
            return Mapped(chunk, prev, word, start, stop)
    return None
