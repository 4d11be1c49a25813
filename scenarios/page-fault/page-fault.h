/* SPDX-License-Identifier: MIT */
/* page-fault.h - what the parts of the page-fault scenario share. */
#ifndef PAGE_FAULT_H
#define PAGE_FAULT_H

#include <stddef.h>
#include <stdint.h>

#define PAGE	4096UL
#define TABLE	(PAGE << 9)	/* 2 MiB: what one page table maps, and the size of a huge page */
#define MIDDLE	(TABLE << 9)	/* 1 GiB: what one page middle directory maps */
#define UPPER	(MIDDLE << 9)	/* 512 GiB: what one page upper directory maps */

/* The negative controls of scenario.yaml; what each does is said where it is used. */
#ifndef MUTATE_TOUCHED
#define MUTATE_TOUCHED 0
#endif
#ifndef MUTATE_READ
#define MUTATE_READ 0
#endif
#ifndef MUTATE_TOUCH_EARLY
#define MUTATE_TOUCH_EARLY 0
#endif
#ifndef MUTATE_PREFAULT
#define MUTATE_PREFAULT 0
#endif
#ifndef MUTATE_GIVE_BACK
#define MUTATE_GIVE_BACK 0
#endif
#ifndef MUTATE_DISCARD
#define MUTATE_DISCARD 0
#endif
#ifndef MUTATE_UNCACHED
#define MUTATE_UNCACHED 0
#endif
#ifndef MUTATE_WALK_EARLY
#define MUTATE_WALK_EARLY 0
#endif
#ifndef MUTATE_WALK_FAR
#define MUTATE_WALK_FAR 0
#endif
#ifndef MUTATE_WALK_NEAR
#define MUTATE_WALK_NEAR 0
#endif
#ifndef MUTATE_DEPOSIT
#define MUTATE_DEPOSIT 0
#endif
#ifndef MUTATE_LOW
#define MUTATE_LOW 0
#endif
#ifndef MUTATE_WRITE_FIRST
#define MUTATE_WRITE_FIRST 0
#endif
#ifndef MUTATE_ONLY_READ
#define MUTATE_ONLY_READ 0
#endif
#ifndef MUTATE_NO_HUGE
#define MUTATE_NO_HUGE 0
#endif
#ifndef MUTATE_TWO_HUGE
#define MUTATE_TWO_HUGE 0
#endif
#ifndef MUTATE_PLACED
#define MUTATE_PLACED 0
#endif
#ifndef MUTATE_ONE_BY_ONE
#define MUTATE_ONE_BY_ONE 0
#endif
#ifndef MUTATE_SPARSE
#define MUTATE_SPARSE 0
#endif
#ifndef MUTATE_READ_BEFORE
#define MUTATE_READ_BEFORE 0
#endif
#ifndef MUTATE_SHARED
#define MUTATE_SHARED 0
#endif
#ifndef MUTATE_UNREAD
#define MUTATE_UNREAD 0
#endif
#ifndef MUTATE_PRIVATE
#define MUTATE_PRIVATE 0
#endif
#ifndef MUTATE_CACHED
#define MUTATE_CACHED 0
#endif
#ifndef MUTATE_NO_POPULATE
#define MUTATE_NO_POPULATE 0
#endif
#ifndef MUTATE_KEEP
#define MUTATE_KEEP 0
#endif
#ifndef MUTATE_LOCK_LATER
#define MUTATE_LOCK_LATER 0
#endif

/* The faults of this thread so far, by getrusage(2). */
struct faults {
	long minor;
	long major;
};

void warm_up(void);
char *reserve(size_t size, size_t alignment);
char *fresh(size_t pages, size_t alignment);
void allow(char *from, size_t size);
void write_byte(char *address);
char read_byte(const char *address);
void write_pages(char *from, size_t pages);
void read_pages(const char *from, size_t pages);
struct faults count_faults(void);
void note_faults(const char *minor, const char *major, struct faults before);
void note_frame(const char *key, const void *address);
void give_up(const char *what);

/* Usable memory for one huge page, beside memory that has a page table. */
char *huge_range(void);

/* A file without content of so many pages, unlinked; its descriptor. */
int make_file(const char *path, size_t pages);
int make_ram_file(size_t pages);

void show_fault(void);
void show_count(void);
void show_tables(void);
void show_levels(void);
void show_zero(void);
void show_huge(void);
void show_file(void);
void show_prefault(void);

#endif
