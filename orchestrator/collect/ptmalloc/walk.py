"""The linear walk of a heap: from chunk to chunk by their sizes, to the top chunk or to a fencepost.

It runs over whole blocks of words, because a process may have a million chunks. A chunk that can't be one ends
it; where a later chunk is found from which the walk arrives at the end, it is taken up again there.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass

from orchestrator.collect.ptmalloc import rules
from orchestrator.collect.ptmalloc.layout import ChunkWords
from orchestrator.collect.ptmalloc.memory import OF_WALK, PAGE, Memory, Unreadable
from orchestrator.collect.ptmalloc.model import Flaw, Walk

FENCE = rules.FENCE | rules.PREV_INUSE
FAR = 1 << 14  # bytes: chunks of such a size are passed over without reading them
MAX_FEET = 64  # wrong prev_size words that are kept by address
MAX_STARTS = 1 << 17  # places at which a chunk may begin, that are tried to take up a walk again
MAX_STEPS = 1_000_000  # chunks that these trials may look at in vain
CLOCK = 1 << 12  # chunks of a trial between two looks at the clock


@dataclass(frozen=True)
class Aim:
    """Where a walk has to arrive: ``top`` is the arena's top chunk (0: not in this stretch), ``end`` the end of
    the memory, ``is_heap`` whether that is the end of a heap_info's heap, which closes with fenceposts."""

    end: int
    top: int = 0
    is_heap: bool = False

    @property
    def limit(self) -> int:
        """No chunk but the top chunk goes beyond this."""
        return self.top or self.end


def walk(memory: Memory, found: Walk, aim: Aim, words: ChunkWords) -> Walk:
    """Walks from ``found.first``, into ``found``."""
    memory.charge(OF_WALK)
    address = found.first
    sizes = found.sizes
    state = _Foot(found.feet)
    try:
        while True:
            address = _run(memory, address, aim, words, sizes, state)
            ended = _stop(memory, address, aim, words, found)
            if ended:
                break
            address += rules.FENCE  # a fencepost inside
            state.size = rules.FENCE
            memory.check_time()
    except Unreadable as error:
        found.flaw = Flaw(address, f"the walk leaves the memory: {error}")
    found.finish()
    _mark_ends(found, aim)
    return found


@dataclass
class _Foot:
    """The chunk before: its size, which a free one repeats behind itself, and where that was not so."""

    wrong: list[int]
    size: int = 0


def _run(memory: Memory, address: int, aim: Aim, words: ChunkWords, sizes: array[int], foot: _Foot) -> int:
    """Over ordinary chunks; the address of the first that needs a closer look."""
    append, at_prev, at_size = sizes.append, words.prev, words.size
    top, most = aim.top, aim.limit
    before = foot.size
    while True:
        block = memory.block(address, narrow=before > FAR)
        view, start = block.words, block.start
        index, length = (address - start) >> 3, len(view) - at_size
        limit = (most - start) >> 3
        stop = (top - start) >> 3
        counted, ordinary = len(sizes), True
        while index < length:
            word = view[index + at_size]
            size = word & -8
            if size < 32 or size & 8 or word & 2 or index == stop or index + (size >> 3) > limit:
                ordinary = False
                break
            if not word & 1 and view[index + at_prev] != before and before and len(foot.wrong) < MAX_FEET:
                foot.wrong.append(start + (index << 3))
            append(word)
            before = size
            index += size >> 3
        address = start + (index << 3)
        _charge(memory, sizes, counted)
        if not ordinary or address >= most:
            foot.size = before
            return address


def _charge(memory: Memory, sizes: array[int], counted: int) -> None:
    """Counts chunks of one block: each will be its size, a comma and a letter."""
    new = sizes[counted:]
    memory.charge(len(new) * (len(str(max(new, default=0))) + 2))


def _stop(memory: Memory, address: int, aim: Aim, words: ChunkWords, found: Walk) -> bool:
    """Looks at a chunk that is not ordinary, and takes it in if it is what it may be; whether the walk ends."""
    if address >= aim.end:
        found.flaw = Flaw(address, f"the walk is at the end, {aim.end:#x}, without top chunk or fencepost")
        return True
    word = memory.word(address + words.size * 8)
    size = word & ~rules.SIZE_BITS
    if address == aim.top:
        found.sizes.append(word)
        found.tail = "top"
        if size < rules.MINSIZE or address + size > aim.end:
            found.flaw = Flaw(address, f"the top chunk has size {size:#x}, {aim.end - address:#x} are left")
        return True
    if aim.is_heap and word == rules.PREV_INUSE and aim.end - address < rules.MINSIZE:
        found.fences.append(len(found.sizes))
        found.sizes.append(word)
        found.tail = "fence"
        return True
    if word | rules.PREV_INUSE == FENCE:  # the flag tells of the chunk before, which was the top chunk
        second = found.fences[-1:] == [len(found.sizes) - 1]
        if second or _goes_on(memory, address, aim, words):
            found.fences.append(len(found.sizes))
            found.sizes.append(word)
            found.tail = "fence" if second else ""
            return second
    found.flaw = Flaw(address, _why(word, size, address, aim))
    return True


