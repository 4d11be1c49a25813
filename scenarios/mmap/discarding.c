/* SPDX-License-Identifier: MIT */
/*
 * discarding - pages given back while the mapping stays, and mappings put over others.
 *
 * MADV_DONTNEED takes the pages away at once.  MADV_FREE only marks them: they
 * can be taken under memory pressure, until they are written to again.
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <sys/mman.h>

#include "lab.h"
#include "mmap.h"

static long byte_at(long page)
{
	return *(volatile char *)at_page(page);
}

/*
 * The marks of MADV_FREE wait in a batch of the processor's; the next MADV_FREE
 * empties it (lru_add_drain()).
 */
static void mark_free(long page, long pages)
{
	int advice = MUTATE_DONTNEED ? MADV_DONTNEED : MADV_FREE;

	madvise(at_page(page), (size_t)(pages * PAGE), advice);
	madvise(at_page(page), (size_t)(pages * PAGE), advice);
}

/* Arena pages 52-60 and 62-66, all written to: four of the first are given back, the second marked. */
void show_discarding(void)
{
	map_at(52, 8, RW);
	touch_pages(at_page(52), 8);
	map_at(62, 4, RW);
	touch_pages(at_page(62), 4);
	lab_checkpoint("written");

	madvise(at_page(52), 4 * PAGE, MUTATE_WILLNEED ? MADV_WILLNEED : MADV_DONTNEED);
	lab_note_i64("byte", byte_at(52));
	lab_checkpoint("discarded");

	mark_free(62, 4);
	lab_note_i64("byte", byte_at(62));
	lab_checkpoint("marked");

	if (MUTATE_ONLY_READ)
		(void)byte_at(62);
	else
		touch_pages(at_page(62), 1);
	lab_checkpoint("kept");
}

/* Arena pages 70-72 and 74-78, written to; then other mappings are asked for there. */
void show_fixed(void)
{
	int careful = MUTATE_OVERWRITE ? MAP_FIXED : MAP_FIXED_NOREPLACE;

	map_at(70, 2, RW);
	touch_pages(at_page(70), 2);
	map_at(74, 4, RW);
	touch_pages(at_page(74), 4);
	lab_note_ptr("asked", at_page(70));
	lab_note_i64("careful", map_anonymous(at_page(70), PAGE, PROT_READ, MAP_PRIVATE | careful));
	if (MUTATE_FREE_HINT)
		munmap(at_page(71), PAGE);
	lab_note_ptr("hinted", at_page(71));
	lab_note_i64("hint", map_anonymous(at_page(71), PAGE, PROT_READ, MAP_PRIVATE));
	lab_note_ptr("covered", at_page(75));
	lab_note_i64("fixed", map_anonymous(at_page(75), 2 * PAGE, RW,
					    MAP_PRIVATE | (MUTATE_NOT_FIXED ? 0 : MAP_FIXED)));
	lab_note_i64("byte", byte_at(75));
	lab_checkpoint("fixed");
}
