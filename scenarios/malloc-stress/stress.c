// SPDX-License-Identifier: MIT
/*
 * malloc-stress - random operations on the heap, by many threads, checked against a model.
 *
 * Shown: whatever threads do to ptmalloc, blocks are big enough, aligned, apart
 * from each other and keep their content; calloc gives zeroes, realloc keeps
 * what it moves; a block may be freed by any thread.  And the accounts agree:
 * what malloc_info(3) calls in use is to the byte what the program holds, and
 * what it calls the system's is to the page what the kernel has mapped.
 *
 * How: generations of threads, more of them than there may be arenas, so that
 * arenas are shared and main_arena is one of them.  The first generation only
 * makes the arenas.  The others work (operations.c), each call checked against
 * a model outside the heap (model.c), and hand blocks to each other.  Each
 * generation stops at a barrier, where the threads and their caches can be
 * looked at, and ends; a cache is emptied into the arenas when its thread ends,
 * so that then the sums must agree exactly (arenas.c).  Blocks outlive the
 * thread that made them, and are freed by the next generation.  All that happens
 * in a child, so that the counts of what was done and found outlive a heap that
 * is so damaged that malloc aborts.
 *
 * The seed is LAB_SEED, the number of operations LAB_OPERATIONS (environment);
 * the same seed gives the same operations (the note `digest`).
 *
 * Each MUTATE_... is a negative control: it breaks what one expectation of
 * scenario.yaml is about.
 */
#define _GNU_SOURCE
#include <malloc.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lab.h"
#include "stress.h"

/* With several processors QEMU's emulation of atomic instructions costs five times as much. */
#ifndef OPERATIONS
#define OPERATIONS	(MUTATED ? 50000UL : cpus > 1 ? 1000000UL : 2000000UL)
#endif
#define STACK		(256UL << 10)	/* small: glibc keeps at most 40 MiB of stacks */

struct worker *workers;
unsigned int worker_count;

static long cpus;
static pthread_barrier_t barrier;
static sem_t attached;

static uint64_t setting(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text ? strtoull(text, NULL, 0) : otherwise;
}

static void wait_for_all(void)
{
	pthread_barrier_wait(&barrier);
}

/* The first call of malloc in a thread chooses its arena. */
static void attach(struct worker *worker)
{
	void *volatile block = malloc(1);

	worker->heap = heap_of_first(block);
	free(block);
	sem_post(&attached);
}

static void *work(void *argument)
{
	struct worker *worker = argument;

	attach(worker);
	wait_for_all();
	operate(worker);
	wait_for_all();		/* nobody sends any more */
	take_inbox(worker);
	wait_for_all();		/* quiescent */
	wait_for_all();		/* and has been looked at */
	return NULL;
}

/* A thread that takes an arena, and stays. */
static void *stand_by(void *argument)
{
	attach(argument);
	for (;;)
		pause();
	return NULL;
}

static void start(struct worker *worker, void *(*function)(void *))
{
	pthread_attr_t attr;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK);
	if (pthread_create(&worker->thread, &attr, function, worker))
		abort();
	pthread_attr_destroy(&attr);
}

/* One after the other, so that the arenas' ages are known. */
static void start_attached(struct worker *worker, void *(*function)(void *))
{
	start(worker, function);
	sem_wait(&attached);
	know_arena(worker->heap);
}

static void start_all(void)
{
	unsigned int i;

	for (i = 0; i < worker_count; i++)
		start_attached(&workers[i], work);
}

static uint64_t remapped(void)
{
	uint64_t sum = 0;
	unsigned int i;

	for (i = 0; i < worker_count; i++)
		sum += workers[i].tally.remapped;
	return sum;
}

static uint64_t microseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000UL + now.tv_nsec / 1000;
}

static void checkpoint(const char *name)
{
	before_checkpoint(name);
	note_accounts();
	lab_note_u64("remapped", remapped());
	behind_accounts(name);
	lab_checkpoint(name);
	after_checkpoint(name);
}

static void join_all(void)
{
	unsigned int i;

	wait_for_all();
	for (i = 0; i < worker_count; i++)
		pthread_join(workers[i].thread, NULL);
}

static void generation(uint64_t operations, const char *at_work, const char *ended)
{
	uint64_t began;
	unsigned int i;

	for (i = 0; i < worker_count; i++)
		workers[i].operations = operations;
	start_all();
	began = microseconds();
	wait_for_all();
	wait_for_all();
	wait_for_all();
	lab_note_u64("microseconds", microseconds() - began);
	if (MUTATE_EARLY_END)
		join_all();
	checkpoint(at_work);
	if (!MUTATE_EARLY_END)
		join_all();
	checkpoint(ended);
}

