/* SPDX-License-Identifier: MIT */
/*
 * file - faults on a mapped file.
 *
 * A read fault maps pages that are in the page cache, up to 16 of them around the
 * address at once (fault_around_bytes).  The first write to a private mapping
 * copies one page, and the file never learns of it.
 *
 * A major fault must wait for a page to be read.  The guest has no disk, and what is
 * in tmpfs is in the page cache or nowhere; but a hole of a file in ramfs is read
 * (simple_readpage(), simple_read_folio(): by filling the page with zeros) as from
 * any file system.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lab.h"
#include "page-fault.h"

#define PAGES	64
#define SIZE	(PAGES * PAGE)
#define WHERE	20	/* the page that is touched first, inside a window of 16 */

int make_file(const char *path, size_t pages)
{
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd < 0 || unlink(path) || ftruncate(fd, (off_t)(pages * PAGE)))
		give_up(path);
	return fd;
}

/* The mount goes away at once; the file lives on in it as long as it is open or mapped. */
int make_ram_file(size_t pages)
{
	int fd;

	if (mkdir("ram", 0700) || mount("none", "ram", "ramfs", 0, NULL))
		give_up("ramfs");
	fd = make_file("ram/file", pages);
	if (umount2("ram", MNT_DETACH) || rmdir("ram"))
		give_up("ramfs");
	return fd;
}

static void fill(int fd)
{
	char page[PAGE];
	size_t i;

	memset(page, 'f', sizeof(page));
	for (i = 0; i < PAGES; i++) {
		/* a page whose first touch would bring its window anyway */
		if (MUTATE_SPARSE && i == PAGES - 16)
			continue;
		if (pwrite(fd, page, sizeof(page), (off_t)(i * PAGE)) != (ssize_t)sizeof(page))
			give_up("pwrite");
	}
}

/* Aligned as the windows of fault-around are; a page below it was touched, so that no fault has to make a table. */
static char *map_file(int fd, int protection, int flags)
{
	char *below = reserve(2 * SIZE, 2 * SIZE);
	char *at = below + SIZE;

	allow(below, PAGE);
	write_byte(below);
	if (mmap(at, SIZE, protection, flags | MAP_FIXED, fd, 0) == MAP_FAILED)
		give_up("mmap");
	return at;
}

/* Writes a number of bytes to the kernel's own setting; its file is in debugfs. */
static void set_fault_around(const char *bytes)
{
	int fd;

	if (mkdir("debug", 0700) || mount("none", "debug", "debugfs", 0, NULL))
		give_up("debugfs");
	fd = open("debug/fault_around_bytes", O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, bytes, strlen(bytes)) < 0)
		give_up("fault_around_bytes");
	close(fd);
	if (umount("debug") || rmdir("debug"))
		give_up("debugfs");
}

static void note_cached(char *at)
{
	unsigned char states[PAGES];
	uint64_t cached = 0;
	size_t i;

	if (mincore(at, SIZE, states))
		give_up("mincore");
	for (i = 0; i < PAGES; i++)
		cached += states[i] & 1;
	lab_note_u64("cached", cached);
}

static char *show_read(int fd)
{
	char *shared = map_file(fd, PROT_READ, MAP_SHARED);
	struct faults before;

	lab_note_ptr("shared", shared);
	lab_note_ptr("address", shared + WHERE * PAGE);
	lab_trace_begin("file-touch");
	before = count_faults();
	read_byte(shared + WHERE * PAGE);
	note_faults("minor", "major", before);
	lab_trace_end("file-touch");
	note_cached(shared);
	lab_checkpoint("file-touched");

	before = count_faults();
	read_pages(shared, PAGES);
	note_faults("minor", "major", before);
	lab_checkpoint("file-read");
	return shared;
}

static void show_private_write(int fd, const char *shared)
{
	int flags = MUTATE_SHARED ? MAP_SHARED : MAP_PRIVATE;
	char *private = map_file(fd, PROT_READ | PROT_WRITE, flags);
	char *page = private + WHERE * PAGE;
	struct faults before;

	lab_note_ptr("private", private);
	lab_note_ptr("address", page);
	if (MUTATE_READ_BEFORE)
		read_byte(page);
	lab_trace_begin("file-write");
	before = count_faults();
	write_byte(page);
	note_faults("minor", NULL, before);
	lab_trace_end("file-write");
	note_frame("frame", page);
	note_frame("cache", shared + WHERE * PAGE);
	lab_checkpoint("file-written");
}

static void show_private_copy(int fd, const char *shared)
{
	int flags = MUTATE_SHARED ? MAP_SHARED : MAP_PRIVATE;
	char *private = map_file(fd, PROT_READ | PROT_WRITE, flags);
	struct faults before;
	char byte = 0;

	lab_note_ptr("private", private);
	before = count_faults();
	if (MUTATE_UNREAD)
		write_byte(private + 1);
	else
		read_byte(private);
	note_faults("minor", NULL, before);
	note_frame("frame", private);
	note_frame("cache", shared);
	lab_checkpoint("file-shared");

	lab_trace_begin("file-copy");
	before = count_faults();
	write_byte(private);
	note_faults("minor", NULL, before);
	lab_trace_end("file-copy");
	note_frame("frame", private);
	note_frame("cache", shared);
	lab_note_i64("beside", private[2]);
	if (pread(fd, &byte, 1, 0) != 1)
		give_up("pread");
	lab_note_i64("in-file", byte);
	lab_note_i64("in-mapping", shared[0]);
	lab_checkpoint("file-copied");
}

/* What is written to a shared mapping is written to the page of the page cache. */
static void show_shared_write(int fd, const char *shared)
{
	char *at = map_file(fd, PROT_READ | PROT_WRITE, MUTATE_PRIVATE ? MAP_PRIVATE : MAP_SHARED);
	char *page = at + 2 * WHERE * PAGE;

	lab_note_ptr("page", page);
	lab_note_ptr("other", shared + 2 * WHERE * PAGE);
	write_byte(page);
	note_frame("frame", page);
	note_frame("cache", shared + 2 * WHERE * PAGE);
	lab_note_i64("in-mapping", shared[2 * WHERE * PAGE]);
	lab_checkpoint("file-through");
}

/* The same page of the file, by a mapping made for it. */
static void touch_mapping(int fd, const char *minor, const char *major)
{
	char *at = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);
	struct faults before;

	if (at == MAP_FAILED)
		give_up("mmap");
	before = count_faults();
	read_byte(at);
	note_faults(minor, major, before);
	munmap(at, PAGE);
}

static void drop_caches(void)
{
	int fd = open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, "1", 1) != 1)
		give_up("drop_caches");
	close(fd);
}

static void show_major(void)
{
	int fd = make_ram_file(1);

	if (MUTATE_CACHED && pwrite(fd, "", 1, 0) != 1)
		give_up("pwrite");
	touch_mapping(fd, "first-minor", "first-major");
	touch_mapping(fd, "again-minor", "again-major");
	drop_caches();
	touch_mapping(fd, "dropped-minor", "dropped-major");
	close(fd);
	fd = make_file("hole", 1);
	touch_mapping(fd, "tmpfs-minor", "tmpfs-major");
	close(fd);
	lab_checkpoint("file-major");
}

void show_file(void)
{
	int fd = make_file("pages", PAGES);
	char *shared;

	fill(fd);
	if (MUTATE_ONE_BY_ONE)
		set_fault_around("4096");
	shared = show_read(fd);
	if (MUTATE_ONE_BY_ONE)
		set_fault_around("65536");
	show_private_write(fd, shared);
	show_private_copy(fd, shared);
	show_shared_write(fd, shared);
	show_major();
}
