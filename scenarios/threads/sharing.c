/* SPDX-License-Identifier: MIT */
/*
 * sharing - what a thread has in common with its creator, and a child has not.
 *
 * Two proofs: what the one does the other sees (memory, a descriptor, the working
 * directory, a signal's action); and kcmp(2), by which the kernel itself says
 * whether two tasks point to the same object.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lab.h"
#include "threads.h"

/* The types of kcmp(2), linux/kcmp.h. */
enum { SAME_VM = 1, SAME_FILES = 2, SAME_FS = 3, SAME_SIGHAND = 4 };

static volatile int written;
static int opened;

static void change_all(struct worker *self)
{
	(void)self;
	if (MUTATE_UNSHARE)
		unshare(CLONE_FS);
	written = 1;
	opened = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (chdir("/proc"))
		written = 0;
	signal(SIGUSR2, SIG_IGN);
}

/* 0: the same object; 1, 2, 3: another one; negative: this kernel has no kcmp. */
static long compare(pid_t other, int type)
{
	long result = syscall(SYS_kcmp, getpid(), other, type, 0, 0);

	return result < 0 ? -errno : result;
}

static void note_compared(const char *const keys[4], pid_t other)
{
	lab_note_i64(keys[0], compare(other, SAME_VM));
	lab_note_i64(keys[1], compare(other, SAME_FILES));
	lab_note_i64(keys[2], compare(other, SAME_FS));
	lab_note_i64(keys[3], compare(other, SAME_SIGHAND));
}

static void note_seen(void)
{
	char directory[64] = "";
	struct sigaction action;

	if (!getcwd(directory, sizeof(directory)))
		directory[0] = '\0';
	sigaction(SIGUSR2, NULL, &action);
	lab_note_i64("sees-memory", written);
	lab_note_i64("sees-file", fcntl(opened, F_GETFD) >= 0);
	lab_note_i64("sees-directory", strcmp(directory, "/proc") == 0);
	lab_note_i64("sees-action", action.sa_handler == SIG_IGN);
}

void show_sharing(void)
{
	static const char *const thread_keys[] = { "vm", "files", "fs", "sighand" };
	static const char *const child_keys[] = { "child-vm", "child-files", "child-fs",
						  "child-sighand" };
	static struct worker worker;
	pid_t child;

	worker.work = change_all;
	child = fork();
	if (child == 0) {
		pause();
		_exit(0);
	}
	start_sized(&worker, MIB);
	lab_note_i64("child", MUTATE_SELF_AS_CHILD ? getpid() : child);
	lab_note_i64("kcmp", compare(getpid(), SAME_VM));
	note_compared(thread_keys, worker.tid);
	note_compared(child_keys, child);
	note_seen();
	lab_checkpoint("shared");

	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	stop_worker(&worker);
}
