/* SPDX-License-Identifier: MIT */
/*
 * top - the end of the main arena, and how it grows.
 *
 * What no bin serves is cut from the top chunk, the free rest at the heap's end.
 * When it is too small, malloc moves the break: by what is missing, the pad
 * (M_TOP_PAD, 128 KiB), and up to the next page.  When the break cannot be moved,
 * it takes a mapping of 1 MiB instead, and goes on in there.
 */
#define _GNU_SOURCE
#include <sys/mman.h>
#include <unistd.h>

#include "lab.h"
#include "controls.h"
#include "ptmalloc.h"

static uintptr_t show_first(void)
{
	uintptr_t before = kernel_break(), block;

	lab_trace_begin("top-first");
	block = allocate(MUTATE_FIRST_LARGE ? 64 * PAGE : 1000);
	lab_trace_end("top-first");
	lab_note_hex("before", before);
	lab_note_hex("after", kernel_break());
	lab_note_hex("block", block);
	lab_checkpoint("top-first");
	return block;
}

static uintptr_t show_cut(uintptr_t first)
{
	size_t top = top_size(first);
	uintptr_t block;

	lab_trace_begin("top-cut");
	block = allocate(MUTATE_CUT_ALL ? top : 1000);
	lab_trace_end("top-cut");
	lab_note_hex("cut-from", next(first));
	lab_note_hex("cut-at", block);
	lab_note_i64("top-loss", (int64_t)(top - top_size(block)));
	lab_note_u64("cut-size", chunk_size(block));
	return block;
}

/* 16 bytes more than there are. */
static void show_growth(uintptr_t last)
{
	uintptr_t before = kernel_break(), block;
	size_t top = top_size(last);

	lab_trace_begin("top-grow");
	block = allocate(top);
	if (MUTATE_FOREIGN_GROWTH)
		sbrk(PAGE);
	lab_trace_end("top-grow");
	lab_note_hex("before", before);
	lab_note_hex("after", kernel_break());
	lab_note_u64("top", top);
	lab_note_u64("chunk", chunk_size(block));
	lab_note_hex("old-top", next(last));
	lab_note_hex("block", block);
	lab_checkpoint("top-grown");
}

/* Somebody else moves the break; malloc leaves that memory alone and begins behind it. */
static void show_foreign(void)
{
	uintptr_t last, foreign, block;
	size_t top;

	last = use_up_top();	/* or the freed rest of a large top would let free() trim the new one at once */
	top = top_size(last);
	foreign = (uintptr_t)sbrk(MUTATE_NO_FOREIGN ? 0 : PAGE);
	block = allocate(4 * PAGE);
	lab_note_hex("foreign", foreign);
	lab_note_hex("block", block);
	lab_note_hex("rest", next(last));
	lab_note_u64("top", top);
	lab_note_u64("rest-head", head(next(last)));
	lab_checkpoint("top-foreign");
}

int show_top(void)
{
	uintptr_t last;

	only_brk();
	last = show_first();
	last = show_cut(last);
	show_growth(last);
	show_foreign();
	return 0;
}

/* The kernel keeps one page free between the heap and the next mapping. */
int show_wall(void)
{
	uintptr_t first = allocate(1000), block, end = kernel_break();

	only_brk();
	if (!MUTATE_NO_WALL &&
	    mmap((void *)(end + PAGE), PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
		return EXIT_FAILURE;
	lab_trace_begin("walled");
	block = allocate(top_size(first));
	lab_trace_end("walled");
	lab_note_hex("end", end);
	lab_note_hex("break", kernel_break());
	lab_note_hex("block", block);
	lab_note_hex("block-head", head(block));
	lab_note_u64("mapped", chunk_size(block) + top_size(block));
	lab_checkpoint("walled");
	return 0;
}
