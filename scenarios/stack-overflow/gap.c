/* SPDX-License-Identifier: MIT */
/*
 * gap - how close the stack comes to the mapping below it, and how it can be
 * jumped over.  A wall is placed below [stack], far enough for every
 * stack_guard_gap= that one would try, and the stack grows towards it until the
 * kernel refuses.  The limit is out of the way.
 */
#define _GNU_SOURCE
#include <alloca.h>
#include <sys/mman.h>

#include "lab.h"
#include "stack.h"

#define ROOM	(8192 * PAGE)	/* between [stack] and the wall */
#define WALL	(64 * PAGE)

#define ANYWHERE	(MAP_PRIVATE | MAP_ANONYMOUS)

static uintptr_t make_wall(uintptr_t stack, int protection, int flags)
{
	void *at = (void *)(stack - ROOM - WALL);

	return (uintptr_t)mmap(at, WALL, protection, ANYWHERE | MAP_FIXED_NOREPLACE | flags, -1, 0);
}

static void approach(int protection, int flags)
{
	uintptr_t stack = find_stack().start, wall, lowest;
	struct fault fault = { 0 };

	set_stack_limit(64 * MIB);
	catch_faults();
	wall = make_wall(stack, protection, flags);
	lowest = lowest_writable(wall + WALL, stack);
	lab_note_hex("wall", wall);
	survives(write_to, lowest - PAGE, &fault);
	note_fault("gap", &fault);
}

/* Where the mapping for a hint ends; the mapping is gone again. */
static uintptr_t end_of_hinted(uintptr_t hint)
{
	int flags = ANYWHERE | (MUTATE_FIXED_HINT ? MAP_FIXED_NOREPLACE : 0);
	uintptr_t given = (uintptr_t)mmap((void *)hint, PAGE, PROT_NONE, flags, -1, 0);

	munmap((void *)given, PAGE);
	return given + PAGE;
}

/* By bisection: the closest page to the stack at which mmap() takes a hint. */
static void note_closest_hint(void)
{
	uintptr_t stack = find_stack().start, low = stack - ROOM, high = stack - PAGE;

	while (low < high) {
		uintptr_t middle = (low + (high - low) / 2 + PAGE / 2) & ~(PAGE - 1);

		if (end_of_hinted(middle) == middle + PAGE)
			low = middle;
		else
			high = middle - PAGE;
	}
	lab_note_hex("hint", low + PAGE);
	lab_note_hex("stack", stack);
}

static void writable(void)
{
	note_closest_hint();
	approach(MUTATE_OPEN_GAP ? PROT_NONE : PROT_READ | PROT_WRITE, 0);
	lab_checkpoint("gap");
}

static void readable(void)
{
	approach(MUTATE_UNREADABLE ? PROT_NONE : PROT_READ, 0);
	lab_checkpoint("gap-readable");
}

static void inaccessible(void)
{
	approach(MUTATE_ACCESSIBLE ? PROT_READ : PROT_NONE, 0);
	lab_checkpoint("gap-none");
}

static void growing(void)
{
	approach(PROT_READ | PROT_WRITE, MUTATE_FIXED_WALL ? 0 : MAP_GROWSDOWN);
	lab_checkpoint("gap-growsdown");
}

void show_gaps(void)
{
	in_child(writable);
	in_child(readable);
	in_child(inaccessible);
	in_child(growing);
}

/* A function with a large local buffer, of which it uses the first byte. */
static __attribute__((noinline)) void victim(uintptr_t target)
{
	uintptr_t here = (uintptr_t)__builtin_frame_address(0), page;
	volatile char *buffer = alloca(here - target);

	/* what -fstack-clash-protection adds */
	for (page = here; MUTATE_PROBES && page > (uintptr_t)buffer; page -= PAGE)
		write_to(page);
	buffer[0] = 0x5a;
}

/* The neighbour lies beyond any gap, where the kernel allows it. */
static void clash(void)
{
	uintptr_t stack = find_stack().start;
	uintptr_t wall = make_wall(stack, PROT_READ | PROT_WRITE, 0);
	const volatile char *byte = (char *)wall;
	struct fault fault = { 0 };
	unsigned int found = 0;
	size_t i;

	set_stack_limit(64 * MIB);
	catch_faults();
	survives(victim, wall + WALL / 2, &fault);
	for (i = 0; i < WALL; i++)
		found += byte[i] == 0x5a;
	lab_note_u64("found", found);
	lab_note_hex("wall", wall);
	lab_note_hex("stack", stack);
	note_fault("clash", &fault);
	lab_checkpoint("clash");
}

void show_clash(void)
{
	in_child(clash);
}
