"""Arenas: the ring, the fields of each malloc_state, its heaps, its walks and its lists."""

from __future__ import annotations

from orchestrator.collect.ptmalloc import lists, rules, walk
from orchestrator.collect.ptmalloc.layout import ChunkWords
from orchestrator.collect.ptmalloc.memory import OF_ARENA, OF_HEAP, PAGE, Unreadable
from orchestrator.collect.ptmalloc.model import Arena, Chain, Flaw, Heap, Walk
from orchestrator.collect.ptmalloc.process import Libc
from orchestrator.collect.ptmalloc.spans import Spans

MAX_ARENAS = 4096
MAX_WALKS = 256  # stretches of one arena; where it has more, none is taken up again behind a break
MAX_STRAYS = 1024  # stretches of a torn main_arena that nothing points to, and mappings in which they are looked for


def find_arenas(libc: Libc) -> tuple[list[Arena], Flaw | None]:
    """The ring of arenas from main_arena on, in its order, and what is wrong with it."""
    struct = libc.layout.struct("malloc_state")
    main = libc.address("main_arena")
    found: list[Arena] = []
    seen: set[int] = set()
    address = main
    while address not in seen:
        if len(found) >= MAX_ARENAS:
            return found, Flaw(address, f"more than {MAX_ARENAS} arenas")
        if why := lists.unfit(address & -8) if address & 7 == 0 else "is not aligned to 8":
            return found, Flaw(address, f"the next arena {why}")
        try:
            numbers = libc.numbers(struct, address)
            binmap = _binmap(libc, address)
        except Unreadable as error:
            return found, Flaw(address, f"the next arena can't be read: {error}")
        seen.add(address)
        libc.memory.charge(OF_ARENA)
        found.append(Arena(address, len(found), numbers, binmap))
        address = numbers["next"]
    if address != main:
        return found, Flaw(address, "the ring of arenas leads to this one again, not to main_arena")
    return found, None


def _binmap(libc: Libc, arena: int) -> list[int]:
    place = libc.layout.struct("malloc_state")["binmap"]
    content = libc.memory.bytes(arena + place.offset, place.size * place.count)
    return [int.from_bytes(content[i : i + place.size], "little") for i in range(0, len(content), place.size)]


def fill_arena(libc: Libc, arena: Arena, words: ChunkWords, walked: Spans) -> None:
    """The walks of an arena's memory, and its lists. ``walked`` is the memory of the arenas before; this one's comes
    to it."""
    arena.chains = [*_fastbins(libc, arena, words), *_bins(libc, arena, words)]
    if not is_used(libc, arena):
        return
    if arena.is_main:
        _walk_main(libc, arena, words)
        for found in arena.walks:
            if found.addresses:
                walked.add(found.first, found.addresses[-1] + 1)
    else:
        _walk_heaps(libc, arena, words, walked)


def is_used(libc: Libc, arena: Arena) -> bool:
    """Whether it has memory yet: top is initial_top(), the unsorted bin, until then (0 before ptmalloc_init())."""
    return arena.numbers["top"] not in (0, bin_at(libc, arena.address, rules.UNSORTED))


def bin_at(libc: Libc, arena: int, index: int) -> int:
    """bin_at(): where a chunk would begin whose fd and bk are the bin's."""
    place = libc.layout.struct("malloc_state")["bins"]
    return arena + place.offset + (index - 1) * 2 * place.size - libc.layout.struct("malloc_chunk").at("fd")


# -- lists ---------------------------------------------------------------------------------------


def _fastbins(libc: Libc, arena: Arena, words: ChunkWords) -> list[Chain]:
    """The fastbins that hold something; from 2.43 on there are none (bb5a4f5295ce)."""
    struct = libc.layout.struct("malloc_state")
    if "fastbinsY" not in struct:
        return []
    place, reveal = struct["fastbinsY"], lists.links(libc.layout)
    heads = libc.memory.words(arena.address + place.offset, place.count)
    return [
        lists.follow_single(libc.memory, Chain(arena.address, "fastbin", index), head, words, reveal)
        for index, head in enumerate(heads)
        if head
    ]


