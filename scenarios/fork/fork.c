// SPDX-License-Identifier: MIT
/*
 * fork - what fork shares, and what a write to it copies.
 *
 * Shown: fork copies page tables, not memory: parent and child map the same page
 * frames, read-only.  The first to write to a page, child or parent, takes a
 * fault and gets a copy; who is left as its only owner writes in place.  What is
 * mapped shared is not even copied in the tables.  vfork copies nothing.
 *
 * How: both processes read the frames behind their pages from /proc/self/pagemap
 * and take turns; windows of the kernel trace stand around fork and around
 * single writes.  The page tables of both are read from the memory of the guest,
 * at the same moment, when it stands still.  Everything that a write needs (stack, bound functions) is there
 * before, so that the only fault in a window is that of the page.
 *
 * Each MUTATE_... is a negative control: it breaks the mechanism behind one
 * expectation of scenario.yaml, which must then fail.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fork.h"
#include "lab.h"

#define TABLES	4

static char *pages;		/* private, written before the fork */
static char *spread;		/* private, one page in each of TABLES page tables */
static char *shared;		/* a shared page, written before the fork */
static char *hidden;		/* MADV_DONTFORK */
static char *wiped;		/* MADV_WIPEONFORK */

static char *page(int number)
{
	return pages + number * PAGE;
}

/* In the middle of each table's 2 MiB. */
static char *spread_page(int number)
{
	return spread + number * TABLE + TABLE / 2;
}

static void note_frames(void)
{
	int i;

	for (i = 0; i < PAGES; i++)
		lab_note_hex("frame", frame_of(page(i)));
}

static void make_memory(void)
{
	unsigned long i;

	pages = new_area(PAGES * PAGE, MUTATE_SHARED_MEMORY ? MAP_SHARED : MAP_PRIVATE);
	for (i = 0; i < PAGES * PAGE / 8; i++)
		write_word(pages + 8 * i, 1000 + i);
	spread = new_tables(TABLES, MUTATE_NO_TABLES ? MAP_SHARED : MAP_PRIVATE);
	for (i = 0; i < TABLES; i++)
		write_word(spread_page(i), 1);
	shared = new_area(PAGE, MAP_SHARED);
	write_word(shared, 1);
	hidden = new_area(PAGE, MAP_PRIVATE);
	write_word(hidden, 1);
	wiped = new_area(PAGE, MAP_PRIVATE);
	write_word(wiped, 1);
	if (!MUTATE_NO_ADVICE) {
		madvise(hidden, PAGE, MADV_DONTFORK);
		madvise(wiped, PAGE, MADV_WIPEONFORK);
	}
	touch_crowd();
}

static void show_before(void)
{
	lab_note_i64("parent", getpid());
	lab_note_ptr("spread", spread_page(0));
	lab_note_ptr("pages", pages);
	lab_note_ptr("shared", shared);
	lab_note_ptr("hidden", hidden);
	lab_note_ptr("wiped", wiped);
	lab_note_u64("rest", rest_of(page(0)));
	lab_note_u64("value", read_word(page(0)));
	note_frames();
	lab_checkpoint("before");
}

/*
 * What the spread memory's tables were shows when it is gone.  A bare system call between two checkpoints: a page
 * of the C library that was not used before could need a table of its own.
 */
static void drop_spread(const char *checkpoint)
{
	lab_syscall(SYS_munmap, (long)spread, TABLES * TABLE, 0, 0, 0, 0);
	lab_checkpoint(checkpoint);
}

/* The child as fork left it: it has written to nothing but its stack. */
static void show_forked(void)
{
	int mapped = 0;
	int i;

	for (i = 0; i < TABLES; i++)
		mapped += frame_of(spread_page(i)) != 0;
	if (MUTATE_EARLY_WRITE)
		write_word(page(PAGES - 1), 2);
	if (MUTATE_READ_SHARED)
		read_word(shared);
	lab_note_i64("spread-mapped", mapped);
	lab_note_hex("shared-frame", frame_of(shared));
	note_frames();
	lab_checkpoint("forked");
	drop_spread("forked-small");
}

static void show_copy(void)
{
	if (MUTATE_WRITTEN_BEFORE)
		write_word(page(0), 2);
	if (MUTATE_DISCARDED)
		madvise(page(0), PAGE, MADV_DONTNEED);
	lab_note_i64("minor", write_in_window("child-write", page(0), 2));
	if (MUTATE_TWO_WORDS)
		write_word(page(0) + 8, 2);
	lab_note_u64("rest", rest_of(page(0)));
	lab_note_u64("value", read_word(page(0)));
	lab_note_u64("wiped-value", read_word(wiped));
	note_frames();
	lab_checkpoint("child-copied");
}

static void child(void)
{
	take_side(CHILD);
	wait_turn(CHILD);
	show_forked();
	show_copy();
	give_turn(PARENT);

	wait_turn(CHILD);	/* the parent has its copy of page 1 */
	lab_note_hex("kept", frame_of(page(1)));
	lab_note_i64("minor", write_in_window("last-write", page(1), 2));
	note_frames();
	lab_checkpoint("last-owner");
}

static void stay(void)
{
	pause();
}

static void show_fork(void)
{
	pid_t pid = start_child(child, "fork");
	pid_t third = 0;

	take_side(PARENT);
	if (MUTATE_ONE_OWNER)
		madvise(page(PAGES - 2), PAGE, MADV_DONTNEED);
	give_turn(CHILD);
	wait_turn(PARENT);	/* the child has its copy of page 0 */

	lab_note_i64("minor", write_in_window("parent-write", page(1), MUTATE_PARENT_READS ? 0 : 3));
	lab_note_u64("value", read_word(page(0)));
	lab_note_i64("child", pid);
	note_frames();
	lab_checkpoint("parent-copied");
	if (MUTATE_THIRD_OWNER)
		third = start_child(stay, NULL);
	give_turn(CHILD);
	wait_child(pid);

	lab_note_i64("minor", write_in_window("alone-write", page(2), 3));
	note_frames();
	lab_checkpoint("alone");
	drop_spread("small");
	if (third)
		end_child(third);
}

/* What is mapped here must not depend on `ulimit`. */
static void lift_limits(void)
{
	const struct rlimit none = { RLIM_INFINITY, RLIM_INFINITY };

	setrlimit(RLIMIT_AS, &none);
	setrlimit(RLIMIT_DATA, &none);
}

int main(void)
{
	cpu_set_t first;

	CPU_ZERO(&first);
	CPU_SET(0, &first);
	sched_setaffinity(0, sizeof(first), &first);	/* touch_crowd() is about one processor's list */
	prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);		/* page by page */
	lift_limits();
	turns_init();
	make_memory();
	show_before();
	show_fork();
	show_vfork();
	show_pinned();
	return 0;
}
