/* SPDX-License-Identifier: MIT */
/* mmap.h - what the parts of the mmap scenario share. */
#ifndef MMAP_H
#define MMAP_H

#include <stdint.h>
#include <sys/mman.h>

#define PAGE	4096L
#define ARENA	128L	/* pages */

/* The negative controls of scenario.yaml; what each does is said where it is used. */
#ifndef MUTATE_READ_ONLY
#define MUTATE_READ_ONLY 0
#endif
#ifndef MUTATE_POPULATE
#define MUTATE_POPULATE 0
#endif
#ifndef MUTATE_TWO_MAPPINGS
#define MUTATE_TWO_MAPPINGS 0
#endif
#ifndef MUTATE_BESIDE
#define MUTATE_BESIDE 0
#endif
#ifndef MUTATE_APART
#define MUTATE_APART 0
#endif
#ifndef MUTATE_SAME_RIGHTS
#define MUTATE_SAME_RIGHTS 0
#endif
#ifndef MUTATE_OTHER_OFFSET
#define MUTATE_OTHER_OFFSET 0
#endif
#ifndef MUTATE_SPLIT_EDGE
#define MUTATE_SPLIT_EDGE 0
#endif
#ifndef MUTATE_KEEP_RIGHTS
#define MUTATE_KEEP_RIGHTS 0
#endif
#ifndef MUTATE_HOLE_AT_END
#define MUTATE_HOLE_AT_END 0
#endif
#ifndef MUTATE_FILL_READ_ONLY
#define MUTATE_FILL_READ_ONLY 0
#endif
#ifndef MUTATE_UNTOUCHED
#define MUTATE_UNTOUCHED 0
#endif
#ifndef MUTATE_NO_ROOM
#define MUTATE_NO_ROOM 0
#endif
#ifndef MUTATE_NO_BLOCKER
#define MUTATE_NO_BLOCKER 0
#endif
#ifndef MUTATE_COPY
#define MUTATE_COPY 0
#endif
#ifndef MUTATE_WILLNEED
#define MUTATE_WILLNEED 0
#endif
#ifndef MUTATE_DONTNEED
#define MUTATE_DONTNEED 0
#endif
#ifndef MUTATE_ONLY_READ
#define MUTATE_ONLY_READ 0
#endif
#ifndef MUTATE_OVERWRITE
#define MUTATE_OVERWRITE 0
#endif
#ifndef MUTATE_FREE_HINT
#define MUTATE_FREE_HINT 0
#endif
#ifndef MUTATE_NOT_FIXED
#define MUTATE_NOT_FIXED 0
#endif
#ifndef MUTATE_NO_LIMIT
#define MUTATE_NO_LIMIT 0
#endif
#ifndef MUTATE_OTHER_LIMIT
#define MUTATE_OTHER_LIMIT 0
#endif
#ifndef MUTATE_SMALL
#define MUTATE_SMALL 0
#endif
#ifndef MUTATE_ALWAYS_HEURISTIC
#define MUTATE_ALWAYS_HEURISTIC 0
#endif
#ifndef MUTATE_READABLE
#define MUTATE_READABLE 0
#endif
#ifndef MUTATE_FEWER
#define MUTATE_FEWER 0
#endif
#ifndef MUTATE_EDGE
#define MUTATE_EDGE 0
#endif

/* The scenario's own part of the address space: page N of it. Both ends are inaccessible pages. */
extern char *arena;

static inline char *at_page(long page)
{
	return arena + page * PAGE;
}

#define RW	(PROT_READ | PROT_WRITE)

/* Like mmap() with MAP_ANONYMOUS, but errors are negative numbers. */
intptr_t map_anonymous(void *address, long size, int rights, int flags);
/* A private mapping at a place where nothing must be. */
intptr_t map_at(long page, long pages, int rights);
void touch_pages(char *start, long pages);

void lift_limits(void);
void show_merging(void);
void show_splitting(void);
void show_moving(void);
void show_discarding(void);
void show_fixed(void);
void show_limits(void);

#endif
