// SPDX-License-Identifier: MIT
/*
 * tree.c - the program and everything it started.
 *
 * In the guest that is one cgroup v2 with pids.max, so that a fork bomb stays
 * small and always ends: cgroup.kill, and before kernel 5.14 (which added it)
 * freeze and SIGKILL until cgroup.procs is empty.  The cpu controller makes the
 * whole tree one competitor of labrun and dropbear, however many tasks it has.
 * Without cgroups, and for a process that left its own: labrun is the child subreaper,
 * so that all there is descends from it until it has no child; /proc tells who they are.
 */
#include "labrun.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define ROOT		"/sys/fs/cgroup"
#define TREE_MAX	4096

void tree_open(struct run *r)
{
	char value[32];

	r->cgroup_fd = -1;
	if (!r->guest) {
		warn(r, "no cgroup: not a guest of the lab; the number of processes is not limited");
		return;
	}
	if (!write_text(AT_FDCWD, ROOT "/cgroup.subtree_control", "+pids"))
		warn(r, "cgroup pids controller: %s", strerror(errno));
	if (!write_text(AT_FDCWD, ROOT "/cgroup.subtree_control", "+cpu"))
		warn(r, "cgroup cpu controller: %s", strerror(errno));
	snprintf(r->cgroup, sizeof(r->cgroup), ROOT "/labrun-%d", getpid());
	if (mkdir(r->cgroup, 0755) == 0 || errno == EEXIST)
		r->cgroup_fd = open(r->cgroup, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (r->cgroup_fd < 0) {
		warn(r, "no cgroup: %s: %s", r->cgroup, strerror(errno));
		return;
	}
	snprintf(value, sizeof(value), "%llu", (unsigned long long)r->limit.pids);
	if (!write_text(r->cgroup_fd, "pids.max", value))
		warn(r, "the number of processes is not limited: pids.max: %s", strerror(errno));
}

void tree_close(struct run *r)
{
	if (r->cgroup_fd < 0)
		return;
	close(r->cgroup_fd);
	r->cgroup_fd = -1;
	if (rmdir(r->cgroup) < 0 && errno == EBUSY) {	/* the program made some in it */
		empty_directory(r->cgroup);
		rmdir(r->cgroup);
	}
}

static size_t cgroup_pids(struct run *r, pid_t *pids, size_t max)
{
	char data[16384], path[96], *p = data;
	size_t n = 0;

	snprintf(path, sizeof(path), "%s/cgroup.procs", r->cgroup);
	if (read_small(path, data, sizeof(data)) <= 0)
		return 0;
	while (n < max && *p) {
		pids[n] = (pid_t)strtol(p, &p, 10);
		if (pids[n] > 0)
			n++;
		p += *p == '\n';
	}
	return n;
}

/* The parent of a live process; 0 for a zombie and for what is gone. */
static pid_t parent_of(pid_t pid)
{
	char path[64], data[512], state, *paren;
	int parent = 0;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	if (read_small(path, data, sizeof(data)) <= 0)
		return 0;
	paren = strrchr(data, ')');
	if (!paren || sscanf(paren + 1, " %c %d", &state, &parent) != 2)
		return 0;
	return state == 'Z' || state == 'X' ? 0 : parent;
}

static bool descends(pid_t pid)
{
	for (int depth = 0; depth < 256 && pid > 1; depth++) {
		pid = parent_of(pid);
		if (pid == getpid())
			return true;
	}
	return false;
}

static size_t proc_pids(pid_t *pids, size_t max)
{
	DIR *dir = opendir("/proc");
	struct dirent *d;
	size_t n = 0;

	while (dir && n < max && (d = readdir(dir))) {
		pid_t pid = atoi(d->d_name);

		if (pid > 0 && descends(pid))
			pids[n++] = pid;
	}
	if (dir)
		closedir(dir);
	return n;
}

size_t tree_pids(struct run *r, pid_t *pids, size_t max)
{
	return r->cgroup_fd >= 0 ? cgroup_pids(r, pids, max) : proc_pids(pids, max);
}

bool tree_has(struct run *r, pid_t pid)
{
	static pid_t pids[TREE_MAX];
	size_t n = tree_pids(r, pids, TREE_MAX);

	while (n)
		if (pids[--n] == pid)
			return true;
	return false;
}

/* Reaps what has ended; the main program's end is kept. */
void tree_reap(struct run *r)
{
	struct rusage usage;
	int status;
	pid_t pid;

	while ((pid = wait4(-1, &status, WNOHANG | __WALL, &usage)) > 0) {
		if (pid == r->child && !r->exited && !WIFSTOPPED(status)) {
			r->exited = true;
			r->status = status;
			r->usage = usage;
		}
	}
}

/* Whatever the program started is a child of labrun's or a child's: labrun is the subreaper. */
static bool childless(void)
{
	siginfo_t info;

	return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT | __WALL) < 0 &&
	       errno == ECHILD;
}

/* How many of the program's processes are alive, wherever they went. */
size_t tree_left(void)
{
	static pid_t pids[TREE_MAX];

	return childless() ? 0 : proc_pids(pids, TREE_MAX);
}

/* One round of SIGKILL: for the cgroup, and when that is empty for who has left it. */
static void kill_round(struct run *r)
{
	static pid_t pids[TREE_MAX];
	size_t n = tree_pids(r, pids, TREE_MAX);

	if (n && r->cgroup_fd >= 0) {
		if (write_text(r->cgroup_fd, "cgroup.kill", "1"))
			return;
		write_text(r->cgroup_fd, "cgroup.freeze", "1");
	} else if (!n) {
		n = proc_pids(pids, TREE_MAX);
	}
	for (size_t i = 0; i < n; i++)
		kill(pids[i], SIGKILL);
}

void tree_kill(struct run *r)
{
	uint64_t deadline = now_ns() + STOP_SECONDS * 1000000000ULL;
	long pause = 100;

	if (r->child <= 0)
		return;
	if (r->helper_fd >= 0) {
		close(r->helper_fd);
		r->helper_fd = -1;
	}
	for (tree_reap(r); !childless(); tree_reap(r)) {
		kill_round(r);
		if (now_ns() > deadline) {
			warn(r, "processes of the program are still there %d s after SIGKILL",
			     STOP_SECONDS);
			return;
		}
		pause_us(pause);
		pause = pause < 10000 ? pause * 2 : pause;
	}
}
