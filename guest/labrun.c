// SPDX-License-Identifier: MIT
/*
 * labrun.c - runs one program for the host and stops the world at its checkpoints.
 *
 * The host speaks to it over one SSH channel (README.md has the protocol).  One
 * poll() loop waits for everything: the host, the program's output and messages,
 * the kernel log, ended children, core helpers.  It never blocks on the program,
 * and ends the program's whole tree on every way out.
 */
#include "labrun.h"
#include "machine.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define WATCH_MIN_US	1000
#define WATCH_MAX_US	10000
#define OUTPUT_PAUSE_NS	5000000	/* so that a chatty program makes few frames */
#define WATCH_SHARE	50	/* looking takes at most one part in so many of the time */

static bool in_guest(void)
{
	char self[256];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	self[n > 0 ? n : 0] = '\0';
	return !strcmp(self, GUEST_PATH);
}

/* One at a time; the one before may still be on its way out. */
static void lock_guest(struct run *r)
{
	int lock = open(LOCK_FILE, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	for (int i = 0; i < 40; i++) {
		if (lock >= 0 && flock(lock, LOCK_EX | LOCK_NB) == 0)
			return;
		pause_us(50000);
	}
	die(r, "busy", "another labrun is at work in this guest");
}

/* A fresh tmpfs at /case; elsewhere the directory that $LABRUN_CASE names. */
static void prepare_case(struct run *r)
{
	const char *dir = getenv("LABRUN_CASE");

	if (!r->guest) {
		warn(r, "not a guest of the lab: no system-wide setting is changed");
		if (!dir)
			die(r, "system", "outside a guest LABRUN_CASE must name a directory");
		snprintf(r->case_dir, sizeof(r->case_dir), "%s", dir);
		return;
	}
	strcpy(r->case_dir, "/case");
	r->first = access(LOCK_FILE, F_OK) < 0;
	mkdir(r->case_dir, 0755);	/* before the lock's file, whose age remains.c compares */
	lock_guest(r);
	umount2(r->case_dir, MNT_DETACH);
	if (!r->last) {
		clean_guest(r->case_dir);
		remains_look();
	}
	if (mount("case", r->case_dir, "tmpfs", 0, "mode=0755") < 0)
		die(r, "system", "cannot mount a tmpfs at %s: %s", r->case_dir, strerror(errno));
}

/* labrun must outlive what the program does to the guest. */
static void protect_self(struct run *r)
{
	signal(SIGPIPE, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	if (!r->guest)
		return;
	if (!write_text(AT_FDCWD, "/proc/self/oom_score_adj", "-1000"))
		warn(r, "oom_score_adj: %s", strerror(errno));
	setpriority(PRIO_PROCESS, 0, -10);
}

static void host_line(struct run *r, const char *line)
{
	if (!strcmp(line, "go")) {
		if (r->hold != HOLD_NONE)
			checkpoint_release(r);
		r->watch_us = WATCH_MIN_US;
	} else if (!strcmp(line, "kill")) {
		if (r->hold == HOLD_NONE)
			checkpoint_limit(r);
		if (!r->reason)
			r->reason = "killed";
		tree_kill(r);
		r->hold = HOLD_NONE;
	} else {
		die(r, "protocol", "unexpected line: %.64s", line);
	}
}

static void host_input(struct run *r)
{
	char line[LINE_SIZE];

	if (wire_fill())
		while (!r->exited && wire_try_line(line, sizeof(line)))
			host_line(r, line);
}

static bool watches_input(struct run *r)
{
	return r->hold == HOLD_NONE && r->in_fd >= 0 && !r->fixed_input;
}

/* Nothing happened for a while: perhaps the program waits for input. */
static void watch_input(struct run *r)
{
	uint64_t before = now_ns();
	bool threads;
	pid_t pid = blocked_reader(r, &threads);
	int64_t cost = (int64_t)((now_ns() - before) / 1000);

	r->watch_us = r->watch_us * 2 > WATCH_MAX_US ? WATCH_MAX_US : r->watch_us * 2;
	if (r->watch_us < cost * WATCH_SHARE)
		r->watch_us = cost * WATCH_SHARE;
	if (!pid)
		return;
	pump_messages(r, true);	/* what it said before it read comes first */
	if (r->hold == HOLD_NONE && !r->exited)
		checkpoint_stdin(r, pid, threads);
}

enum { HOST, SIGNAL, KMSG, OUT, ERR, CORE, LAB, INPUT, NR };

/* Nanoseconds until output is looked at again; 0 when it is now. */
static uint64_t quiet_ns(struct run *r)
{
	uint64_t now = now_ns();

	return r->quiet_until > now ? r->quiet_until - now : 0;
}

/* CORE stands before LAB: a note that preceded a crash is then seen first. */
static int wait_for_events(struct run *r, struct pollfd *p, uint64_t quiet)
{
	bool free = r->hold == HOLD_NONE;
	bool feeding = r->fixed_input && r->in_fd >= 0;
	uint64_t wait = quiet ? quiet : (uint64_t)r->watch_us * 1000;
	struct timespec t = { (time_t)(wait / 1000000000), (long)(wait % 1000000000) };

	p[HOST] = (struct pollfd){ r->alone ? -1 : STDIN_FILENO, POLLIN, 0 };
	p[SIGNAL] = (struct pollfd){ r->signal_fd, POLLIN, 0 };
	p[KMSG] = (struct pollfd){ r->kmsg_fd, POLLIN, 0 };
	p[OUT] = (struct pollfd){ quiet ? -1 : r->out_fd, POLLIN, 0 };
	p[ERR] = (struct pollfd){ quiet ? -1 : r->err_fd, POLLIN, 0 };
	p[CORE] = (struct pollfd){ free ? r->core_fd : -1, POLLIN, 0 };
	p[LAB] = (struct pollfd){ free ? r->lab_fd : -1, POLLIN, 0 };
	p[INPUT] = (struct pollfd){ feeding ? r->in_fd : -1, POLLOUT, 0 };
	return ppoll(p, NR, quiet || watches_input(r) ? &t : NULL, NULL);
}

static void take_events(struct run *r, const struct pollfd *p)
{
	struct signalfd_siginfo info;

	if (p[LAB].revents || p[OUT].revents || p[ERR].revents)
		r->watch_us = WATCH_MIN_US;
	if (p[KMSG].revents)
		pump_kmsg(r);
	if (p[OUT].revents || p[ERR].revents) {
		pump_output(r);
		r->quiet_until = now_ns() + OUTPUT_PAUSE_NS;
	}
	if (p[LAB].revents)
		pump_messages(r, true);
	if (p[CORE].revents && r->hold == HOLD_NONE)
		core_accept(r);
	if (p[INPUT].revents)
		pump_input(r);
	if (p[SIGNAL].revents) {
		while (read(r->signal_fd, &info, sizeof(info)) > 0)
			;
		tree_reap(r);
	}
	if (p[HOST].revents)
		host_input(r);
}

/* The host has said all it will: it looks while the guest stands still. */
static void pass_checkpoint(struct run *r)
{
	if (!machine_pause())
		die(r, "system", "the guest cannot stand still: no debug console of QEMU's, or no ioperm() (CONFIG_X86_IOPL_IOPERM)");
	checkpoint_release(r);
	r->watch_us = WATCH_MIN_US;
}

static void run_program(struct run *r)
{
	struct pollfd p[NR];

	r->watch_us = WATCH_MIN_US;
	if (r->fixed_input)
		pump_input(r);
	if (r->limit.input == 0 && r->in_fd >= 0 && !r->fixed_input) {
		close(r->in_fd);
		r->in_fd = -1;
	}
	while (!r->exited && !host_gone) {
		uint64_t quiet = quiet_ns(r);
		int n;

		if (r->alone && r->hold != HOLD_NONE) {
			pass_checkpoint(r);
			continue;
		}
		n = wait_for_events(r, p, quiet);
		if (n > 0)
			take_events(r, p);
		else if (n == 0 && !quiet)
			watch_input(r);
		else if (n == 0)
			continue;
		else if (errno != EINTR)
			die(r, "system", "poll: %s", strerror(errno));
	}
}

static void note_refused_forks(struct run *r)
{
	char path[96], data[128], *max;

	if (r->cgroup_fd < 0)
		return;
	snprintf(path, sizeof(path), "%s/pids.events", r->cgroup);
	read_small(path, data, sizeof(data));
	max = strstr(data, "max ");
	if (max && strtoull(max + 4, NULL, 10) > 0)
		wire_note(0, 0, "lab.forks-refused=%llu", strtoull(max + 4, NULL, 10));
}

static void send_exit(struct run *r)
{
	const struct rusage *u = &r->usage;
	bool signaled = WIFSIGNALED(r->status);
	char reason[64] = "";

	if (r->reason)
		snprintf(reason, sizeof(reason), " reason=%s", r->reason);
	wire_frame("exit", NULL, 0,
		   "%s=%d%s leftover=%llu utime=%lld stime=%lld minflt=%ld majflt=%ld maxrss=%ld "
		   "ns=%llu",
		   signaled ? "signal" : "code",
		   signaled ? WTERMSIG(r->status) : WEXITSTATUS(r->status), reason,
		   (unsigned long long)r->leftover,
		   u->ru_utime.tv_sec * 1000000LL + u->ru_utime.tv_usec,
		   u->ru_stime.tv_sec * 1000000LL + u->ru_stime.tv_usec,
		   u->ru_minflt, u->ru_majflt, u->ru_maxrss,
		   (unsigned long long)(now_ns() - r->start_ns));
}

/* The main program has ended; nothing that it started stays. */
static int finish(struct run *r)
{
	r->hold = HOLD_NONE;
	if (!r->reason)
		r->leftover = tree_left();
	tree_kill(r);
	core_close(r);
	pump_messages(r, false);
	pump_output(r);
	note_refused_forks(r);
	trace_send(r, true);
	if (!r->last) {
		trace_close(r);
		tree_close(r);
	}
	pump_kmsg(r);
	send_exit(r);
	wire_frame("bye", NULL, 0, NULL);
	return 0;
}

static int run(struct run *r)
{
	protect_self(r);
	wire_frame("hello", NULL, 0, "proto=%d", PROTOCOL);
	r->alone = wire_take_line("alone");
	r->last = r->alone || wire_take_line("last");
	prepare_case(r);
	r->kmsg_fd = kmsg_open();
	if (r->kmsg_fd < 0)
		warn(r, "no kernel log: /dev/kmsg: %s", strerror(errno));
	configure(r);
	probe_all(r);
	trace_open(r);
	tree_open(r);
	core_open(r);
	wire_frame("probe", r->warnings, strlen(r->warnings), "name=warnings");
	launch(r);
	run_program(r);
	if (host_gone) {
		tree_kill(r);
		core_close(r);
		trace_close(r);
		tree_close(r);
		return 1;
	}
	return finish(r);
}

int main(int argc, char **argv)
{
	static struct run r = {
		.limit = {
			.output = 1U << 20, .checkpoints = 256, .file = 64U << 20, .tasks = 256,
			.input = 64, .pids = 512, .notes = 65536, .trace = 256U << 20,
		},
		.in_fd = -1, .out_fd = -1, .err_fd = -1, .lab_fd = -1, .signal_fd = -1,
		.kmsg_fd = -1, .core_fd = -1, .cgroup_fd = -1, .helper_fd = -1,
		.trace = { .on_fd = -1, .marker_fd = -1, .graph_on_fd = -1, .graph_marker_fd = -1 },
	};
	const char *mode = argc > 1 ? argv[1] : "";

	r.guest = in_guest();
	if (!strcmp(mode, "core"))
		return core_helper(argc, argv);
	if (!strcmp(mode, "run") && argc == 2)
		return run(&r);
	if (!strcmp(mode, "probe") && argc == 2) {
		wire_frame("hello", NULL, 0, "proto=%d", PROTOCOL);
		probe_all(&r);
		wire_frame("bye", NULL, 0, NULL);
		return host_gone;
	}
	if (!strcmp(mode, "prepare") && argc == 2) {
		trace_prepare();
		return symbols_save();
	}
	fprintf(stderr, "labrun: started by the lab as: labrun run | labrun probe | labrun prepare\n");
	return 2;
}
