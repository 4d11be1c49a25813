/* SPDX-License-Identifier: MIT */
/* stack.h - what the parts of the stack-overflow scenario share. */
#ifndef STACK_H
#define STACK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "mutations.h"

#define PAGE	4096UL
#define MIB	(1UL << 20)

struct stack {			/* the mapping [stack] */
	uintptr_t start, end;
	uintptr_t below;	/* where the mapping before it ends */
};

struct fault {			/* what a SIGSEGV handler is told */
	int code;		/* si_code: 1 SEGV_MAPERR, 2 SEGV_ACCERR, 128 SI_KERNEL */
	uintptr_t address;	/* si_addr */
	uint64_t error, trap;	/* the processor's error code and exception number */
};

struct report {			/* how a child ended */
	pid_t pid;
	int status;		/* its exit status; -1 if a signal ended it */
	int signal;
};

/* probe.c */
struct stack find_stack(void);
void set_stack_limit(uint64_t bytes);
uint64_t stack_limit(void);
void dump(bool wanted);
struct report in_child(void (*experiment)(void));
void write_to(uintptr_t address);
void read_from(uintptr_t address);
void catch_faults(void);
bool survives(void (*access)(uintptr_t), uintptr_t address, struct fault *fault);
uintptr_t lowest_writable(uintptr_t low, uintptr_t high);
void note_fault(const char *prefix, const struct fault *fault);
void note_value(const char *prefix, const char *key, uint64_t value);
int overflow(int depth);

/* log.c */
void log_open(void);
void log_forget(void);
void log_note(const char *prefix, pid_t pid);

/* the experiments */
void show_lowered(void);
void show_growsdown(void);
void show_bases(void);
int report_base(const char *key);
void show_gaps(void);
void show_clash(void);
void show_accesses(void);
void show_deaths(void);
void show_overflow(void);
void show_altstack(void);
void show_random(void);
int report_top(const char *key);

#endif
