// SPDX-License-Identifier: MIT
/*
 * remains.c - what earlier programs changed in this guest and clean.c can't undo, for the host to compare.
 *
 * Looked at before a run changes anything itself: processes that are not the lab's,
 * files that were made or changed since the first run, what is set below
 * /sys/kernel/mm, cgroups.  In a clean guest every run finds the same.
 */
#include "labrun.h"

#include <ctype.h>
#include <dirent.h>
#include <ftw.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SETTINGS	"/sys/kernel/mm"
#define NAMES_MAX	2000	/* bytes of names in one line */

static struct {
	char data[65536];
	size_t len;
} text;

static char names[NAMES_MAX];	/* of the line that is being made */
static size_t files;
static struct timespec first_run;

static void PRINTF(1, 2) put(const char *fmt, ...)
{
	size_t room = sizeof(text.data) - text.len;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(text.data + text.len, room, fmt, ap);
	va_end(ap);
	if (n > 0 && (size_t)n < room)
		text.len += (size_t)n;
}

static void add_name(const char *name)
{
	size_t len = strlen(names);

	snprintf(names + len, sizeof(names) - len, "%s%s", len ? " " : "", name);
	for (char *p = names + len; *p; p++)
		if (!isprint((unsigned char)*p))
			*p = '?';
}

/* Empty for kernel threads, and for what is on its way out. */
static void executable(const char *pid, char *path, size_t size)
{
	char link[64];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/%.20s/exe", pid);
	n = readlink(link, path, size - 1);
	path[n > 0 ? n : 0] = '\0';
}

/* All but init's, the SSH sessions' and labrun's own, of which the last run's may still be ending. */
static void look_at_processes(void)
{
	char init[512], parent[512], self[512], path[512], number[16];
	DIR *dir = opendir("/proc");
	struct dirent *d;

	snprintf(number, sizeof(number), "%d", getppid());
	executable("1", init, sizeof(init));
	executable(number, parent, sizeof(parent));
	executable("self", self, sizeof(self));
	while (dir && (d = readdir(dir))) {
		if (!isdigit((unsigned char)d->d_name[0]))
			continue;
		executable(d->d_name, path, sizeof(path));
		if (*path && strcmp(path, init) && strcmp(path, parent) && strcmp(path, self))
			add_name(path);
	}
	if (dir)
		closedir(dir);
	put("processes = %s\n", names);
	names[0] = '\0';
}

static int count_file(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)path;
	(void)st;
	(void)type;
	(void)at;
	files++;
	return 0;
}

/* A directory's ctime tells what was removed from it. */
static int compare_file(const char *path, const struct stat *st, int type, struct FTW *at)
{
	if (type != FTW_NS && (st->st_ctim.tv_sec > first_run.tv_sec ||
			       (st->st_ctim.tv_sec == first_run.tv_sec &&
				st->st_ctim.tv_nsec > first_run.tv_nsec)))
		add_name(path);
	return count_file(path, st, type, at);
}

/* /tmp and /dev/shm are file systems of their own, and clean.c has emptied them. */
static void look_at_files(void)
{
	static const struct {
		const char *name, *path;
		int (*look)(const char *path, const struct stat *st, int type, struct FTW *at);
	} places[] = {
		{ "files", "/", compare_file },
		{ "devices", "/dev", count_file },	/* a terminal's times change with its use */
		{ "run-files", "/run", count_file },
	};
	struct stat st;

	if (stat(LOCK_FILE, &st) == 0)
		first_run = st.st_ctim;
	for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++) {
		files = 0;
		nftw(places[i].path, places[i].look, 32, FTW_PHYS | FTW_MOUNT);
		put("%s = %zu\n", places[i].name, files);
	}
	put("changed-files = %s\n", names);
	names[0] = '\0';
}

/* What can be read and written is a setting; page_idle/bitmap is none. */
static int look_at_setting(const char *path, const struct stat *st, int type, struct FTW *at)
{
	char value[256];
	ssize_t n;

	(void)at;
	if (type != FTW_F || (st->st_mode & 0600) != 0600 || strstr(path, "/page_idle/"))
		return 0;
	n = read_small(path, value, sizeof(value));
	if (n < 0)
		return 0;
	value[strcspn(value, "\n")] = '\0';
	put("%s = %s\n", path + strlen("/sys/kernel/"), value);
	return 0;
}

static void look_at_cgroups(void)
{
	char data[256], *end;

	if (read_small("/sys/fs/cgroup/cgroup.stat", data, sizeof(data)) <= 0)
		return;
	end = strchr(data, '\n');
	if (end)
		*end = '\0';	/* nr_descendants; next come those that are dying */
	put("cgroups = %s\n", data);
}

void remains_look(void)
{
	look_at_processes();
	look_at_files();
	look_at_cgroups();
	nftw(SETTINGS, look_at_setting, 32, FTW_PHYS | FTW_MOUNT);
}

void remains_send(void)
{
	if (text.len)
		wire_frame("probe", text.data, text.len, "name=remains");
}
