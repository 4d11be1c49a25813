/* SPDX-License-Identifier: MIT */
/*
 * counts - the counters of mm_struct against the mappings that they count.
 *
 * The program adds mappings of known kinds, says how many pages of each, and
 * writes to some; the lab sums up what the kernel shows.  It also reads its own
 * /proc/self/maps, and reports its lines, the sum of their sizes, and how many
 * of them are writable.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "exec.h"
#include "lab.h"

#define DATA	2048L	/* pages: private, writable */
#define TEXT	32L	/* pages: private, executable */
#define SHARED	8L	/* pages: shared, writable */

static char *map(long pages, int rights, int flags)
{
	return mmap(NULL, pages * PAGE, rights, flags | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
}

#define KERNEL	(1UL << 63)	/* from here on: [vsyscall], which is in no mm_struct */

struct reader {	/* of "start-end rest of the line" lines */
	uint64_t lines, bytes, writable, start, number;
	int fields;	/* of this line, complete ones */
};

static unsigned int digit(char c)
{
	return c <= '9' ? (unsigned int)(c - '0') : (unsigned int)(c - 'a' + 10);
}

static void read_char(struct reader *r, char c)
{
	if (c == '\n') {
		r->lines++;
		r->fields = 0;
		r->number = 0;
	} else if (r->fields == 0 && c == '-') {
		r->start = r->number;
		r->number = 0;
		r->fields = 1;
	} else if (r->fields == 1 && c == ' ') {
		r->bytes += r->start < KERNEL ? r->number - r->start : 0;
		r->fields = 2;
	} else if (r->fields == 2) {
		r->writable += c == 'w';
		r->fields += c == ' ';
	} else if (r->fields < 2) {
		r->number = r->number * 16 + digit(c);
	}
}

static void note_own_maps(void)
{
	struct reader reader = { 0 };
	char text[1024];
	ssize_t length, i;
	int fd;

	fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
	while ((length = read(fd, text, sizeof(text))) > 0)
		for (i = 0; i < length; i++)
			read_char(&reader, text[i]);
	close(fd);
	lab_note_u64("lines", reader.lines);
	lab_note_u64("bytes", reader.bytes);
	lab_note_u64("writable", reader.writable);
}

static void note_processors(void)
{
	cpu_set_t set;

	sched_getaffinity(0, sizeof(set), &set);
	lab_note_u64("processors", (uint64_t)CPU_COUNT(&set));
}

static void touch(char *data)
{
	volatile char *byte;

	for (byte = data; byte < data + DATA * PAGE && !MUTATE_UNTOUCHED; byte += PAGE) {
		if (MUTATE_READ)
			(void)*byte;	/* maps the shared zero page, which is not counted */
		else
			*byte = 1;
	}
}

void show_counts(void)
{
	char *data = map(DATA, PROT_READ | PROT_WRITE, MUTATE_SHARED ? MAP_SHARED : MAP_PRIVATE);
	char *shared;

	map(TEXT, PROT_READ | PROT_EXEC, MAP_PRIVATE);
	shared = map(SHARED, PROT_READ | PROT_WRITE, MAP_SHARED);
	touch(data);
	lab_note_ptr("place", data);
	lab_note_u64("data", DATA * PAGE);
	lab_note_u64("text", TEXT * PAGE);
	lab_note_u64("shared", SHARED * PAGE);
	note_processors();
	note_own_maps();
	if (MUTATE_ONE_MORE)
		map(1, PROT_NONE, MAP_PRIVATE);
	if (MUTATE_LATE_RIGHTS)
		mprotect(shared, SHARED * PAGE, PROT_READ);
	lab_checkpoint("counted");
	munmap(data, DATA * PAGE);
}
