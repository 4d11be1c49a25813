/* SPDX-License-Identifier: MIT */
/*
 * stack-overflow - how the main stack grows, and where that ends.
 *
 * Shown: an access below [stack] extends it, as far as RLIMIT_STACK and the gap
 * to the mapping below allow, and is SIGSEGV otherwise; which si_code, address
 * and line in the kernel's log that gives; who survives it.
 *
 * How: most experiments run in forked children, so that each begins with the
 * same stack.  An access that the kernel may refuse is made under a handler on an
 * alternate stack.  Four processes die with a checkpoint, in this order: one that
 * overflows (signal-SEGV#1), one whose limit was raised before (#2), one whose
 * handler has no stack to run on (#3), and the program itself, at its end (#4).
 * The death of any other child is none.
 *
 * Each MUTATE_... is a negative control: it breaks the mechanism behind an
 * expectation of scenario.yaml, which must then fail.
 */
#define _GNU_SOURCE
#include <alloca.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "lab.h"
#include "stack.h"

#define GROWTH	(64 * PAGE)	/* with what [stack] has at the start, far below %rsp */

/* The stack that the program will need itself, so that no checkpoint finds a new page of it. */
static __attribute__((noinline)) void touch_stack(void)
{
	volatile char pad[8 * PAGE];
	size_t i;

	for (i = 0; i < sizeof(pad); i += PAGE)
		pad[i] = 1;
}

/*
 * Without a bound the overflow would eat the guest's memory; with less than this nothing can grow.  The other
 * limits of address space are out of the way.
 */
static void bound_limits(void)
{
	const struct rlimit none = { RLIM_INFINITY, RLIM_INFINITY };

	setrlimit(RLIMIT_AS, &none);
	setrlimit(RLIMIT_DATA, &none);
	dump(true);
	if (stack_limit() > 64 * MIB)
		set_stack_limit(8 * MIB);
	else if (stack_limit() < MIB)
		set_stack_limit(MIB);
}

static void touch_growth(uintptr_t start, uintptr_t target)
{
	uintptr_t page;

	if (MUTATE_INSIDE)
		target = start;
	for (page = start - PAGE; MUTATE_STEPS && page > target; page -= PAGE)
		write_to(page);
	write_to(target);
	for (page = target + PAGE; MUTATE_EVERY_PAGE && page < start; page += PAGE)
		write_to(page);
}

static __attribute__((noinline)) void show_growth(uintptr_t start)
{
	uintptr_t target = start - GROWTH, here = (uintptr_t)__builtin_frame_address(0), sp;

	if (MUTATE_NEAR) {	/* %rsp just above, and the page below it as the target */
		target = start - PAGE;
		*(volatile char *)alloca(here - start - 2 * PAGE) = 0;
	}
	__asm__ volatile("mov %%rsp, %0" : "=r"(sp));
	lab_note_hex("sp", sp);
	lab_note_hex("touched", target);
	lab_trace_begin("grow");
	touch_growth(start, target);
	lab_trace_end("grow");
	lab_checkpoint("grown");
}

static void die(void)
{
	overflow(0);
}

/* The limit is raised while the program runs. */
static void raised(void)
{
	dump(true);
	if (!MUTATE_NOT_RAISED)
		set_stack_limit(2 * stack_limit());
	die();
}

static void end(void)
{
	if (MUTATE_OTHER_DIES)
		in_child(die);
	else
		die();
}

int main(int argc, char **argv)
{
	if (argc > 2 && !strcmp(argv[1], "top"))
		return report_top(argv[2]);
	if (argc > 2 && !strcmp(argv[1], "base"))
		return report_base(argv[2]);

	/* A huge page would make the one page touched 512. */
	prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
	bound_limits();
	log_open();
	touch_stack();
	lab_checkpoint("start");
	show_growth(find_stack().start);
	show_lowered();
	show_growsdown();
	show_bases();
	show_gaps();
	show_clash();
	show_accesses();
	show_deaths();
	show_overflow();
	in_child(raised);
	show_altstack();
	show_random();
	end();
	return 0;
}
