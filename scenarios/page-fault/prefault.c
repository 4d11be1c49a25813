/* SPDX-License-Identifier: MIT */
/*
 * prefault - memory that is there before it is touched, and memory that is gone again.
 *
 * MAP_POPULATE and mlock(2) walk the range as if each page were touched: the same
 * fault handler runs, called by the kernel and not by an exception, and the
 * counter of minor faults grows by as much.  MADV_DONTNEED takes the pages away
 * and leaves the mapping.
 */
#define _GNU_SOURCE
#include <sys/mman.h>
#include <sys/prctl.h>

#include "lab.h"
#include "page-fault.h"

#define PAGES	16
#define SIZE	(PAGES * PAGE)

static void note_touch(char *region)
{
	struct faults before = count_faults();

	write_pages(region, PAGES);
	note_faults("touch", NULL, before);
}

static char *show_populate(void)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | (MUTATE_NO_POPULATE ? 0 : MAP_POPULATE);
	char *region = reserve(SIZE, SIZE);
	struct faults before;
	void *at;

	lab_note_ptr("region", region);
	lab_trace_begin("populate");
	before = count_faults();
	at = mmap(region, SIZE, PROT_READ | PROT_WRITE, flags, -1, 0);
	note_faults("call", NULL, before);
	lab_trace_end("populate");
	if (at == MAP_FAILED)
		give_up("mmap");
	lab_checkpoint("populated");

	lab_trace_begin("populated");
	note_touch(region);
	lab_trace_end("populated");
	region[1] = 'x';
	lab_checkpoint("populated-touched");
	return region;
}

static void show_discard(char *region)
{
	if (!MUTATE_KEEP)
		madvise(region, SIZE, MADV_DONTNEED);
	lab_note_ptr("region", region);
	lab_checkpoint("discarded");

	note_touch(region);
	lab_note_i64("beside", region[1]);
	lab_checkpoint("refilled");
}

static void show_lock(void)
{
	char *region = fresh(PAGES, SIZE);
	struct faults before = count_faults();

	if (MUTATE_LOCK_LATER)
		mlock2(region, SIZE, MLOCK_ONFAULT);
	else
		mlock(region, SIZE);
	note_faults("call", NULL, before);
	note_touch(region);
	lab_note_ptr("region", region);
	lab_checkpoint("locked");
	munlock(region, SIZE);
}

void show_prefault(void)
{
	prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);	/* page by page; what MAP_POPULATE fills can't be advised before */
	show_discard(show_populate());
	show_lock();
}
