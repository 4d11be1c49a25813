/* SPDX-License-Identifier: MIT */
/*
 * abuse_heap - abuses that the heap itself can notice.
 *
 * There is no cache here (see malloc.c), so that each free() reaches the checks of
 * the fastbins and bins.  The words that a check will read are written by the abuse
 * itself: what malloc leaves in a block depends on settings (M_PERTURB).
 */
#define _GNU_SOURCE
#include "abuse.h"
#include "lab.h"
#include "ptmalloc.h"

#define SMALL	40	/* a fastbin's size, where there are fastbins */
#define LARGE	2000

static uintptr_t fenced(size_t size)
{
	uintptr_t block = allocate(size);

	allocate(24);
	return block;
}

static int free_small_twice(void)
{
	uintptr_t block = fenced(SMALL);

	release(block);
	release(block);
	return 0;
}

/* Another block is freed in between. */
static int free_small_again(void)
{
	uintptr_t block = fenced(SMALL), other = fenced(SMALL), first;

	release(block);
	release(other);
	release(block);
	first = allocate(SMALL);
	allocate(SMALL);
	return allocate(SMALL) == first;
}

static int free_large_twice(void)
{
	uintptr_t block = fenced(LARGE);

	release(block);
	release(block);
	return 0;
}

/* The first free() makes the block the top chunk. */
static int free_last_twice(void)
{
	uintptr_t block = allocate(LARGE);

	release(block);
	release(block);
	return 0;
}

/* A size that reaches beyond the heap. */
static int free_oversized(void)
{
	uintptr_t block = fenced(LARGE);

	set_word(block - 8, 16 * MIB | PREV_INUSE);
	release(block);
	return 0;
}

static int free_inside(void)
{
	uintptr_t block = fenced(LARGE);

	set_word(block, 0);
	release(block + 8);
	return 0;
}

static int free_undersized(void)
{
	uintptr_t block = fenced(LARGE);

	set_word(block - 8, 16 | PREV_INUSE);
	release(block);
	return 0;
}

/* A size that is no multiple of 16; what would be the next chunk's size is 0. */
static int free_odd_size(void)
{
	uintptr_t block = fenced(LARGE);

	set_word(block - 8, 40 | PREV_INUSE);
	set_word(block + 32, 0);
	release(block);
	return 0;
}

/* An overflow leaves the next chunk without a size. */
static int overflow_next(void)
{
	uintptr_t block = fenced(SMALL);

	set_word(next(block) - 8, PREV_INUSE);
	release(block);
	return 0;
}

/* The flag of a mapping, on a block that is none. */
static int free_as_mapping(void)
{
	uintptr_t block = fenced(8 * PAGE);

	set_word(block - 16, 0);
	set_word(block - 8, 0x5012);
	release(block);
	return 0;
}

/* Written to after it was freed: the unsorted bin's list is broken. */
static int forge_unsorted(void)
{
	uintptr_t block = fenced(LARGE);

	release(block);
	set_word(block + 8, block - HEADER);
	allocate(2 * LARGE);
	return 1;
}

/* An overflow says that the chunk before is free, and gives it a size it has not. */
static int overflow_before(void)
{
	uintptr_t block = allocate(LARGE), victim = fenced(LARGE);

	(void)block;
	set_word(victim - 16 - 0x100 + 8, 0);
	set_word(victim - 16, 0x100);
	set_word(victim - 8, chunk_size(victim));
	release(victim);
	return 1;
}

/* Written to after it was freed: the neighbour, once freed, unlinks it. */
static int forge_neighbour(void)
{
	uintptr_t block = allocate(LARGE), neighbour = fenced(LARGE);

	release(block);
	set_word(block, block - HEADER);
	release(neighbour);
	return 1;
}

static int resize_inside(void)
{
	uintptr_t block = fenced(LARGE);

	set_word(block, 0);
	return realloc((void *)(block + 8), 2 * LARGE) != NULL;
}

int show_heap_abuse(void)
{
	static const struct abuse abuses[] = {
		{ "free-small-twice", free_small_twice },
		{ "free-small-again", free_small_again },
		{ "free-large-twice", free_large_twice },
		{ "free-last-twice", free_last_twice },
		{ "free-oversized", free_oversized },
		{ "free-inside", free_inside },
		{ "free-undersized", free_undersized },
		{ "free-odd-size", free_odd_size },
		{ "overflow-next", overflow_next },
		{ "free-as-mapping", free_as_mapping },
		{ "forge-unsorted", forge_unsorted },
		{ "overflow-before", overflow_before },
		{ "forge-neighbour", forge_neighbour },
		{ "resize-inside", resize_inside },
	};

	only_brk();
	TRY_ABUSES(abuses);
	lab_checkpoint("abuse-heap");
	return 0;
}
