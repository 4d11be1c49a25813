/* SPDX-License-Identifier: MIT */
/*
 * classes - the list for a size, for every size that has a list of its own.
 *
 * A block of each size is freed, where nothing can merge with it or be cut from it,
 * and its address is noted with the number of the list that malloc's formula says.
 * Nothing is taken again, so each list holds just what the program put there; the
 * lab finds the blocks in the lists themselves.  bins.c does so for the small and
 * the large bins.
 */
#define _GNU_SOURCE
#include <malloc.h>

#include "lab.h"
#include "controls.h"
#include "ptmalloc.h"

#define SMALLEST	32UL	/* the sizes are those of chunks */
#define SMALL_LISTS	64	/* of the cache: one for each size */
#define LARGE_LISTS	12	/* ... since 2.42: one for each power of two */
#define FASTBINS	9	/* of ten: the last one's size, 176, is more than the highest limit lets in */

/* Each with a block behind it that stays in use. */
static uintptr_t fenced(size_t chunk)
{
	uintptr_t block = allocate(chunk - 8 + (MUTATE_NEXT_CLASS ? 16 : 0));

	allocate(24);
	return block;
}

static void note_class(const char *block_key, const char *index_key, size_t chunk, uintptr_t block, long index)
{
	note_at(block_key, chunk, (int64_t)block);
	note_at(index_key, chunk, index);
}

/* csize2tidx(), malloc/malloc.c; tcache_index() up to 2.29 */
static void free_small(const uintptr_t block[SMALL_LISTS])
{
	size_t i;

	for (i = 0; i < SMALL_LISTS; i++) {
		release(block[i]);
		note_class("small-block-", "small-index-", SMALLEST + 16 * i, block[i], (long)i);
	}
}

/* The smallest and the largest size of a large list. */
static size_t lower_size(size_t list)
{
	return list ? 1024UL << list : 1056;
}

static size_t upper_size(size_t list)
{
	return (2048UL << list) - 16;
}

/*
 * large_csize2tidx(), malloc/malloc.c: the sizes from 1056 to 2032 have list 64, then each power of two
 * has one.  Of each list the smaller block is freed first.
 */
static void free_large(const uintptr_t lower[LARGE_LISTS], const uintptr_t upper[LARGE_LISTS])
{
	size_t i;

	for (i = 0; i < LARGE_LISTS; i++) {
		release(lower[i]);
		release(upper[i]);
		note_class("large-block-", "large-index-", lower_size(i), lower[i], (long)i + SMALL_LISTS);
		note_class("large-block-", "large-index-", upper_size(i), upper[i], (long)i + SMALL_LISTS);
		note_at("large-place-", lower_size(i), 0);
		note_at("large-place-", upper_size(i), 1);
	}
}

/* All blocks are there before the first is freed: none is cut from another one, nor given again. */
int show_tcache_classes(void)
{
	uintptr_t small[SMALL_LISTS], lower[LARGE_LISTS], upper[LARGE_LISTS];
	size_t i;

	only_brk();
	for (i = 0; i < SMALL_LISTS; i++)
		small[i] = fenced(SMALLEST + 16 * i);
	for (i = 0; i < LARGE_LISTS; i++) {
		lower[i] = fenced(lower_size(i));
		upper[i] = fenced(upper_size(i));
	}
	free_small(small);
	free_large(lower, upper);
	lab_checkpoint("tcache-classes");
	return 0;
}

/* fastbin_index(), malloc/malloc.c, with the limit (M_MXFAST) as high as it goes. */
int show_fastbin_classes(void)
{
	uintptr_t block[FASTBINS + 1];
	size_t i, size;

	only_brk();
	mallopt(M_MXFAST, 160);
	for (i = 0; i <= FASTBINS; i++)
		block[i] = fenced(SMALLEST + 16 * i);
	for (i = 0; i <= FASTBINS; i++)
		release(block[i]);
	for (i = 0; i < FASTBINS; i++) {
		size = SMALLEST + 16 * i;
		note_class("block-", "index-", size, block[i], (long)size / 16 - 2);
		note_at("bin-", size, (long)size / 16);
	}
	lab_note_hex("beyond", block[FASTBINS]);
	lab_checkpoint("fastbin-classes");
	return 0;
}
