/* SPDX-License-Identifier: MIT */
/* cost.h - how a window is measured; each of the other files has its own. */
#ifndef COST_H
#define COST_H

#include <stdint.h>

#include "lab.h"

#define PAGE	4096UL
#define REPEATS	8

/*
 * The least of a few: a window in which the timer happened to tick has the tick's
 * instructions in it, and the first one of its kind what the kernel or glibc do once.
 * "before" and "after" are not counted; all of them may use the number of the repeat, i.
 */
#define MEASURE(window, before, action, after)				\
do {									\
	uint64_t least_ = UINT64_MAX;					\
	for (unsigned long i = 0; i < REPEATS; i++) {			\
		uint64_t cost_;						\
		before;							\
		lab_cost_begin(window);					\
		action;							\
		cost_ = lab_cost_read();				\
		after;							\
		least_ = cost_ < least_ ? cost_ : least_;		\
	}								\
	lab_cost_note(window, least_);					\
} while (0)

#define NOTHING	((void)0)

/* Ends the program, saying why, where what is to be measured can't be had. */
void need(int it, const char *what);

/* One page of the process is written to. */
void touch(char *page);

void show_faults(void);
void show_mappings(void);
void show_heap(void);
void show_threads(void);
void show_forks(void);
void show_exec(const char *self);
void arrived(uint64_t now);

#endif
