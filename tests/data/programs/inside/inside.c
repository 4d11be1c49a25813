/* A program whose memory is known from other tools: pagemap, mincore, malloc_usable_size, its own sums. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "lab.h"

#define PAGE 4096

static uint64_t pagemap(const void *address)
{
	uint64_t entry = 0;
	int fd = open("/proc/self/pagemap", O_RDONLY);

	if (pread(fd, &entry, sizeof(entry), (off_t)((uintptr_t)address / PAGE * sizeof(entry))) != sizeof(entry))
		abort();
	close(fd);
	return entry & 0x7fffffffffffff;
}

static void *wait_here(void *arg)
{
	pthread_barrier_wait(arg);
	free(malloc(100));
	pthread_barrier_wait(arg);
	pause();
	return NULL;
}

int main(void)
{
	char *page, *block[4];
	pthread_barrier_t both;
	pthread_t thread;

	prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
	page = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	lab_note_ptr("page", page);
	lab_checkpoint("mapped");

	page[PAGE] = 1;
	(void)*(volatile char *)&page[2 * PAGE];
	lab_note_u64("written", pagemap(page + PAGE));
	lab_note_u64("read", pagemap(page + 2 * PAGE));
	lab_checkpoint("touched");

	pthread_barrier_init(&both, NULL, 2);
	pthread_create(&thread, NULL, wait_here, &both);
	pthread_barrier_wait(&both);
	pthread_barrier_wait(&both);
	for (int i = 0; i < 4; i++)
		block[i] = malloc(1000 + 3000 * (size_t)i);
	lab_note_ptr("block", block[1]);
	lab_note_u64("usable", malloc_usable_size(block[1]));
	free(block[2]);
	lab_note_ptr("freed", block[2]);
	lab_note_ptr("thread", (void *)thread);
	lab_note_u64("arena", mallinfo().arena);
	lab_checkpoint("heap");
	_exit(0);
}
