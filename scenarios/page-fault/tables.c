/* SPDX-License-Identifier: MIT */
/*
 * tables - page tables are made by the fault that needs them.
 *
 * x86-64 walks pgd, p4d (with 5 levels), pud, pmd, pte.  A reservation of 512 GiB has
 * an entry in the level above the page upper directories to itself, so that its
 * first touch lacks three tables; pages of it that are further and further apart lack
 * none, the page table, the page middle directory too.
 */
#include <sys/mman.h>

#include "lab.h"
#include "page-fault.h"

struct step {
	const char *name;	/* of the window and of the checkpoint */
	size_t offset;
};

#define NEAR(i)	((8 + (i)) * PAGE)

static const struct step steps[] = {
	{ "walk-pud", 0 },
	{ "walk-same", MUTATE_WALK_FAR ? 3 * TABLE : PAGE },
	{ "walk-pte", MUTATE_WALK_NEAR ? NEAR(0) : TABLE },
	{ "walk-pmd", MUTATE_WALK_NEAR ? NEAR(1) : MIDDLE },
};

#define STEPS	(sizeof(steps) / sizeof(steps[0]))

void show_tables(void)
{
	char *base = reserve(UPPER, UPPER);
	size_t i;

	for (i = 0; i < STEPS; i++)
		allow(base + steps[i].offset, PAGE);
	if (MUTATE_WALK_EARLY)
		write_byte(base);
	lab_checkpoint("reserved");

	for (i = 0; i < STEPS; i++) {
		lab_note_ptr("address", base + steps[i].offset);
		lab_trace_begin(steps[i].name);
		write_byte(base + steps[i].offset);
		lab_trace_end(steps[i].name);
		lab_checkpoint(steps[i].name);
	}
}