/* Whether, and when, threads had to share main_arena. */
static void note_first_generation(void)
{
	unsigned int on_main = 0;
	unsigned int first = 0;
	unsigned int i;

	for (i = 0; i < worker_count; i++) {
		if (workers[i].heap)
			continue;
		if (!on_main++)
			first = i + 1;
	}
	lab_note_u64("first-on-main", first);
	lab_note_u64("on-main", on_main);
}

static void *sweep(void *argument)
{
	unsigned int i;

	for (i = 0; i < worker_count * SLOTS; i++)
		if (workers[i / SLOTS].slots[i % SLOTS].address)
			release(argument, &workers[i / SLOTS].slots[i % SLOTS]);
	return NULL;
}

/* Freed by a thread that ends, so that no cache keeps a block. */
static void free_all(void)
{
	start(&workers[0], sweep);
	pthread_join(workers[0].thread, NULL);
}

static void note_tallies(void)
{
	static const char *const classes[CLASSES] = {
		"class-fast", "class-small", "class-medium", "class-large", "class-mapped",
	};
	static const char *const kinds[KINDS] = {
		"kind-malloc", "kind-calloc", "kind-aligned_alloc", "kind-posix_memalign", "kind-realloc",
	};
	struct tally sum = {0};
	unsigned int i, j;

	for (i = 0; i < worker_count; i++)	/* all fields are counters of one type */
		for (j = 0; j < sizeof(sum) / sizeof(uint64_t); j++)
			((uint64_t *)&sum)[j] += ((uint64_t *)&workers[i].tally)[j];
	for (i = 0; i < CLASSES; i++)
		lab_note_u64(classes[i], sum.of_class[i]);
	for (i = 0; i < KINDS; i++)
		lab_note_u64(kinds[i], sum.of_kind[i]);
	lab_note_u64("operations", sum.operations);
	lab_note_u64("sent", sum.sent);
	lab_note_u64("received", sum.received);
	lab_note_u64("moved", sum.moved);
	lab_note_u64("mapped", sum.mapped);
	lab_note_hex("digest", sum.digest);
	lab_note_u64("corrupt", sum.corrupt);
	lab_note_u64("overlap", sum.overlap);
	lab_note_u64("dirty", sum.dirty);
	lab_note_u64("lost", sum.lost);
	lab_note_u64("misaligned", sum.misaligned);
	lab_note_u64("small", sum.small);
	lab_note_u64("refused", sum.refused);
}

static void init_workers(uint64_t seed, uint64_t operations)
{
	unsigned int limit = cpus > 1 ? 8 * cpus : 9;
	unsigned int i;

	worker_count = MUTATE_FEW_THREADS ? 4 : 2 * limit - 1;
	workers = map_memory(worker_count * sizeof(*workers));
	for (i = 0; i < worker_count; i++) {
		workers[i].index = i;
		workers[i].random = seed + (i << 16);
		workers[i].slots = map_memory(SLOTS * sizeof(struct block));
		workers[i].outbox = map_memory((operations / SENDS + 1) * sizeof(struct handed));
	}
	pthread_barrier_init(&barrier, NULL, worker_count + 1);
	sem_init(&attached, 0, 0);
}

/* The whole life of the heap. */
static int stress(uint64_t seed, uint64_t total)
{
	uint64_t each;

	main_heap((uintptr_t)syscall(SYS_brk, 0));	/* no malloc so far: the heap is to begin here */
	mallopt(M_MMAP_THRESHOLD, MAPPED);
	arenas_init();
	model_init();
	each = (total / ROUNDS + worker_count - 1) / worker_count;
	lab_note_u64("cpus", cpus);
	lab_note_u64("threads", worker_count);
	lab_note_u64("planned", each * ROUNDS * worker_count);
	lab_note_u64("seed", seed);

	if (MUTATE_BYSTANDER)
		start_attached(&workers[0], stand_by);
	generation(0, "arenas", "idle");
	note_first_generation();	/* at the first checkpoint of the next one */
	generation(each, "parked-1", "ended-1");
	generation(each, "parked-2", "ended-2");
	free_all();
	checkpoint("emptied");
	return 0;
}

/* The tallies are in shared memory: also when malloc has aborted, the parent can tell them. */
int main(void)
{
	uint64_t seed = setting("LAB_SEED", 1);
	uint64_t total;
	int status = -1;
	pid_t child;

	cpus = sysconf(_SC_NPROCESSORS_ONLN);
	total = setting("LAB_OPERATIONS", OPERATIONS);
	prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);		/* the model is sparse */
	init_workers(seed, total);
	child = fork();
	if (child == 0)
		_exit(stress(seed, total));
	if (child > 0)
		waitpid(child, &status, 0);
	lab_note_i64("status", status);
	note_tallies();
	lab_checkpoint("tallied");
	return 0;
}
