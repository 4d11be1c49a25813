/* SPDX-License-Identifier: MIT */
/* exec.h - what the parts of the exec scenario share. */
#ifndef EXEC_H
#define EXEC_H

#include <stdint.h>

#define PAGE	4096L

/* The negative controls of scenario.yaml; what each does is said where it is used. */
#ifndef MUTATE_MEMORY_SIZE
#define MUTATE_MEMORY_SIZE 0
#endif
#ifndef MUTATE_ALL_WRITABLE
#define MUTATE_ALL_WRITABLE 0
#endif
#ifndef MUTATE_COUNT_LIBRARIES
#define MUTATE_COUNT_LIBRARIES 0
#endif
#ifndef MUTATE_LINKER_AS_LIBRARY
#define MUTATE_LINKER_AS_LIBRARY 0
#endif
#ifndef MUTATE_UNPROTECT
#define MUTATE_UNPROTECT 0
#endif
#ifndef MUTATE_NO_EXEC
#define MUTATE_NO_EXEC 0
#endif
#ifndef MUTATE_TWO_EXECS
#define MUTATE_TWO_EXECS 0
#endif
#ifndef MUTATE_DEEP_STACK
#define MUTATE_DEEP_STACK 0
#endif
#ifndef MUTATE_NO_GROWTH
#define MUTATE_NO_GROWTH 0
#endif
#ifndef MUTATE_OTHER_CODE
#define MUTATE_OTHER_CODE 0
#endif
#ifndef MUTATE_MOVED_DATA
#define MUTATE_MOVED_DATA 0
#endif
#ifndef MUTATE_MOVED_BSS
#define MUTATE_MOVED_BSS 0
#endif
#ifndef MUTATE_MOVED_ARGUMENTS
#define MUTATE_MOVED_ARGUMENTS 0
#endif
#ifndef MUTATE_MOVED_STACK
#define MUTATE_MOVED_STACK 0
#endif
#ifndef MUTATE_MOVED_VDSO
#define MUTATE_MOVED_VDSO 0
#endif
#ifndef MUTATE_WRITABLE_CONSTANTS
#define MUTATE_WRITABLE_CONSTANTS 0
#endif
#ifndef MUTATE_OTHER_FILE
#define MUTATE_OTHER_FILE 0
#endif
#ifndef MUTATE_ONE_MORE
#define MUTATE_ONE_MORE 0
#endif
#ifndef MUTATE_SHARED
#define MUTATE_SHARED 0
#endif
#ifndef MUTATE_READ
#define MUTATE_READ 0
#endif
#ifndef MUTATE_UNTOUCHED
#define MUTATE_UNTOUCHED 0
#endif
#ifndef MUTATE_LATE_RIGHTS
#define MUTATE_LATE_RIGHTS 0
#endif
#ifndef MUTATE_ABOVE
#define MUTATE_ABOVE 0
#endif
#ifndef MUTATE_BOTH_SHARE
#define MUTATE_BOTH_SHARE 0
#endif
#ifndef MUTATE_NONE_SHARES
#define MUTATE_NONE_SHARES 0
#endif
#ifndef MUTATE_NO_RANDOM
#define MUTATE_NO_RANDOM 0
#endif
#ifndef MUTATE_BELOW
#define MUTATE_BELOW 0
#endif

/* The first address of a page, and the first page that begins at or above an address. */
static inline uintptr_t page_down(uintptr_t address)
{
	return address & ~(uintptr_t)(PAGE - 1);
}

static inline uintptr_t page_up(uintptr_t address)
{
	return page_down(address + PAGE - 1);
}

void note_segments(void);
void note_code_and_data(void);
uintptr_t linker_end(void);
void show_counts(void);
void show_random(void);
void show_relatives(void);
int report_sample(void);

#endif
