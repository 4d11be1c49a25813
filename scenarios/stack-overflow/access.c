/* SPDX-License-Identifier: MIT */
/*
 * access - which si_code and which error code an access gets that the kernel
 * refuses.  First each under a handler, then some in children without one,
 * which leave a line in the kernel's log.
 *
 * The processor's error code: bit 0 the page was present, bit 1 a write, bit 2
 * from user mode, bit 4 an instruction fetch.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lab.h"
#include "stack.h"

#define KERNEL		0xffffffff80000000UL	/* where the kernel's text is mapped */
#define NON_CANONICAL	0x0101010101010101UL	/* bits 47 to 63 differ */

enum { HOLE, READ_ONLY, FRESH, NONE, DATA, PAGES };

static uintptr_t page[PAGES];

static void call(uintptr_t address)
{
	((void (*)(void))address)();
}

/* Five pages in a row; the first is taken out again. */
static void make_pages(void)
{
	uintptr_t base = (uintptr_t)mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE,
					 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int i;

	for (i = 0; i < PAGES; i++)
		page[i] = base + (uintptr_t)i * PAGE;
	write_to(page[READ_ONLY]);
	write_to(page[DATA]);
	if (MUTATE_MAPPED_HOLE)
		mprotect((void *)page[HOLE], PAGE, PROT_NONE);
	else
		munmap((void *)page[HOLE], PAGE);
	if (MUTATE_NO_PERMISSIONS)
		munmap((void *)page[READ_ONLY], 4 * PAGE);
	mprotect((void *)page[READ_ONLY], PAGE, PROT_READ);
	mprotect((void *)page[FRESH], PAGE, PROT_READ);
	mprotect((void *)page[NONE], PAGE, PROT_NONE);
}

static void attempt(const char *prefix, void (*access)(uintptr_t), uintptr_t address)
{
	struct fault fault = { 0 };

	survives(access, address, &fault);
	note_value(prefix, "target", address);
	note_fault(prefix, &fault);
}

static uintptr_t deadly;
static void (*deadly_access)(uintptr_t);

static void die(void)
{
	signal(SIGSEGV, SIG_DFL);
	deadly_access(deadly);
}

static void accesses(void)
{
	void (*write)(uintptr_t) = MUTATE_ONLY_READS ? read_from : write_to;

	catch_faults();
	attempt("hole-write", write, page[HOLE]);
	attempt("hole-read", read_from, page[HOLE]);
	attempt("null", read_from, 0);
	attempt("read-only", write_to, page[READ_ONLY]);
	attempt("fresh", write_to, page[FRESH]);
	attempt("none", read_from, page[NONE]);
	attempt("data", call, page[DATA]);
	attempt("kernel", read_from, MUTATE_USER_ADDRESS ? page[HOLE] : KERNEL);
	attempt("non-canonical", read_from, MUTATE_USER_ADDRESS ? page[HOLE] : NON_CANONICAL);
	lab_checkpoint("accesses");
	deadly = page[HOLE];
	deadly_access = write_to;
	if (MUTATE_UNHANDLED)
		die();
}

void show_accesses(void)
{
	struct report report;

	make_pages();
	log_forget();
	report = in_child(accesses);
	log_note("handled", report.pid);
}

static void show_death(const char *prefix, void (*access)(uintptr_t), uintptr_t address)
{
	struct report report;

	deadly = address;
	deadly_access = access;
	report = in_child(die);
	note_value(prefix, "signal", (uint64_t)report.signal);
	note_value(prefix, "target", address);
	log_note(prefix, report.pid);
}

void show_deaths(void)
{
	show_death("hole", MUTATE_OTHER_DEATHS ? read_from : write_to, page[HOLE]);
	show_death("fresh", write_to, page[FRESH]);
	show_death("data", MUTATE_OTHER_DEATHS ? read_from : call, page[DATA]);
	show_death("non-canonical", read_from, MUTATE_OTHER_DEATHS ? 0 : NON_CANONICAL);
	lab_checkpoint("deaths");
}
