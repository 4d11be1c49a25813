// SPDX-License-Identifier: MIT
/*
 * Memory apart from all other memory, and what a process can find out about it:
 * the page frames behind its pages (/proc/self/pagemap tells them to root), and
 * its own faults.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "fork.h"
#include "lab.h"

#define CROWD		64

/* Between two pages that nobody may touch, so that the kernel merges it with nothing. */
char *new_area(size_t size, int flags)
{
	char *area = mmap(NULL, size + 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (area == MAP_FAILED)
		abort();
	area = mmap(area + PAGE, size, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	if (area == MAP_FAILED)
		abort();
	return area;
}

/*
 * Exactly what so many page tables map: at fork a mapping that shares a table
 * with others costs the child this table even if no page of it is there.
 */
char *new_tables(size_t count, int flags)
{
	uintptr_t area = (uintptr_t)mmap(NULL, (count + 2) * TABLE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *first = (char *)((area + TABLE - 1) & ~(TABLE - 1));

	if (mmap(first, count * TABLE, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != first)
		abort();
	return first;
}

/*
 * A fresh page first waits in a list of its processor, which counts as an owner
 * of it; when that list is full (15 pages, 31 in newer kernels) all of them go on.
 */
void touch_crowd(void)
{
	char *crowd = new_area(CROWD * PAGE, MAP_PRIVATE);
	int i;

	for (i = 0; i < CROWD; i++)
		write_word(crowd + i * PAGE, 1);
}

/* The page frame, or 0 if no page is mapped there. */
uint64_t frame_of(const void *address)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t entry = 0;

	if (fd < 0 || pread(fd, &entry, sizeof(entry), (uintptr_t)address / PAGE * sizeof(entry)) != sizeof(entry))
		abort();
	close(fd);
	return entry >> 63 ? entry & ((1UL << 55) - 1) : 0;
}

long minor_faults(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_minflt;
}

void write_word(char *page, uint64_t value)
{
	*(volatile uint64_t *)page = value;
}

uint64_t read_word(const char *page)
{
	return *(const volatile uint64_t *)page;
}

/* A sum over all words but the first. */
uint64_t rest_of(const char *page)
{
	uint64_t sum = 0;
	unsigned long i;

	for (i = 1; i < PAGE / 8; i++)
		sum = sum * 31 + read_word(page + 8 * i);
	return sum;
}

/* One write in a window of the trace (value 0: a read); how many minor faults it took. */
long write_in_window(const char *window, char *page, uint64_t value)
{
	long before, after;

	minor_faults();		/* the stack that this needs is now a page of our own */
	lab_trace_begin(window);
	before = minor_faults();
	if (value)
		write_word(page, value);
	else
		read_word(page);
	after = minor_faults();
	lab_trace_end(window);
	return after - before;
}
