/* SPDX-License-Identifier: MIT */
/*
 * heap - the memory of an arena that is not the main one.
 *
 * A thread's arena lives in heaps: 64 MiB of reserved addresses, aligned to as much,
 * of which the first part is committed (readable and writable).  A heap begins with
 * struct heap_info, whose first words are the arena, the heap before, the size in
 * use and the size committed; the program finds it by rounding a block's address
 * down.  The arena grows by mprotect, needs a second heap when 64 MiB are not
 * enough, and gives memory back by madvise, or whole heaps by munmap.
 */
#define _GNU_SOURCE
#include <string.h>
#include <unistd.h>

#include "lab.h"
#include "controls.h"
#include "ptmalloc.h"

#define BLOCK	200000UL
#define HUGE	(HEAP_MAX - PAGE)	/* a heap holds it, but for one in which something else is in use */

static uintptr_t heap_of(uintptr_t block)
{
	return block & ~(HEAP_MAX - 1);
}

/* Through a pipe, which refuses what can't be read: with huge pages (hugetlb=2) heaps are smaller. */
static int read_heap(uintptr_t heap, uint64_t words[4])
{
	int end[2], got = 0;

	if (pipe(end))
		return 0;
	if (write(end[1], (void *)heap, 4 * sizeof(*words)) == 4 * sizeof(*words))
		got = read(end[0], words, 4 * sizeof(*words)) == 4 * sizeof(*words);
	close(end[0]);
	close(end[1]);
	return got;
}

/* A block of the main arena has no such heap: the notes are then all zero. */
static void note_heap(uintptr_t block)
{
	uint64_t info[4] = { 0 };
	uintptr_t heap = head(block) & NON_MAIN_ARENA ? heap_of(block) : 0;

	if (!heap || !read_heap(heap, info))
		heap = 0;
	lab_note_hex("block", block);
	lab_note_hex("block-head", head(block));
	lab_note_hex("heap", heap);
	lab_note_hex("arena", info[0]);
	lab_note_hex("previous", info[1]);
	lab_note_u64("size", info[2]);
	lab_note_u64("committed", info[3]);
}

static uintptr_t show_growth(void)
{
	uintptr_t block;

	lab_note_u64("top", top_size(use_up_top()));
	if (MUTATE_MORE_GROWTH)
		allocate(BLOCK);
	lab_trace_begin("heap-grow");
	block = allocate(BLOCK);
	lab_trace_end("heap-grow");
	lab_note_u64("chunk", chunk_size(block));
	memset((void *)block, 0xaa, BLOCK);
	note_heap(block);
	lab_checkpoint("heap-grown");
	return block;
}

static void show_shrink(uintptr_t first, uintptr_t last)
{
	lab_note_u64("top", chunk_size(last) + top_size(last));
	lab_trace_begin("heap-shrink");
	if (!MUTATE_KEEP_LAST)
		release(last);
	lab_trace_end("heap-shrink");
	note_heap(first);
	lab_checkpoint("heap-shrunk");
}

/*
 * What does not fit into the rest of the heap gets a heap of its own.  The rest must be small: malloc
 * frees it, and with a large chunk freed, free() would at once unmap the new heap, still empty.
 */
static void show_second(void)
{
	uintptr_t block;

	use_up_top();
	lab_trace_begin("heap-second");
	block = allocate(MUTATE_NO_SECOND ? 400 : HUGE);
	lab_trace_end("heap-second");
	note_heap(block);
	note_totals();
	lab_checkpoint("heap-second");

	lab_trace_begin("heap-gone");
	if (!MUTATE_KEEP_SECOND)
		release(block);
	lab_trace_end("heap-gone");
	lab_checkpoint("heap-gone");
}

static void *use_heap(void *unused)
{
	uintptr_t first, last;

	(void)unused;
	first = allocate(1000);
	note_heap(first);
	lab_checkpoint("heap");
	last = show_growth();
	show_shrink(first, last);
	show_second();
	return NULL;
}

int show_heap(void)
{
	only_brk();
	if (MUTATE_MAIN_THREAD)
		use_heap(NULL);
	else
		run_thread(use_heap, NULL);
	return 0;
}
