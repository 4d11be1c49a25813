// SPDX-License-Identifier: MIT
/*
 * clean.c - what an earlier program may have left in this guest is removed, so that the next one does not find it.
 *
 * Here, before each run: files in /tmp and /dev/shm, System V IPC objects, POSIX
 * message queues.  At each run's end: the program's processes, wherever they went, and the
 * cgroups below its own (tree.c); what was set for it in /proc/sys and /sys (config.c),
 * core_pattern (core.c), the kernel trace (trace.c).  /case is a new tmpfs for
 * each run.  All else stays; remains.c tells the host of it.
 */
#include "labrun.h"

#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mount.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/stat.h>

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)type;
	if (at->level > 0)
		(void)remove(path);
	return 0;
}

/* The directory itself stays, and what is mounted in it. */
void empty_directory(const char *path)
{
	nftw(path, remove_one, 32, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

/* Lines of /proc/sysvipc/... : the key, then the id. */
static void remove_ipc(const char *path, void (*take)(int id))
{
	FILE *f = fopen(path, "re");
	char line[512];
	int key, id;

	if (!f)
		return;
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "%d %d", &key, &id) == 2)
			take(id);
	fclose(f);
}

static void remove_shm(int id)
{
	shmctl(id, IPC_RMID, NULL);
}

static void remove_sem(int id)
{
	semctl(id, 0, IPC_RMID);
}

static void remove_msg(int id)
{
	msgctl(id, IPC_RMID, NULL);
}

/* Their file system shows all that mq_open() made; it is mounted for a moment only. */
static void remove_queues(const char *empty_dir)
{
	if (mount("mqueue", empty_dir, "mqueue", 0, NULL) < 0)
		return;	/* the kernel has none */
	empty_directory(empty_dir);
	umount2(empty_dir, MNT_DETACH);
}

void clean_guest(const char *empty_dir)
{
	empty_directory("/tmp");
	empty_directory("/dev/shm");
	remove_ipc("/proc/sysvipc/shm", remove_shm);
	remove_ipc("/proc/sysvipc/sem", remove_sem);
	remove_ipc("/proc/sysvipc/msg", remove_msg);
	remove_queues(empty_dir);
}
