// SPDX-License-Identifier: MIT
/*
 * The heap's own accounting, beside the model's and the kernel's.
 *
 * For each arena malloc_info(3) tells what it has from the system and how much
 * of that is free; the rest is in use: live blocks, blocks in the threads'
 * caches, and the arena's own head.  `excess` is what is in use beyond the
 * model's live blocks.  mallinfo(3) tells the sums.  malloc_info adds up size
 * fields with their flags, so one byte (PREV_INUSE) too much for every chunk in
 * a bin; where its sum differs from mallinfo's, that is taken off.
 *
 * Arenas are numbered here by age; malloc_info lists main_arena, then the
 * youngest first, because a new arena is linked in behind main_arena
 * (_int_new_arena(), malloc/arena.c).  The first words of a heap are the
 * address of its arena, which lies right behind them in an arena's first heap.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lab.h"
#include "stress.h"

#define TEXT	(4UL << 20)

struct arena {
	uintptr_t heap;		/* where its memory begins */
	size_t system;		/* bytes from the system */
	size_t committed;	/* of them and of what was given back: bytes mapped read-write */
	size_t free;
	size_t binned;		/* free chunks in bins: all but the top chunk */
	size_t live;		/* the model's, headers included */
};

static struct arena arenas[MAX_ARENAS];	/* by age; [0] is the main arena */
static unsigned int known = 1;
static FILE *report;
static char *text;

/* All that stdio allocates for the report is allocated here. */
void arenas_init(void)
{
	text = map_memory(TEXT);
	report = fmemopen(text, TEXT, "w");
	if (!report)
		abort();
	setvbuf(report, map_memory(BUFSIZ), _IOFBF, BUFSIZ);
}

void main_heap(uintptr_t start)
{
	arenas[0].heap = start;
}

/* The heap of the first block that a thread allocates; 0 for the main arena, whose heap is no such thing. */
uintptr_t heap_of_first(const void *block)
{
	size_t size;

	if (!block || !in_other_arena(block))
		return 0;
	for (size = 1UL << 20; size <= 1UL << 30; size <<= 1) {	/* never below the heap: no reads astray */
		uintptr_t heap = (uintptr_t)block & ~(size - 1);

		if (*(uintptr_t *)heap > heap && *(uintptr_t *)heap < heap + 128)
			return heap;
	}
	abort();
}

void know_arena(uintptr_t heap)
{
	unsigned int i;

	for (i = 0; i < known; i++)
		if (!heap || arenas[i].heap == heap)
			return;
	if (known == MAX_ARENAS)
		abort();
	arenas[known++].heap = heap;
}

static struct arena *arena_of(const void *block)
{
	struct arena *best = &arenas[0];
	unsigned int i;

	if (!in_other_arena(block))
		return best;
	for (i = 1; i < known; i++)
		if (arenas[i].heap <= (uintptr_t)block && (best == arenas || arenas[i].heap > best->heap))
			best = &arenas[i];
	return best;
}

/* The number after `attribute` of the first `element` between two points of the report; 0 if there is none. */
static size_t number(const char *from, const char *to, const char *element, const char *attribute)
{
	const char *found = strstr(from, element);

	if (found && found < to)
		found = strstr(found, attribute);
	return found && found < to ? strtoul(found + strlen(attribute), NULL, 10) : 0;
}

/* Reads malloc_info's report into the arenas; how many it lists. */
static unsigned int read_report(void)
{
	const char *end = text;
	const char *heap;
	unsigned int count = 0;
	unsigned int i = 0;

	rewind(report);
	malloc_info(0, report);
	fputc(0, report);
	fflush(report);
	for (heap = text; (heap = strstr(heap, "<heap nr=")); heap++)
		count++;
	for (heap = text; (heap = strstr(end, "<heap nr=")) && count <= MAX_ARENAS; i++) {
		struct arena *arena = &arenas[i ? count - i : 0];

		end = strstr(heap, "</heap>");
		arena->system = number(heap, end, "<system type=\"current\"", "size=\"");
		arena->committed = number(heap, end, "<aspace type=\"mprotect\"", "size=\"");
		arena->free = number(heap, end, "<total type=\"rest\"", "size=\"")
			      + number(heap, end, "<total type=\"fast\"", "size=\"");
		arena->binned = number(heap, end, "<total type=\"rest\"", "count=\"") - 1;
	}
	lab_note_u64("mmap-count", number(end, text + TEXT, "<total type=\"mmap\"", "count=\""));
	lab_note_u64("mmap-bytes", number(end, text + TEXT, "<total type=\"mmap\"", "size=\""));
	return count;
}

