/* SPDX-License-Identifier: MIT */
/*
 * overflow - a thread that uses up its stack.
 *
 * In a child, which dies of it; the kernel's report of the fault is the lab's
 * checkpoint signal-SEGV.  The frames are smaller than the guard, so that the
 * first access below the stack hits the guard.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lab.h"
#include "threads.h"

#define STACK	(256 * KIB)

static __attribute__((noinline)) int recurse(volatile char *above)
{
	volatile char frame[512];

	frame[0] = above[0];
	return recurse(frame) + frame[0];
}

static void overflow(struct worker *self)
{
	char start = 1;

	(void)self;
	recurse(&start);
}

/* A control: a stack that does grow, as that of the main thread, down to the page at wall. */
static void set_growing_stack(pthread_attr_t *attributes)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
	char *wall = mmap(NULL, 2 * MIB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	mmap(wall + MIB, STACK, PROT_READ | PROT_WRITE, flags | MAP_GROWSDOWN, -1, 0);
	munmap(wall + PAGE, MIB - PAGE);
	pthread_attr_setstack(attributes, wall + MIB, STACK);
}

static void die_of_overflow(void)
{
	static struct worker worker;
	struct rlimit core = { RLIM_INFINITY, RLIM_INFINITY };
	pthread_attr_t attributes;

	setrlimit(RLIMIT_CORE, &core);	/* with 1, nobody would be told of the fault */
	worker.last = overflow;
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, STACK);
	if (MUTATE_GROWSDOWN)
		set_growing_stack(&attributes);
	start_worker(&worker, &attributes);
	read_attributes(&worker);
	note_stack(&worker);
	lab_checkpoint("brink");
	stop_worker(&worker);
}

void show_overflow(void)
{
	pid_t child = fork();

	if (child == 0) {
		die_of_overflow();
		_exit(0);
	}
	if (child > 0)
		waitpid(child, NULL, 0);
}
