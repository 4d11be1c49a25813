"""How malloc finds the list for a size. Pure. Formulas and constants of malloc/malloc.c that no debug file has
(they are macros), for 64-bit glibc; everything that is a structure comes from the debug files.
"""

from __future__ import annotations

ALIGNMENT = 16  # MALLOC_ALIGNMENT, sysdeps/generic/malloc-alignment.h
ALIGN_MASK = ALIGNMENT - 1
HEADER = 16  # CHUNK_HDR_SZ: prev_size and size, before what the program gets
MINSIZE = 32  # a chunk holds fd and bk as well
SIZE_BITS = 7
PREV_INUSE, IS_MMAPPED, NON_MAIN_ARENA = 1, 2, 4
NONCONTIGUOUS = 2  # NONCONTIGUOUS_BIT of malloc_state.flags
FENCE = HEADER  # the size of a fencepost, sysmalloc()
UNSORTED = 1  # its bin; bin_at(m, 0) does not exist
LARGE = 1024  # MIN_LARGE_SIZE: NSMALLBINS * SMALLBIN_WIDTH
TCACHE_SMALL_BINS = 64  # TCACHE_MAX_BINS up to 2.41
TCACHE_LARGEST_SMALL = (TCACHE_SMALL_BINS - 1) * ALIGNMENT + MINSIZE
HEAP_MAX_SIZE = 64 << 20  # 2 * DEFAULT_MMAP_THRESHOLD_MAX, malloc/arena.c
MMAP_HP = 1  # in prev_size of an mmapped chunk: huge pages; 921e251e8f (2.43)
LAST_LARGE = 126


def bin_index(size: int) -> int:
    """The regular bin of a chunk size: smallbin_index() or largebin_index_64()."""
    if size < LARGE:
        return size >> 4
    for shift, most, base in ((6, 48, 48), (9, 20, 91), (12, 10, 110), (15, 4, 119), (18, 2, 124)):
        if size >> shift <= most:
            return base + (size >> shift)
    return LAST_LARGE


def fastbin_index(size: int) -> int:
    """fastbin_index(): the fastbin of a chunk size; there are none from 2.43 on (bb5a4f5295ce)."""
    return (size >> 4) - 2


def tcache_index(size: int) -> int:
    """The tcache bin of a chunk size: csize2tidx(), and large_csize2tidx() for the large ones, which came with
    cbfd7988107b (2.42)."""
    if size <= TCACHE_LARGEST_SMALL:
        return (size - MINSIZE + ALIGNMENT - 1) // ALIGNMENT
    return TCACHE_SMALL_BINS + (size & 0xFFFFFFFF).bit_length() - TCACHE_LARGEST_SMALL.bit_length()


def tcache_sizes(index: int) -> tuple[int, int]:
    """The smallest and the largest chunk size of a tcache bin."""
    if index < TCACHE_SMALL_BINS:
        size = index * ALIGNMENT + MINSIZE
        return size, size
    largest = 1 << (index - TCACHE_SMALL_BINS + TCACHE_LARGEST_SMALL.bit_length())
    return max(largest >> 1, TCACHE_LARGEST_SMALL + ALIGNMENT), largest - ALIGNMENT


def reveal(position: int, value: int) -> int:
    """REVEAL_PTR: a link as it was before it was protected, by where it lies; a1a486d70ebc (2.32)."""
    return (position >> 12) ^ value


def first_chunk(address: int) -> int:
    """Where the first chunk of fresh memory begins: what the program gets of it is aligned."""
    return (address + HEADER + ALIGN_MASK & ~ALIGN_MASK) - HEADER
