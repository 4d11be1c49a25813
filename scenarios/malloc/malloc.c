/* SPDX-License-Identifier: MIT */
/*
 * malloc - the rules of glibc's malloc (ptmalloc), one by one.
 *
 * Shown: what a program can see of the allocator in its own memory: the chunk
 * headers around its blocks, the links in the blocks that it freed, the addresses
 * it gets back, its mappings; what the allocator asks of the kernel; and what it
 * says of a program that abuses it.
 *
 * How: each topic runs in a process of its own, exec'd, so that it finds a heap in
 * its first state and no topic sees what another one left.  A topic that is not
 * about the thread's cache (tcache) runs without it (glibc.malloc.tcache_count=0),
 * so that a freed block goes at once to where the rule under study sends it.  The
 * other settings stay as the user made them.
 *
 * No topic uses stdio, which would allocate.  Huge pages are off: they would make
 * every touched page a matter of 2 MiB.
 *
 * Each MUTATE_... (controls.h) is a negative control: it breaks the mechanism behind
 * an expectation of scenario.yaml, which must then fail.
 */
#define _GNU_SOURCE
#include <malloc.h>
#include <pthread.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lab.h"
#include "ptmalloc.h"

#define TUNABLES	"GLIBC_TUNABLES"
#define NO_TCACHE	"glibc.malloc.tcache_count=0"

static const struct topic {
	const char *name;
	int (*show)(void);
	int tcache;	/* the thread's cache stays as it is */
} topics[] = {
	{ "requests", show_requests, 1 },
	{ "chunks", show_chunks, 0 },
	{ "tcache", show_tcache, 1 },
	{ "fastbins", show_fastbins, 1 },
	{ "fastbin-sizes", show_fastbin_sizes, 1 },
	{ "bins", show_bins, 0 },
	{ "top", show_top, 1 },
	{ "wall", show_wall, 1 },
	{ "trim", show_trim, 0 },
	{ "trim-threshold", show_trim_threshold, 0 },
	{ "trim-explicit", show_trim_explicit, 0 },
	{ "heap", show_heap, 0 },
	{ "arenas", show_arenas, 1 },
	{ "first-mmap", show_first_mmap, 1 },
	{ "mmap", show_mmap, 0 },
	{ "mmap-maximum", show_maximum, 0 },
	{ "abuse", show_abuse, 1 },
	{ "heap-abuse", show_heap_abuse, 0 },
};

#define TOPICS	(sizeof(topics) / sizeof(topics[0]))

/* The bare system call: it moves nothing, and glibc's own copy of the break stays untouched. */
uintptr_t kernel_break(void)
{
	return (uintptr_t)syscall(SYS_brk, 0);
}

/*
 * Where the first chunk will be.  The break need not be aligned: the dynamic loader of 2.31
 * puts its copy of GLIBC_TUNABLES there, if there is one.
 */
uintptr_t heap_start(void)
{
	return (kernel_break() + 15) & ~15UL;
}

/* Whether the chunk that follows says that this one is in use; what has become part of the top chunk is not. */
int marked_used(uintptr_t block)
{
	uintptr_t end = kernel_break();

	return (block > end || next(block) < end) && head(next(block)) & PREV_INUSE;
}

/* A note whose key ends in a number. */
void note_at(const char *prefix, unsigned long number, int64_t value)
{
	char key[LAB_NAME_MAX], digits[24];
	size_t length = strlen(prefix), n = 0;

	memcpy(key, prefix, length);
	do {
		digits[n++] = (char)('0' + number % 10);
		number /= 10;
	} while (number);
	while (n)
		key[length++] = digits[--n];
	key[length] = '\0';
	lab_note_i64(key, value);
}

/* No request becomes a mapping of its own: for the topics that are not about that. */
void only_brk(void)
{
	mallopt(M_MMAP_MAX, 0);
}

/* Takes the top chunk but for two pages, however large the user made it; returns the block cut last. */
uintptr_t use_up_top(void)
{
	uintptr_t last = allocate(1000);

	if (top_size(last) > 2 * PAGE)
		last = allocate(top_size(last) - 2 * PAGE);
	return last;
}

/* One thread from its start to its end. */
void run_thread(void *(*start)(void *), void *argument)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, start, argument))
		exit(EXIT_FAILURE);
	pthread_join(thread, NULL);
}

/* The user's tunables come first: of two settings the last one counts. */
static void switch_off_tcache(void)
{
	const char *given = getenv(TUNABLES);
	char *text;

	if (!given)
		given = "";
	text = malloc(strlen(given) + sizeof(NO_TCACHE) + 1);
	if (!text)
		_exit(EXIT_FAILURE);
	strcpy(text, given);
	strcat(text, *given ? ":" NO_TCACHE : NO_TCACHE);
	setenv(TUNABLES, text, 1);
}

/* Whether the topic came to its end. */
static int run(const struct topic *topic)
{
	char *argv[] = { "malloc", (char *)topic->name, NULL };
	int status = -1;
	pid_t child = fork();

	if (child == 0) {
		if (!topic->tcache)
			switch_off_tcache();
		execv("/proc/self/exe", argv);
		_exit(EXIT_FAILURE);
	}
	if (child > 0)
		waitpid(child, &status, 0);
	return status == 0;
}

int main(int argc, char **argv)
{
	int failed = 0;
	size_t i;

	prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);	/* kept across fork and exec */
	for (i = 0; i < TOPICS; i++) {
		if (argc == 1)
			failed += !run(&topics[i]);
		else if (!strcmp(argv[1], topics[i].name))
			return topics[i].show();
	}
	return failed;
}
