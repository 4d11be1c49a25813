/* SPDX-License-Identifier: MIT */
/*
 * abuse - what glibc says of a program that misuses the heap.
 *
 * Each abuse is committed in a forked child, whose standard error is a pipe.  The
 * parent notes the first line that the child wrote there, the signal it died by,
 * and whether the abuse worked: two owners of one block, or a block where none was.
 * This file has the abuses of the thread's cache, and of the top chunk.
 */
#define _GNU_SOURCE
#include <malloc.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "abuse.h"
#include "lab.h"
#include "controls.h"
#include "ptmalloc.h"

#define SIZE	200	/* cached, and no fastbin's */

static uint64_t memory[16] __attribute__((aligned(16)));	/* not malloc's */

static void commit(const struct abuse *abuse, int error)
{
	struct rlimit none = { 1, 1 };	/* no checkpoint of the dying child */

	setrlimit(RLIMIT_CORE, &none);
	dup2(error, STDERR_FILENO);
	_exit(MUTATE_HARMLESS ? 0 : abuse->commit());
}

/* The first line of what comes from there until its end. */
static void read_line(int from, char *text, size_t size)
{
	size_t length = 0;
	ssize_t got;

	while (length < size - 1 && (got = read(from, text + length, size - 1 - length)) > 0)
		length += (size_t)got;
	text[length] = '\0';
	text[strcspn(text, "\n")] = '\0';
}

static void note_end(const char *name, const char *what, int64_t value)
{
	char key[LAB_NAME_MAX];

	strcpy(key, name);
	strcat(key, what);
	lab_note_i64(key, value);
}

static void try_abuse(const struct abuse *abuse)
{
	char text[256];
	int end[2], status;
	pid_t child;

	if (pipe(end) || (child = fork()) < 0)
		_exit(EXIT_FAILURE);
	if (child == 0)
		commit(abuse, end[1]);
	close(end[1]);
	read_line(end[0], text, sizeof(text));
	close(end[0]);
	waitpid(child, &status, 0);
	lab_note(abuse->name, *text ? text : "nothing");
	note_end(abuse->name, "-signal", WIFSIGNALED(status) ? WTERMSIG(status) : 0);
	note_end(abuse->name, "-worked", WIFEXITED(status) ? WEXITSTATUS(status) : 0);
}

void try_abuses(const struct abuse *abuses, int count)
{
	int i;

	for (i = 0; i < count; i++)
		try_abuse(&abuses[i]);
}

static int free_twice(void)
{
	uintptr_t block = allocate(SIZE);

	release(block);
	release(block);
	return 0;
}

/* Written to after it was freed: the key, by which free() would know it, is gone. */
static int free_without_key(void)
{
	uintptr_t block = allocate(SIZE), again;

	release(block);
	set_word(block + 8, 0);
	release(block);
	again = allocate(SIZE);
	return allocate(SIZE) == again;
}

/* Written to after it was freed: the link leads to an address that is no block's. */
static int forge_link(void)
{
	uintptr_t older = allocate(SIZE), newer = allocate(SIZE), target = (uintptr_t)memory + 8;

	release(older);
	release(newer);
	set_word(newer, word(newer) == older ? target : target ^ (newer >> 12));
	allocate(SIZE);
	return allocate(SIZE) == target;
}

/* Memory that looks like a chunk, and never was one. */
static int free_foreign(void)
{
	allocate(SIZE);	/* 2.31 reads its tunables at the first malloc, not at the first free */
	memory[1] = 0x41;
	release((uintptr_t)&memory[2]);
	return allocate(0x38) == (uintptr_t)&memory[2];
}

/* An overflow makes the next chunk larger: it is cached as such, and overlaps the one behind it. */
static int overflow_size(void)
{
	uintptr_t first = allocate(SIZE), second = allocate(SIZE);

	allocate(SIZE);
	set_word(next(first) - 8, 2 * chunk_size(first) | PREV_INUSE);
	release(second);
	return allocate(2 * SIZE) == second;
}

/* An overflow of the last block makes the top chunk larger than all memory. */
static int overflow_top(void)
{
	uintptr_t last = allocate(2000);

	set_word(next(last) - 8, ~0UL);
	allocate(2000);
	return 1;
}

/* ... or smaller, so that it does not end at a page. */
static int overflow_top_end(void)
{
	uintptr_t last = allocate(2000);

	set_word(next(last) - 8, 32 | PREV_INUSE);
	allocate(2000);
	return 1;
}

/* ... or smaller by whole pages: the heap grows beyond it, and frees the rest of it. */
static int overflow_top_pages(void)
{
	uintptr_t last, top;

	mallopt(M_TOP_PAD, 32 * PAGE);
	last = allocate(2000);
	top = next(last);
	set_word(top - 8, (chunk_size(top) & (PAGE - 1)) | PREV_INUSE);
	return allocate(2 * PAGE) > top;
}

int show_abuse(void)
{
	static const struct abuse abuses[] = {
		{ "free-twice", free_twice },
		{ "free-without-key", free_without_key },
		{ "forge-link", forge_link },
		{ "free-foreign", free_foreign },
		{ "overflow-size", overflow_size },
		{ "overflow-top", overflow_top },
		{ "overflow-top-end", overflow_top_end },
		{ "overflow-top-pages", overflow_top_pages },
	};

	TRY_ABUSES(abuses);
	lab_checkpoint("abuse");
	return 0;
}
