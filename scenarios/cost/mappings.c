// SPDX-License-Identifier: MIT
/*
 * mappings - system calls that change the address space: brk, mmap, munmap, mprotect.
 *
 * Bare system calls, so that no wrapper of glibc's is counted.  The mappings have free addresses
 * on either side: none is joined with a neighbour, and none takes a page table with it.
 */
#include "cost.h"

#include <sys/mman.h>
#include <sys/syscall.h>

#define ROOM	(16 * PAGE)	/* from one mapping to the next */
#define TABLE	(512 * PAGE)	/* the addresses of one page table */
#ifndef MUTATE_SPLIT
#define MUTATE_SPLIT	1	/* pages of the three */
#endif

static char *brk_at(char *where)
{
	return (char *)lab_syscall(SYS_brk, (long)where, 0, 0, 0, 0, 0);
}

static char *map(char *where, size_t pages)
{
	return (char *)lab_syscall(SYS_mmap, (long)where, (long)(pages * PAGE), PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
}

static void unmap(char *where, size_t pages)
{
	lab_syscall(SYS_munmap, (long)where, (long)(pages * PAGE), 0, 0, 0, 0);
}

static void protect(char *where, size_t pages, int how)
{
	lab_syscall(SYS_mprotect, (long)where, (long)(pages * PAGE), how, 0, 0, 0);
}

static void touch_if_wanted(char *page)
{
#ifndef MUTATE_UNTOUCHED
	touch(page);
#else
	(void)page;
#endif
}

static void show_brk(void)
{
	char *end = brk_at(NULL);

	end = brk_at((char *)(((uintptr_t)end + 2 * PAGE) & ~(PAGE - 1)));
	touch(end - 1);	/* the heap is there, and its page table */
	MEASURE("brk.grow", NOTHING, brk_at(end + PAGE), brk_at(end));
	MEASURE("brk.shrink", brk_at(end + PAGE), brk_at(end), NOTHING);
	MEASURE("brk.shrink-touched", (brk_at(end + PAGE), touch_if_wanted(end)), brk_at(end), NOTHING);
}

void show_mappings(void)
{
	char *place = mmap(NULL, 2 * TABLE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *here;

	need(place != MAP_FAILED, "free addresses");
	unmap(place, 2 * TABLE / PAGE);
	place = (char *)(((uintptr_t)place + TABLE - 1) & ~(TABLE - 1));
	touch(map(place, 1));	/* the first and the last page of a page table, which so is there and stays */
	touch(map(place + TABLE - PAGE, 1));
	place += ROOM;
	show_brk();
	MEASURE("mmap.map", here = place + i * ROOM, map(here, 3), NOTHING);
	MEASURE("mprotect.split", here = place + i * ROOM + (MUTATE_SPLIT == 1 ? PAGE : 0),
		protect(here, MUTATE_SPLIT, PROT_READ), NOTHING);
	MEASURE("mprotect.merge", here = place + i * ROOM + (MUTATE_SPLIT == 1 ? PAGE : 0),
		protect(here, MUTATE_SPLIT, PROT_READ | PROT_WRITE), NOTHING);
	MEASURE("mprotect.whole", here = place + i * ROOM, protect(here, 3, PROT_READ),
		protect(here, 3, PROT_READ | PROT_WRITE));
	for (unsigned long i = 0; i < REPEATS; i++)
		unmap(place + i * ROOM, 3);
	MEASURE("mmap.unmap", (here = place + i * ROOM, map(here, 3)), unmap(here, 3), NOTHING);
	MEASURE("mmap.unmap-touched",
		(here = place + i * ROOM, map(here, 3), touch_if_wanted(here), touch_if_wanted(here + PAGE)),
		unmap(here, 3), NOTHING);
}
