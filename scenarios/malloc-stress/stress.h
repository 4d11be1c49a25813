/* SPDX-License-Identifier: MIT */
/* stress.h - what the parts of the malloc-stress scenario share. */
#ifndef STRESS_H
#define STRESS_H

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mutations.h"

#define PAGE		4096UL
#define MAPPED		(64UL << 10)	/* mallopt(M_MMAP_THRESHOLD): fixed, or it would grow past all sizes */
#define SLOTS		512		/* blocks that one worker can own */
#define SENDS		16		/* every so many operations a block goes to another thread */
#define ROUNDS		2
#define MAX_ARENAS	512

/* The size classes that requests are drawn from; "small" is what fits the caches of all versions. */
enum class { FAST, SMALL, MEDIUM, LARGE, MAP, CLASSES };
enum kind { MALLOC, CALLOC, ALIGNED, MEMALIGN, FROM_NULL, KINDS };

/* What the model knows of one live block. No block: address is NULL. */
struct block {
	void *address;
	size_t size;		/* as requested */
	uint64_t tag;		/* its content follows from this */
};

/* A block on its way from one thread to another. */
struct handed {
	struct handed *next;
	const struct worker *from;
	struct block block;
};

/* What one worker did, and what it found. */
struct tally {
	uint64_t operations, sent, received, moved, mapped, remapped, digest;
	uint64_t of_class[CLASSES], of_kind[KINDS];
	uint64_t corrupt, overlap, dirty, lost, misaligned, small, refused;
};

struct worker {
	pthread_t thread;
	unsigned int index;
	uint64_t random, operations;
	struct block *slots;
	struct handed *outbox;
	size_t in_outbox;
	_Atomic(struct handed *) inbox;
	uintptr_t heap;		/* the heap of its first block; 0: the main arena's */
	struct tally tally;
};

extern struct worker *workers;
extern unsigned int worker_count;

/* model.c */
void *map_memory(size_t size);
void model_init(void);
size_t chunk_size(const void *block);
bool is_mapped(const void *block);
size_t mapped_region(const void *block);
bool in_other_arena(const void *block);
bool enter(const struct block *block, size_t usable);
bool leave(const struct block *block);
bool is_entered(const void *address);
void fill(const struct block *block);
bool content_kept(const struct block *block, size_t limit);
bool content_zero(const struct block *block);

/* operations.c */
void operate(struct worker *worker);
void take_inbox(struct worker *worker);
void release(struct worker *worker, struct block *block);

/* arenas.c */
void arenas_init(void);
void main_heap(uintptr_t start);
void know_arena(uintptr_t heap);
uintptr_t heap_of_first(const void *block);
uintptr_t heaps_end(void);
void note_accounts(void);

/* controls.c */
void before_checkpoint(const char *name);
void behind_accounts(const char *name);
void after_checkpoint(const char *name);

#endif
