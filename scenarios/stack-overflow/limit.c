/* SPDX-License-Identifier: MIT */
/*
 * limit - RLIMIT_STACK: read at each growth, for every mapping that grows down
 * (acct_stack_growth(), mm/mmap.c), and once more at execve, where it decides how
 * far below the stack the mmap area begins (mmap_base(), arch/x86/mm/mmap.c).
 */
#define _GNU_SOURCE
#include <sys/mman.h>
#include <sys/personality.h>
#include <unistd.h>

#include "lab.h"
#include "stack.h"

/* The limit falls below what [stack] has already. */
static void lowered(void)
{
	struct fault fault = { 0 };
	uintptr_t target = find_stack().start - PAGE;

	catch_faults();
	if (!MUTATE_NOT_LOWERED)
		set_stack_limit(PAGE);
	lab_trace_begin("refused");
	survives(write_to, target, &fault);
	lab_trace_end("refused");
	lab_note_hex("target", target);
	note_fault("lowered", &fault);
	lab_checkpoint("lowered");
}

void show_lowered(void)
{
	in_child(lowered);
}

/* A page that grows down, in the empty space below the stack. */
static void growsdown(void)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;
	uintptr_t page = find_stack().start - 64 * MIB;

	if (!MUTATE_PLAIN_MAPPING)
		flags |= MAP_GROWSDOWN;
	mmap((void *)page, PAGE, PROT_READ | PROT_WRITE, flags, -1, 0);
	set_stack_limit(MIB);
	catch_faults();
	lowest_writable(page - 2 * MIB, page);
	lab_note_hex("page", page);
	lab_checkpoint("growsdown");
}

void show_growsdown(void)
{
	in_child(growsdown);
}

/* In a sample, whose limit was set before its execve. */
int report_base(const char *key)
{
	struct stack stack = find_stack();

	note_value("base", key, stack.end - stack.below);
	if (key[0] != 'l')
		return 0;
	set_stack_limit(1024 * MIB);
	catch_faults();
	lowest_writable(stack.below, stack.start);
	lab_note_hex("below", stack.below);
	lab_checkpoint("late");
	return 0;
}

static const char *sample_key;
static uint64_t sample_limit;

static void sample(void)
{
	char *argv[] = { "stack-overflow", "base", (char *)sample_key, NULL };

	set_stack_limit(sample_limit);
	personality(ADDR_NO_RANDOMIZE);
	execv("/proc/self/exe", argv);
	_exit(127);
}

static void show_base(const char *key, uint64_t limit)
{
	sample_key = key;
	sample_limit = limit;
	in_child(sample);
}

void show_bases(void)
{
	show_base("8M", (MUTATE_OTHER_SMALL ? 256 : 8) * MIB);
	show_base("512M", 512 * MIB);
	show_base("1024M", (MUTATE_OTHER_LARGE ? 768 : 1024) * MIB);
	show_base("late", (MUTATE_EARLY_LIMIT ? 1024 : 8) * MIB);
}
