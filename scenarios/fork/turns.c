// SPDX-License-Identifier: MIT
/*
 * Parent and child take turns: a byte in a pipe says whose it is.  Each keeps its own ends only, so that nobody
 * waits for one who is gone.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fork.h"
#include "lab.h"

static int pipes[2][2];

void turns_init(void)
{
	signal(SIGPIPE, SIG_IGN);
	if (pipe(pipes[PARENT]) || pipe(pipes[CHILD]))
		abort();
}

/* After the fork, on either side. */
void take_side(int mine)
{
	close(pipes[mine][1]);
	close(pipes[!mine][0]);
}

void wait_turn(int mine)
{
	char byte;

	if (read(pipes[mine][0], &byte, 1) < 0)
		abort();
}

void give_turn(int other)
{
	if (write(pipes[other][1], "", 1) != 1 && errno != EPIPE)
		abort();
}

/* Only the parent ends the window: the child waits for its turn. */
pid_t start_child(void (*function)(void), const char *window)
{
	pid_t pid;

	if (window)
		lab_trace_begin(window);
	pid = fork();
	if (window && pid)
		lab_trace_end(window);
	if (pid < 0)
		abort();
	if (pid == 0) {
		function();
		_exit(0);
	}
	return pid;
}

void wait_child(pid_t pid)
{
	if (waitpid(pid, NULL, 0) != pid)
		abort();
}

void end_child(pid_t pid)
{
	kill(pid, SIGKILL);
	wait_child(pid);
}
