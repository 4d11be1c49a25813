/* SPDX-License-Identifier: MIT */
/*
 * tcache - the cache of freed blocks that every thread has.
 *
 * A cached block is free for its thread and in use for the heap: nothing in front
 * of it or behind it changes, so the flag behind it (PREV_INUSE) tells a cached
 * block from one that went to the heap.  Its first word links to the block that
 * was freed before it, its second word is the key by which free() knows a double
 * free.  Each rule has a block size of its own, so that none finds another one's
 * blocks in the cache, and all sizes are beyond the fastbins.
 */
#define _GNU_SOURCE
#include <pthread.h>

#include "lab.h"
#include "controls.h"
#include "ptmalloc.h"

#define PAIRS	64	/* more than the cache takes by default */
#define SIZES	1200	/* more than it takes by default */

enum {	/* the requests, one a rule */
	HEADS = 136,
	ORDER = 152,
	LINKS = 168,
	COUNT = 184,
	SHARE = 200,
	ZEROED = 216,
	SMALLEST = HEADS
};

static uintptr_t shared;
static pthread_barrier_t barrier;

/* A block, and behind it one that stays in use: a block that is freed then borders on nothing free. */
static uintptr_t fenced(size_t size)
{
	uintptr_t block = allocate(size);

	allocate(24);
	return block;
}

static void release_to_cache(uintptr_t block)
{
	if (!MUTATE_NOT_CACHED)
		release(block);
}

/* Where in its page a block's address stands; 0: nowhere. */
static uintptr_t find_address(uintptr_t block)
{
	uintptr_t page = block & ~(PAGE - 1), place;

	for (place = page; place < page + PAGE; place += 8)
		if (word(place) == block)
			return place;
	return 0;
}

/* The heads of the lists are in a block of this very heap, in its first page. */
static void show_heads(uintptr_t start)
{
	uintptr_t block = allocate(HEADS), fence = allocate(24);

	release_to_cache(block);
	lab_note_hex("heap", (block & ~(PAGE - 1)) + start % PAGE);
	lab_note_hex("behind", next(fence) - HEADER);
	lab_note_i64("index", (int64_t)(chunk_size(block) - 32) / 16);
	lab_note_i64("marked-used", marked_used(block));
	lab_note_hex("head-at", find_address(block));
}

static void show_order(void)
{
	uintptr_t a = fenced(ORDER), b = fenced(ORDER), c = fenced(ORDER);

	release(MUTATE_OTHER_ORDER ? b : a);
	release(MUTATE_OTHER_ORDER ? a : b);
	release(c);
	lab_note_hex("a", a);
	lab_note_hex("b", b);
	lab_note_hex("c", c);
	lab_note_hex("first", allocate(ORDER));
	lab_note_hex("second", allocate(ORDER));
	lab_note_hex("third", allocate(ORDER));
}

static void show_links(void)
{
	uintptr_t a = fenced(LINKS), b = fenced(LINKS);

	if (!MUTATE_ALONE)
		release(a);
	release(b);
	lab_note_hex("older", a);
	lab_note_hex("newer", b);
	lab_note_hex("older-link", word(a));
	lab_note_hex("newer-link", word(b));
	lab_note_hex("older-key", word(a + 8));
	lab_note_hex("newer-key", word(b + 8));
}

/* A block of this thread's heap that another thread freed is in that one's cache. */
static void *free_and_take(void *unused)
{
	uintptr_t block;

	(void)unused;
	allocate(24);	/* in 2.42 a thread has no cache before its first malloc */
	release_to_cache(shared);
	block = allocate(SHARE);
	lab_note_hex("by-freer", block);
	release_to_cache(block);
	pthread_barrier_wait(&barrier);	/* freed, and this thread goes on */
	pthread_barrier_wait(&barrier);
	return NULL;
}

static void show_threads(void)
{
	pthread_t thread;

	shared = fenced(SHARE);
	pthread_barrier_init(&barrier, NULL, 2);
	if (pthread_create(&thread, NULL, free_and_take, NULL))
		exit(EXIT_FAILURE);
	pthread_barrier_wait(&barrier);
	lab_note_hex("shared", shared);
	lab_note_hex("by-other", allocate(SHARE));
	pthread_barrier_wait(&barrier);
	pthread_join(thread, NULL);
	allocate(SHARE);	/* the end of the thread has emptied its cache: nothing free may be left here */
}

static void show_calloc(void)
{
	uintptr_t block = fenced(ZEROED), cleared;

	set_word(block + 16, 0x5a5a5a5a);	/* behind what the cache writes itself */
	release_to_cache(block);
	lab_note_hex("cached", block);
	lab_note_i64("cached-marked-used", marked_used(block));
	cleared = (uintptr_t)calloc(1, ZEROED);
	lab_note_hex("by-calloc", cleared);
	lab_note_hex("content", word(cleared + 16));
	lab_note_hex("by-malloc", allocate(ZEROED));
}

/* The largest request, in steps of a chunk, whose block is cached, and the first whose block is not. */
static void show_largest(void)
{
	size_t size, largest = 0;

	for (size = SMALLEST; size < SIZES; size += 16) {
		uintptr_t block = fenced(size);

		release(block);
		if (!marked_used(block))
			break;
		largest = size;
	}
	allocate(size);	/* back in use: nothing free is left for the next rule to be cut from */
	lab_note_u64("largest", largest);
	lab_note_u64("not-cached", size < SIZES ? size : 0);
}

static void show_count(void)
{
	uintptr_t block[PAIRS];
	long cached = 0;
	int i;

	for (i = 0; i < PAIRS; i++)
		block[i] = fenced(COUNT);
	for (i = 0; i < PAIRS; i++)
		release(block[i]);
	for (i = 0; i < PAIRS; i++)
		cached += marked_used(block[i]);
	for (i = cached ? (int)cached - 1 : 0; i >= 0; i--)	/* in the order in which malloc would give them */
		note_at("kept-", (unsigned long)i, (int64_t)block[i]);
	lab_note_hex("beyond", block[cached < PAIRS ? cached : 0]);
	lab_note_i64("freed-blocks", PAIRS);
	lab_note_i64("cached-blocks", cached);
}

int show_tcache(void)
{
	show_heads(heap_start());
	show_order();
	show_links();
	lab_checkpoint("tcache");	/* two blocks of LINKS are in the cache */
	show_threads();
	show_calloc();
	show_largest();
	show_count();
	lab_checkpoint("tcache-full");
	return 0;
}
