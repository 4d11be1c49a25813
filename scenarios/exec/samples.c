/* SPDX-License-Identifier: MIT */
/*
 * samples - where execve() puts program, libraries, stack and vdso, each time anew.
 *
 * The program runs itself for each sample, which writes its addresses to its
 * standard output, a pipe.  The break is left to the scenario brk.
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/personality.h>
#include <sys/wait.h>
#include <unistd.h>

#include "exec.h"
#include "lab.h"

#define SAMPLES	8

struct places {
	uint64_t program, linker, stack, vdso;
};

int report_sample(void)
{
	struct places places = {
		.program = page_down(getauxval(AT_PHDR)),
		.linker = getauxval(AT_BASE),
		.stack = getauxval(AT_EXECFN),
		.vdso = getauxval(AT_SYSINFO_EHDR),
	};

	return write(STDOUT_FILENO, &places, sizeof(places)) == sizeof(places) ? 0 : 1;
}

/* The places in one new process; zeroes if it did not say. */
static struct places sample(void)
{
	char *argv[] = { "exec", "sample", NULL };
	struct places places;
	int end[2];
	pid_t child;

	memset(&places, 0, sizeof(places));
	if (pipe(end))
		return places;
	child = vfork();
	if (child == 0) {
		if (MUTATE_NO_RANDOM)
			personality(ADDR_NO_RANDOMIZE);
		dup2(end[1], STDOUT_FILENO);
		execv("/proc/self/exe", argv);
		_exit(127);
	}
	close(end[1]);
	if (child < 0 || read(end[0], &places, sizeof(places)) != sizeof(places))
		memset(&places, 0, sizeof(places));
	close(end[0]);
	if (child > 0)
		waitpid(child, NULL, 0);
	return places;
}

static void note_numbered(char *key, int number, uint64_t value)
{
	key[strlen(key) - 1] = (char)('0' + number);
	lab_note_hex(key, value);
}

void show_random(void)
{
	char program[] = "program-0", linker[] = "linker-0", stack[] = "stack-0", vdso[] = "vdso-0";
	char above[] = "above-0";
	struct places places;
	int i;

	for (i = 0; i < SAMPLES; i++) {
		places = sample();
		note_numbered(program, i, places.program);
		note_numbered(linker, i, places.linker);
		note_numbered(stack, i, places.stack);
		note_numbered(vdso, i, places.vdso);
		note_numbered(above, i, MUTATE_BELOW ? places.vdso < places.stack
						     : places.vdso > places.stack);
	}
	lab_checkpoint("random");
}
