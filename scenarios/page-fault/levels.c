/* SPDX-License-Identifier: MIT */
/*
 * levels - how many levels the page tables have.
 *
 * x86-64 has four of them, for 47 bits of user addresses, or five, for 56, if the
 * processor has LA57 and the kernel uses it.  Three sources are compared: what the
 * processor offers (cpuid), what the kernel says that it uses (la57 in
 * /proc/cpuinfo), and whether a page can be mapped above the 47 bits, where mmap
 * puts nothing unless it is asked to.
 */
#define _GNU_SOURCE
#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lab.h"
#include "page-fault.h"

#define HIGH	(1UL << (MUTATE_LOW ? 45 : 48))
#define LA57	(1U << 16)	/* of ecx, leaf 7: arch/x86/include/asm/cpufeatures.h */

static int cpu_offers(void)
{
	unsigned int a, b, c, d;

	return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (c & LA57);
}

/* The flags of the first processor, which lie within the first 8 KiB. */
static int kernel_uses(void)
{
	char text[2 * PAGE];
	size_t length = 0;
	ssize_t got;
	int fd = open("/proc/cpuinfo", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		give_up("/proc/cpuinfo");
	while ((got = read(fd, text + length, sizeof(text) - 1 - length)) > 0)
		length += (size_t)got;
	close(fd);
	text[length] = '\0';
	return strstr(text, " la57") != NULL;
}

void show_levels(void)
{
	char *page = mmap((void *)HIGH, PAGE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	int result = page == MAP_FAILED ? -errno : 0;

	lab_checkpoint("top-mapped");

	if (!result)
		write_byte(page);
	lab_note_i64("cpu-la57", cpu_offers());
	lab_note_i64("la57", kernel_uses());
	lab_note_hex("high", HIGH);
	lab_note_i64("result", result);
	lab_checkpoint("top");
	if (!result)
		munmap(page, PAGE);
}
