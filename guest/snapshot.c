// SPDX-License-Identifier: MIT
/*
 * snapshot.c - is a process stopped, and what /proc says of it then.
 *
 * "Stopped" is the kernel's word: state T or t in the stat file of every task.
 * A stop of another process is announced to its own parent only, so the files
 * are looked at with short growing pauses, up to a deadline.
 */
#include "labrun.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char task_state(pid_t pid, const char *tid)
{
	char path[96], data[512], *paren;

	snprintf(path, sizeof(path), "/proc/%d/task/%.20s/stat", pid, tid);
	if (read_small(path, data, sizeof(data)) <= 0)
		return 'X';
	paren = strrchr(data, ')');
	return paren && paren[1] == ' ' ? paren[2] : 'X';
}

/* A dead task counts as stopped, a process of dead tasks only as gone. */
static bool all_stopped(pid_t pid, bool *gone)
{
	bool stopped = true;
	struct dirent *d;
	char path[64];
	DIR *dir;

	*gone = true;
	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = opendir(path);
	while (dir && stopped && (d = readdir(dir))) {
		char state;

		if (d->d_name[0] == '.')
			continue;
		state = task_state(pid, d->d_name);
		if (state == 'Z' || state == 'X')
			continue;
		*gone = false;
		stopped = state == 'T' || state == 't';
	}
	if (dir)
		closedir(dir);
	return stopped && !*gone;
}

/* True when every task is stopped; false at the deadline, or when *gone. */
bool wait_stopped(pid_t pid, bool *gone)
{
	uint64_t deadline = now_ns() + STOP_SECONDS * 1000000000ULL;
	long pause = 50;

	while (!all_stopped(pid, gone)) {
		if (*gone || now_ns() > deadline)
			return false;
		pause_us(pause);
		pause = pause < 5000 ? pause * 2 : pause;
	}
	return true;
}

static void send_file(struct run *r, const char *name)
{
	bool truncated;
	char path[128];
	const char *data;
	size_t len;

	snprintf(path, sizeof(path), "/%s", name);
	data = evidence(path, r->limit.file, &len, &truncated);
	if (data)
		wire_frame("file", data, len, "name=%s%s", name, truncated ? " truncated=1" : "");
}

static void send_link(pid_t pid, const char *link)
{
	char path[64], target[4096];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, link);
	n = readlink(path, target, sizeof(target));
	if (n >= 0)
		wire_frame("file", target, (size_t)n, "name=%s", path + 1);
}

static void snapshot_tasks(struct run *r, pid_t pid)
{
	static const char *const files[] = { "status", "stat", "comm", "syscall" };
	uint64_t tasks = 0;
	struct dirent *d;
	char path[128];
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = opendir(path);
	while (dir && (d = readdir(dir))) {
		if (d->d_name[0] == '.')
			continue;
		if (tasks++ == r->limit.tasks) {
			warn(r, "process %d: only %llu tasks recorded", pid,
			     (unsigned long long)r->limit.tasks);
			break;
		}
		for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++) {
			snprintf(path, sizeof(path), "proc/%d/task/%.20s/%s", pid, d->d_name,
				 files[i]);
			send_file(r, path);
		}
	}
	if (dir)
		closedir(dir);
}

void snapshot(struct run *r, pid_t pid)
{
	static const char *const files[] = {
		"status", "stat", "statm", "maps", "smaps", "smaps_rollup", "limits", "auxv",
		"cmdline", "comm", "environ", "wchan", "syscall", "personality",
		"oom_score_adj", "io",
	};
	char path[64];

	for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++) {
		snprintf(path, sizeof(path), "proc/%d/%s", pid, files[i]);
		send_file(r, path);
	}
	send_link(pid, "exe");
	snapshot_tasks(r, pid);
}
