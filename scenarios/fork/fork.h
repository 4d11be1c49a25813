/* SPDX-License-Identifier: MIT */
/* fork.h - what the parts of the fork scenario share. */
#ifndef FORK_H
#define FORK_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define PAGE	4096UL
#define TABLE	(2UL << 20)	/* what one page table (512 entries) maps */
#define PAGES	16

enum { PARENT, CHILD };		/* whose turn it is */

/* The negative controls of scenario.yaml; what each does is said where it is used. */
#ifndef MUTATE_EARLY_WRITE
#define MUTATE_EARLY_WRITE 0
#endif
#ifndef MUTATE_ONE_OWNER
#define MUTATE_ONE_OWNER 0
#endif
#ifndef MUTATE_WRITTEN_BEFORE
#define MUTATE_WRITTEN_BEFORE 0
#endif
#ifndef MUTATE_DISCARDED
#define MUTATE_DISCARDED 0
#endif
#ifndef MUTATE_SHARED_MEMORY
#define MUTATE_SHARED_MEMORY 0
#endif
#ifndef MUTATE_PARENT_READS
#define MUTATE_PARENT_READS 0
#endif
#ifndef MUTATE_THIRD_OWNER
#define MUTATE_THIRD_OWNER 0
#endif
#ifndef MUTATE_READ_SHARED
#define MUTATE_READ_SHARED 0
#endif
#ifndef MUTATE_NO_TABLES
#define MUTATE_NO_TABLES 0
#endif
#ifndef MUTATE_REAL_FORK
#define MUTATE_REAL_FORK 0
#endif
#ifndef MUTATE_NO_ADVICE
#define MUTATE_NO_ADVICE 0
#endif
#ifndef MUTATE_NO_WRITE
#define MUTATE_NO_WRITE 0
#endif
#ifndef MUTATE_TWO_WORDS
#define MUTATE_TWO_WORDS 0
#endif

/* memory.c */
char *new_area(size_t size, int flags);
char *new_tables(size_t count, int flags);
void touch_crowd(void);
uint64_t frame_of(const void *address);
long minor_faults(void);
void write_word(char *page, uint64_t value);
uint64_t read_word(const char *page);
uint64_t rest_of(const char *page);
long write_in_window(const char *window, char *page, uint64_t value);

/* turns.c */
void turns_init(void);
void take_side(int mine);
void wait_turn(int mine);
void give_turn(int other);
pid_t start_child(void (*function)(void), const char *window);
void wait_child(pid_t pid);
void end_child(pid_t pid);

/* others.c */
void show_vfork(void);
void show_pinned(void);

#endif
