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
 * What the program sees the lab looks up again from outside: at a checkpoint it reads
 * arenas, bins, caches and chunks in the memory of the stopped process.
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
#define AS_IT_IS	NULL
#define NO_TCACHE	"glibc.malloc.tcache_count=0"
#define LARGE_TCACHE	"glibc.malloc.tcache_max=4194280"	/* all that 2.42 can cache; up to 2.41 too much, and ignored */

static const struct topic {
	const char *name;
	int (*show)(void);
	const char *tunable;	/* of the thread's cache */
} topics[] = {
	{ "requests", show_requests, AS_IT_IS },
	{ "chunks", show_chunks, NO_TCACHE },
	{ "tcache", show_tcache, AS_IT_IS },
	{ "fastbins", show_fastbins, AS_IT_IS },
	{ "fastbin-sizes", show_fastbin_sizes, AS_IT_IS },
	{ "tcache-classes", show_tcache_classes, LARGE_TCACHE },
	{ "fastbin-classes", show_fastbin_classes, NO_TCACHE },
	{ "bins", show_bins, NO_TCACHE },
	{ "top", show_top, AS_IT_IS },
	{ "wall", show_wall, AS_IT_IS },
	{ "trim", show_trim, NO_TCACHE },
	{ "trim-threshold", show_trim_threshold, NO_TCACHE },
	{ "trim-explicit", show_trim_explicit, NO_TCACHE },
	{ "heap", show_heap, NO_TCACHE },
	{ "arenas", show_arenas, AS_IT_IS },
	{ "first-mmap", show_first_mmap, AS_IT_IS },
	{ "mmap", show_mmap, NO_TCACHE },
	{ "mmap-maximum", show_maximum, NO_TCACHE },
	{ "abuse", show_abuse, AS_IT_IS },
	{ "heap-abuse", show_heap_abuse, NO_TCACHE },
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

/* glibc's own count of what it has: the second source for what the lab counts in memory. */
void note_totals(void)
{
	struct mallinfo info;

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"	/* mallinfo2() came with 2.33 */
	info = mallinfo();
#pragma GCC diagnostic pop
	lab_note_i64("info-arenas", info.arena);
	lab_note_i64("info-free", info.fordblks);
	lab_note_i64("info-mappings", info.hblks);
	lab_note_i64("info-mapped", info.hblkhd);
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
static void add_tunable(const char *tunable)
{
	const char *given = getenv(TUNABLES);
	char *text;

	if (!given)
		given = "";
	text = malloc(strlen(given) + strlen(tunable) + 2);
	if (!text)
		_exit(EXIT_FAILURE);
	strcpy(text, given);
	strcat(text, *given ? ":" : "");
	strcat(text, tunable);
	setenv(TUNABLES, text, 1);
}

/* Whether the topic came to its end. */
static int run(const struct topic *topic)
{
	char *argv[] = { "malloc", (char *)topic->name, NULL };
	int status = -1;
	pid_t child = fork();

	if (child == 0) {
		if (topic->tunable)
			add_tunable(topic->tunable);
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