def _goes_on(memory: Memory, address: int, aim: Aim, words: ChunkWords) -> bool:
    """Whether the fencepost at an address is the first of two: main_arena has two alike, a heap ends with one of
    size 0 (sysmalloc())."""
    try:
        following = memory.word(address + rules.FENCE + words.size * 8)
    except Unreadable:
        return False
    if aim.is_heap:
        return following == rules.PREV_INUSE and aim.end - address - rules.FENCE < rules.MINSIZE
    return following == FENCE


def _why(word: int, size: int, address: int, aim: Aim) -> str:
    if size & rules.ALIGN_MASK or size < rules.MINSIZE:
        return f"its size is {size:#x}, no size of a chunk"
    if word & rules.IS_MMAPPED:
        return f"its size word {word:#x} says that it has a mapping of its own"
    name = "the top chunk" if aim.top else "the end"
    return f"its size {size:#x} goes beyond {name} at {aim.limit:#x}"


def _mark_ends(found: Walk, aim: Aim) -> None:
    """Top chunk and fenceposts, which the flags do not tell."""
    last = len(found.sizes) - 1
    for place in found.fences:
        found.states[place] = ord("p")
    if found.tail == "top":
        found.states[last] = ord("T")
    elif found.tail == "fence" and aim.is_heap and last > 0:
        found.states[last - 1] = ord("p")  # of 16 bytes, or of 32 when the old top was no larger


def cut(found: Walk, resumed: int) -> None:
    """Takes the last chunk of a broken walk away where it would reach over the place at which the walk is taken up
    again: then it is that chunk's size that is wrong."""
    if found.flaw is None or not found.addresses:
        return
    chunk, size = found.addresses[-1], found.sizes[-1]
    if chunk + (size & ~rules.SIZE_BITS) <= resumed:
        return
    found.drop()
    found.flaw = Flaw(chunk, f"its size word {size:#x} leads to {found.flaw.at:#x}: {found.flaw.why}")


def find_start(memory: Memory, low: int, aim: Aim, words: ChunkWords, step: int = rules.ALIGNMENT) -> int:
    """The first place from ``low`` on, in steps of ``step``, from which a walk arrives at the end; 0: there is none.
    What a chunk before the place would be is not known, so the first one has to say that it is in use."""
    dead: set[int] = set()  # no walk arrives from there
    steps = 0
    first = rules.first_chunk(low)
    for candidate in _candidates(memory, first, min(aim.end, first + MAX_STARTS * step), words, step):
        memory.check_time()
        path = array("Q")
        address = candidate
        while address > 0 and address not in dead:
            if len(path) < MAX_STEPS:
                path.append(address)
            steps += 1
            if not steps % CLOCK:
                memory.check_time()
            address = _next(memory, address, aim, words)
        if address == 0:
            return candidate
        dead.update(path)
        if len(dead) >= MAX_STEPS:
            break
    return 0


def _candidates(memory: Memory, low: int, high: int, words: ChunkWords, step: int) -> Iterator[int]:
    """The places whose size word may be a chunk's: in steps of 16, marked as behind one that is in use."""
    flags = rules.IS_MMAPPED | rules.ALIGN_MASK & ~rules.SIZE_BITS | rules.PREV_INUSE
    for block in memory.scan(low, high):
        first = max(low, block.start + (low - block.start) % step)
        place, end = ((first - block.start) >> 3) + words.size, min(high, block.end)
        column = block.words[place : (end - block.start) >> 3 : step >> 3].tolist()
        for place in [place for place, word in enumerate(column) if word & flags == 1 and word > rules.MINSIZE]:
            yield first + place * step


def _next(memory: Memory, address: int, aim: Aim, words: ChunkWords) -> int:
    """The chunk after the one at an address; 0: that one is the end; -1: it is no chunk."""
    try:
        word = memory.word(address + words.size * 8)
    except Unreadable:
        return -1
    size = word & ~rules.SIZE_BITS
    if address == aim.top:
        return 0
    if aim.is_heap and word == rules.PREV_INUSE and aim.end - address < rules.MINSIZE:
        return 0
    if word & rules.IS_MMAPPED or size & rules.ALIGN_MASK:
        return -1
    if word | rules.PREV_INUSE == FENCE and _goes_on(memory, address, aim, words):
        end = address + 2 * rules.FENCE
        return end - rules.FENCE if aim.is_heap else 0 if end % PAGE == 0 else -1
    return address + size if size >= rules.MINSIZE and address + size <= aim.limit else -1
