// SPDX-License-Identifier: MIT
/*
 * The random operations of one worker, each checked against the model.
 *
 * What a worker does follows from its seed alone: which slot, which call, which
 * size, never from what other threads do, so a run repeats.  What differs from
 * run to run is only how the threads' calls interleave, and so the addresses.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>

#include "stress.h"

/* splitmix64 */
static uint64_t draw(struct worker *worker)
{
	uint64_t z = worker->random += 0x9e3779b97f4a7c15UL;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9UL;
	z = (z ^ z >> 27) * 0x94d049bb133111ebUL;
	return z ^ z >> 31;
}

static enum class pick_class(unsigned int r)
{
	if (r < 128 || MUTATE_ONLY_SMALL)
		return FAST;
	return r < 205 ? SMALL : r < 243 ? MEDIUM : r < 255 ? LARGE : MAP;
}

static size_t pick_size(struct worker *worker, uint64_t r)
{
	static const size_t least[CLASSES] = {0, 121, 1033, 8193, MAPPED};
	static const size_t beyond[CLASSES] = {121, 1033, 8193, MAPPED - PAGE, 3 * MAPPED};
	enum class class = pick_class(r & 0xff);

	worker->tally.of_class[class]++;
	return least[class] + (r >> 8 & 0xffffff) % (beyond[class] - least[class]);
}

static void *allocate(struct worker *worker, size_t size, enum kind kind, size_t alignment)
{
	void *block = NULL;

	worker->tally.of_kind[kind]++;
	switch (MUTATE_NO_ZERO && kind == CALLOC ? MALLOC : kind) {
	case CALLOC:
		return calloc(1, size);
	case ALIGNED:
		return aligned_alloc(MUTATE_NO_ALIGNMENT ? 16 : alignment, size);
	case MEMALIGN:
		return posix_memalign(&block, alignment, size) ? NULL : block;
	case FROM_NULL:
		return realloc(NULL, size);
	default:
		return malloc(size);
	}
}

/* A new block is big enough, apart from all others, and from now on filled. */
static void adopt(struct worker *worker, struct block *block, void *address, size_t size)
{
	size_t usable = malloc_usable_size(address);
	size_t needed = MUTATE_SHORT ? size + 4 * PAGE : size;

	*block = (struct block){address, size, draw(worker)};
	if (usable < needed || (!is_mapped(address) && usable + 8 != chunk_size(address)))
		worker->tally.small++;
	if ((uintptr_t)address % 16)
		worker->tally.misaligned++;
	worker->tally.mapped += is_mapped(address);
	if (!enter(block, usable))
		worker->tally.overlap++;
}

static void create(struct worker *worker, struct block *block, uint64_t r)
{
	static const enum kind kinds[16] = {
		MALLOC, MALLOC, MALLOC, MALLOC, MALLOC, MALLOC, MALLOC, MALLOC,
		CALLOC, CALLOC, CALLOC, CALLOC, ALIGNED, ALIGNED, MEMALIGN, FROM_NULL,
	};
	size_t size = pick_size(worker, r);
	size_t alignment = 16UL << (r >> 32) % 9;	/* up to a page */
	enum kind kind = kinds[r >> 40 & 15];
	void *address = allocate(worker, size, kind, alignment);

	if (!address) {
		worker->tally.refused++;
		return;
	}
	adopt(worker, block, address, size);
	if (kind == CALLOC && !content_zero(block))
		worker->tally.dirty++;
	if ((kind == ALIGNED || kind == MEMALIGN) && (uintptr_t)address % alignment)
		worker->tally.misaligned++;
	fill(block);
}

/* The end of a block, by whichever thread. */
void release(struct worker *worker, struct block *block)
{
	if (!content_kept(block, block->size))
		worker->tally.corrupt++;
	if (!leave(block))
		worker->tally.overlap++;
	free(block->address);
	block->address = NULL;
}

static void *move(struct block *block, size_t size)
{
	void *address;

	if (!MUTATE_NO_COPY)
		return realloc(block->address, size);
	address = malloc(size);
	free(block->address);
	return address;
}

static void resize(struct worker *worker, struct block *block, uint64_t r)
{
	struct block old = *block;
	size_t size = pick_size(worker, r) + 1;		/* realloc(block, 0) is free() */
	size_t region = is_mapped(old.address) ? mapped_region(old.address) : 0;
	bool intact = content_kept(&old, old.size);
	void *address;

	worker->tally.corrupt += !intact;
	if (!leave(block))
		worker->tally.overlap++;
	address = move(block, size);
	if (!address) {
		worker->tally.refused++;
		enter(block, malloc_usable_size(block->address));
		return;
	}
	worker->tally.moved += address != old.address;
	if (region && is_mapped(address))
		worker->tally.remapped += region != mapped_region(address);
	old.address = address;
	if (intact && !content_kept(&old, old.size < size ? old.size : size))
		worker->tally.lost++;
	adopt(worker, block, address, size);
	fill(block);
}

/* A push onto the receiver's list; only the receiver takes from it, all at once. */
static void send(struct worker *worker, struct block *block, uint64_t r)
{
	unsigned int step = 1 + (r >> 8) % (worker_count > 1 ? worker_count - 1 : 1);
	struct worker *receiver = &workers[(worker->index + (MUTATE_KEEP_OWN ? 0 : step)) % worker_count];
	struct handed *handed = &worker->outbox[worker->in_outbox++];

	handed->block = *block;
	handed->from = worker;
	handed->next = atomic_load(&receiver->inbox);
	while (!atomic_compare_exchange_weak(&receiver->inbox, &handed->next, handed))
		;
	block->address = NULL;
	worker->tally.sent++;
}

void take_inbox(struct worker *worker)
{
	struct handed *handed = atomic_exchange(&worker->inbox, NULL);

	for (; handed; handed = handed->next) {
		release(worker, &handed->block);
		worker->tally.received += handed->from != worker;
	}
}

static void step(struct worker *worker, bool sends)
{
	uint64_t r = draw(worker);
	struct block *block = &worker->slots[r >> 48 & (SLOTS - 1)];

	if (!block->address)
		create(worker, block, r);
	else if (sends)
		send(worker, block, r);
	else if (r >> 60 < 5)
		resize(worker, block, r);
	else
		release(worker, block);
	worker->tally.operations++;
	worker->tally.digest = worker->tally.digest * 31 + (block->address ? block->size : 0);
}

void operate(struct worker *worker)
{
	uint64_t count = worker->operations;
	uint64_t i;

	if (MUTATE_STOP_EARLY && worker->index == 0)
		count /= 2;
	worker->in_outbox = 0;
	for (i = 0; i < count; i++) {
		step(worker, i % SENDS == SENDS - 1);
		if (i % SENDS == 0)
			take_inbox(worker);
	}
}
