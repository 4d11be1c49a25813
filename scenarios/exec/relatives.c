/* SPDX-License-Identifier: MIT */
/*
 * relatives - which processes have an address space of their own.
 *
 * Two children: one that fork() made, which gets a copy, and one that clone() made
 * with CLONE_VM and without CLONE_THREAD, a process of its own in the very same
 * mm_struct, as after vfork().  Each writes to a variable, says so on a pipe and
 * waits; whether the parent sees what it wrote is the program's own evidence.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include "exec.h"
#include "lab.h"

enum { FORKED, SHARING };

static volatile int written[2];	/* by each child */
static int ready[2];		/* a pipe */
static char stacks[2][2 * PAGE] __attribute__((aligned(16)));

/* Bare system calls: the child may have the parent's errno and thread control block. */
static int write_and_wait(void *variable)
{
	*(volatile int *)variable = 1;
	lab_syscall(SYS_write, ready[1], (long)"", 1, 0, 0, 0);
	for (;;)
		lab_syscall(SYS_pause, 0, 0, 0, 0, 0, 0);
	return 0;
}

static pid_t start_child(int which, int flags)
{
	pid_t child = clone(write_and_wait, stacks[which + 1], flags | SIGCHLD, (void *)&written[which]);
	char byte;

	if (child > 0 && read(ready[0], &byte, 1) != 1)
		lab_note("pipe", "broken");
	return child;
}

static void end_child(pid_t child)
{
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
}

void show_relatives(void)
{
	pid_t forked, sharing;

	if (pipe(ready))
		return;
	forked = start_child(FORKED, MUTATE_BOTH_SHARE ? CLONE_VM : 0);
	sharing = start_child(SHARING, MUTATE_NONE_SHARES ? 0 : CLONE_VM);
	lab_note_i64("forked", forked);
	lab_note_i64("sharing", sharing);
	lab_note_i64("sees-forked", written[FORKED]);
	lab_note_i64("sees-sharing", written[SHARING]);
	lab_checkpoint("relatives");
	end_child(sharing);
	end_child(forked);
	close(ready[0]);
	close(ready[1]);
}
