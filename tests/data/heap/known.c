/*
 * known - a heap whose state the program itself tells: what it freed, and where that must be.
 *
 * Every block is allocated first and freed last, so that nothing moves on.  A line is
 * "kind chunk size index".  Arguments: "small" or "huge" for all kinds of lists, "torn" and
 * "blocked" for a main_arena whose memory is not in one piece.
 */
#define _GNU_SOURCE
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define CACHED	16	/* the most that a thread's cache keeps of a size (7 before 2.43) */
#define THREADS	3

static pthread_barrier_t arrived, go_on;

static void say(const char *kind, unsigned long first, unsigned long second, unsigned long third)
{
	char line[128];
	int length = snprintf(line, sizeof(line), "%s %lu %lu %lu\n", kind, first, second, third);

	if (write(1, line, length) != length)
		_exit(1);
}

static void tell(const char *kind, void *block, unsigned long size, unsigned long index)
{
	say(kind, (unsigned long)block - 16, size, index);
}

static void *fenced(size_t size)
{
	void *block = malloc(size);

	malloc(24);
	return block;
}

static unsigned long bin_index(size_t size)
{
	if (size < 1024)
		return size / 16;
	if (size / 64 <= 48)
		return 48 + size / 64;
	if (size / 512 <= 20)
		return 91 + size / 512;
	if (size / 4096 <= 10)
		return 110 + size / 4096;
	if (size / 32768 <= 4)
		return 119 + size / 32768;
	if (size / 262144 <= 2)
		return 124 + size / 262144;
	return 126;
}

/* One thread has an arena and a cache of its own; the last never calls malloc. */
static void *work(void *number)
{
	void *block[CACHED], *large;
	long i, n = (long)number;

	if (n < THREADS) {
		for (i = 0; i < CACHED; i++)
			block[i] = malloc(200);
		large = fenced(20000);
		if (n == 1)	/* a second heap: more than 64 MiB */
			for (i = 0; i < 70; i++)
				malloc(1000000);
		for (i = 0; i < 3 + n; i++) {
			free(block[i]);
			tell("thread-cache", block[i], 208, 11);
		}
		free(large);
		tell("thread-unsorted", large, 20016, 1);
	}
	pthread_barrier_wait(&arrived);
	pthread_barrier_wait(&go_on);
	return NULL;
}

static void *nothing(void *unused)
{
	return unused;
}

#define MAX_SIZES 600

/* The smallest and the largest chunk size of every bin that the caches leave alone. */
static int list_sizes(size_t *sizes)
{
	size_t size;
	int count = 0;

	for (size = 1088; size <= 786432; size += 16)
		if (bin_index(size) != bin_index(size - 16) || bin_index(size) != bin_index(size + 16))
			sizes[count++] = size;
	return count;
}

static void fill(int huge)
{
	static size_t sizes[MAX_SIZES];
	static void *block[MAX_SIZES], *small[32][2 * CACHED], *mapped[5];
	int i, j, count = list_sizes(sizes);
	void *unsorted[3];
	pthread_t thread, ended[2];

	pthread_barrier_init(&arrived, NULL, THREADS + 2);
	pthread_barrier_init(&go_on, NULL, THREADS + 2);
	if (!huge)
		count = count < 40 ? count : 40;
	for (i = 0; i < count; i++)
		block[i] = fenced(sizes[i] - 8);
	for (i = 0; i < 3; i++)
		unsorted[i] = fenced(3000);
	for (i = 0; i < 12; i++)
		for (j = 0; j < 2 * CACHED; j++)
			small[i][j] = fenced(24 + 16 * i);
	for (i = 0; i < 3; i++)
		mapped[i] = malloc((2 << 20) + i * 100000);
	mapped[3] = memalign(256, 3 << 20);
	mapped[4] = memalign(1 << 16, 3 << 20);
	for (i = 0; i < 5; i++)
		tell("mapped", mapped[i], malloc_usable_size(mapped[i]), 0);

	for (i = 0; i < count; i++)
		free(block[i]);
	malloc(900000);		/* sorts them */
	for (i = 0; i < count; i++)
		tell("large", block[i], sizes[i], bin_index(sizes[i]));
	for (i = 0; i < 12; i++)
		for (j = 0; j < 2 * CACHED; j++) {
			free(small[i][j]);
			tell("small", small[i][j], 32 + 16 * i, i);
		}
	for (i = 0; i < THREADS + 1; i++)
		pthread_create(&thread, NULL, work, (void *)(long)i);
	pthread_barrier_wait(&arrived);
	for (i = 0; i < 2; i++)	/* leaves two stacks to glibc */
		pthread_create(&ended[i], NULL, nothing, NULL);
	for (i = 0; i < 2; i++)
		pthread_join(ended[i], NULL);
	for (i = 0; i < 3; i++) {
		free(unsorted[i]);
		tell("unsorted", unsorted[i], 3008, 1);
	}
}

/* Somebody else moves the break, twice, once by no multiple of 16; then malloc goes on behind that. */
static void tear(void)
{
	int i, round;

	for (round = 0; round < 3; round++) {
		for (i = 0; i < 160; i++)
			malloc(1000);
		if (round < 2)
			memset(sbrk(round ? 100 : 3 * 4096), 0x21, 100);
	}
}

/* The break can't move: malloc takes mappings instead, and once they do not lie side by side. */
static void block_break(void)
{
	uintptr_t end = (uintptr_t)sbrk(0);
	int i, round;

	mmap((void *)end, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	for (round = 0; round < 3; round++) {
		for (i = 0; i < 40; i++)
			malloc(30000);
		mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	}
}

int main(int argc, char **argv)
{
	int huge = argc > 1 && strcmp(argv[1], "huge") == 0;
	struct mallinfo info;

	mallopt(M_MMAP_THRESHOLD, 1 << 20);
	if (argc > 1 && strcmp(argv[1], "torn") == 0)
		tear();
	else if (argc > 1 && strcmp(argv[1], "blocked") == 0)
		block_break();
	else
		fill(huge);
	info = mallinfo();	/* of all arenas; what caches hold is in use there */
	say("info-free", info.fordblks, info.fsmblks, info.keepcost);
	say("info-used", info.uordblks, info.arena, info.hblkhd);
	say("info-counts", info.ordblks, info.smblks, info.hblks);
	if (write(1, "stop\n", 5) != 5)
		_exit(1);
	raise(SIGSTOP);
	_exit(0);
}
