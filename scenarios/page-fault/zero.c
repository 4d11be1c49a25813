/* SPDX-License-Identifier: MIT */
/*
 * zero - a page that is only read is the zero page, the same one for everybody.
 *
 * The read fault maps it read-only and allocates nothing; the write that comes later
 * faults once more, though the page is present, and gets a page of its own.
 */
#include "lab.h"
#include "page-fault.h"

static void note_frames(const char *page)
{
	note_frame("frame", page);
	note_frame("neighbour", page + PAGE);
}

void show_zero(void)
{
	char *page = fresh(4, 4 * PAGE);
	struct faults before;

	write_byte(page + 3 * PAGE);	/* its page table is there now */
	lab_note_ptr("page", page);
	lab_trace_begin("zero-read");
	before = count_faults();
	if (MUTATE_WRITE_FIRST)
		write_pages(page, 2);
	else
		read_pages(page, 2);
	note_faults("minor", NULL, before);
	lab_trace_end("zero-read");
	note_frames(page);
	lab_checkpoint("zero-read");

	lab_trace_begin("zero-write");
	before = count_faults();
	if (MUTATE_ONLY_READ)
		read_byte(page + 1);
	else
		write_byte(page + 1);
	note_faults("minor", NULL, before);
	lab_trace_end("zero-write");
	note_frames(page);
	lab_note_i64("beside", page[2]);
	lab_checkpoint("zero-written");
}
