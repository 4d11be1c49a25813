/*
 * NAME - the first write to a page is what takes memory.
 *
 * Shown: mmap() only makes a mapping; the memory comes with the first access to
 * a page, by a page fault.
 *
 * How: the program stops itself at checkpoints.  At each of them the lab keeps
 * what /proc says of it; the checks of scenario.yaml look at that afterwards.
 *
 * MUTATE_NO_TOUCH is a negative control: it breaks the mechanism, so that the
 * expectation must fail.
 */
#define _GNU_SOURCE
#include <sys/mman.h>

#include "lab.h"

#define PAGE	4096

#ifndef MUTATE_NO_TOUCH
#define MUTATE_NO_TOUCH 0
#endif

int main(void)
{
	/* No stdio and no malloc: they would take memory of their own. */
	char *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (page == MAP_FAILED)
		return 1;
	lab_note_ptr("page", page);	/* what only the program knows: note("page") */
	lab_checkpoint("mapped");	/* it stands still here, is looked at, and goes on */

	if (!MUTATE_NO_TOUCH)
		*(volatile char *)page = 1;
	lab_checkpoint("touched");
	return 0;
}
