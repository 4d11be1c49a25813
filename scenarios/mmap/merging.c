/* SPDX-License-Identifier: MIT */
/*
 * merging - which neighbours become one VMA, and what splits one.
 *
 * Two VMAs can be one if their flags, file, place in the file and anon_vma agree.
 * The first write to a private mapping gives it an anon_vma; parts of what was
 * once one VMA share theirs, but two that were written to apart never agree again.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lab.h"
#include "mmap.h"

/* Arena pages: 0-8 exists, 8-12 the same kind, then neighbours of other kinds. */
static void merge_anonymous(void)
{
	long apart = MUTATE_APART ? 1 : 0;

	lab_trace_begin("extend");
	map_at(8 + apart, 4 - apart, RW);
	lab_trace_end("extend");

	lab_trace_begin("differ");
	map_at(12, 4, MUTATE_SAME_RIGHTS ? RW : PROT_READ);
	map_anonymous(at_page(16), 4 * PAGE, RW, MAP_SHARED | MAP_FIXED_NOREPLACE);
	map_anonymous(at_page(20), 4 * PAGE, RW, MAP_SHARED | MAP_FIXED_NOREPLACE);
	lab_trace_end("differ");
}

static void map_file(int fd, long page, long offset)
{
	mmap(at_page(page), PAGE, PROT_READ, MAP_PRIVATE | MAP_FIXED_NOREPLACE, fd, offset * PAGE);
}

/* Arena pages 26-29: the first page of a file, the second, and the first again. */
static void merge_file(void)
{
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

	map_file(fd, 26, 0);
	lab_trace_begin("next");
	map_file(fd, 27, MUTATE_OTHER_OFFSET ? 2 : 1);
	lab_trace_end("next");
	lab_trace_begin("again");
	map_file(fd, 28, 0);
	lab_trace_end("again");
	close(fd);
}

/* Arena pages 32-38: two mappings that were written to, then what lies between them. */
static void merge_strangers(void)
{
	map_at(32, 2, RW);
	map_at(36, 2, RW);
	if (!MUTATE_UNTOUCHED) {
		touch_pages(at_page(32), 1);
		touch_pages(at_page(36), 1);
	}
	map_at(34, 2, RW);
}

void show_merging(void)
{
	merge_anonymous();
	merge_file();
	merge_strangers();
	lab_checkpoint("merged");
	if (MUTATE_APART)	/* for what comes next */
		map_at(8, 1, RW);
	if (MUTATE_SAME_RIGHTS)
		mprotect(at_page(12), 4 * PAGE, PROT_READ);
	lab_checkpoint("whole");
}

static void change_rights(void)
{
	long first = MUTATE_SPLIT_EDGE ? 0 : 4;

	lab_trace_begin("split");
	mprotect(at_page(first), 2 * PAGE, PROT_READ);
	lab_trace_end("split");
	lab_checkpoint("split");

	lab_trace_begin("join");
	mprotect(at_page(first), 2 * PAGE, MUTATE_KEEP_RIGHTS ? PROT_NONE : RW);
	lab_trace_end("join");
	lab_checkpoint("joined");
	mprotect(at_page(first), 2 * PAGE, RW);
}

static void make_hole(void)
{
	lab_trace_begin("hole");
	munmap(at_page(MUTATE_HOLE_AT_END ? 10 : 4), 2 * PAGE);
	lab_trace_end("hole");
	lab_checkpoint("hole");
	if (MUTATE_HOLE_AT_END)
		munmap(at_page(4), 2 * PAGE);

	lab_trace_begin("fill");
	map_at(4, 2, MUTATE_FILL_READ_ONLY ? PROT_READ : RW);
	lab_trace_end("fill");
	lab_checkpoint("filled");
}

void show_splitting(void)
{
	change_rights();
	make_hole();
}
