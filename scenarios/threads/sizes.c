/* SPDX-License-Identifier: MIT */
/*
 * sizes - what a program may ask for: a wider guard, the smallest stack, a large
 * one, and a default that is decided once.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <sys/resource.h>
#include <unistd.h>

#include "lab.h"
#include "threads.h"

static void show_wide_guard(void)
{
	static struct worker worker;
	pthread_attr_t attributes;

	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, MIB);
	pthread_attr_setguardsize(&attributes, (MUTATE_NARROW ? 4 : 8) * PAGE);
	start_worker(&worker, &attributes);
	pthread_attr_destroy(&attributes);
	read_attributes(&worker);
	lab_note_u64("wide", worker.guard);
	lab_note_i64("wide-first", peek(worker.low - worker.guard));
	lab_note_i64("wide-last", peek(worker.low - 1));
	lab_note_i64("wide-above", peek(worker.low));
	stop_worker(&worker);
}

static void show_smallest(void)
{
	static struct worker worker;
	size_t smallest = (size_t)sysconf(_SC_THREAD_STACK_MIN);

	lab_note_i64("below-smallest", start_sized(&worker, smallest - !MUTATE_AT_MIN));
	stop_worker(&worker);
	lab_note_i64("at-smallest", start_sized(&worker, smallest));
	stop_worker(&worker);
}

/* The limit changes while the program runs; the default does not. */
static void show_late_limit(void)
{
	struct rlimit before, limit;
	pthread_attr_t attributes;

	getrlimit(RLIMIT_STACK, &before);
	limit = before;
	limit.rlim_cur = 3 * MIB;
	setrlimit(RLIMIT_STACK, &limit);
	if (MUTATE_LATE_DEFAULT) {
		pthread_attr_init(&attributes);
		pthread_attr_setstacksize(&attributes, limit.rlim_cur);
		pthread_setattr_default_np(&attributes);
	}
	lab_note_u64("late-default", default_size());
	lab_checkpoint("sizes");
	setrlimit(RLIMIT_STACK, &before);
}

/* 63 frames of 1 MiB, one byte of each written. */
static __attribute__((noinline)) uintptr_t descend(int levels)
{
	volatile char frame[MIB];
	uintptr_t deepest;

	frame[0] = 1;
	deepest = levels > 1 ? descend(levels - 1) : (uintptr_t)frame;
	frame[1] = frame[0];	/* it is needed after the call, so it is no tail call */
	return deepest;
}

static void go_deep(struct worker *self)
{
	self->frame = descend(MUTATE_ASK_LESS ? 15 : 63);
}

static void show_large(void)
{
	static struct worker worker;

	worker.work = go_deep;
	lab_note_u64("before", mapped_bytes());
	lab_note_i64("error", start_sized(&worker, (MUTATE_ASK_LESS ? 16 : 64) * MIB));
	lab_note_u64("depth", worker.self - worker.frame);
	lab_note_i64("tid", worker.tid);
	lab_checkpoint("large");
	stop_worker(&worker);
}

void show_sizes(void)
{
	show_wide_guard();
	show_smallest();
	show_late_limit();
	show_large();
}
