/* SPDX-License-Identifier: MIT */
/* ptmalloc.h - what the parts of the malloc scenario share. */
#ifndef PTMALLOC_H
#define PTMALLOC_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#define PAGE		4096UL
#define MIB		(1UL << 20)
#define HEADER		16UL	/* from a chunk to its block: prev_size and size */
#define PREV_INUSE	1UL	/* the flags in the size word */
#define IS_MMAPPED	2UL
#define NON_MAIN_ARENA	4UL
#define SIZE_BITS	7UL
#define HEAP_MAX	(64 * MIB)	/* HEAP_MAX_SIZE: a thread's heap is aligned to it */

/*
 * A block is an address here: most of what is done with one is to compute with it.
 * The reads and writes are volatile because many of them are of freed memory.
 */
static inline uintptr_t allocate(size_t size)
{
	return (uintptr_t)malloc(size);
}

static inline void release(uintptr_t block)
{
	free((void *)block);
}

static inline uint64_t word(uintptr_t address)
{
	return *(volatile uint64_t *)address;
}

static inline void set_word(uintptr_t address, uint64_t value)
{
	*(volatile uint64_t *)address = value;
}

/* The size word of a block's chunk, with its flags; 0 if malloc gave none. */
static inline uint64_t head(uintptr_t block)
{
	return block ? word(block - 8) : 0;
}

static inline uint64_t chunk_size(uintptr_t block)
{
	return head(block) & ~SIZE_BITS;
}

/* The block of the chunk that follows in memory. */
static inline uintptr_t next(uintptr_t block)
{
	return block + chunk_size(block);
}

/* The size of the top chunk, seen from the block that was cut from it last. */
static inline size_t top_size(uintptr_t last)
{
	return chunk_size(next(last));
}

/* malloc.c */
uintptr_t kernel_break(void);
uintptr_t heap_start(void);
int marked_used(uintptr_t block);
void note_at(const char *prefix, unsigned long number, int64_t value);
void note_totals(void);
void only_brk(void);
uintptr_t use_up_top(void);
void run_thread(void *(*start)(void *), void *argument);

/* The topics, one process each. */
int show_requests(void);
int show_chunks(void);
int show_tcache(void);
int show_fastbins(void);
int show_fastbin_sizes(void);
int show_tcache_classes(void);
int show_fastbin_classes(void);
int show_bins(void);
int show_top(void);
int show_wall(void);
int show_trim(void);
int show_trim_threshold(void);
int show_trim_explicit(void);
int show_heap(void);
int show_arenas(void);
int show_first_mmap(void);
int show_mmap(void);
int show_maximum(void);
int show_abuse(void);
int show_heap_abuse(void);

#endif
