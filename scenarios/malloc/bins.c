/* SPDX-License-Identifier: MIT */
/*
 * bins - the lists of free chunks: unsorted, small and large.
 *
 * A free chunk keeps its two neighbours in its list in its first two words.  At the
 * ends of the list these are the bin itself, an entry of an array in main_arena: so
 * a freed block tells the program in which bin it is.  The program frees blocks that
 * have a fence behind them (a block that stays in use), and watches where they are,
 * when they move on, and from which of them malloc cuts.  Every rule takes back what
 * it freed, so that the next one finds the bins empty.
 *
 * There is no cache here (see malloc.c), and mappings of their own are off.
 */
#define _GNU_SOURCE
#include "lab.h"
#include "controls.h"
#include "ptmalloc.h"

#define BIGGER	MIB	/* a request that no free chunk serves: malloc sorts on its way to the top */
#define LARGE	2000
#define BINS	126	/* the last one */
#define NEAR	(16 * MIB)	/* all blocks together are smaller */

static uintptr_t unsorted;	/* the bin, by which the others are counted */

static uintptr_t fenced(size_t size)
{
	uintptr_t block = allocate(size);

	allocate(24);
	return block;
}

static uintptr_t forward(uintptr_t block)
{
	return word(block);
}

static uintptr_t backward(uintptr_t block)
{
	return word(block + 8);
}

/* bin_at() is an array of pairs of pointers; the unsorted bin is number 1. */
static long bin_number(uintptr_t bin)
{
	return (long)(bin - unsorted) / 16 + 1;
}

static int is_bin(uintptr_t link)
{
	return link >= unsorted && link < unsorted + 16 * BINS;
}

/* Whether that may be a chunk of the same heap: what stands in a block that is in no list is no link. */
static int is_near(uintptr_t link, uintptr_t block)
{
	return link - block + NEAR < 2 * NEAR;
}

/* The bin at the end of the list that a free block is in; 0 if it is in none. */
static long find_bin(uintptr_t block)
{
	uintptr_t link = forward(block);
	int steps;

	for (steps = 0; steps < 1000; steps++) {
		if (is_bin(link))
			return bin_number(link);
		if (!is_near(link, block))
			return 0;
		link = forward(link + HEADER);
	}
	return 0;
}

/* Two blocks of one size, freed one after the other. */
static void show_unsorted(void)
{
	uintptr_t older = fenced(LARGE), newer = fenced(LARGE);

	release(MUTATE_REVERSED ? newer : older);
	unsorted = forward(MUTATE_REVERSED ? newer : older);
	lab_note_hex("alone-bk", backward(MUTATE_REVERSED ? newer : older));
	release(MUTATE_REVERSED ? older : newer);
	lab_note_hex("bin", unsorted);
	lab_note_hex("older", older);
	lab_note_hex("newer", newer);
	lab_note_hex("older-fd", forward(older));
	lab_note_hex("older-bk", backward(older));
	lab_note_hex("newer-fd", forward(newer));
	lab_note_hex("newer-bk", backward(newer));
	lab_checkpoint("unsorted");

	lab_note_hex("first-again", allocate(LARGE));
	lab_note_hex("second-again", allocate(LARGE));
}

/* A block that no request fits stays where it is until malloc looks for something else. */
static void show_sorting(void)
{
	uintptr_t block = fenced(LARGE);

	release(block);
	lab_note_i64("bin-before", find_bin(block));
	if (!MUTATE_NO_REQUEST)
		allocate(BIGGER);
	lab_note_hex("block", block);
	lab_note_u64("chunk", chunk_size(block));
	lab_note_hex("sorted-fd", forward(block));
	lab_note_i64("bin-after", find_bin(block));
	lab_checkpoint("sorted");
	allocate(LARGE);
}

static void show_small(void)
{
	uintptr_t block = fenced(MUTATE_LARGE_AS_SMALL ? LARGE : 512);

	release(block);
	lab_note_u64("small-chunk", chunk_size(block));
	lab_note_i64("small-bin", find_bin(block));
	allocate(MUTATE_LARGE_AS_SMALL ? LARGE : 512);
}

/* A request that is smaller than the only free chunk is cut from its lower end. */
static void show_split(void)
{
	uintptr_t block = fenced(4000), cut, rest;
	size_t size = chunk_size(block);

	if (!MUTATE_NOTHING_FREE)
		release(block);
	cut = allocate(1000);
	rest = next(cut);
	lab_note_u64("whole", size);
	lab_note_hex("whole-at", block);
	lab_note_hex("cut-at", cut);
	lab_note_u64("cut", chunk_size(cut));
	lab_note_u64("rest-head", head(rest));
	lab_note_i64("rest-bin", MUTATE_NOTHING_FREE ? 0 : find_bin(rest));
	if (!MUTATE_NOTHING_FREE)
		allocate(chunk_size(rest) - 8);
}

