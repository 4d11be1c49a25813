/* SPDX-License-Identifier: MIT */
/*
 * cache - what becomes of the stack of a thread that was joined.
 *
 * glibc queues it, struct pthread and guard included, and gives it to the next
 * thread that it is large enough for (and not four times too large).  When the
 * queue holds more than 40 MiB the oldest are unmapped.
 *
 * The bound is a tunable from glibc 2.34 on.
 *
 * The sizes are asked for, so that RLIMIT_STACK does not matter here.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lab.h"
#include "threads.h"

#define MANY	6
#define NO_CACHE	"glibc.pthread.stack_cache_size=0"

static void show_reuse(void)
{
	static struct worker first, second;
	/* A control: one stack that alone is more than the cache may hold. */
	size_t size = MUTATE_BIG_STACKS ? 48 * MIB : MIB;

	start_sized(&first, size);
	lab_note_hex("self", first.self);
	lab_checkpoint("alive");
	if (!MUTATE_BOTH_ALIVE)
		stop_worker(&first);
	lab_checkpoint("joined");

	lab_trace_begin("reuse");
	start_sized(&second, size);
	lab_trace_end("reuse");
	lab_note_hex("self", second.self);
	lab_checkpoint("reused");
	stop_worker(&second);
	if (MUTATE_BOTH_ALIVE)
		stop_worker(&first);
}

static void show_bound(void)
{
	static struct worker many[MANY];
	char key[] = "kept-0";
	char self[] = "self-0";
	int count = MUTATE_FEW ? 2 : MANY;
	int i;

	for (i = 0; i < count; i++)
		start_sized(&many[i], 8 * MIB);
	lab_checkpoint("full");

	lab_trace_begin("trim");
	for (i = 0; i < count; i++)
		stop_worker(&many[i]);
	lab_trace_end("trim");
	for (i = 0; i < count; i++) {
		key[5] = (char)('0' + i);
		lab_note_i64(key, peek(many[i].self) == 1);
		self[5] = key[5];
		lab_note_hex(self, many[i].self);
	}
	lab_checkpoint("bounded");
}

/* In a program that was run anew, with a cache of no size. */
int report_cache(const char *checkpoint)
{
	static struct worker worker;
	const char *tunables = getenv("GLIBC_TUNABLES");

	free(malloc(1));
	lab_note_u64("before", mapped_bytes());
	start_sized(&worker, MIB);
	stop_worker(&worker);
	lab_note_i64("asked", tunables && strcmp(tunables, NO_CACHE) == 0);
	lab_checkpoint(checkpoint);
	return 0;
}

static void show_no_cache(void)
{
	char *argv[] = { "threads", NO_CACHE_RUN, NULL };
	pid_t child = fork();

	if (child == 0) {
		setenv("GLIBC_TUNABLES", MUTATE_CACHE ? "" : NO_CACHE, 1);
		execv("/proc/self/exe", argv);
		_exit(127);
	}
	if (child > 0)
		waitpid(child, NULL, 0);
}

void show_cache(void)
{
	show_reuse();
	show_bound();
	show_no_cache();
}
