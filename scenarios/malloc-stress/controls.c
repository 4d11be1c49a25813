// SPDX-License-Identifier: MIT
/*
 * The negative controls that act at a checkpoint, where no thread is in malloc.
 * What the program does to itself behind the model's or malloc's back before a
 * checkpoint is undone after it, so that only what is looked at there fails.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "stress.h"

static struct block *taken;	/* a slot that was emptied */
static struct block kept;	/* what was in it */
static void *protected, *mapped, *late;
static size_t *damaged;		/* a word of malloc's */

static struct block *find(bool mapped)
{
	unsigned int i;

	for (i = 0; i < worker_count * SLOTS; i++) {
		struct block *block = &workers[i / SLOTS].slots[i % SLOTS];

		if (block->address && is_mapped(block->address) == mapped)
			return block;
	}
	return NULL;
}

static void take(struct block *slot)
{
	if (!slot)
		return;
	taken = slot;
	kept = *slot;
	slot->address = NULL;
}

static void put_back(void)
{
	*taken = kept;
	taken = NULL;
}

/* Runs past the end of blocks into the next ones, where these are alive. */
static void overrun(void)
{
	unsigned int i;

	for (i = 0; i < worker_count * SLOTS; i++) {
		char *block = workers[i / SLOTS].slots[i % SLOTS].address;

		if (block && !is_mapped(block) && is_entered(block + chunk_size(block)))
			block[chunk_size(block)] ^= 1;
	}
}

/* A live block whose chunk is behind one that is in a bin: PREV_INUSE is clear. */
static struct block *find_behind_free(void)
{
	unsigned int i;

	for (i = 0; i < worker_count * SLOTS; i++) {
		struct block *block = &workers[i / SLOTS].slots[i % SLOTS];

		if (block->address && !is_mapped(block->address) && !(((size_t *)block->address)[-1] & 1))
			return block;
	}
	abort();
}

/* prev_size, or the size field, of a chunk is changed by the alignment. */
static void damage(bool size)
{
	damaged = (size_t *)find_behind_free()->address - (size ? 1 : 2);
	*damaged ^= 16;
}

void before_checkpoint(const char *name)
{
	if (strcmp(name, "ended-1"))
		return;
	if (MUTATE_OVERRUN)
		overrun();
	if (MUTATE_FORGET || MUTATE_LEAK)
		take(find(false));
	if (MUTATE_FORGET_MAPPED)
		take(find(true));
	if (MUTATE_FOREIGN_BREAK)
		sbrk(PAGE);
	if (MUTATE_FOREIGN_PROTECT) {
		protected = (void *)heaps_end();
		mprotect(protected, PAGE, PROT_READ | PROT_WRITE);
	}
	if (MUTATE_FOREIGN_MAPPING)
		mapped = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

/* What the accounts that were just noted do not know. */
void behind_accounts(const char *name)
{
	if (strcmp(name, "ended-1"))
		return;
	if (MUTATE_FOOT || MUTATE_HEADER)
		damage(MUTATE_HEADER);
	if (MUTATE_LATE_BLOCK)
		late = malloc(2 * PAGE);	/* too large for the caches: where it is freed to, it is free */
}

void after_checkpoint(const char *name)
{
	if (strcmp(name, "ended-1"))
		return;
	if (damaged)
		*damaged ^= 16;
	damaged = NULL;
	free(late);
	late = NULL;
	if (taken && !MUTATE_LEAK)
		put_back();
	if (protected)
		mprotect(protected, PAGE, PROT_NONE);
	protected = NULL;
	if (mapped)
		munmap(mapped, PAGE);
	mapped = NULL;
	if (MUTATE_FOREIGN_BREAK)
		sbrk(-(long)PAGE);
}