def _bins(libc: Libc, arena: Arena, words: ChunkWords) -> list[Chain]:
    """The regular bins that hold something."""
    place = libc.layout.struct("malloc_state")["bins"]
    ends = libc.memory.words(arena.address + place.offset, place.count)
    found = []
    for index in range(1, place.count // 2 + 1):
        header = bin_at(libc, arena.address, index)
        fd, bk = ends[2 * index - 2], ends[2 * index - 1]
        if fd == bk == header or fd == bk == 0:  # empty, or malloc was never called
            continue
        kind = "unsorted" if index == rules.UNSORTED else "small" if index < rules.bin_index(rules.LARGE) else "large"
        chain = Chain(arena.address, kind, index, bitmap=_bit(arena, index))
        found.append(lists.follow_bin(libc.memory, chain, header, words))
    return found


def _bit(arena: Arena, index: int) -> bool:
    """get_binmap()."""
    return index >> 5 < len(arena.binmap) and bool(arena.binmap[index >> 5] >> (index & 31) & 1)


# -- heaps of threads' arenas --------------------------------------------------------------------


def _walk_heaps(libc: Libc, arena: Arena, words: ChunkWords, walked: Spans) -> None:
    """The heaps from the one with the top chunk back to the one with the arena itself, and a walk of each."""
    limit = heap_max(libc, arena)
    own = arena.address - libc.layout.struct("_heap_info").size
    infos: set[int] = set()
    info = arena.numbers["top"] & -limit
    while info and info not in infos:
        heap, why = _fit_heap(libc, arena, info, limit, walked)
        if heap is None:
            arena.flaw = Flaw(info, why)
            break
        infos.add(info)
        _take_heap(libc, arena, heap, limit, walked)
        info = heap.prev
    if info in infos:
        arena.flaw = Flaw(info, "the list of heaps is a circle")
    if own not in infos:
        heap, why = _fit_heap(libc, arena, own, limit, walked)
        arena.flaw = arena.flaw or Flaw(own, why or "the arena's first heap is not in its list of heaps")
        if heap is not None:
            _take_heap(libc, arena, heap, limit, walked)
    arena.heaps.reverse()
    for heap in arena.heaps:
        _walk_heap(libc, arena, heap, limit, words)


def _fit_heap(libc: Libc, arena: Arena, info: int, limit: int, walked: Spans) -> tuple[Heap | None, str]:
    """The heap at an address, if one of this arena can be there; else why not (new_heap() aligns all of them)."""
    if info & limit - 1:
        return None, f"no heap can be there: it is not aligned to {limit:#x}"
    heap = _heap(libc, info)
    if heap is None or heap.arena != arena.address:
        return None, "no heap_info of this arena is there"
    if walked.meet(info, info + max(min(heap.size, limit), 1)):
        return None, "no heap can be there: another walk has been over that memory"
    return heap, ""


def _take_heap(libc: Libc, arena: Arena, heap: Heap, limit: int, walked: Spans) -> None:
    libc.memory.charge(OF_HEAP)
    walked.add(heap.info, heap.info + max(min(heap.size, limit), 1))
    arena.heaps.append(heap)


def heap_max(libc: Libc, arena: Arena) -> int:
    """heap_max_size(): what heaps are aligned to. With the tunable hugetlb it was 4 huge pages from 2.35 on
    (c1beb51d08d3), and is the same again as without since 2.42 (9f551e28a749); a distribution may have taken that
    over earlier, so the other one is tried as well."""
    top = arena.numbers["top"]
    parameters = libc.numbers(libc.layout.struct("malloc_par"), libc.address("mp_"))
    huge = parameters.get("hp_pagesize", 0) * 4
    sizes = (huge, rules.HEAP_MAX_SIZE) if (2, 35) <= libc.layout.release < (2, 42) else (rules.HEAP_MAX_SIZE, huge)
    for size in sizes:
        heap = _heap(libc, top & -size) if size > PAGE and size & size - 1 == 0 else None
        if heap is not None and heap.arena == arena.address:
            return size
    return rules.HEAP_MAX_SIZE


def _heap(libc: Libc, info: int) -> Heap | None:
    if lists.unfit(info):
        return None
    try:
        numbers = libc.numbers(libc.layout.struct("_heap_info"), info)
    except Unreadable:
        return None
    return Heap(info, numbers["ar_ptr"], numbers["prev"], numbers["size"], numbers["mprotect_size"])


def _walk_heap(libc: Libc, arena: Arena, heap: Heap, limit: int, words: ChunkWords) -> None:
    start, reserved = heap.info, heap.info + limit
    first = start + libc.layout.struct("_heap_info").size
    if first == arena.address:
        first += libc.layout.struct("malloc_state").size
    first = rules.first_chunk(first)
    end = start + heap.size
    readable = libc.memory.run_end(start)
    if end > readable or heap.size > limit:
        arena.flaw = arena.flaw or Flaw(start, f"the heap's size {heap.size:#x} is more than what it has")
        end = min(readable, reserved)
    top = arena.numbers["top"] if start <= arena.numbers["top"] < reserved else 0
    aim = walk.Aim(end, top, is_heap=True)
    found = Walk(arena.address, heap.info, start, end, reserved, first)
    _walk_on(libc, arena, found, aim, words)


def _walk_on(libc: Libc, arena: Arena, found: Walk, aim: walk.Aim, words: ChunkWords) -> None:
    """A walk, and further ones: behind the place where it breaks, and behind fenceposts that main_arena made
    because somebody else had moved the break (sysmalloc(): foreign sbrk)."""
    while True:
        arena.walks.append(walk.walk(libc.memory, found, aim, words))
        torn = found.tail == "fence" and not aim.is_heap
        if torn:
            found.end = found.addresses[-1] + rules.FENCE
        if found.tail == "top" or len(arena.walks) >= MAX_WALKS or not (found.flaw or (torn and aim.top)):
            return
        after = found.end if torn else (found.addresses[-1] if found.addresses else found.first) + rules.ALIGNMENT
        first = walk.find_start(libc.memory, after, aim, words) or walk.find_start(
            libc.memory, after + PAGE - 1 & -PAGE, aim, words, PAGE)
        if not first:
            found.flaw = found.flaw or Flaw(after, "behind the fenceposts no way leads to the top chunk")
            return
        if found.flaw is not None:
            walk.cut(found, first)
        found = Walk(found.arena, found.info, first if torn else found.start, aim.end, found.reserved_end, first, True)


# -- main_arena ----------------------------------------------------------------------------------


def _walk_main(libc: Libc, arena: Arena, words: ChunkWords) -> None:
    """main_arena's memory: the break's from sbrk_base on, and what was mapped where the break could not move."""
    memory, top = libc.memory, arena.numbers["top"]
    parameters = libc.numbers(libc.layout.struct("malloc_par"), libc.address("mp_"))
    base = parameters["sbrk_base"]
    end = memory.run_end(base) if base else 0
    try:
        top_end = top + (memory.word(top + words.size * 8) & ~rules.SIZE_BITS)
    except Unreadable:
        top_end = 0
        arena.flaw = Flaw(top, "the top chunk can't be read")
    if base <= top < end and top < top_end <= end:
        end = top_end
    if end:
        here = top if base <= top < end else 0
        found = Walk(arena.address, 0, base, end, end, rules.first_chunk(base))
        _walk_on(libc, arena, found, walk.Aim(end, here), words)
    elif base:
        arena.flaw = arena.flaw or Flaw(base, "sbrk_base is not mapped")
    if not base <= top < end:
        _walk_region(libc, arena, top, top_end, words)
    if arena.numbers["flags"] & rules.NONCONTIGUOUS:
        _find_strays(libc, arena, words)


def _walk_region(libc: Libc, arena: Arena, top: int, top_end: int, words: ChunkWords) -> None:
    """The mapping with the top chunk, where sysmalloc() had to map (MMAP_AS_MORECORE_SIZE): from its first page
    on from which a walk arrives at top."""
    mapping = libc.memory.mapping(top)
    if mapping is None or not top < top_end <= libc.memory.run_end(top):
        arena.flaw = arena.flaw or Flaw(top, "the top chunk is not in the process's memory")
        return
    aim = walk.Aim(top_end, top)
    first = walk.find_start(libc.memory, mapping.start, aim, words, PAGE)
    if not first:
        arena.flaw = arena.flaw or Flaw(top, "no page of its mapping begins a walk to the top chunk")
        first = top
    found = Walk(arena.address, 0, first, top_end, top_end, first, True)
    _walk_on(libc, arena, found, aim, words)


def _find_strays(libc: Libc, arena: Arena, words: ChunkWords) -> None:
    """Further stretches of a torn main_arena, which nothing points to: pages of private data from which a walk
    arrives at two fenceposts; until system_mem is accounted for."""
    missing = arena.numbers["system_mem"] - sum(found.end - found.start for found in arena.walks)
    known = [(found.start, found.end) for found in arena.walks]
    for mapping in [m for m in libc.memory.mappings if m.is_private_data][:MAX_STRAYS]:
        low = mapping.start
        while missing >= PAGE and low < mapping.end and len(known) < MAX_STRAYS:
            inside = next((end for start, end in known if start <= low < end), 0)
            if inside:
                low = (inside + PAGE - 1) & -PAGE
                continue
            first = walk.find_start(libc.memory, low, walk.Aim(mapping.end), words, PAGE)
            if not first:
                break
            found = Walk(arena.address, 0, first, mapping.end, mapping.end, first, True)
            walk.walk(libc.memory, found, walk.Aim(mapping.end), words)
            low = found.end = found.addresses[-1] + rules.FENCE
            if any(start < found.end and first < end for start, end in known):
                break
            found.reserved_end = found.end
            known.append((first, found.end))
            arena.walks.append(found)
            missing -= found.end - first
