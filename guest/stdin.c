// SPDX-License-Identifier: MIT
/*
 * stdin.c - finds a process that waits for input: an unmodified program's checkpoint.
 *
 * /proc/PID/task/TID/syscall shows the system call in which a task sleeps: read
 * or readv on a descriptor that is the program's input pipe.  The pipe was empty
 * before that look and only labrun writes to it, so such a task stays asleep
 * until we write (a signal handler aside).
 */
#include "labrun.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PROCESSES	64
#define TASKS		256

static bool waits_for_input(struct run *r, pid_t pid, const char *tid)
{
	char path[96], data[256], link[64], *rest;
	unsigned long fd;
	ssize_t n;
	long nr;

	snprintf(path, sizeof(path), "/proc/%d/task/%.20s/syscall", pid, tid);
	if (read_small(path, data, sizeof(data)) <= 0)
		return false;
	nr = strtol(data, &rest, 10);
	if (rest == data || (nr != SYS_read && nr != SYS_readv))
		return false;
	fd = strtoul(rest, NULL, 16);
	snprintf(path, sizeof(path), "/proc/%d/fd/%u", pid, (unsigned int)fd);
	n = readlink(path, link, sizeof(link) - 1);
	if (n <= 0)
		return false;
	link[n] = '\0';
	return !strcmp(link, r->stdin_link);
}

static bool process_waits(struct run *r, pid_t pid, bool *threads)
{
	bool waits = false;
	struct dirent *d;
	char path[64];
	int tasks = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = opendir(path);
	while (dir && tasks < TASKS && (d = readdir(dir))) {
		if (d->d_name[0] == '.')
			continue;
		tasks++;
		waits = waits || waits_for_input(r, pid, d->d_name);
	}
	if (dir)
		closedir(dir);
	*threads = tasks > 1;
	return waits;
}

/* The first such process, or 0. */
pid_t blocked_reader(struct run *r, bool *threads)
{
	pid_t pids[PROCESSES];
	int waiting = 0;
	size_t n;

	if (ioctl(r->in_fd, FIONREAD, &waiting) < 0 || waiting)
		return 0;
	if (process_waits(r, r->child, threads))
		return r->child;
	n = r->cgroup_fd >= 0 ? tree_pids(r, pids, PROCESSES) : 0;
	for (size_t i = 0; i < n; i++)
		if (pids[i] != r->child && process_waits(r, pids[i], threads))
			return pids[i];
	return 0;
}
