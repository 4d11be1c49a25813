/* SPDX-License-Identifier: MIT */
/* threads.h - what the parts of the threads scenario share. */
#ifndef THREADS_H
#define THREADS_H

#include <pthread.h>
#include <semaphore.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define PAGE	4096UL
#define KIB	(1UL << 10)
#define MIB	(1UL << 20)

/* The negative controls of scenario.yaml; what each does is said where it is used. */
#ifndef MUTATE_DEFAULT
#define MUTATE_DEFAULT 0
#endif
#ifndef MUTATE_WARM
#define MUTATE_WARM 0
#endif
#ifndef MUTATE_MAP_INSIDE
#define MUTATE_MAP_INSIDE 0
#endif
#ifndef MUTATE_MAP_OUTSIDE
#define MUTATE_MAP_OUTSIDE 0
#endif
#ifndef MUTATE_SPLIT
#define MUTATE_SPLIT 0
#endif
#ifndef MUTATE_TOUCH
#define MUTATE_TOUCH 0
#endif
#ifndef MUTATE_NO_GUARD
#define MUTATE_NO_GUARD 0
#endif
#ifndef MUTATE_OTHER_SELF
#define MUTATE_OTHER_SELF 0
#endif
#ifndef MUTATE_OTHER_FS
#define MUTATE_OTHER_FS 0
#endif
#ifndef MUTATE_OTHER_TID
#define MUTATE_OTHER_TID 0
#endif
#ifndef MUTATE_FALSE_TID
#define MUTATE_FALSE_TID 0
#endif
#ifndef MUTATE_FORK_INSIDE
#define MUTATE_FORK_INSIDE 0
#endif
#ifndef MUTATE_SELF_AS_CHILD
#define MUTATE_SELF_AS_CHILD 0
#endif
#ifndef MUTATE_UNSHARE
#define MUTATE_UNSHARE 0
#endif
#ifndef MUTATE_BIG_STACKS
#define MUTATE_BIG_STACKS 0
#endif
#ifndef MUTATE_BOTH_ALIVE
#define MUTATE_BOTH_ALIVE 0
#endif
#ifndef MUTATE_FEW
#define MUTATE_FEW 0
#endif
#ifndef MUTATE_CACHE
#define MUTATE_CACHE 0
#endif
#ifndef MUTATE_NARROW
#define MUTATE_NARROW 0
#endif
#ifndef MUTATE_AT_MIN
#define MUTATE_AT_MIN 0
#endif
#ifndef MUTATE_LATE_DEFAULT
#define MUTATE_LATE_DEFAULT 0
#endif
#ifndef MUTATE_ASK_LESS
#define MUTATE_ASK_LESS 0
#endif
#ifndef MUTATE_RAISE_LESS
#define MUTATE_RAISE_LESS 0
#endif
#ifndef MUTATE_NO_AS
#define MUTATE_NO_AS 0
#endif
#ifndef MUTATE_NOT_UNLIMITED
#define MUTATE_NOT_UNLIMITED 0
#endif
#ifndef MUTATE_GROWSDOWN
#define MUTATE_GROWSDOWN 0
#endif

/* The argument, and the checkpoint, of a program run anew without a cache of stacks. */
#define NO_CACHE_RUN	"uncached"

/* A thread and what it knows about itself; work() and last() run in it. */
struct worker {
	pthread_t thread;
	int runs;			/* pthread_create() made it */
	sem_t ready;			/* it has run work() and stands still */
	sem_t leave;			/* it may run last() and return */
	void (*work)(struct worker *self);
	void (*last)(struct worker *self);
	uintptr_t self;			/* pthread_self(): where its struct pthread is */
	uintptr_t fs;			/* its FS base, as the kernel has it */
	uintptr_t frame;		/* of a local variable */
	uintptr_t tls;			/* of a thread-local variable */
	pid_t tid;
	uintptr_t low;			/* its stack, without the guard: glibc's word */
	size_t size;
	size_t guard;
};

/* worker.c */
int start_worker(struct worker *worker, const pthread_attr_t *attributes);
int start_sized(struct worker *worker, size_t size);
void stop_worker(struct worker *worker);
void read_attributes(struct worker *worker);
uintptr_t fs_base(void);

/* kernel.c */
uint64_t mapped_bytes(void);
size_t resident_pages(uintptr_t low, size_t size);
int peek(uintptr_t address);
int guard_marker(uintptr_t address);
void note_guard_support(void);

void show_default(void);
void show_sharing(void);
void show_cache(void);
void show_sizes(void);
void show_bounds(void);
void show_origin(void);
void show_overflow(void);
int report_default(const char *checkpoint);
int report_cache(const char *checkpoint);
size_t default_size(void);
void note_stack(const struct worker *worker);

#endif
