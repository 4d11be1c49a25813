/* SPDX-License-Identifier: MIT */
/*
 * measure - what all parts need: fresh memory, touches, counts, page frames.
 *
 * The kernel counts the faults of each thread (min_flt and maj_flt of its
 * task_struct); getrusage(2) reads them.  So that a count has the faults of the
 * touches and no others, all else that runs between two readings is mapped
 * beforehand: warm_up() reads each page of the program and of its libraries and
 * uses some stack.
 *
 * The page frame behind an address is in /proc/self/pagemap (for root only).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "lab.h"
#include "page-fault.h"

#define FRAME	((1UL << 55) - 1)	/* bits 0-54: Documentation/admin-guide/mm/pagemap.rst */

static int pagemap;

/* The lab sees exit status 2, the note, and that the checkpoints to come are missing. */
void give_up(const char *what)
{
	lab_note("gave-up", what);
	lab_note_i64("errno", errno);
	_exit(2);
}

void write_byte(char *address)
{
	*(volatile char *)address = 1;
}

char read_byte(const char *address)
{
	return *(const volatile char *)address;
}

void write_pages(char *from, size_t pages)
{
	size_t i;

	for (i = 0; i < pages; i++)
		write_byte(from + i * PAGE);
}

void read_pages(const char *from, size_t pages)
{
	size_t i;

	for (i = 0; i < pages; i++)
		read_byte(from + i * PAGE);
}

static int warm_object(struct dl_phdr_info *object, size_t size, void *unused)
{
	const ElfW(Phdr) *segment = object->dlpi_phdr;
	uintptr_t start, end;
	int i;

	(void)size;
	(void)unused;
	for (i = 0; i < object->dlpi_phnum; i++, segment++) {
		if (segment->p_type != PT_LOAD)
			continue;
		start = object->dlpi_addr + segment->p_vaddr;
		end = start + segment->p_memsz;
		start &= ~(PAGE - 1);
		read_pages((const char *)start, (end - start + PAGE - 1) / PAGE);
	}
	return 0;
}

static __attribute__((noinline)) void warm_stack(void)
{
	char pad[4 * PAGE];

	write_pages(pad, sizeof(pad) / PAGE);
}

void warm_up(void)
{
	warm_stack();
	dl_iterate_phdr(warm_object, NULL);
	pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	if (pagemap < 0)
		give_up("/proc/self/pagemap");
}

/* Address space and nothing else, with at least a page to spare on both sides. */
char *reserve(size_t size, size_t alignment)
{
	char *all = mmap(NULL, size + alignment + 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (all == MAP_FAILED)
		give_up("reserve");
	return (char *)(((uintptr_t)all + PAGE + alignment - 1) & ~(alignment - 1));
}

/* Makes reserved memory usable, without huge pages. A kernel that has none refuses the advice. */
void allow(char *from, size_t size)
{
	if (mprotect(from, size, PROT_READ | PROT_WRITE))
		give_up("mprotect");
	madvise(from, size, MADV_NOHUGEPAGE);
}

/* Pages that nobody has touched; the inaccessible memory around them keeps them a mapping of their own. */
char *fresh(size_t pages, size_t alignment)
{
	char *from = reserve(pages * PAGE, alignment);

	allow(from, pages * PAGE);
	return from;
}

struct faults count_faults(void)
{
	struct rusage usage;

	getrusage(RUSAGE_THREAD, &usage);
	return (struct faults){ usage.ru_minflt, usage.ru_majflt };
}

/* Reports the faults since then; a key may be NULL. */
void note_faults(const char *minor, const char *major, struct faults before)
{
	struct faults now = count_faults();

	if (minor)
		lab_note_i64(minor, now.minor - before.minor);
	if (major)
		lab_note_i64(major, now.major - before.major);
}

/* The frame that is mapped at the address, 0 if none is. */
void note_frame(const char *key, const void *address)
{
	uint64_t entry;
	off_t where = (off_t)((uintptr_t)address / PAGE * sizeof(entry));

	if (pread(pagemap, &entry, sizeof(entry), where) != (ssize_t)sizeof(entry))
		give_up("pagemap");
	lab_note_hex(key, entry & FRAME);
}
