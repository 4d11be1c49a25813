// SPDX-License-Identifier: MIT
/*
 * heap - malloc and free, by where the block comes from and where it goes.
 *
 * How many blocks of one size the thread's cache takes is found out: of many that are freed one
 * after the other it gives back first the one that it took last.  A block between two others that
 * are in use is not joined with a neighbour when it is freed.
 */
#include "cost.h"

#include <gnu/libc-version.h>
#include <malloc.h>
#include <stdlib.h>

#define MANY	64
#ifdef MUTATE_MAPPED
#define CACHED	(1UL << 20)	/* never cached */
#else
#define CACHED	100	/* bytes: sizes of their own, so that no window finds what another one left */
#endif
#define FAST	60
#define SMALL	600
#define LARGE	3000	/* beyond what a thread's cache takes, and beyond the small bins */
#define SORTING	20000	/* fits nothing: all that was freed is sorted into its bin */
#define TOP	(2000 + 16 * i)	/* ... never freed before */
#define MAPPED	(1UL << 20)

static unsigned int cache_takes;
static void *cached[MANY];

static void find_cache(void)
{
	void *block[MANY], *first;

	for (unsigned int n = 0; n < MANY; n++)
		block[n] = malloc(200);
	for (unsigned int n = 0; n < MANY; n++)
		free(block[n]);
	first = malloc(200);
	for (unsigned int n = 0; n < MANY; n++)
		if (block[n] == first)
			cache_takes = n + 1;
	need(cache_takes > 0 && cache_takes < MANY, "a cache of the thread's that is bounded");
}

/* The cache of that size holds nothing, then as much as it takes. */
static void empty_cache(size_t size)
{
	for (unsigned int n = 0; n < cache_takes; n++)
		cached[n] = malloc(size);
}

static void fill_cache(void)
{
	for (unsigned int n = 0; n < cache_takes; n++)
		free(cached[n]);
}

static void show_bin(const char *malloc_window, const char *free_window, size_t size)
{
	void *block = NULL, *guard = NULL;

	empty_cache(size);	/* and what the bins have of it, if anything, is taken first */
	block = malloc(size);
	guard = malloc(size);
	fill_cache();
	MEASURE(free_window, NOTHING, free(block),
		(free(malloc(SORTING)), empty_cache(size), block = malloc(size), fill_cache()));
	free(block);
	MEASURE(malloc_window, (free(malloc(SORTING)), empty_cache(size)), block = malloc(size),
		(fill_cache(), free(block)));
	free(guard);
}

/* Up to glibc 2.42: fastbins are no more since 2.43. */
static int has_fastbins(void)
{
	return atoi(gnu_get_libc_version() + 2) < 43;
}

static void show_fast(void)
{
	void *block = NULL, *guard = NULL;

	empty_cache(FAST);
	block = malloc(FAST);
	guard = malloc(FAST);
	fill_cache();
	MEASURE("heap.free-fastbin", NOTHING, free(block), (empty_cache(FAST), block = malloc(FAST), fill_cache()));
	free(block);
	MEASURE("heap.malloc-fastbin", empty_cache(FAST), block = malloc(FAST), (fill_cache(), free(block)));
	free(guard);
}

void show_heap(void)
{
	void *block, *guard;

	mallopt(M_MMAP_THRESHOLD, 128 << 10);	/* it no longer moves when a mapped block is freed */
	find_cache();
	lab_note_u64("cache", cache_takes);
	MEASURE("heap.malloc-tcache", free(malloc(CACHED)), block = malloc(CACHED), free(block));
	MEASURE("heap.free-tcache", block = malloc(CACHED), free(block), NOTHING);
	if (has_fastbins())
		show_fast();
	show_bin("heap.malloc-smallbin", "heap.free-smallbin", SMALL);
	block = malloc(LARGE);
	guard = malloc(LARGE);
	MEASURE("heap.free-largebin", NOTHING, free(block), (free(malloc(SORTING)), block = malloc(LARGE)));
	MEASURE("heap.malloc-largebin", (free(block), free(malloc(SORTING))), block = malloc(LARGE), NOTHING);
	free(malloc(100000));	/* the top chunk is large enough for what follows */
	MEASURE("heap.malloc-top", NOTHING, cached[i] = malloc(TOP), NOTHING);
	MEASURE("heap.free-top", NOTHING, free(cached[REPEATS - 1 - i]), NOTHING);
#ifdef MUTATE_UNMAPPED
	mallopt(M_MMAP_THRESHOLD, 32 << 20);
	mallopt(M_TRIM_THRESHOLD, 64 << 20);
#endif
	MEASURE("heap.malloc-mmap", NOTHING, block = malloc(MAPPED), free(block));
	MEASURE("heap.free-mmap", block = malloc(MAPPED), free(block), NOTHING);
	free(guard);
}
