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

/* Arena pages 44-46, with room up to 48, where something else lies. */
void show_moving(void)
{
	char *old = at_page(44);
	long pages = 4;
	intptr_t moved;

	map_at(44, 2, RW);
	touch_pages(old, 2);
	if (MUTATE_NO_ROOM)
		map_at(46, 2, PROT_NONE);
	lab_note_i64("in-place", remap(old, 2, 4, 0));
	if (MUTATE_NO_ROOM)
		pages = 2;
	if (!MUTATE_NO_BLOCKER)
		map_at(48, 1, PROT_NONE);
	lab_note_ptr("old", old);
	lab_checkpoint("grown");

	lab_note_i64("blocked", remap(old, pages, 8, 0));
	lab_trace_begin("move");
	moved = MUTATE_COPY ? copy(old, pages, 8) : remap(old, pages, 8, MREMAP_MAYMOVE);
	lab_trace_end("move");
	lab_note_hex("moved", (uint64_t)moved);
	lab_note_i64("byte", *(volatile char *)moved);
	lab_checkpoint("moved");
	munmap((void *)moved, 8 * PAGE);
}
