/* SPDX-License-Identifier: MIT */
/*
 * anonymous - fresh anonymous memory, without huge pages.
 *
 * mmap(2) makes only the VMA; the pages come one by one, each with the fault of its
 * first touch, and never again while they stay.  The first fault of a VMA is looked at
 * apart from later ones, because it makes the VMA's anon_vma too, which on some
 * kernels changes how the VMA is looked up.
 */
#include <sys/mman.h>

#include "lab.h"
#include "page-fault.h"

#define PAGES	64

/*
 * A VMA of three pages, and next to it one of another page, which was touched: the
 * page table is there, so that no fault has to allocate it.
 */
static char *untouched_vma(void)
{
	char *from = reserve(8 * PAGE, 8 * PAGE);

	allow(from, 3 * PAGE);
	allow(from + 4 * PAGE, PAGE);
	write_byte(from + 4 * PAGE);
	return from;
}

void show_fault(void)
{
	char *vma = untouched_vma();
	char *first = vma + 0x123;	/* somewhere in the page */
	char *later = vma + 2 * PAGE;

	if (MUTATE_TOUCHED)
		write_pages(vma, 3);
	lab_note_ptr("first", first);
	lab_note_ptr("later", later);
	lab_trace_begin("first");
	if (MUTATE_READ)
		read_byte(first);
	else
		write_byte(first);
	lab_trace_end("first");
	write_byte(vma + PAGE);
	lab_trace_begin("later");
	write_byte(later);
	lab_trace_end("later");
	note_frame("frame", later);
	lab_checkpoint("faulted");
}

/* A page that must be read into the page cache first: the only major fault here. */
static const char *uncached_page(void)
{
	char *at = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, make_ram_file(1), 0);

	if (at == MAP_FAILED)
		give_up("mmap");
	return at;
}

void show_count(void)
{
	const char *uncached = MUTATE_UNCACHED ? uncached_page() : NULL;
	char *region = fresh(PAGES, PAGES * PAGE);
	struct faults before;

	if (MUTATE_TOUCH_EARLY)
		write_byte(region);
	lab_note_ptr("region", region);
	lab_checkpoint("mapped");

	if (MUTATE_PREFAULT)
		write_pages(region, PAGES / 2);
	lab_trace_begin("count");
	before = count_faults();
	write_pages(region, PAGES);
	if (MUTATE_UNCACHED)
		read_byte(uncached);
	note_faults("minor", "major", before);
	lab_trace_end("count");
	if (MUTATE_GIVE_BACK)
		madvise(region, PAGE, MADV_DONTNEED);
	lab_checkpoint("touched");

	if (MUTATE_DISCARD)
		madvise(region, PAGES * PAGE, MADV_DONTNEED);
	before = count_faults();
	write_pages(region, PAGES);
	note_faults("minor", NULL, before);
	lab_checkpoint("touched-again");
}
