/* SPDX-License-Identifier: MIT */
/*
 * fastbin - where a small block goes when the thread's cache is full.
 *
 * Up to glibc 2.42 it goes to a fastbin: a singly linked list whose blocks stay
 * marked as in use and do not merge, until a large request consolidates them all.
 * From 2.43 on there are no fastbins, and the block goes to the heap like any other.
 * The program fills the cache of one size, frees three more blocks of that size,
 * and looks at them, and at the heads of the fastbins: an array in main_arena, which
 * it finds by the unsorted bin, to which a free block links.
 */
#define _GNU_SOURCE
#include "lab.h"
#include "controls.h"
#include "ptmalloc.h"

#define PAIRS	1024	/* more than anybody lets the cache hold */
#define FENCE	168	/* a size that is never freed, nor cut from what is */
#define LARGE	2000	/* beyond the small bins: such a request consolidates the fastbins */
#define SLOTS	10	/* fastbinsY[] of struct malloc_state, up to 2.42 */
#define BEFORE	80	/* ... where they begin, in bytes before the unsorted bin */

struct freed {	/* past the cache, in the order in which they were freed */
	uintptr_t x, y, z;
};

static uintptr_t block[PAIRS];
static uintptr_t unsorted;

/* Whether newer, a cached block, links to older: plainly, or as from 2.32 on. */
static int links_to(uintptr_t newer, uintptr_t older)
{
	return word(newer) == older || (word(newer) ^ (newer >> 12)) == older;
}

/* Frees blocks of one size, each with a fence behind it, until the cache takes no more. */
static struct freed fill(size_t size)
{
	int i;

	for (i = 0; i < PAIRS; i++) {
		block[i] = allocate(size);
		allocate(FENCE);
	}
	release(block[0]);
	for (i = 1; i < PAIRS - 3; i++) {
		release(block[i]);
		if (!links_to(block[i], block[i - 1]))
			break;
	}
	if (MUTATE_CACHED_ONLY)
		return (struct freed){ block[i - 4], block[i - 2], block[i - 3] };
	release(block[i + 1]);
	release(block[i + 2]);
	return (struct freed){ block[i], block[i + 1], block[i + 2] };
}

/*
 * The unsorted bin of main_arena: the neighbour of a free chunk that is alone in it.
 * A user who lets the cache take larger blocks leaves a mangled link there, a small number.
 */
static uintptr_t find_unsorted(void)
{
	uintptr_t large = allocate(LARGE), bin;

	allocate(FENCE);
	release(large);
	bin = word(large);
	allocate(LARGE);
	return bin >> 40 ? bin : 0;
}

/* The fastbin whose first chunk this is; -1: the block went to the heap, -2: neither. */
static int slot_of(uintptr_t freed)
{
	int i;

	if (!marked_used(freed))
		return -1;
	for (i = 0; unsorted && i < SLOTS; i++)
		if (word(unsorted - BEFORE + 8 * i) == freed - HEADER)
			return i;
	return -2;
}

static void note_freed(const struct freed *freed)
{
	lab_note_hex("x", freed->x);
	lab_note_hex("y", freed->y);
	lab_note_hex("z", freed->z);
	lab_note_hex("z-link", word(freed->z));
	lab_note_hex("x-link", word(freed->x));
	lab_note_u64("chunk", chunk_size(freed->z));
	lab_note_i64("slot", slot_of(freed->z));
	lab_note_i64("marked-used", marked_used(freed->z));
}

/* The first of the three that malloc gives again, once the cache has nothing left. */
static void note_reuse(size_t size)
{
	struct freed freed = fill(size);
	uintptr_t again;

	lab_note_i64("reuse-slot", slot_of(freed.z));
	do {
		again = allocate(size);
	} while (again != freed.x && again != freed.y && again != freed.z);
	if (MUTATE_ONE_MORE)
		again = allocate(size);
	lab_note_hex("oldest", freed.x);
	lab_note_hex("newest", freed.z);
	lab_note_hex("reused", again);
}

int show_fastbins(void)
{
	struct freed freed;

	unsorted = find_unsorted();
	freed = fill(40);
	note_freed(&freed);
	lab_checkpoint("fastbin");

	allocate(LARGE);
	lab_note_i64("marked-used", marked_used(freed.z));
	lab_checkpoint("consolidated");

	note_reuse(56);
	lab_checkpoint("fastbin-reused");
	return 0;
}

/* Upwards: what is freed of one size can't hold a block of the next one. */
int show_fastbin_sizes(void)
{
	struct freed freed;
	size_t size;

	unsorted = find_unsorted();
	for (size = 24; size < 160; size += 16) {
		freed = fill(size);
		note_at("slot-", size + 8, slot_of(freed.z));
	}
	lab_checkpoint("fastbin-sizes");
	return 0;
}
