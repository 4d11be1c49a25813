/* SPDX-License-Identifier: MIT */
/*
 * moving - mremap(): growing in place, moving with the pages, shrinking.
 *
 * Moving changes page tables only: the entries are taken to the new place, and no
 * page is allocated, copied or faulted in.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include "lab.h"
#include "mmap.h"

static intptr_t remap(char *old, long pages, long new_pages, int flags)
{
	void *result = mremap(old, (size_t)(pages * PAGE), (size_t)(new_pages * PAGE), flags);

	return result == MAP_FAILED ? -errno : (intptr_t)result;
}

/* What a program without mremap() has to do. */
static intptr_t copy(char *old, long pages, long new_pages)
{
	char *place = (char *)map_anonymous(NULL, new_pages * PAGE, RW, MAP_PRIVATE);

	memcpy(place, old, (size_t)(pages * PAGE));
	munmap(old, (size_t)(pages * PAGE));
	return (intptr_t)place;
}

/* Arena pages 40-42, with room up to 44. */
static void grow(void)
{
	char *small = at_page(40);

	map_at(40, 2, RW);
	if (MUTATE_NO_ROOM)
		map_at(42, 2, PROT_NONE);
	lab_note_ptr("small", small);
	lab_note_i64("in-place", remap(small, 2, 4, 0));
	lab_checkpoint("grown");
}

/* Arena pages 46-50, the first two with memory; directly behind them something else lies. */
static void move(void)
{
	char *old = at_page(46);
	intptr_t moved;

	map_at(46, 4, RW);
	touch_pages(old, 2);
	if (!MUTATE_NO_BLOCKER)
		map_at(50, 1, PROT_NONE);
	lab_checkpoint("placed");
	lab_note_ptr("old", old);
	lab_note_i64("blocked", remap(old, 4, 8, 0));
	lab_trace_begin("move");
	moved = MUTATE_COPY ? copy(old, 4, 8) : remap(old, 4, 8, MREMAP_MAYMOVE);
	lab_trace_end("move");
	lab_note_hex("moved", (uint64_t)moved);
	lab_note_i64("byte", moved > 0 ? *(volatile char *)moved : 0);
	lab_checkpoint("moved");
	/* for what comes next: the kernel may have moved it into the free part of the arena */
	munmap(at_page(50), (ARENA - 50) * PAGE);
}

void show_moving(void)
{
	grow();
	move();
}
