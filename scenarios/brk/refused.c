/* SPDX-License-Identifier: MIT */
/*
 * refused - growths of the break that the kernel refuses, and what they leave.
 *
 * Two mechanisms: RLIMIT_DATA, which since 4.7 counts all private writable
 * memory (mm->data_vm, the VmData of /proc/PID/status) and not the heap alone;
 * and a mapping in the way, to which the kernel keeps one page of distance.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "brk.h"
#include "lab.h"

/* A "name: N kB" line of /proc/self/status, in bytes.  No stdio: it would malloc. */
static uint64_t status_bytes(const char *name)
{
	char text[PAGE];
	uint64_t kilobytes = 0;
	const char *digit;
	ssize_t length;
	int fd;

	fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
	length = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (length <= 0)
		return 0;
	text[length] = '\0';
	digit = strstr(text, name);
	if (!digit)
		return 0;
	for (digit += strcspn(digit, "0123456789"); *digit >= '0' && *digit <= '9'; digit++)
		kilobytes = kilobytes * 10 + (uint64_t)(*digit - '0');
	return kilobytes << 10;
}

/* Leaves the process room for exactly two pages more. */
static void set_limit(int resource, const char *counter)
{
	struct rlimit limit;

	getrlimit(resource, &limit);
	limit.rlim_cur = status_bytes(counter) + 2 * PAGE;
	setrlimit(resource, &limit);
}

static void lift_limit(int resource)
{
	struct rlimit limit;

	getrlimit(resource, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(resource, &limit);
}

void show_limit(uintptr_t base)
{
	if (MUTATE_OTHER_LIMIT)
		set_limit(RLIMIT_AS, "VmSize:");
	else if (!MUTATE_NO_LIMIT)
		set_limit(RLIMIT_DATA, "VmData:");

	try_brk("within", base + 2 * PAGE);
	lab_note_hex("before", kernel_break());
	try_brk("past", base + 3 * PAGE);
	lab_note_hex("raw", (uint64_t)syscall(SYS_brk, base + 3 * PAGE));
	if (MUTATE_AFTER_REFUSAL)
		try_brk("less", base + 2 * PAGE - 1);
	lab_note_hex("brk", kernel_break());
	lab_checkpoint("limited");

	lift_limit(MUTATE_OTHER_LIMIT ? RLIMIT_AS : RLIMIT_DATA);
	try_brk("back", base);
}

void show_wall(uintptr_t base)
{
	uintptr_t wall = base + (MUTATE_FAR_WALL ? 5 : 4) * PAGE;

	if (!MUTATE_NO_WALL)
		mmap((void *)wall, PAGE, PROT_NONE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	lab_note_hex("wall", wall);
	try_brk("apart", base + 3 * PAGE);
	try_brk("adjoining", base + 4 * PAGE);
	lab_note_hex("before", kernel_break());
	try_brk("into", wall + PAGE);
	lab_note_hex("brk", kernel_break());
	lab_checkpoint("walled");

	munmap((void *)wall, PAGE);
	try_brk("back", base);
}
