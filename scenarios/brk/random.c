/* SPDX-License-Identifier: MIT */
/*
 * random - how far above the bss the heap starts.
 *
 * The kernel chooses that distance once, in execve (load_elf_binary() and
 * arch_randomize_brk()), so the program runs itself anew for each sample.  The
 * sample writes the distance from the end of its bss, rounded up to a page as
 * the kernel does it, to its standard output, which is a pipe.
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <sys/personality.h>
#include <sys/wait.h>
#include <unistd.h>

#include "brk.h"
#include "lab.h"

#define SAMPLES	8

extern char _end[];	/* of the bss: set by the linker, end(3) */

/* In a sample: nothing has moved the break yet, so it is start_brk. */
int report_gap(void)
{
	uintptr_t bss_end = ((uintptr_t)_end + PAGE - 1) & ~(uintptr_t)(PAGE - 1);
	uint64_t gap = kernel_break() - bss_end;

	return write(STDOUT_FILENO, &gap, sizeof(gap)) == sizeof(gap) ? 0 : 1;
}

/* The distance in one new process; all ones if it did not say. */
static uint64_t sample(void)
{
	char *argv[] = { "brk", "gap", NULL };
	uint64_t gap = UINT64_MAX;
	int end[2];
	pid_t child;

	if (pipe(end))
		return gap;
	child = vfork();
	if (child == 0) {
		if (MUTATE_NO_RANDOM)
			personality(ADDR_NO_RANDOMIZE);
		dup2(end[1], STDOUT_FILENO);
		execv("/proc/self/exe", argv);
		_exit(127);
	}
	close(end[1]);
	if (child < 0 || read(end[0], &gap, sizeof(gap)) != sizeof(gap))
		gap = UINT64_MAX;
	close(end[0]);
	if (child > 0)
		waitpid(child, NULL, 0);
	return gap;
}

void show_random(void)
{
	char key[] = "gap-0";
	int i;

	for (i = 0; i < SAMPLES; i++) {
		key[4] = (char)('0' + i);
		lab_note_hex(key, sample());
	}
	lab_checkpoint("random");
}
