/* SPDX-License-Identifier: MIT */
/*
 * bounds - what really bounds the size of a thread's stack.
 *
 * The default is RLIMIT_STACK as it is when the program starts, whatever its
 * value; with no limit it is the architecture's 2 MiB.  What a thread asks for
 * is refused by mmap() or mprotect(): for RLIMIT_AS, or as an obvious overcommit,
 * a mapping larger than all memory and swap.
 *
 * The number 32 MB belongs to IA-64, whose default it was where x86 has 2 MiB,
 * and to malloc, whose mmap threshold rises no further.
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lab.h"
#include "threads.h"

/* Runs this program anew under a limit, up to the checkpoint of that name. */
static void run_limited(const char *checkpoint, rlim_t soft)
{
	char *argv[] = { "threads", (char *)checkpoint, NULL };
	struct rlimit limit = { .rlim_cur = soft, .rlim_max = RLIM_INFINITY };
	pid_t child = fork();

	if (child == 0) {
		setrlimit(RLIMIT_STACK, &limit);
		execv("/proc/self/exe", argv);
		_exit(127);
	}
	if (child > 0)
		waitpid(child, NULL, 0);
}

/* Room for one stack of 64 MiB, not for two. */
static void show_address_space(void)
{
	static struct worker first, second;
	struct rlimit before, limit;
	int within, beyond;

	getrlimit(RLIMIT_AS, &before);
	limit = before;
	limit.rlim_cur = mapped_bytes() + 96 * MIB;
	if (!MUTATE_NO_AS)
		setrlimit(RLIMIT_AS, &limit);
	lab_trace_begin("as");
	within = start_sized(&first, 64 * MIB);
	beyond = start_sized(&second, 64 * MIB);
	lab_trace_end("as");
	lab_note_i64("within-as", within);
	lab_note_i64("beyond-as", beyond);
	setrlimit(RLIMIT_AS, &before);
	stop_worker(&first);
	stop_worker(&second);
}

static int try_size(uint64_t size)
{
	static struct worker worker;
	int error = start_sized(&worker, size & ~(PAGE - 1));

	stop_worker(&worker);
	return error;
}

/* Nothing is touched: what is refused is the promise. */
static void show_overcommit(void)
{
	struct sysinfo info;
	uint64_t all;

	sysinfo(&info);
	all = (uint64_t)(info.totalram + info.totalswap) * info.mem_unit;
	lab_note_u64("memory", all);
	lab_note_i64("quarter-of-memory", try_size(all / 4));
	lab_note_i64("beyond-memory", try_size(all + MIB));
}

void show_bounds(void)
{
	run_limited("raised", (MUTATE_RAISE_LESS ? 16 : 64) * MIB);
	run_limited("unlimited", MUTATE_NOT_UNLIMITED ? MIB : RLIM_INFINITY);
	show_address_space();
	show_overcommit();
	lab_checkpoint("bounds");
}

/* Whether a block, freed once, has a mapping of its own again: its IS_MMAPPED bit (malloc.c). */
static int mapped_again(size_t size)
{
	volatile size_t *block;

	free(malloc(size));
	block = malloc(size);
	if (!block)
		return -1;
	size = block[-1] >> 1 & 1;
	free((void *)block);
	return (int)size;
}

void show_origin(void)
{
	lab_note_i64("mapped-again-31", mapped_again(31 * MIB));
	lab_note_i64("mapped-again-33", mapped_again(33 * MIB));
	lab_checkpoint("origin");
}
