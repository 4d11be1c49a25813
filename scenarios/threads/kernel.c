/* SPDX-License-Identifier: MIT */
/*
 * kernel - what the program asks the kernel about its own address space.
 *
 * Four questions: how much is mapped, how much of it is in memory, whether a page
 * can be read, and whether a page is marked as a guard.  No stdio: it would malloc.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lab.h"
#include "threads.h"

#ifndef MADV_GUARD_INSTALL	/* Linux 6.13; in glibc's headers from 2.42 on */
#define MADV_GUARD_INSTALL	102
#endif

#define PM_GUARD_REGION		58	/* a bit of /proc/PID/pagemap from Linux 6.15 on */

/* mm->total_vm, the VmSize of /proc/PID/status: an exact counter of mapped pages. */
uint64_t mapped_bytes(void)
{
	char text[128];
	uint64_t pages = 0;
	ssize_t length, i;
	int fd;

	fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
	length = read(fd, text, sizeof(text));
	close(fd);
	for (i = 0; i < length && text[i] >= '0' && text[i] <= '9'; i++)
		pages = pages * 10 + (uint64_t)(text[i] - '0');
	return pages * PAGE;
}

/* The kernel reads one byte on our behalf: 1, or -EFAULT where we would get SIGSEGV. */
int peek(uintptr_t address)
{
	int end[2], result;

	if (pipe(end))
		return -errno;
	result = write(end[1], (const void *)address, 1) == 1 ? 1 : -errno;
	close(end[0]);
	close(end[1]);
	return result;
}

/* Whether the page table entry is a guard marker: 1, 0, or a negative error number. */
int guard_marker(uintptr_t address)
{
	uint64_t entry = 0;
	ssize_t got;
	int fd;

	fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	got = pread(fd, &entry, sizeof(entry), (off_t)(address / PAGE * sizeof(entry)));
	close(fd);
	return got == sizeof(entry) ? (int)(entry >> PM_GUARD_REGION & 1) : -EIO;
}

/* How many pages of that memory are there. */
size_t resident_pages(uintptr_t low, size_t size)
{
	unsigned char there[512];
	size_t done, part, i, count = 0;

	for (done = 0; done < size; done += part) {
		part = size - done < sizeof(there) * PAGE ? size - done : sizeof(there) * PAGE;
		if (mincore((void *)(low + done), part, there))
			return SIZE_MAX;
		for (i = 0; i < part / PAGE; i++)
			count += there[i] & 1;
	}
	return count;
}

/* Tried on a page of our own: can this kernel install guards, and does pagemap show them? */
void note_guard_support(void)
{
	void *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int installed = madvise(page, PAGE, MADV_GUARD_INSTALL) == 0;

	lab_note_i64("guards-work", installed);
	lab_note_i64("guards-shown", installed && guard_marker((uintptr_t)page) == 1);
	munmap(page, PAGE);
}