/* The model's live blocks, by arena; mapped ones apart. The sums of addresses stand for each single block. */
static void count_live(void)
{
	uint64_t addresses = 0, mapped_addresses = 0;
	size_t mapped = 0, bytes = 0, usable = 0;
	size_t blocks = 0, others = 0;
	unsigned int i;

	for (i = 0; i < known; i++)
		arenas[i].live = 0;
	for (i = 0; i < worker_count * SLOTS; i++) {
		const void *address = workers[i / SLOTS].slots[i % SLOTS].address;

		if (address && is_mapped(address)) {
			mapped++;
			mapped_addresses += (uintptr_t)address;
			bytes += mapped_region(address);
			usable += malloc_usable_size((void *)address);
		} else if (address) {
			blocks++;
			others += in_other_arena(address);
			addresses += (uintptr_t)address;
			arena_of(address)->live += chunk_size(address);
		}
	}
	lab_note_u64("live-blocks", blocks);
	lab_note_u64("live-in-others", others);
	lab_note_u64("live-addresses", addresses);
	lab_note_u64("mapped-blocks", mapped);
	lab_note_u64("mapped-addresses", mapped_addresses);
	lab_note_u64("mapped-bytes", bytes);
	lab_note_u64("mapped-usable", usable);
}

/* The bytes from `address` on that are mapped read-write without a hole. */
static size_t mapped_after(const char *maps, uintptr_t address)
{
	unsigned long start, end;
	uintptr_t reached = address;
	char perms[5];

	for (; sscanf(maps, "%lx-%lx %4s", &start, &end, perms) == 3; maps = strchr(maps, '\n') + 1)
		if (start <= reached && reached < end && !strcmp(perms, "rw-p"))
			reached = end;
	return reached - address;
}

static void read_maps(void)
{
	int fd = open("/proc/self/maps", O_RDONLY);
	size_t length = 0;
	ssize_t n;

	while ((n = read(fd, text + length, TEXT - 1 - length)) > 0)
		length += n;
	text[length] = 0;
	close(fd);
}

#if __GLIBC_PREREQ(2, 33)
#define account mallinfo2
#else
#define account mallinfo	/* counts in int: enough for what is allocated here */
#endif

/* Where the youngest arena's committed memory ends. */
uintptr_t heaps_end(void)
{
	uintptr_t heap = arenas[known - 1].heap;

	read_maps();
	return heap + mapped_after(text, heap);
}

static void note_mallinfo(void)
{
	static struct account before;
	struct account now = account();
	struct account info = MUTATE_OLD_MALLINFO ? before : now;

	before = now;
	lab_note_u64("mallinfo-system", info.arena);
	lab_note_u64("mallinfo-used", info.uordblks);
	lab_note_u64("mallinfo-free", info.fordblks);
	lab_note_u64("mallinfo-mmap-count", info.hblks);
	lab_note_u64("mallinfo-mmap-bytes", info.hblkhd);
}

/* malloc_info's report without the flags that it counts. */
static void correct(unsigned int count, size_t free)
{
	size_t reported = 0;
	size_t binned = 0;
	unsigned int i;

	for (i = 0; i < count; i++) {
		reported += arenas[i].free;
		binned += arenas[i].binned;
	}
	lab_note_u64("reported-free", reported);
	lab_note_u64("binned", binned);
	for (i = 0; i < count && reported != free; i++)
		arenas[i].free -= arenas[i].binned;
}

static void note_arenas(unsigned int count)
{
	struct arena all = {0};
	unsigned int i;

	read_maps();
	for (i = 0; i < count; i++) {
		const struct arena *arena = &arenas[i];

		all.system += arena->system;
		all.committed += arena->committed;
		all.free += arena->free;
		all.live += arena->live;
		lab_note_hex("heap", arena->heap);
		lab_note_u64("system", arena->system);
		lab_note_u64("committed", arena->committed);
		lab_note_u64("mapped-rw", mapped_after(text, arena->heap));
		lab_note_i64("excess", arena->system - arena->free - arena->live);
	}
	lab_note_u64("all-system", all.system);
	lab_note_u64("all-committed", all.committed);
	lab_note_u64("all-free", all.free);
	lab_note_u64("all-used", all.system - all.free);
	lab_note_u64("all-live", all.live);
}

/* Everything that is known at a quiescent point: no thread is in malloc. */
void note_accounts(void)
{
	struct account info = account();
	unsigned int count = read_report();

	lab_note_u64("arenas", count);
	if (count > MAX_ARENAS || count != known)
		return;		/* an arena that no thread of ours was seen to make */
	correct(count, info.fordblks);
	count_live();
	note_arenas(count);
	note_mallinfo();
	lab_note_hex("brk", syscall(SYS_brk, 0));
}
