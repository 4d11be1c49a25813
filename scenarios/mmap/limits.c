/* SPDX-License-Identifier: MIT */
/*
 * limits - what refuses a mapping: RLIMIT_AS, the overcommit policy, max_map_count.
 *
 * The policy is a sysctl of the whole guest; the program, which is root, puts each
 * of its three values in turn, and the old one back.  The number of VMAs is reached
 * by pages of alternating rights, none of which can merge with its neighbour.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "lab.h"
#include "mmap.h"

#define POLICY	"/proc/sys/vm/overcommit_memory"

/* The first number after a word in a file of /proc.  No stdio: it would malloc. */
static uint64_t number_in(const char *file, const char *word)
{
	char text[PAGE];
	uint64_t number = 0;
	const char *digit;
	ssize_t length;
	int fd;

	fd = open(file, O_RDONLY | O_CLOEXEC);
	length = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (length <= 0)
		return 0;
	text[length] = '\0';
	digit = strstr(text, word);
	if (!digit)
		return 0;
	for (digit += strcspn(digit, "0123456789"); *digit >= '0' && *digit <= '9'; digit++)
		number = number * 10 + (uint64_t)(*digit - '0');
	return number;
}

/* Whatever `ulimit` says: what refuses a mapping here is only what the program itself sets. */
void lift_limits(void)
{
	const struct rlimit none = { RLIM_INFINITY, RLIM_INFINITY };

	setrlimit(RLIMIT_AS, &none);
	setrlimit(RLIMIT_DATA, &none);
}

static void limit_soft(int resource, rlim_t soft)
{
	struct rlimit limit;

	getrlimit(resource, &limit);
	limit.rlim_cur = soft < limit.rlim_max ? soft : limit.rlim_max;
	setrlimit(resource, &limit);
}

/* Room for exactly four pages more; they are inaccessible ones, and count all the same. */
static void show_address_space(void)
{
	rlim_t size = (rlim_t)(number_in("/proc/self/status", "VmSize:") << 10);
	int resource = MUTATE_OTHER_LIMIT ? RLIMIT_DATA : RLIMIT_AS;
	struct rlimit old;

	getrlimit(resource, &old);
	if (!MUTATE_NO_LIMIT)
		limit_soft(resource, size + 4 * PAGE);
	lab_note_i64("within", map_at(80, 4, PROT_NONE) < 0);
	lab_note_i64("past", map_at(84, 1, PROT_NONE));
	lab_checkpoint("limited");
	setrlimit(resource, &old);
}

static void set_policy(char value)
{
	int fd = open(POLICY, O_WRONLY | O_CLOEXEC);

	if (write(fd, &value, 1) != 1)
		lab_note("policy", "cannot be set");
	close(fd);
}

/* 0, or the error as a negative number. */
static void try_size(const char *key, uint64_t size, int rights, int flags)
{
	intptr_t result = map_anonymous(NULL, (long)size, rights, MAP_PRIVATE | flags);

	if (result > 0)
		munmap((void *)result, size);
	lab_note_i64(key, result > 0 ? 0 : result);
}

/* One page more than all memory and swap there is. */
static uint64_t too_much(void)
{
	struct sysinfo info;

	sysinfo(&info);
	return MUTATE_SMALL ? PAGE : (info.totalram + info.totalswap) * info.mem_unit + PAGE;
}

/* One page more than may be committed with policy 2. */
static uint64_t over_limit(void)
{
	return MUTATE_SMALL ? PAGE : (number_in("/proc/meminfo", "CommitLimit:") << 10) + PAGE;
}

static void show_overcommit(void)
{
	char old = (char)('0' + number_in(POLICY, ""));
	int rights = MUTATE_READABLE ? PROT_READ : RW;
	uint64_t size = too_much();

	set_policy('0');
	try_size("heuristic", size, RW, 0);
	try_size("heuristic-noreserve", size, rights, MAP_NORESERVE);
	try_size("heuristic-read", size, PROT_READ, 0);
	set_policy(MUTATE_ALWAYS_HEURISTIC ? '0' : '1');
	try_size("always", size, RW, 0);
	set_policy('2');
	size = over_limit();
	try_size("never", size, rights, 0);
	try_size("never-noreserve", size, rights, MAP_NORESERVE);
	try_size("never-read", size, PROT_READ, 0);
	set_policy(old);
	lab_checkpoint("committed");
}

/* Arena pages 90-93 are there before; then single pages, until no further one is to be had. */
static void show_map_count(void)
{
	long left = MUTATE_FEWER ? 10 : (long)number_in("/proc/sys/vm/max_map_count", "") + 10;
	long made = 0;
	intptr_t page;

	map_at(90, 3, RW);
	do {
		page = map_anonymous(NULL, PAGE, made % 2 ? PROT_READ : PROT_NONE, MAP_PRIVATE);
		made += page > 0;
	} while (page > 0 && --left);
	lab_note_i64("made", made);
	lab_note_i64("refused", page > 0 ? 0 : page);
	lab_note_i64("hole", munmap(at_page(MUTATE_EDGE ? 92 : 91), PAGE) ? -errno : 0);
	lab_checkpoint("full");
	lab_note_i64("whole", munmap(at_page(90), 3 * PAGE) ? -errno : 0);
}

void show_limits(void)
{
	show_address_space();
	show_overcommit();
	show_map_count();
}
