/* SPDX-License-Identifier: MIT */
/*
 * mmap - what mmap(), mprotect(), munmap(), mremap() and madvise() do to the VMAs
 * of a process, and what stops them.
 *
 * Shown: a mapping is one VMA and no page; neighbours of one kind become one VMA,
 * without an allocation; changing a part splits it; moving takes the pages along;
 * pages can be given back while the mapping stays; and where the limits are.
 *
 * How: everything happens in an arena of known addresses between two inaccessible
 * pages, so that no mapping of libc's can be a neighbour.  The VMAs are read from
 * /proc at checkpoints; windows of the kernel's trace count the allocations of
 * vm_area_structs (vm_area_alloc() for a new one, vm_area_dup() for a split).
 *
 * Each MUTATE_... is a negative control: it breaks the mechanism behind one
 * expectation of scenario.yaml, which must then fail.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include "lab.h"
#include "mmap.h"

char *arena;

intptr_t map_anonymous(void *address, long size, int rights, int flags)
{
	void *result = mmap(address, (size_t)size, rights, flags | MAP_ANONYMOUS, -1, 0);

	return result == MAP_FAILED ? -errno : (intptr_t)result;
}

intptr_t map_at(long page, long pages, int rights)
{
	return map_anonymous(at_page(page), pages * PAGE, rights, MAP_PRIVATE | MAP_FIXED_NOREPLACE);
}

void touch_pages(char *start, long pages)
{
	volatile char *byte = start;

	for (; pages; pages--, byte += PAGE)
		*byte = 7;
}

static void make_arena(void)
{
	char *all = (char *)map_anonymous(NULL, (ARENA + 2) * PAGE, PROT_NONE, MAP_PRIVATE);

	arena = all + PAGE;
	munmap(arena, ARENA * PAGE);
}

/* One processor: pages that wait in another one's LRU batch would not be counted yet. */
static void stay_here(void)
{
	cpu_set_t here;

	CPU_ZERO(&here);
	CPU_SET((size_t)sched_getcpu(), &here);
	sched_setaffinity(0, sizeof(here), &here);
}

/* A length that is no multiple of a page. */
static void show_new(void)
{
	lab_note_ptr("arena", arena);
	lab_checkpoint("start");

	lab_trace_begin("new");
	map_anonymous(at_page(0), 8 * PAGE - 100, MUTATE_READ_ONLY ? PROT_READ : RW,
		      MAP_PRIVATE | MAP_FIXED_NOREPLACE | (MUTATE_POPULATE ? MAP_POPULATE : 0));
	if (MUTATE_TWO_MAPPINGS) {
		map_at(60, 1, PROT_READ);
		munmap(at_page(60), PAGE);
	}
	lab_trace_end("new");
	if (MUTATE_BESIDE)
		map_at(60, 1, PROT_READ);
	lab_checkpoint("mapped");
	if (MUTATE_BESIDE)
		munmap(at_page(60), PAGE);
	mprotect(at_page(0), 8 * PAGE, RW);
	touch_pages(at_page(0), 1);
}

int main(void)
{
	prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);	/* pages of 4 KiB are counted here */
	lift_limits();
	stay_here();
	make_arena();
	show_new();
	show_merging();
	show_splitting();
	show_moving();
	show_discarding();
	show_fixed();
	show_limits();
	return 0;
}
