/* SPDX-License-Identifier: MIT */
/* brk.h - what the parts of the brk scenario share. */
#ifndef BRK_H
#define BRK_H

#include <stdint.h>

#define PAGE	4096L

/* The negative controls of scenario.yaml; what each does is said where it is used. */
#ifndef MUTATE_EARLY
#define MUTATE_EARLY 0
#endif
#ifndef MUTATE_RAW_GROWTH
#define MUTATE_RAW_GROWTH 0
#endif
#ifndef MUTATE_TWO_STEPS
#define MUTATE_TWO_STEPS 0
#endif
#ifndef MUTATE_TWO_PAGES
#define MUTATE_TWO_PAGES 0
#endif
#ifndef MUTATE_TOUCH
#define MUTATE_TOUCH 0
#endif
#ifndef MUTATE_READ_ONLY
#define MUTATE_READ_ONLY 0
#endif
#ifndef MUTATE_ONLY_READ
#define MUTATE_ONLY_READ 0
#endif
#ifndef MUTATE_SPLIT
#define MUTATE_SPLIT 0
#endif
#ifndef MUTATE_SEEN_GROWTH
#define MUTATE_SEEN_GROWTH 0
#endif
#ifndef MUTATE_NEAR
#define MUTATE_NEAR 0
#endif
#ifndef MUTATE_DISCARD
#define MUTATE_DISCARD 0
#endif
#ifndef MUTATE_KEEP_PAGE
#define MUTATE_KEEP_PAGE 0
#endif
#ifndef MUTATE_GROW_AGAIN
#define MUTATE_GROW_AGAIN 0
#endif
#ifndef MUTATE_ROUND_UP
#define MUTATE_ROUND_UP 0
#endif
#ifndef MUTATE_NEXT_PAGE
#define MUTATE_NEXT_PAGE 0
#endif
#ifndef MUTATE_NO_LIMIT
#define MUTATE_NO_LIMIT 0
#endif
#ifndef MUTATE_OTHER_LIMIT
#define MUTATE_OTHER_LIMIT 0
#endif
#ifndef MUTATE_AFTER_REFUSAL
#define MUTATE_AFTER_REFUSAL 0
#endif
#ifndef MUTATE_NO_WALL
#define MUTATE_NO_WALL 0
#endif
#ifndef MUTATE_FAR_WALL
#define MUTATE_FAR_WALL 0
#endif
#ifndef MUTATE_NO_RANDOM
#define MUTATE_NO_RANDOM 0
#endif

uintptr_t kernel_break(void);
void try_brk(const char *key, uintptr_t address);
void show_limit(uintptr_t base);
void show_wall(uintptr_t base);
void show_random(void);
int report_gap(void);

#endif
