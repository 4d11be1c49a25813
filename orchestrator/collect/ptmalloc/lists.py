"""Lists of free chunks, followed with a seen-set and the process's budget: caches, fastbins, bins."""

from __future__ import annotations

from collections.abc import Callable

from orchestrator.collect.ptmalloc import rules
from orchestrator.collect.ptmalloc.layout import ChunkWords, Layout
from orchestrator.collect.ptmalloc.memory import ADDRESS_END, OF_CHAIN, OF_LINK, Memory, Unreadable
from orchestrator.collect.ptmalloc.model import Chain, Flaw

Reveal = Callable[[int, int], int]  # (where a link lies, what stands there) -> the link


def plain(_position: int, value: int) -> int:
    """A link that is not protected, as up to 2.31."""
    return value


def links(layout: Layout) -> Reveal:
    """How the links of caches and fastbins are read: protected from 2.32 on (a1a486d70ebc)."""
    return plain if (0, 0) < layout.release < (2, 32) else rules.reveal


def unfit(address: int) -> str:
    """Why no chunk can begin there; "" if one can."""
    if address & rules.ALIGN_MASK:
        return "is not aligned to 16"
    return "" if 0 < address < ADDRESS_END else "is no address of the process"


def follow_single(memory: Memory, chain: Chain, first: int, words: ChunkWords, reveal: Reveal) -> Chain:
    """A singly linked list from ``first`` on, into ``chain``. The links of a cache lead to what the program gets
    (struct tcache_entry lies where fd and bk are), those of a fastbin to chunks."""
    seen: set[int] = set()
    link, shift = first, words.header if chain.kind == "tcache" else 0
    fd, bk, size, count = words.fd, words.bk, words.size, words.bk + 1
    low = high = 0
    memory.charge(OF_CHAIN)
    try:
        while link:
            chunk = link - shift
            if why := unfit(chunk) or ("comes again: the list is a circle" if chunk in seen else ""):
                chain.flaw = Flaw(chunk, why)
                break
            memory.charge(OF_LINK)
            if not low <= chunk < high:
                block = memory.block(chunk)
                low, high, view = block.start, block.end - count * 8 + 1, block.words
                read = memory.words(chunk, count)
            else:
                place = chunk - low >> 3
                read = view[place : place + count]
            seen.add(chunk)
            chain.chunks.append(chunk)
            chain.sizes.append(read[size])
            chain.keys.append(read[bk])
            link = reveal(chunk + words.header, read[fd])
    except Unreadable as error:
        chain.flaw = Flaw(error.address, str(error))
    return chain


def follow_bin(memory: Memory, chain: Chain, header: int, words: ChunkWords) -> Chain:
    """A bin in fd direction, into ``chain``; ``header`` is bin_at(). A broken one is followed from its other end
    as well, as far as that is fine."""
    memory.charge(OF_CHAIN)
    chain.flaw = _follow(memory, chain, header, words, words.fd, words.bk)
    if chain.flaw is not None:
        back = Chain(chain.arena, chain.kind, chain.index)
        _follow(memory, back, header, words, words.bk, words.fd)
        known = set(chain.chunks)
        chain.back = [chunk for chunk in back.chunks if chunk not in known]
    return chain


def _follow(memory: Memory, chain: Chain, header: int, words: ChunkWords, forward: int, backward: int) -> Flaw | None:
    """Follows the links in word ``forward`` of each chunk until the header comes again."""
    seen: set[int] = set()
    large, size, count = chain.kind in ("large", "unsorted"), words.size, words.bk + 1
    try:
        before, chunk = header, memory.word(header + forward * 8)
        while chunk != header:
            if why := unfit(chunk):
                return Flaw(chunk, why)
            if chunk in seen:
                return Flaw(chunk, "comes again: the list is a circle without its bin")
            memory.charge(OF_LINK)
            read = memory.words(chunk, count)
            if read[backward] != before:
                name = "bk" if backward == words.bk else "fd"
                return Flaw(chunk, f"its {name} is {read[backward]:#x}, not {before:#x}")
            seen.add(chunk)
            chain.chunks.append(chunk)
            chain.sizes.append(read[size])
            if large:
                chain.jumps.append(_jumps(memory, chunk, read[size], words))
            before, chunk = chunk, read[forward]
        last = memory.word(header + backward * 8)
        if last != before:
            return Flaw(before, f"the bin's other end is {last:#x}")
    except Unreadable as error:
        return Flaw(error.address, str(error))
    return None


def _jumps(memory: Memory, chunk: int, size: int, words: ChunkWords) -> tuple[int, int]:
    """fd_nextsize and bk_nextsize, which only a chunk of a large size has room for."""
    if size & ~rules.SIZE_BITS < rules.LARGE:
        return 0, 0
    read = memory.words(chunk, words.bk_nextsize + 1)
    return read[words.fd_nextsize], read[words.bk_nextsize]
