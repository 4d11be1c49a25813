// SPDX-License-Identifier: MIT
/*
 * stdin.c - finds a process that waits for input: an unmodified program's checkpoint.
 *
 * /proc/PID/task/TID/syscall shows the system call in which a task sleeps: read
 * or readv on a descriptor that is the program's input pipe, or poll, select or
 * epoll_wait on a set that has it.  The pipe was empty before that look and only
 * labrun writes to it, so such a task stays asleep until we write (a signal
 * handler, a time-out and the set's other descriptors aside).
 */
#include "labrun.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PROCESSES	64
#define TASKS		256
#define SET		64	/* descriptors of a poll set that are looked at */

static bool is_input(struct run *r, pid_t pid, unsigned int fd)
{
	char path[96], link[64];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/fd/%u", pid, fd);
	n = readlink(path, link, sizeof(link) - 1);
	if (n <= 0)
		return false;
	link[n] = '\0';
	return !strcmp(link, r->stdin_link);
}

/* Bytes of the sleeping process's memory; what can't be read counts as nothing. */
static size_t peek(pid_t pid, unsigned long address, void *data, size_t size)
{
	char path[64];
	ssize_t n = -1;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		n = pread(fd, data, size, (off_t)address);
		close(fd);
	}
	return n > 0 ? (size_t)n : 0;
}

static bool polls_input(struct run *r, pid_t pid, unsigned long address, unsigned long count)
{
	struct pollfd set[SET];
	size_t n = count < SET ? count : SET;

	n = peek(pid, address, set, n * sizeof(*set)) / sizeof(*set);
	for (size_t i = 0; i < n; i++)
		if (set[i].fd >= 0 && (set[i].events & POLLIN) &&
		    is_input(r, pid, (unsigned int)set[i].fd))
			return true;
	return false;
}

static bool selects_input(struct run *r, pid_t pid, unsigned long count, unsigned long address)
{
	unsigned char bits[FD_SETSIZE / 8] = { 0 };

	if (!address || !peek(pid, address, bits, sizeof(bits)))
		return false;
	for (unsigned int fd = 0; fd < count && fd < FD_SETSIZE; fd++)
		if ((bits[fd / 8] >> fd % 8 & 1) && is_input(r, pid, fd))
			return true;
	return false;
}

/* The kernel lists an epoll set as lines "tfd: 0 events: 19 ...". */
static bool epolls_input(struct run *r, pid_t pid, unsigned int epoll)
{
	char path[64], data[4096], *line;

	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%u", pid, epoll);
	if (read_small(path, data, sizeof(data)) <= 0)
		return false;
	for (line = strstr(data, "tfd:"); line; line = strstr(line + 4, "tfd:"))
		if (is_input(r, pid, (unsigned int)strtoul(line + 4, NULL, 10)))
			return true;
	return false;
}

static bool waits_for_input(struct run *r, pid_t pid, const char *tid)
{
	unsigned long first, second;
	char path[96], data[256];
	long nr;

	snprintf(path, sizeof(path), "/proc/%d/task/%.20s/syscall", pid, tid);
	if (read_small(path, data, sizeof(data)) <= 0 ||
	    sscanf(data, "%ld %lx %lx", &nr, &first, &second) != 3)
		return false;
	switch (nr) {
	case SYS_read:
	case SYS_readv:
		return is_input(r, pid, (unsigned int)first);
	case SYS_poll:
	case SYS_ppoll:
		return polls_input(r, pid, first, second);
	case SYS_select:
	case SYS_pselect6:
		return selects_input(r, pid, first, second);
	case SYS_epoll_wait:
	case SYS_epoll_pwait:
		return epolls_input(r, pid, (unsigned int)first);
	default:
		return false;
	}
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
