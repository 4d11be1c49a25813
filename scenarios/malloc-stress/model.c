// SPDX-License-Identifier: MIT
/*
 * The shadow model: what must be true of blocks, kept outside the heap.
 *
 * Overlap: one mark for every 16 bytes of memory (the alignment of all blocks).
 * A block sets the marks of all that it may use, and of its neighbour's header;
 * a mark that is set already belongs to another live block.  The marks lie in
 * one field for each 64 MiB of address space; the fields are mapped before
 * anything is measured, and found through a small table of addresses.
 *
 * Content: a block is filled with words that follow from its tag, small blocks
 * whole, larger ones at both ends and at points between, and compared with them
 * later.
 */
#define _GNU_SOURCE
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "stress.h"

#define GRANULE		16UL
#define FIELD		(64UL << 20)		/* of address space */
#define FIELD_WORDS	(FIELD / GRANULE / 64)
#define FIELDS		128UL
#define WHOLE		160UL			/* words: up to here all are filled */
#define END		64UL

struct field {
	_Atomic uintptr_t number;		/* address / FIELD; 0: not in use */
	_Atomic uint64_t *marks;
};

static struct field fields[FIELDS];

/* Shared, so that neither RLIMIT_DATA nor VmData counts what is not the heap's. */
void *map_memory(size_t size)
{
	int flags = MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE;
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, -1, 0);

	if (memory == MAP_FAILED)
		abort();
	return memory;
}

void model_init(void)
{
	char *marks = map_memory(FIELDS * FIELD_WORDS * sizeof(uint64_t));
	size_t i;

	for (i = 0; i < FIELDS; i++)
		fields[i].marks = (_Atomic uint64_t *)(marks + i * FIELD_WORDS * sizeof(uint64_t));
}

/* The size field that precedes every block, and its three flags (malloc/malloc.c, struct malloc_chunk). */
static size_t header(const void *block)
{
	return ((const size_t *)block)[-1];
}

size_t chunk_size(const void *block)
{
	return header(block) & ~7UL;
}

bool is_mapped(const void *block)
{
	return header(block) & 2;
}

bool in_other_arena(const void *block)
{
	return header(block) & 4;
}

/*
 * What is mapped for a mapped chunk: from where prev_size says that the mapping
 * begins (its lowest bit is a flag since 614cfd0f8a28, 2.43) to the end of the
 * page in which the block ends, with the layout before that commit and since.
 */
size_t mapped_region(const void *block)
{
	uintptr_t begin = (uintptr_t)block - 16 - (((const size_t *)block)[-2] & ~(GRANULE - 1));
	uintptr_t end = (uintptr_t)block + malloc_usable_size((void *)block);

	return (end + PAGE - 1) / PAGE * PAGE - begin;
}

static _Atomic uint64_t *marks_of(uintptr_t address)
{
	uintptr_t number = address / FIELD;
	uintptr_t i, seen;

	for (i = 0; i < FIELDS; i++) {
		struct field *field = &fields[(number + i) % FIELDS];

		seen = atomic_load_explicit(&field->number, memory_order_relaxed);
		if (!seen)	/* on failure `seen` becomes what another thread put there */
			if (atomic_compare_exchange_strong(&field->number, &seen, number))
				seen = number;
		if (seen == number)
			return field->marks + address % FIELD / GRANULE / 64;
	}
	abort();
}

/* Sets or clears the marks; true if all of them were as they should be before. */
static bool mark(uintptr_t address, size_t length, bool set)
{
	uintptr_t end = address + length;
	uint64_t wrong = 0;

	while (address < end) {
		unsigned int first = address / GRANULE % 64;
		size_t count = (end - address + GRANULE - 1) / GRANULE;
		uint64_t mask = ~0UL << first;
		_Atomic uint64_t *word = marks_of(address);

		if (count < 64 - first)
			mask &= ~(~0UL << (first + count));
		if (set)
			wrong |= atomic_fetch_or_explicit(word, mask, memory_order_relaxed) & mask;
		else
			wrong |= ~atomic_fetch_and_explicit(word, ~mask, memory_order_relaxed) & mask;
		address += (64 - first) * GRANULE;
	}
	return !wrong;
}

static size_t extent(size_t usable)
{
	return (usable + GRANULE - 1) / GRANULE * GRANULE + (MUTATE_LONGER ? GRANULE : 0);
}

bool enter(const struct block *block, size_t usable)
{
	return mark((uintptr_t)block->address, extent(usable), true);
}

bool leave(const struct block *block)
{
	return mark((uintptr_t)block->address, extent(malloc_usable_size(block->address)), false);
}

bool is_entered(const void *address)
{
	return atomic_load(marks_of((uintptr_t)address)) >> ((uintptr_t)address / GRANULE % 64) & 1;
}

static inline uint64_t word_at(uint64_t tag, size_t i)
{
	return tag + i * 0x9e3779b97f4a7c15UL;
}

/* The next word to look at, of n. */
static inline size_t next_word(size_t n, size_t i)
{
	size_t stride = n * 8 < MAPPED ? 64 : 4096;

	if (n <= WHOLE || i < END || i + 1 >= n - END)
		return i + 1;
	return i + stride < n - END ? i + stride : n - END;
}

void fill(const struct block *block)
{
	uint64_t *words = block->address;
	size_t n = block->size / 8;
	uint64_t last = word_at(block->tag, n);
	size_t i;

	for (i = 0; i < n; i = next_word(n, i))
		words[i] = word_at(block->tag, i);
	memcpy(words + n, &last, block->size % 8);
}

/* Whether the first `limit` bytes are as they were filled. */
bool content_kept(const struct block *block, size_t limit)
{
	const uint64_t *words = block->address;
	size_t n = block->size / 8;
	uint64_t last = word_at(block->tag, n);
	uint64_t difference = 0;
	size_t i;

	for (i = 0; i < n && 8 * i + 8 <= limit; i = next_word(n, i))
		difference |= words[i] ^ word_at(block->tag, i);
	return !difference && (limit < block->size || !memcmp(words + n, &last, block->size % 8));
}

bool content_zero(const struct block *block)
{
	const uint64_t *words = block->address;
	size_t n = block->size / 8;
	uint64_t last = 0;
	uint64_t sum = 0;
	size_t i;

	for (i = 0; i < n; i = next_word(n, i))
		sum |= words[i];
	return !sum && !memcmp(words + n, &last, block->size % 8);
}