/* The smallest chunk that is large enough, whatever their order. */
static void show_best_fit(void)
{
	uintptr_t large = fenced(5000), best = fenced(2600), middle = fenced(3000);

	release(large);
	if (!MUTATE_NO_BEST)
		release(best);
	release(middle);
	lab_note_hex("best", best);
	lab_note_hex("fitted", allocate(2500));
	lab_note_i64("others-free", !marked_used(large) + !marked_used(middle));
	allocate(2600 - 2500 - 16);
	allocate(MUTATE_NO_BEST ? 392 : 3000);
	allocate(5000);
}

/* Four sizes of one large bin (1536 to 1599 bytes), freed in no order. */
static void show_large_order(void)
{
	static const size_t sizes[] = { 1552, 1584, 1536, 1568 }, by_size[] = { 1, 3, 0, 2 };
	uintptr_t block[4], link;
	unsigned long i;

	for (i = 0; i < 4; i++)
		block[i] = fenced(sizes[i] - 8);
	for (i = 0; i < 4; i++)
		release(block[i]);
	if (!MUTATE_UNSORTED_ORDER)
		allocate(BIGGER);
	for (i = 0; i < 4; i++)
		note_at("by-size-", i, (int64_t)block[by_size[i]]);
	link = block[1] - HEADER;	/* the largest */
	for (i = 0; i < 4 && is_near(link, block[1]); i++) {
		note_at("order-", i, (int64_t)(word(link + 8) & ~SIZE_BITS));
		link = forward(link + HEADER);
	}
	lab_checkpoint("large-sorted");
	for (i = 0; i < 4; i++)
		allocate(sizes[i] - 8);
}

/* bin_index(), malloc/malloc.c: 16-byte steps, then 64, 512, 4096, 32768 and 262144. */
static long bin_index(size_t size)
{
	if (size < 1024)
		return (long)size / 16;
	if (size / 64 <= 48)
		return 48 + (long)size / 64;
	if (size / 512 <= 20)
		return 91 + (long)size / 512;
	if (size / 4096 <= 10)
		return 110 + (long)size / 4096;
	if (size / 32768 <= 4)
		return 119 + (long)size / 32768;
	if (size / 262144 <= 2)
		return 124 + (long)size / 262144;
	return 126;
}

/* The smallest and the largest chunk size of each bin, in order. */
static int list_sizes(size_t *sizes)
{
	size_t size;
	int count = 0;

	for (size = 32; size <= 786432; size += 16) {
		if (size == 32 || bin_index(size) != bin_index(size - 16)) {
			if (count && sizes[count - 1] != size - 16)
				sizes[count++] = size - 16;
			sizes[count++] = size;
		}
	}
	return count;
}

/* A block of each size is freed, and one request sorts them all. */
static void show_classes(void)
{
	static const size_t shown[] = { 1008, 1024, 3136, 10752, 40960, 65536, 163840, 262144, 524288 };
	size_t sizes[2 * BINS], i, j;
	uintptr_t block[2 * BINS];
	int count = list_sizes(sizes);
	long wrong = 0;

	for (i = 0; i < (size_t)count; i++)
		block[i] = fenced(sizes[i] - 8 + (MUTATE_NEXT_CLASS ? 16 : 0));
	for (i = 0; i < (size_t)count; i++)
		release(block[i]);
	allocate(MUTATE_NO_SORT ? 1000 : 4 * BIGGER);
	for (i = 0; i < (size_t)count; i++) {
		wrong += find_bin(block[i]) != bin_index(sizes[i]);
		note_at("block-", sizes[i], (int64_t)block[i]);
		note_at("index-", sizes[i], bin_index(sizes[i]));
		if (i == 0 || bin_index(sizes[i]) != bin_index(sizes[i - 1]))
			note_at("each-bin-", (unsigned long)bin_index(sizes[i]), bin_index(sizes[i]));
		for (j = 0; j < sizeof(shown) / sizeof(shown[0]); j++)
			if (sizes[i] == shown[j])
				note_at("bin-of-", sizes[i], find_bin(block[i]));
	}
	note_totals();
	if (MUTATE_MORE_LATER)
		allocate(8 * BIGGER);
	lab_note_i64("sizes", count);
	lab_note_i64("wrong", wrong);
	lab_checkpoint("classes");
}

static void *show_all(void *unused)
{
	(void)unused;
	show_unsorted();
	show_sorting();
	show_small();
	show_split();
	show_best_fit();
	show_large_order();
	show_classes();
	return NULL;
}

int show_bins(void)
{
	only_brk();
	if (MUTATE_IN_THREAD)
		run_thread(show_all, NULL);
	else
		show_all(NULL);
	return 0;
}
