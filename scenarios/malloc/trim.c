/* SPDX-License-Identifier: MIT */
/*
 * trim - when the main arena gives memory back.
 *
 * free() lowers the break when a large free chunk has come into being and the top
 * chunk has reached the trim threshold (128 KiB).  It keeps the pad (M_TOP_PAD,
 * also 128 KiB) and gives back the whole pages beyond.  malloc_trim() does so on
 * request, and lets go of whole pages inside other free chunks as well, by
 * madvise: such a page reads as zero afterwards.
 *
 * There is no cache here, and mappings of their own are off: the large blocks
 * would be in neither bin nor top.
 */
#define _GNU_SOURCE
#include <malloc.h>
#include <string.h>

#include "lab.h"
#include "controls.h"
#include "ptmalloc.h"

#define LARGE	(256UL << 10)

/* With the pad as it is. */
int show_trim(void)
{
	uintptr_t block, before;

	only_brk();
	block = allocate(LARGE);
	before = kernel_break();
	lab_trace_begin("trim");
	if (!MUTATE_KEEP_LARGE)
		release(block);
	lab_trace_end("trim");
	lab_note_hex("before", before);
	lab_note_hex("after", kernel_break());
	lab_note_u64("top", before - (block - HEADER));
	lab_checkpoint("trimmed");
	return 0;
}

/* Without a pad: two blocks, of which the second alone does not reach the threshold. */
int show_trim_threshold(void)
{
	uintptr_t lower, upper;

	only_brk();
	mallopt(M_TOP_PAD, 0);
	lower = allocate(MUTATE_BELOW_THRESHOLD ? 10000 : 50000);
	upper = allocate(100000);
	lab_note_hex("full", kernel_break());
	release(upper);
	lab_note_hex("below", kernel_break());
	release(lower);
	lab_note_hex("above", kernel_break());
	lab_note_hex("top", lower - HEADER);
	lab_checkpoint("trim-threshold");
	return 0;
}

int show_trim_explicit(void)
{
	uintptr_t block, inside, fence;

	only_brk();
	block = allocate(8 * PAGE);
	inside = block + 4 * PAGE;
	fence = allocate(24);
	memset((void *)block, 0xaa, 8 * PAGE);
	release(block);
	lab_note_i64("byte-before", *(volatile unsigned char *)inside);
	lab_trace_begin("malloc-trim");
	if (!MUTATE_NO_TRIM)
		malloc_trim(0);
	lab_trace_end("malloc-trim");
	lab_note_i64("byte-after", *(volatile unsigned char *)inside);
	lab_note_hex("block", block);
	lab_note_hex("top", next(fence) - HEADER);
	lab_note_hex("break", kernel_break());
	lab_checkpoint("trim-explicit");
	return 0;
}
