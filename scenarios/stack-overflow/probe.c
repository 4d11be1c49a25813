/* SPDX-License-Identifier: MIT */
/*
 * probe - what the experiments are made of: the mapping [stack], children,
 * accesses that may fail, and a recursion without an end.
 *
 * An access that may fail is made under a SIGSEGV handler that runs on an
 * alternate stack and jumps back.  Nothing here allocates.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include "lab.h"
#include "stack.h"

static sigjmp_buf back;
static struct fault seen;
static char alternate[16 * PAGE];

static uintptr_t hexadecimal(const char **at)
{
	uintptr_t value = 0;
	int digit;

	for (;; (*at)++) {
		if (**at >= '0' && **at <= '9')
			digit = **at - '0';
		else if (**at >= 'a' && **at <= 'f')
			digit = **at - 'a' + 10;
		else
			return value;
		value = value << 4 | (unsigned int)digit;
	}
}

static const char *read_maps(void)
{
	static char text[32 * PAGE];
	size_t length = 0;
	ssize_t n;
	int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);

	while ((n = read(fd, text + length, sizeof(text) - 1 - length)) > 0)
		length += (size_t)n;
	close(fd);
	text[length] = '\0';
	return text;
}

/* All zero if there is no [stack]. */
struct stack find_stack(void)
{
	struct stack stack = { 0 }, none = { 0 };
	const char *line = read_maps(), *next;

	for (; *line; line = next) {
		const char *at = line;
		size_t length = strcspn(line, "\n");

		next = line + length + (line[length] == '\n');
		stack.below = stack.end;
		stack.start = hexadecimal(&at);
		at++;
		stack.end = hexadecimal(&at);
		if (length > 7 && !strncmp(line + length - 7, "[stack]", 7))
			return stack;
	}
	return none;
}

/* The soft limit; the hard one is raised where it is in the way (the program is root). */
void set_stack_limit(uint64_t bytes)
{
	struct rlimit limit;

	getrlimit(RLIMIT_STACK, &limit);
	limit.rlim_cur = bytes;
	if (limit.rlim_max < bytes)
		limit.rlim_max = bytes;
	setrlimit(RLIMIT_STACK, &limit);
}

uint64_t stack_limit(void)
{
	struct rlimit limit;

	getrlimit(RLIMIT_STACK, &limit);
	return limit.rlim_cur;
}

/* Whether the death of this process is a checkpoint: of all limits only 1 stops a dump to a pipe. */
void dump(bool wanted)
{
	struct rlimit core = { wanted ? 0 : 1, RLIM_INFINITY };

	setrlimit(RLIMIT_CORE, &core);
}

struct report in_child(void (*experiment)(void))
{
	struct report report = { .status = -1 };
	int status = 0;

	report.pid = fork();
	if (report.pid == 0) {
		dump(false);
		experiment();
		_exit(0);
	}
	while (waitpid(report.pid, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFSIGNALED(status))
		report.signal = WTERMSIG(status);
	else
		report.status = WEXITSTATUS(status);
	return report;
}

void write_to(uintptr_t address)
{
	*(volatile char *)address = 1;
}

void read_from(uintptr_t address)
{
	(void)*(volatile char *)address;
}

static void caught(int signal, siginfo_t *info, void *context)
{
	greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;

	(void)signal;
	seen.code = info->si_code;
	seen.address = (uintptr_t)info->si_addr;
	seen.error = (uint64_t)registers[REG_ERR];
	seen.trap = (uint64_t)registers[REG_TRAPNO];
	siglongjmp(back, 1);
}

void catch_faults(void)
{
	stack_t stack = { .ss_sp = alternate, .ss_size = sizeof(alternate) };
	struct sigaction action = { .sa_sigaction = caught, .sa_flags = SA_SIGINFO | SA_ONSTACK };

	sigaltstack(&stack, NULL);
	sigaction(SIGSEGV, &action, NULL);
}

/* Makes the access; false, with what the handler was told, if it faulted for good. */
bool survives(void (*access)(uintptr_t), uintptr_t address, struct fault *fault)
{
	if (sigsetjmp(back, 1)) {
		*fault = seen;
		return false;
	}
	access(address);
	return true;
}

/*
 * The lowest page of [low, high] that can be written, by bisection; high itself
 * can.  A stack that grew to one page can be written at every page above it.
 */
uintptr_t lowest_writable(uintptr_t low, uintptr_t high)
{
	struct fault fault;

	while (low < high) {
		uintptr_t middle = (low + (high - low) / 2) & ~(PAGE - 1);

		if (survives(write_to, middle, &fault))
			high = middle;
		else
			low = middle + PAGE;
	}
	return high;
}

/* "prefix.key" */
void note_value(const char *prefix, const char *key, uint64_t value)
{
	char name[LAB_NAME_MAX] = "";
	size_t length = strlen(prefix);

	memcpy(name, prefix, length);
	name[length] = '.';
	strcpy(name + length + 1, key);
	lab_note_hex(name, value);
}

void note_fault(const char *prefix, const struct fault *fault)
{
	note_value(prefix, "code", (uint64_t)fault->code);
	note_value(prefix, "address", fault->address);
	note_value(prefix, "error", fault->error);
	note_value(prefix, "trap", fault->trap);
}

/* Each call needs less than a page, so that no page is left out on the way down. */
__attribute__((noinline)) int overflow(int depth)
{
	volatile char frame[256];

	frame[0] = (char)depth;
	return depth < 0 ? 0 : overflow((depth + 1) & 0xffff) + frame[0];
}
