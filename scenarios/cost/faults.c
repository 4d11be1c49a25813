// SPDX-License-Identifier: MIT
/*
 * faults - the first touch of a page of anonymous memory: reading, writing, writing what was read
 * before, and a huge page.
 *
 * Each page lies in a page table that is there already, so that no window has the making of one in
 * it; only that of the huge pages takes an entry of the table above.
 */
#include "cost.h"

#include <stdint.h>
#include <sys/mman.h>

#define HUGE	(2UL << 20)
#ifndef MUTATE_ADVICE
#define MUTATE_ADVICE	MADV_HUGEPAGE
#endif

/* So many huge pages' worth of address space, on their border. */
static char *aligned(size_t huge_pages, int advice)
{
	char *place = mmap(NULL, (huge_pages + 1) * HUGE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	need(place != MAP_FAILED, "memory to fault in");
	place = (char *)(((uintptr_t)place + HUGE - 1) & ~(HUGE - 1));
	need(madvise(place, huge_pages * HUGE, advice) == 0, "madvise() of huge pages");
	return place;
}

void show_faults(void)
{
	char *small = aligned(1, MADV_NOHUGEPAGE), *huge = aligned(REPEATS, MUTATE_ADVICE);
	char *written = small + PAGE, *read = written + REPEATS * PAGE;
	volatile char *page;

	touch(small);	/* the page table is there from here on */
#ifdef MUTATE_TOUCHED
	for (unsigned long i = 0; i < 2 * REPEATS; i++)
		touch(written + i * PAGE);
#endif
	MEASURE("fault.write", page = written + i * PAGE, *page = 1, NOTHING);
	MEASURE("fault.read", page = read + i * PAGE, (void)*page, NOTHING);
	MEASURE("fault.write-after-read", page = read + i * PAGE, *page = 1, NOTHING);
	MEASURE("fault.none", page = written + i * PAGE, *page = 1, NOTHING);
	MEASURE("fault.huge", page = huge + i * HUGE, *page = 1, NOTHING);
}
