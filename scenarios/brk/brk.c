/* SPDX-License-Identifier: MIT */
/*
 * brk - what moving the program break does to a process.
 *
 * Shown: the break is one number in mm_struct (mm->brk); moving it creates,
 * extends, shrinks and removes one anonymous VMA, touches no memory, is refused
 * past RLIMIT_DATA and next to another mapping, and starts at a random distance
 * from the bss.
 *
 * How: the break is moved by glibc's brk() and sbrk(), as programs do it, and
 * read by the bare system call, because sbrk(0) answers from glibc's own copy
 * (__curbrk) and so proves nothing about the kernel.  brk(0) asks for an
 * impossible break, is refused, and returns mm->brk.
 *
 * Growth, merging and shrinking each lie in a window of the kernel's trace, which
 * shows the system call, the VMAs that it allocates, and that no page is touched.
 * What mm_struct, the VMA and the page tables are afterwards is read from the
 * memory of the guest, which stands still for it.
 *
 * No stdio and no malloc: both would move the break themselves.  The program has
 * next to no bss, so that no anonymous VMA lies below the heap with which the
 * heap could merge when the break is not randomised.
 *
 * Each MUTATE_... is a negative control: it breaks the mechanism behind one
 * expectation of scenario.yaml, which must then fail.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "brk.h"
#include "lab.h"

#define TABLE	(2UL << 20)	/* what one page table (512 entries) maps */

static uintptr_t base;		/* the break at the start: the heap is empty */

uintptr_t kernel_break(void)
{
	return (uintptr_t)syscall(SYS_brk, 0);
}

static void note_breaks(void)
{
	lab_note_hex("brk", kernel_break());
	lab_note_ptr("sbrk", sbrk(0));
}

static void touch(uintptr_t address)
{
	*(volatile char *)address = 1;
}

static void peek(uintptr_t address)
{
	(void)*(volatile char *)address;
}

/* Moves the break, and reports 0 or the error as a negative number. */
void try_brk(const char *key, uintptr_t address)
{
	lab_note_i64(key, brk((void *)address) == 0 ? 0 : -errno);
}

/* The stack that the program will need, so that no checkpoint finds a new page of it. */
static __attribute__((noinline)) void touch_stack(void)
{
	volatile char pad[4 * PAGE];
	long i;

	for (i = 0; i < (long)sizeof(pad); i += PAGE)
		pad[i] = 1;
}

/*
 * Up to glibc 2.34 the dynamic linker keeps a copy of GLIBC_TUNABLES above the
 * break, moved by its own sbrk() before main(); environ[] points there.  The
 * string is copied to where it can stay, and the break goes back to where the
 * kernel had put it, which is where the string began.
 */
static void undo_linker(char *copy, size_t size)
{
	char **variable, *end = (char *)kernel_break();
	size_t length;

	for (variable = environ; *variable; variable++) {
		length = strlen(*variable) + 1;
		if (*variable + length != end || length > size)
			continue;
		memcpy(copy, *variable, length);
		syscall(SYS_brk, *variable);
		*variable = copy;
		return;
	}
}

static void show_start(void)
{
	if (MUTATE_EARLY)
		sbrk(PAGE);
	base = kernel_break();
	note_breaks();
	lab_checkpoint("start");
}

static void show_growth(void)
{
	long growth = MUTATE_TWO_PAGES ? 2 * PAGE : PAGE;

	lab_trace_begin("grow");
	if (MUTATE_TWO_STEPS)
		sbrk(growth /= 2);
	if (MUTATE_RAW_GROWTH)
		syscall(SYS_brk, base + growth);
	else
		sbrk(growth);
	if (MUTATE_TOUCH)
		touch(base);
	lab_trace_end("grow");
	if (MUTATE_READ_ONLY)
		mprotect((void *)base, PAGE, PROT_READ);
	note_breaks();
	lab_checkpoint("grown");
	if (MUTATE_READ_ONLY)
		mprotect((void *)base, PAGE, PROT_READ | PROT_WRITE);

	if (MUTATE_ONLY_READ)
		peek(base);
	else
		touch(base);
	note_breaks();
	lab_checkpoint("touched");
}

static void show_merge(void)
{
	uintptr_t next;

	if (MUTATE_SPLIT)
		mprotect((void *)base, kernel_break() - base, PROT_READ);
	next = kernel_break() + PAGE;
	lab_trace_begin("merge");
	brk((void *)next);
	lab_trace_end("merge");
	note_breaks();
	lab_checkpoint("merged");
	if (MUTATE_SPLIT) {	/* 5.10 does not merge by mprotect() what has an anon_vma */
		brk((void *)(kernel_break() - PAGE));
		mprotect((void *)base, kernel_break() - base, PROT_READ | PROT_WRITE);
		brk((void *)(kernel_break() + PAGE));
	}
}

/* A growth that glibc does not see. */
static void show_cache(void)
{
	if (MUTATE_SEEN_GROWTH)
		brk((void *)(kernel_break() + PAGE));
	else
		syscall(SYS_brk, kernel_break() + PAGE);
	note_breaks();
	lab_checkpoint("behind");
}

/* One touched page in a page table of its own, then back to the start. */
static void show_shrink(void)
{
	uintptr_t far = (kernel_break() + 2 * TABLE - 1) & ~(TABLE - 1);

	brk((void *)(far + PAGE));
	touch(far);
	lab_note_hex("far", MUTATE_NEAR ? base : far);
	note_breaks();
	lab_checkpoint("spread");

	lab_trace_begin("shrink");
	if (MUTATE_DISCARD) {	/* the memory goes; its tables and the mapping stay */
		madvise((void *)base, PAGE, MADV_DONTNEED);
		madvise((void *)far, PAGE, MADV_DONTNEED);
	} else if (MUTATE_KEEP_PAGE) {
		brk((void *)(base + PAGE));
	} else {
		brk((void *)base);
	}
	lab_trace_end("shrink");
	if (MUTATE_GROW_AGAIN)
		brk((void *)(base + PAGE));
	note_breaks();
	lab_checkpoint("shrunk");
	brk((void *)base);
}

static void show_unaligned(void)
{
	uintptr_t asked = base + 100 + (MUTATE_NEXT_PAGE ? PAGE : 0);

	brk((void *)(MUTATE_ROUND_UP ? base + PAGE : asked));
	lab_note_hex("asked", asked);
	note_breaks();
	lab_checkpoint("unaligned");
	brk((void *)base);
}

int main(int argc, char **argv)
{
	char tunables[PAGE / 2];	/* on the stack: there must be next to no bss */

	if (argc > 1 && argv[1][0] == 'g')
		return report_gap();

	/* A huge page would make "the page" 2 MiB and its table another one. */
	prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
	touch_stack();
	undo_linker(tunables, sizeof(tunables));
	show_start();
	show_growth();
	show_merge();
	show_cache();
	show_shrink();
	show_unaligned();
	show_random();
	show_limit(base);
	show_wall(base);
	return 0;
}
