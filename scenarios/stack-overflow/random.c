/* SPDX-License-Identifier: MIT */
/*
 * random - where the stack begins.  The kernel chooses that in execve
 * (randomize_stack_top(), mm/util.c), so the program runs itself anew for
 * each sample, which reports the end of its [stack].
 */
#define _GNU_SOURCE
#include <sys/personality.h>
#include <unistd.h>

#include "lab.h"
#include "stack.h"

#define SAMPLES	8

int report_top(const char *key)
{
	note_value("top", key, find_stack().end);
	return 0;
}

static char key[] = "0";

static void sample(void)
{
	char *argv[] = { "stack-overflow", "top", key, NULL };

	if (MUTATE_NO_RANDOM)
		personality(ADDR_NO_RANDOMIZE);
	execv("/proc/self/exe", argv);
	_exit(127);
}

void show_random(void)
{
	int i;

	for (i = 0; i < SAMPLES; i++) {
		key[0] = (char)('0' + i);
		in_child(sample);
	}
	lab_checkpoint("random");
}
