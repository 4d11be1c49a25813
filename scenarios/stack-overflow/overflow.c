/* SPDX-License-Identifier: MIT */
/*
 * overflow - the recursion without an end: without a handler, with one that has
 * a stack of its own, and with one that has none.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include "lab.h"
#include "stack.h"

static char own_stack[16 * PAGE];

/* A neighbour that stops the stack before the limit does. */
static void place_neighbour(int protection)
{
	void *at = (void *)(find_stack().start - 512 * PAGE);

	mmap(at, PAGE, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
}

/* The same write below the lowest page, by code that is in no file. */
static void write_from_anonymous_code(void)
{
	static const unsigned char code[] = { 0xc6, 0x07, 0x01, 0xc3 };	/* movb $1,(%rdi); ret */
	uintptr_t lowest = find_stack().end - stack_limit() / PAGE * PAGE;
	void *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	memcpy(page, code, sizeof(code));
	write_to(lowest);
	((void (*)(uintptr_t))(uintptr_t)page)(lowest - 8);
}

static void run_over(void)
{
	dump(true);
	if (MUTATE_NEIGHBOUR)
		place_neighbour(PROT_READ);
	if (MUTATE_CLOSED_NEIGHBOUR)
		place_neighbour(PROT_NONE);
	if (MUTATE_ANONYMOUS_CODE)
		write_from_anonymous_code();
	if (MUTATE_OTHER_END)
		read_from(find_stack().end - stack_limit() - 16 * PAGE);
	overflow(0);
}

void show_overflow(void)
{
	struct report report;

	log_forget();
	report = in_child(run_over);
	lab_note_i64("overflow.signal", report.signal);
	log_note("log", report.pid);
	lab_checkpoint("logged");
}

static void sa_default(void)
{
	struct sigaction action = { .sa_handler = SIG_DFL };

	sigaction(SIGSEGV, &action, NULL);
}

static void caught(int signal, siginfo_t *info, void *context)
{
	greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;

	(void)signal;
	lab_note_i64("code", info->si_code);
	lab_note_ptr("address", info->si_addr);
	lab_note_hex("sp", (uint64_t)registers[REG_RSP]);
	lab_note_ptr("handler", __builtin_frame_address(0));
	lab_checkpoint("caught");
	if (!MUTATE_GIVE_UP)
		_exit(42);
	sa_default();		/* and the access is made again, without a handler */
}

/* For one that has no stack to run on. */
static void not_reached(int signal)
{
	(void)signal;
	_exit(43);
}

static void survive(void)
{
	stack_t stack = { .ss_sp = own_stack, .ss_size = sizeof(own_stack) };
	struct sigaction action = { .sa_sigaction = caught, .sa_flags = SA_SIGINFO | SA_ONSTACK };

	lab_note_ptr("own-stack", own_stack);
	lab_note_u64("own-size", sizeof(own_stack));
	if (!MUTATE_ON_MAIN_STACK)
		sigaltstack(&stack, NULL);
	sigaction(SIGSEGV, &action, NULL);
	if (MUTATE_NO_OVERFLOW || MUTATE_ON_MAIN_STACK)
		read_from(0);
	overflow(0);
}

static void be_lost(void)
{
	struct sigaction action = { .sa_handler = not_reached, .sa_flags = SA_ONSTACK };

	dump(true);
	if (!MUTATE_NO_HANDLER)
		sigaction(SIGSEGV, &action, NULL);
	overflow(0);
}

void show_altstack(void)
{
	struct report report;

	log_forget();
	report = in_child(survive);
	lab_note_i64("survivor.status", report.status);
	log_note("survivor", report.pid);
	lab_checkpoint("survived");
	report = in_child(be_lost);
	lab_note_i64("lost.signal", report.signal);
	log_note("lost", report.pid);
	lab_checkpoint("reported");
}
