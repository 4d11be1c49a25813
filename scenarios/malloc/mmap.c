/* SPDX-License-Identifier: MIT */
/*
 * mmap - blocks that are mappings of their own.
 *
 * When neither a bin nor the top chunk serves a request, and its chunk is at least
 * the threshold (128 KiB), malloc maps it by itself and flags the chunk as such
 * (IS_MMAPPED).  free() unmaps it, and raises the threshold to its size: the next
 * block of that size comes from the heap.  The threshold does not rise beyond
 * 32 MiB.  The trim threshold becomes twice as high.
 *
 * There is no cache here: from 2.42 on a user may let it take blocks as large.
 */
#define _GNU_SOURCE
#include <malloc.h>

#include "lab.h"
#include "controls.h"
#include "ptmalloc.h"

#define THRESHOLD	(128UL << 10)
#define BLOCK		200000UL

static void note_block(const char *key, const char *head_key, uintptr_t block)
{
	lab_note_hex(key, block);
	lab_note_hex(head_key, head(block));
}

/* The very first request of a process, and the same again. */
int show_first_mmap(void)
{
	size_t size = MUTATE_SMALL_FIRST ? THRESHOLD - 64 : THRESHOLD;
	uintptr_t first = allocate(size), second;

	use_up_top();
	second = allocate(size);
	note_block("first", "first-head", first);
	note_block("second", "second-head", second);
	lab_checkpoint("first-mmap");
	return 0;
}

/* The smallest request that reaches the threshold, and the largest below it. */
static void show_threshold(void)
{
	size_t below = THRESHOLD - 24;

	use_up_top();
	note_block("at", "at-head", allocate(MUTATE_BELOW_MMAP ? below : below + 1));
	note_block("below", "below-head", allocate(below));
}

static uintptr_t show_mapping(void)
{
	uintptr_t block;

	use_up_top();
	lab_trace_begin("mmap-take");
	block = allocate(MUTATE_FROM_HEAP ? 1000 : BLOCK);
	lab_trace_end("mmap-take");
	note_block("block", "block-head", block);
	lab_note_hex("block-before", word(block - HEADER));
	note_totals();
	lab_checkpoint("mmap-taken");
	return block;
}

static void show_unmapping(uintptr_t block)
{
	lab_trace_begin("mmap-free");
	if (!MUTATE_KEEP_MAPPING)
		release(block);
	lab_trace_end("mmap-free");
	note_totals();
	lab_checkpoint("mmap-freed");
}

/* The same size again, now in the heap; freed, it makes a top chunk of more than 256 KiB. */
static void show_rise(void)
{
	uintptr_t block, before;
	int mapped;

	use_up_top();
	block = allocate(BLOCK);
	before = kernel_break();
	if (MUTATE_LOW_TRIM)
		mallopt(M_TRIM_THRESHOLD, THRESHOLD);
	note_block("again", "again-head", block);
	mapped = head(block) & IS_MMAPPED;
	release(block);
	lab_note_u64("top", mapped ? 0 : chunk_size(block));	/* what the block has become a part of */
	lab_note_hex("before", before);
	lab_note_hex("after", kernel_break());
	lab_checkpoint("mmap-raised");
}

/* A mapping grows as a mapping: nothing is copied. */
static void show_realloc(void)
{
	uintptr_t block, larger;

	use_up_top();
	block = allocate(MUTATE_SMALL_REALLOC ? 1000 : MIB);
	set_word(block, 0x5a5a5a5a);
	lab_trace_begin("mmap-realloc");
	larger = (uintptr_t)realloc((void *)block, 2 * MIB);
	lab_trace_end("mmap-realloc");
	note_block("larger", "larger-head", larger);
	lab_note_hex("content", larger ? word(larger) : 0);
	note_totals();
	lab_checkpoint("mmap-resized");
}

/* A chunk above 32 MiB raises nothing, one of 32 MiB does, and larger ones stay mappings. */
int show_maximum(void)
{
	use_up_top();
	release(allocate(MUTATE_ALLOWED_RISE ? 16 * MIB : 32 * MIB));
	lab_note_hex("unchanged-head", head(allocate(MIB)));
	release(allocate(32 * MIB - 2 * PAGE));
	lab_note_hex("inside-head", head(allocate(31 * MIB)));
	lab_note_hex("outside-head", head(allocate(33 * MIB)));
	lab_checkpoint("mmap-maximum");
	return 0;
}

int show_mmap(void)
{
	show_threshold();
	show_unmapping(show_mapping());
	show_rise();
	show_realloc();
	return 0;
}
