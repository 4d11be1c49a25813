// SPDX-License-Identifier: MIT
/*
 * launch.c - starts the program: its descriptors, limits, directory, cgroup.
 *
 * ptrace has it stop once, before its first instruction, and lets go of it for
 * good.  While a task is traced the kernel leaves out its own line about a fatal
 * signal, because unhandled_signal() in kernel/signal.c ends with
 * "return !tsk->ptrace"; so no later checkpoint is made by ptrace.
 */
#include "labrun.h"
#include "lab.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

struct ends {	/* the program's side, and how it reports a failed start */
	int in, out, err, lab, status;
};

struct failure {
	char what[32], detail[32];
	int error;
};

static noreturn void give_up(int fd, const char *what, const char *detail)
{
	struct failure f = { .error = errno };

	snprintf(f.what, sizeof(f.what), "%s", what);
	snprintf(f.detail, sizeof(f.detail), "%s", detail);
	(void)!write(fd, &f, sizeof(f));
	_exit(127);
}

static void child_signals(void)
{
	struct sigaction dfl = { .sa_handler = SIG_DFL };
	sigset_t none;

	for (int i = 1; i < NSIG; i++)
		sigaction(i, &dfl, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/*
 * dropbear's releases differ in the core limit that they leave behind, so it is
 * set to the kernel's own default first.  A soft limit above the hard one that
 * is to be kept raises it.
 */
static void child_rlimits(struct run *r, int status_fd)
{
	struct rlimit now = { .rlim_cur = 0, .rlim_max = RLIM_INFINITY };

	if (r->guest)
		setrlimit(RLIMIT_CORE, &now);
	for (size_t i = 0; i < r->nr_rlimits; i++) {
		struct resource_limit *l = &r->rlimits[i];

		if (l->keep_hard && getrlimit(l->resource, &now) == 0)
			l->value.rlim_max = now.rlim_max > l->value.rlim_cur ? now.rlim_max
									     : l->value.rlim_cur;
		if (setrlimit(l->resource, &l->value) < 0)
			give_up(status_fd, "rlimit", l->name);
	}
}

static noreturn void child_main(struct run *r, const struct ends *e)
{
	int status;

	setsid();
	child_signals();
	if (r->cgroup_fd >= 0 && !write_text(r->cgroup_fd, "cgroup.procs", "0"))
		give_up(e->status, "system", "cgroup");
	setpriority(PRIO_PROCESS, 0, 0);
	write_text(AT_FDCWD, "/proc/self/oom_score_adj", "0");
	/* Out of the way of 0-2 and of the lab's own first; all others close on exec. */
	status = fcntl(e->status, F_DUPFD_CLOEXEC, LAB_GRAPH_MARKER_FD + 1);
	if (dup2(e->in, 0) < 0 || dup2(e->out, 1) < 0 || dup2(e->err, 2) < 0 ||
	    dup2(e->lab, LAB_FD) < 0 || status < 0)
		give_up(e->status, "system", "descriptors");
	trace_descriptors(r);
	if (chdir(r->case_dir) < 0)
		give_up(status, "system", "case directory");
	umask(022);
	child_rlimits(r, status);
	if (ptrace(PTRACE_TRACEME, 0, 0, 0) < 0)
		give_up(status, "system", "ptrace");
	execve(r->argv.item[0], r->argv.item, r->env.item);
	give_up(status, "exec", "exec");
}

static void make_pipe(struct run *r, int *read_end, int *write_end)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) < 0)
		die(r, "system", "pipe: %s", strerror(errno));
	*read_end = fds[0];
	*write_end = fds[1];
}

static void nonblocking(int fd)
{
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

static void make_channels(struct run *r, struct ends *e, int *report)
{
	int pair[2], on = 1;
	struct stat st;

	make_pipe(r, &e->in, &r->in_fd);
	make_pipe(r, &r->out_fd, &e->out);
	make_pipe(r, &r->err_fd, &e->err);
	make_pipe(r, report, &e->status);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0 ||
	    setsockopt(pair[0], SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) < 0)
		die(r, "system", "socketpair: %s", strerror(errno));
	r->lab_fd = pair[0];
	e->lab = pair[1];
	fstat(e->in, &st);
	snprintf(r->stdin_link, sizeof(r->stdin_link), "pipe:[%lu]", (unsigned long)st.st_ino);
	nonblocking(r->in_fd);
	nonblocking(r->out_fd);
	nonblocking(r->err_fd);
	nonblocking(r->lab_fd);
}

static void watch_children(struct run *r)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	r->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0 || r->signal_fd < 0)
		die(r, "system", "cannot watch for ended processes: %s", strerror(errno));
}

/* execve() leaves a traced task with SIGTRAP at its new program's entry point. */
static void await_exec(struct run *r)
{
	int status;
	pid_t pid;

	do {
		pid = wait4(r->child, &status, __WALL, &r->usage);
	} while (pid < 0 && errno == EINTR);
	if (pid == r->child && WIFSTOPPED(status))
		return;
	r->exited = true;
	r->status = status;
}

/* Returns when the program is loaded and stopped; what stopped it from starting ends the run. */
void launch(struct run *r)
{
	struct failure f;
	struct ends e;
	uint64_t start;
	int report;
	ssize_t n;

	if (!r->argv.count)
		die(r, "protocol", "start without any arg");
	if (!r->env.item)
		r->env.item = (char *[]){ NULL };
	watch_children(r);
	make_channels(r, &e, &report);
	start = now_ns();
	r->child = fork();
	if (r->child < 0)
		die(r, "system", "fork: %s", strerror(errno));
	if (r->child == 0)
		child_main(r, &e);
	close(e.in);
	close(e.out);
	close(e.err);
	close(e.lab);
	close(e.status);
	do {
		n = read(report, &f, sizeof(f));
	} while (n < 0 && errno == EINTR);
	close(report);
	if (n == sizeof(f))
		die(r, f.what, "%s was not started: %s: %s", r->argv.item[0], f.detail,
		    strerror(f.error));
	r->start_ns = start;
	await_exec(r);
	trace_watch(r, r->child);
	wire_frame("started", NULL, 0, "pid=%d", r->child);
	if (!r->exited)
		checkpoint_exec(r);
}
