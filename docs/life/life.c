/* SPDX-License-Identifier: MIT */
/*
 * life - one program from exec to its last chunk: what docs/tutorial.md follows.
 *
 * It asks the kernel for two pages of heap and touches one; asks malloc for blocks
 * and gives them back, each to another place; starts a thread and joins it; frees
 * everything and returns.  At each checkpoint the lab looks.
 *
 * No stdio: it would malloc.  The thread waits on a pipe, so that it lives at a
 * checkpoint without a sleep.
 *
 * Each MUTATE_... is a negative control of scenario.yaml.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "lab.h"

#ifndef MUTATE_TOUCH_EARLY
#define MUTATE_TOUCH_EARLY 0
#endif
#ifndef MUTATE_LARGER
#define MUTATE_LARGER 0
#endif
#ifndef MUTATE_SMALLER
#define MUTATE_SMALLER 0
#endif
#ifndef MUTATE_KEEP
#define MUTATE_KEEP 0
#endif
#ifndef MUTATE_SMALL_STACK
#define MUTATE_SMALL_STACK 0
#endif
#ifndef MUTATE_NO_JOIN
#define MUTATE_NO_JOIN 0
#endif

#define PAGE	4096UL

static pthread_t thread;
static int ready[2], done[2];

static void grow(void)
{
	volatile char *page = sbrk(2 * PAGE);

	lab_note_ptr("page", (void *)page);
	if (MUTATE_TOUCH_EARLY)
		page[0] = 1;
	lab_checkpoint("grown");

	lab_trace_begin("touch");
	page[0] = 1;
	lab_trace_end("touch");
	lab_checkpoint("touched");
}

/* Blocks for the cache, for the bins, and one that gets a mapping of its own; walls between them. */
static void allocate(void)
{
	char *small[3], *wall[3], *middle, *large, *sorter;
	int i;

	for (i = 0; i < 3; i++)
		small[i] = malloc(MUTATE_LARGER ? 1200 : 100);
	wall[0] = malloc(24);
	middle = malloc(MUTATE_SMALLER ? 1000 : 2000);
	wall[1] = malloc(24);
	large = malloc(MUTATE_SMALLER ? 100000 : 200000);
	lab_note_ptr("first", small[0]);
	lab_note_ptr("second", small[1]);
	lab_note_ptr("third", small[2]);
	lab_note_ptr("middle", middle);
	lab_note_ptr("large", large);
	lab_checkpoint("allocated");

	free(small[0]);
	free(small[1]);
	free(middle);
	free(large);
	lab_checkpoint("freed");

	sorter = malloc(3000);
	lab_note_ptr("sorter", sorter);
	lab_checkpoint("sorted");

	free(wall[0]);
	free(wall[1]);
	free(small[2]);
	if (!MUTATE_KEEP)
		free(sorter);
}

static void *work(void *unused)
{
	char *own = malloc(100), byte = 0;

	(void)unused;
	lab_note_i64("tid", gettid());
	lab_note_ptr("local", &byte);
	lab_note_ptr("own", own);
	if (write(ready[1], &byte, 1) != 1 || read(done[0], &byte, 1) != 1)
		return NULL;
	free(own);
	return NULL;
}

static void run_thread(void)
{
	pthread_attr_t attributes;
	char byte = 0;

	pthread_attr_init(&attributes);
	if (MUTATE_SMALL_STACK)
		pthread_attr_setstacksize(&attributes, 64 * PAGE);
	if (pipe(ready) || pipe(done) || pthread_create(&thread, &attributes, work, NULL))
		return;
	if (read(ready[0], &byte, 1) != 1)
		return;
	lab_checkpoint("thread");
	if (!MUTATE_NO_JOIN) {
		if (write(done[1], &byte, 1) != 1)
			return;
		pthread_join(thread, NULL);
	}
	lab_checkpoint("joined");
}

int main(void)
{
	lab_checkpoint("start");
	grow();
	allocate();
	run_thread();
	lab_checkpoint("last");
	return 0;
}
