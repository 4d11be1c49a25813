// SPDX-License-Identifier: MIT
/*
 * cost - what page faults, system calls, threads and malloc cost: in instructions, the kernel's included.
 *
 * Its guest counts instructions instead of taking the time (scenario.yaml: deterministic), so
 * that the numbers are the same in every run, on every host with the same compiler, and differ
 * between kernels and glibcs by what these do.  That it really counts them is shown first: by an empty window, and
 * by one with a known number of instructions in it.
 *
 * No cache, no TLB and no memory has a price here: what is counted is work, not time.
 */
#include "cost.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef MUTATE_NOPS
#define MUTATE_NOPS	1000
#endif
#ifndef MUTATE_NOTHING
#define MUTATE_NOTHING	NOTHING
#endif
#define TEXT_(x)	#x
#define TEXT(x)		TEXT_(x)

void need(int it, const char *what)
{
	if (it)
		return;
	lab_note("missing", what);
	exit(1);
}

void touch(char *page)
{
	*(volatile char *)page = 1;
}

static void show_counter(void)
{
	MEASURE("counter.nothing", NOTHING, MUTATE_NOTHING, NOTHING);
	MEASURE("counter.nops", NOTHING,
		__asm__ volatile(".rept " TEXT(MUTATE_NOPS) "\n\tnop\n\t.endr"), NOTHING);
	MEASURE("counter.getpid", NOTHING, lab_syscall(LAB_SYS_getpid, 0, 0, 0, 0, 0, 0), NOTHING);
}

int main(int argc, char **argv)
{
	uint64_t now = lab_cost_counter();

	if (argc > 1 && !strcmp(argv[1], "arrived")) {
		arrived(now);
		return 0;
	}
	show_counter();
	lab_checkpoint("counter");
	show_faults();
	lab_checkpoint("faults");
	show_mappings();
	lab_checkpoint("mappings");
	show_heap();
	lab_checkpoint("heap");
	show_threads();
	lab_checkpoint("threads");
	show_forks();
	lab_checkpoint("forks");
	show_exec(argv[0]);
	lab_checkpoint("programs");
	return 0;
}
