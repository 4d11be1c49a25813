/* SPDX-License-Identifier: MIT */
/*
 * huge - transparent huge pages: 2 MiB with one fault.
 *
 * A range that is aligned to 2 MiB, lies in one VMA and may have huge pages
 * (/sys/kernel/mm/transparent_hugepage/enabled, or MADV_HUGEPAGE) gets 512 pages at
 * its first touch.  Whether a large mapping has such ranges depends on where mmap
 * puts it.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lab.h"
#include "page-fault.h"

#define IN_HUGE	(TABLE / PAGE)	/* 512 pages */

/* A checkpoint with the setting: the word in brackets in "always [madvise] never". */
static void checkpoint(const char *name)
{
	char text[64] = "";
	char *word = NULL;
	int fd = open("/sys/kernel/mm/transparent_hugepage/enabled", O_RDONLY | O_CLOEXEC);

	if (fd >= 0 && read(fd, text, sizeof(text) - 1) > 0)
		word = strchr(text, '[');
	if (fd >= 0)
		close(fd);
	if (word)
		word[strcspn(word, "]")] = '\0';
	lab_note("enabled", word ? word + 1 : "none");
	lab_checkpoint(name);
}

static void ask_for_huge(char *from, size_t size)
{
	madvise(from, size, MUTATE_NO_HUGE ? MADV_NOHUGEPAGE : MADV_HUGEPAGE);
}

/* Usable memory whose upper half is one huge page, and whose lower half has a page table of its own. */
char *huge_range(void)
{
	char *lower = reserve(2 * TABLE, 2 * TABLE);
	char *page = lower + TABLE;

	allow(lower, PAGE);
	write_byte(lower);
	if (mprotect(page, TABLE, PROT_READ | PROT_WRITE))
		give_up("mprotect");
	ask_for_huge(page, TABLE);
	return page;
}

static void show_huge_fault(char *page)
{
	char *address = page + 5 * PAGE;
	char *other = huge_range();
	struct faults before;

	/* the first huge page of a process also makes it known to khugepaged */
	write_byte(huge_range());
	lab_note_ptr("page", page);
	lab_note_ptr("address", address);
	lab_checkpoint("huge-mapped");

	lab_trace_begin("huge");
	before = count_faults();
	write_byte(address);
	note_faults("first", NULL, before);
	lab_trace_end("huge");
	before = count_faults();
	write_pages(page, IN_HUGE);
	note_faults("others", NULL, before);
	note_frame("frame", page);
	if (MUTATE_TWO_HUGE)
		write_byte(other);
	checkpoint("huge-touched");
}

static void note_frames(const char *page)
{
	note_frame("frame", page);
	note_frame("next", page + PAGE);
	note_frame("last", page + TABLE - PAGE);
}

static void show_huge_zero(char *page)
{
	struct faults before;

	lab_note_ptr("page", page);
	before = count_faults();
	read_pages(page, IN_HUGE);
	note_faults("minor", NULL, before);
	note_frames(page);
	checkpoint("huge-read");

	write_byte(page);
	note_frames(page);
	checkpoint("huge-written");
}

static char *map(size_t size, int protection)
{
	char *at = mmap(NULL, size, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED)
		give_up("mmap");
	return at;
}

static int is_aligned(const char *a, const char *b)
{
	return (uintptr_t)a % TABLE == 0 && (uintptr_t)b % TABLE == 0;
}

/*
 * Two mappings of 4 MiB where the kernel puts them, and one between them, an odd page
 * longer: where the kernel puts each directly below the one before, the two
 * can't both be aligned, whatever the base is.
 */
static void show_placement(void)
{
	size_t size = 2 * TABLE;
	struct faults before;
	char *a = map(size, PROT_READ | PROT_WRITE);
	char *between = map(size + PAGE, PROT_NONE);
	char *b = map(size, PROT_READ | PROT_WRITE);

	(void)between;
	if (MUTATE_PLACED) {	/* the other way round than the kernel does */
		a = b = reserve(size, TABLE) + (is_aligned(a, b) ? PAGE : 0);
		mprotect(a, size, PROT_READ | PROT_WRITE);
	}
	ask_for_huge(a, size);
	lab_note_ptr("a", a);
	lab_note_ptr("b", b);
	before = count_faults();
	write_pages(a, size / PAGE);
	note_faults("minor", NULL, before);
	checkpoint("huge-placed");
	munmap(a, size);
}

void show_huge(void)
{
	show_huge_fault(huge_range());
	show_huge_zero(huge_range());
	show_placement();
}
