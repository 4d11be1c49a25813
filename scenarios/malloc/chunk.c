/* SPDX-License-Identifier: MIT */
/*
 * chunk - what a request becomes, and what stands around a block.
 *
 * A block lies in a chunk: 16 bytes before the block are the size of the chunk
 * before (only while that one is free) and the size of this chunk, whose three
 * lowest bits are flags.  The program reads both words of its own blocks, before
 * and after it frees one, and walks its heap from chunk to chunk.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <malloc.h>

#include "lab.h"
#include "controls.h"
#include "ptmalloc.h"

#define REQUESTS	256	/* all requests below: together less than the first heap */
#define BLOCK		2000	/* beyond every small bin */

/* request2size(), malloc/malloc.c: the size word, and 16-byte steps from 32 on. */
static size_t rounded(size_t request)
{
	size_t size = (request + 8 + 15) & ~15UL;

	return size < 32 ? 32 : size;
}

static void note_request(size_t request)
{
	uintptr_t block = allocate(request + (MUTATE_LARGER_REQUEST ? 16 : 0));

	note_at("block-", request, (int64_t)block);
	note_at("chunk-", request, (int64_t)chunk_size(block));
	note_at("usable-", request, (int64_t)malloc_usable_size((void *)block));
}

static long count_wrong(void)
{
	long wrong = 0;
	size_t request;

	for (request = 0; request < REQUESTS; request++) {
		uintptr_t block = allocate(request + (MUTATE_LARGER_REQUEST ? 16 : 0));

		wrong += chunk_size(block) != rounded(request) || block % 16;
		note_at("each-block-", request, (int64_t)block);
		note_at("each-size-", request, (int64_t)rounded(request));
	}
	return wrong;
}

/* One byte more than an object may have; volatile, or the compiler would object. */
static void note_too_large(void)
{
	volatile size_t request = (size_t)PTRDIFF_MAX + (MUTATE_POSSIBLE_REQUEST ? -PTRDIFF_MAX : 1);
	void *block;
	int error;

	errno = 0;
	lab_trace_begin("too-large");
	block = malloc(request);
	error = errno;
	lab_trace_end("too-large");
	lab_note_ptr("too-large", block);
	lab_note_i64("too-large-errno", error);
}

int show_requests(void)
{
	static const size_t requests[] = { 0, 1, 24, 25, 40, 41, 1000, 1001 };
	size_t i;

	only_brk();
	for (i = 0; i < sizeof(requests) / sizeof(requests[0]); i++)
		note_request(requests[i]);
	lab_note_i64("wrong", count_wrong());
	note_too_large();
	lab_checkpoint("requests");
	return 0;
}

static void note_chunk(const char *head_key, const char *before_key, uintptr_t block)
{
	lab_note_hex(head_key, head(block));
	lab_note_hex(before_key, word(block - HEADER));
}

/* From the heap's first chunk, by the sizes, as long as there is heap. */
static void note_walk(uintptr_t start)
{
	uintptr_t end = kernel_break(), chunk = start;
	long chunks = 0;

	while (chunk < end && (word(chunk + 8) & ~SIZE_BITS) >= 32) {
		chunk += word(chunk + 8) & ~SIZE_BITS;
		chunks++;
	}
	lab_note_hex("heap", start);
	lab_note_hex("break", end);
	lab_note_hex("walk-end", chunk);
	lab_note_i64("walk-chunks", chunks);
}

static void note_all(const uintptr_t block[4])
{
	lab_note_hex("a", block[0]);
	lab_note_hex("b", block[1]);
	lab_note_hex("c", block[2]);
	note_chunk("a-head", "a-before", block[0]);
	note_chunk("b-head", "b-before", block[1]);
	note_chunk("c-head", "c-before", block[2]);
}

/* The last word that a block may use is the prev_size word of the chunk behind it. */
static void fill_tail(uintptr_t block)
{
	set_word(block + malloc_usable_size((void *)block) - (MUTATE_SHORT_WRITE ? 16 : 8), 0x5a5a5a5a);
}

int show_chunks(void)
{
	uintptr_t start = heap_start(), block[4];
	int i;

	only_brk();
	for (i = 0; i < 4; i++)
		block[i] = allocate(BLOCK + (MUTATE_ODD_BLOCK && i == 1 ? 16 : 0));
	fill_tail(block[0]);
	note_all(block);
	lab_checkpoint("chunks-used");

	if (!MUTATE_KEEP_BLOCK)
		release(block[1]);
	note_all(block);
	lab_checkpoint("chunk-freed");

	if (!MUTATE_NO_MERGE)
		release(block[0]);
	if (MUTATE_BROKEN_SIZE)
		set_word(block[3] - 8, head(block[3]) + 16);
	note_all(block);
	note_walk(start);
	lab_checkpoint("chunks-merged");
	return 0;
}
