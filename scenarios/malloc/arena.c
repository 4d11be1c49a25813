/* SPDX-License-Identifier: MIT */
/*
 * arena - how many arenas there are, and who gets which.
 *
 * A thread's first request makes an arena for it, until there are 8 for each CPU
 * (a limit that is looked at only once there are more than 8); later threads share.
 * The arena of a thread that ended serves the next new thread.  An arena is known
 * by its heap: the address of a block in it, rounded down.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <unistd.h>

#include "lab.h"
#include "controls.h"
#include "ptmalloc.h"

#define MOST	200	/* threads: the lab looks at so many tasks */
#define STACK	(128UL << 10)

static struct user {
	pthread_t thread;
	uintptr_t block;
} users[MOST];

static pthread_barrier_t barrier;

/* Holds a block, and with it the arena, until everybody has one and has been looked at. */
static void *use_arena(void *user)
{
	((struct user *)user)->block = allocate(1000);
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
	return NULL;
}

static void start_users(unsigned int count)
{
	pthread_attr_t attributes;
	unsigned int i;

	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, STACK);
	pthread_barrier_init(&barrier, NULL, count + 1);
	for (i = 0; i < count; i++)
		if (pthread_create(&users[i].thread, &attributes, use_arena, &users[i]))
			exit(EXIT_FAILURE);
	pthread_barrier_wait(&barrier);
}

static void end_users(unsigned int count)
{
	unsigned int i;

	pthread_barrier_wait(&barrier);
	for (i = 0; i < count; i++)
		pthread_join(users[i].thread, NULL);
	pthread_barrier_destroy(&barrier);
}

/* 0 for the main arena, which has no such heap. */
static uintptr_t heap_of(const struct user *user)
{
	return head(user->block) & NON_MAIN_ARENA ? user->block & ~(HEAP_MAX - 1) : 0;
}

/* Two threads, one after the other. */
static void show_reuse(void)
{
	start_users(MUTATE_OVERLAP ? 2 : 1);
	lab_note_hex("first-heap", heap_of(&users[0]));
	if (!MUTATE_OVERLAP) {
		end_users(1);
		start_users(1);
	}
	lab_note_hex("second-heap", heap_of(&users[MUTATE_OVERLAP ? 1 : 0]));
	end_users(MUTATE_OVERLAP ? 2 : 1);
}

static long count_heaps(unsigned int count)
{
	unsigned int i, j;
	long heaps = 0;

	for (i = 0; i < count; i++) {
		for (j = 0; j < i && heap_of(&users[j]) != heap_of(&users[i]); j++)
			;
		heaps += j == i && heap_of(&users[i]);
	}
	return heaps;
}

static void show_limit(void)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned int count = cpus < MOST / 8 ? 8 * (unsigned int)cpus + 4 : MOST;

	start_users(count);
	lab_note_i64("cpus", cpus);
	lab_note_u64("threads", count);
	lab_note_i64("heaps", count_heaps(count));
	lab_checkpoint("arenas");
	end_users(count);
}

int show_arenas(void)
{
	show_reuse();
	show_limit();
	return 0;
}
