// SPDX-License-Identifier: MIT
/*
 * checkpoint.c - from "the program stopped" to "the host said go".
 *
 * Before the checkpoint frame everything that the program had written is
 * forwarded, so that the host sees it in the order in which it happened.
 */
#include "labrun.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <unistd.h>

/* "SEGV"; sigabbrev_np() is glibc 2.32's, and the guest's glibc may be older. */
static const char *abbreviation(int signal)
{
	static const char *const names[32] = {
		[SIGABRT] = "ABRT", [SIGBUS] = "BUS", [SIGFPE] = "FPE", [SIGILL] = "ILL",
		[SIGQUIT] = "QUIT", [SIGSEGV] = "SEGV", [SIGSYS] = "SYS", [SIGTRAP] = "TRAP",
		[SIGXCPU] = "XCPU", [SIGXFSZ] = "XFSZ",
	};

	return signal > 0 && signal < 32 ? names[signal] : NULL;
}

static bool allowed(struct run *r)
{
	if (r->reason)
		return false;
	if (r->sequence < r->limit.checkpoints)
		return true;
	r->reason = "checkpoint-limit";
	tree_kill(r);
	return false;
}

static void hold(struct run *r, enum hold kind, pid_t pid, const char *name, const char *more)
{
	static const char *const kinds[] = { "", "named", "stdin", "signal", "exec", "limit" };

	pump_output(r);
	pump_kmsg(r);
	if (r->reason)
		return;
	r->hold = kind;
	r->held = pid;
	wire_frame("checkpoint", NULL, 0, "seq=%llu kind=%s name=%s pid=%d ns=%llu%s",
		   (unsigned long long)++r->sequence, kinds[kind], name, pid,
		   (unsigned long long)(now_ns() - r->start_ns), more);
	snapshot(r, pid);
	trace_send(r, false);
	wire_frame("ready", NULL, 0, "seq=%llu", (unsigned long long)r->sequence);
}

/* The program's first instruction is still to come: launch.c has it in a ptrace stop. */
void checkpoint_exec(struct run *r)
{
	r->held_stopped = false;
	if (allowed(r))
		hold(r, HOLD_EXEC, r->child, "exec", "");
	if (r->hold == HOLD_NONE)	/* at a limit already */
		ptrace(PTRACE_DETACH, r->child, 0, 0);
}

/* The host has lost patience: where does the program stand?  It is killed next. */
void checkpoint_limit(struct run *r)
{
	bool gone;

	if (r->exited || !allowed(r))
		return;
	r->held_stopped = true;
	kill(r->child, SIGSTOP);
	if (wait_stopped(r->child, &gone))
		hold(r, HOLD_LIMIT, r->child, "limit", "");
	r->hold = HOLD_NONE;
}

/* The process sent its message and stops itself. */
void checkpoint_named(struct run *r, pid_t pid, const char *name)
{
	bool gone;

	if (!allowed(r))
		return;
	r->held_stopped = true;
	if (wait_stopped(pid, &gone))
		hold(r, HOLD_NAMED, pid, name, "");
	else if (gone)
		warn(r, "process %d ended at checkpoint %s", pid, name);
	else
		hold(r, HOLD_NAMED, pid, name, " partial=1");
}

/* Blocked in read(): one task stays so by itself, several are stopped. */
void checkpoint_stdin(struct run *r, pid_t pid, bool stop)
{
	bool gone, stopped = true;
	char name[32];

	if (!allowed(r))
		return;
	snprintf(name, sizeof(name), "stdin-%llu", (unsigned long long)++r->inputs);
	r->held_stopped = stop;
	if (stop) {
		kill(pid, SIGSTOP);
		stopped = wait_stopped(pid, &gone);
		if (!stopped && gone)
			return;
	}
	hold(r, HOLD_STDIN, pid, name, stopped ? "" : " partial=1");
}

/* The kernel holds the dying process for the core helper, which waits for us. */
void checkpoint_signal(struct run *r, pid_t pid, int signal)
{
	const char *short_name = abbreviation(signal);
	char name[32], more[32];

	if (!allowed(r))
		return;
	if (short_name)
		snprintf(name, sizeof(name), "signal-%s", short_name);
	else
		snprintf(name, sizeof(name), "signal-%d", signal);
	snprintf(more, sizeof(more), " signal=%d", signal);
	r->held_stopped = false;
	hold(r, HOLD_SIGNAL, pid, name, more);
}

/* One line end for a reader; after the last one allowed, end of file. */
static void feed(struct run *r)
{
	if (r->in_fd < 0)
		return;
	if (r->inputs < r->limit.input && write(r->in_fd, "\n", 1) == 1)
		return;
	close(r->in_fd);
	r->in_fd = -1;
}

/* "go" */
void checkpoint_release(struct run *r)
{
	enum hold kind = r->hold;

	r->hold = HOLD_NONE;
	if (kind == HOLD_EXEC)
		ptrace(PTRACE_DETACH, r->held, 0, 0);
	if (r->held_stopped)
		kill(r->held, SIGCONT);
	if (kind == HOLD_STDIN)
		feed(r);
	if (r->helper_fd >= 0) {
		close(r->helper_fd);
		r->helper_fd = -1;
	}
}
