/* SPDX-License-Identifier: MIT */
/*
 * threads - what a thread is made of: a stack, its guard, a descriptor, one clone.
 *
 * Shown: the stack is one mapping whose size is decided at the program's start
 * from RLIMIT_STACK, or per thread by an attribute, and by nothing else (no
 * 32 MB); it has a guard at its low end and struct pthread at its top, never
 * grows, and is kept for the next thread after pthread_join(); the thread shares
 * mm, files, fs and signal handlers with its creator.
 *
 * How: threads that stand still (worker.c) while the lab looks at /proc, with
 * windows of the kernel's trace around pthread_create() and pthread_join().
 * What is counted is VmSize, which is exact, and not the sizes of mappings: a
 * stack may merge with anonymous memory of libc, or with a neighbouring stack.
 *
 * Each MUTATE_... is a negative control: it breaks the mechanism behind one
 * expectation of scenario.yaml, which must then fail.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lab.h"
#include "threads.h"

#ifndef MADV_GUARD_REMOVE
#define MADV_GUARD_REMOVE	103
#endif

/* What a thread gets whose creator asks for nothing. */
size_t default_size(void)
{
	pthread_attr_t attributes;
	size_t size = 0;

	pthread_getattr_default_np(&attributes);
	pthread_attr_getstacksize(&attributes, &size);
	pthread_attr_destroy(&attributes);
	return size;
}

static void set_default_size(size_t size)
{
	pthread_attr_t attributes;

	pthread_getattr_default_np(&attributes);
	pthread_attr_setstacksize(&attributes, size);
	pthread_setattr_default_np(&attributes);
	pthread_attr_destroy(&attributes);
}

static void *map_page(void)
{
	return mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}

static void touch_pages(struct worker *self)
{
	volatile char pages[32 * PAGE];
	size_t i;

	(void)self;
	for (i = 0; i < sizeof(pages); i += PAGE)
		pages[i] = 1;
}

/* Makes the guard ordinary memory, whichever kind it is. */
static void lift_guard(const struct worker *worker)
{
	void *guard = (void *)(worker->low - worker->guard);

	madvise(guard, worker->guard, MADV_GUARD_REMOVE);
	mprotect(guard, worker->guard, PROT_READ | PROT_WRITE);
}

static void note_guard(const struct worker *worker)
{
	uintptr_t block = worker->low - worker->guard;

	lab_note_i64("guard-peek", peek(block));
	lab_note_i64("low-peek", peek(worker->low));
	lab_note_i64("guard-marker", guard_marker(block));
	lab_note_i64("low-marker", guard_marker(worker->low));
}

/* Adds 1 to the thread's id where its struct pthread has it, or takes that back. */
static void falsify_tid(const struct worker *worker, int by)
{
	pid_t *word = (pid_t *)worker->self;

	while (*word != worker->tid + (by < 0))
		word++;
	*word += by;
}

/* block: where the mapping begins.  The guard is there, below the stack. */
void note_stack(const struct worker *worker)
{
	lab_note_hex("block", worker->low - worker->guard);
	lab_note_hex("low", worker->low);
	lab_note_u64("size", worker->size);
	lab_note_u64("guard", worker->guard);
	lab_note_hex("frame", worker->frame);
	lab_note_hex("tls", worker->tls);
	lab_note_hex("self", MUTATE_OTHER_SELF ? (uintptr_t)pthread_self() : worker->self);
	lab_note_hex("main", (uintptr_t)pthread_self());
	lab_note_hex("fs", MUTATE_OTHER_FS ? fs_base() : worker->fs);
	lab_note_i64("tid", MUTATE_OTHER_TID ? getpid() : worker->tid);
}

static void show_start(void)
{
	struct worker early = { .work = NULL };

	free(malloc(1));	/* the heap is there from now on, and large enough for the rest */
	note_guard_support();
	if (MUTATE_WARM) {	/* its stack is in the cache, then */
		start_worker(&early, NULL);
		stop_worker(&early);
	}
	if (MUTATE_DEFAULT)
		set_default_size(3 * MIB);
	lab_note_u64("default", default_size());
	lab_note_i64("smallest", sysconf(_SC_THREAD_STACK_MIN));
	lab_checkpoint("start");
}

/* The thread that pthread_create(…, NULL, …) makes. */
void show_default(void)
{
	static struct worker worker;
	uintptr_t middle;
	pid_t child;

	worker.work = MUTATE_TOUCH ? touch_pages : NULL;
	lab_trace_begin("create");
	if (start_worker(&worker, NULL))	/* a default that no memory can hold */
		start_sized(&worker, 8 * MIB);
	if (MUTATE_MAP_INSIDE)
		map_page();
	if (MUTATE_FORK_INSIDE) {
		child = fork();
		if (child == 0)
			_exit(0);
		waitpid(child, NULL, 0);
	}
	lab_trace_end("create");

	if (MUTATE_MAP_OUTSIDE)
		map_page();
	read_attributes(&worker);
	middle = (worker.low + worker.size / 2) & ~(PAGE - 1);
	if (MUTATE_NO_GUARD)
		lift_guard(&worker);
	if (MUTATE_SPLIT)
		mprotect((void *)middle, PAGE, PROT_READ);
	lab_note_u64("resident", resident_pages(worker.low, worker.size));
	note_stack(&worker);
	note_guard(&worker);
	if (MUTATE_FALSE_TID)
		falsify_tid(&worker, 1);
	lab_checkpoint("created");
	if (MUTATE_FALSE_TID)
		falsify_tid(&worker, -1);	/* pthread_join() waits for the kernel to clear it */
	stop_worker(&worker);
}

/* In a program that was run anew under another limit. */
int report_default(const char *checkpoint)
{
	struct worker worker = { .work = NULL };

	free(malloc(1));
	lab_note_u64("before", mapped_bytes());
	start_worker(&worker, NULL);
	lab_note_u64("default", default_size());
	lab_checkpoint(checkpoint);
	stop_worker(&worker);
	return 0;
}

int main(int argc, char **argv)
{
	/* A huge page in a stack would make the memory behind it 2 MiB. */
	prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
	if (argc > 1 && strcmp(argv[1], NO_CACHE_RUN) == 0)
		return report_cache(argv[1]);
	if (argc > 1)
		return report_default(argv[1]);

	show_start();
	show_default();
	show_cache();
	show_sharing();
	show_sizes();
	show_bounds();
	show_overflow();
	show_origin();
	return 0;
}
