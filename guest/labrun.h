/* SPDX-License-Identifier: MIT */
/* labrun.h - what labrun's parts share.  One struct run describes the one program. */
#ifndef LABRUN_H
#define LABRUN_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdnoreturn.h>
#include <sys/resource.h>
#include <sys/types.h>

#define PROTOCOL	1
#define GUEST_PATH	"/lab/labrun"	/* running from here means: inside the lab's guest */
#define CORE_SOCKET	"labrun-core-%d"
#ifndef SYMBOLS_FILE
#define SYMBOLS_FILE	"/lab/symbols"	/* lines "T name", made once for many guests */
#endif
#define LOCK_FILE	"/run/labrun.lock"	/* as old as the first run in this guest */
#define LINE_SIZE	4096
#define STRING_TOTAL	(1U << 20)	/* all of argv, or all of the environment */
#define PAYLOAD_MAX	(64U << 10)	/* of one output or kmsg frame */
#define STOP_SECONDS	10		/* for every task to be stopped, or dead */
#ifndef TRACING
#define TRACING		"/sys/kernel/tracing"
#endif
#define TRACE_INSTANCE	TRACING "/instances/lab"

#define PRINTF(a, b)	__attribute__((format(printf, a, b)))

struct strings {
	char **item;
	size_t count, bytes;
};

struct limits {
	uint64_t output, checkpoints, file, tasks, input, pids, notes, trace;
};

struct resource_limit {
	const char *name;
	int resource;
	bool keep_hard;
	struct rlimit value;
};

enum hold { HOLD_NONE, HOLD_NAMED, HOLD_STDIN, HOLD_SIGNAL, HOLD_EXEC, HOLD_LIMIT };

struct run {
	/* what the host asked for */
	bool guest;
	char case_dir[256];
	struct strings argv, env, symbols;
	struct resource_limit rlimits[16];
	size_t nr_rlimits;
	struct limits limit;
	bool fixed_input;
	bool first;	/* no other program ran in this guest before */
	bool last;	/* ... nor will one after it */
	bool alone;	/* the host only listens: each checkpoint pauses the machine */
	char *input;
	size_t input_len, input_off;
	char warnings[4096];

	/* the program; a descriptor is -1 when it is not there */
	pid_t child;
	bool exited;
	int status;
	struct rusage usage;
	const char *reason;
	uint64_t start_ns;
	int in_fd, out_fd, err_fd, lab_fd, signal_fd, kmsg_fd, core_fd, cgroup_fd;
	char cgroup[64], stdin_link[64];
	uint64_t output, notes, kmsg, leftover;

	/* the kernel trace; the files are the program's, to mark its windows with */
	struct trace {
		struct strings events, functions, filters, graph;
		uint64_t buffer_kib, sent;
		int on_fd, marker_fd, graph_on_fd, graph_marker_fd;
		bool asked, open;
	} trace;

	/* the checkpoint that waits for "go" */
	enum hold hold;
	pid_t held;
	bool held_stopped;
	int helper_fd;
	uint64_t sequence, inputs;
	int64_t watch_us;
	uint64_t quiet_until;	/* output is collected for a moment, see OUTPUT_PAUSE_NS */

	char old_pattern[256], old_pipe_limit[16];
};

/* wire.c: frames to the host, lines from it */
extern bool host_gone;
void wire_frame(const char *type, const void *data, size_t len, const char *keys, ...)
	PRINTF(4, 5);
void wire_note(pid_t pid, pid_t tid, const char *fmt, ...) PRINTF(3, 4);
bool wire_line(char *line, size_t size);
bool wire_take_line(const char *wanted);
bool wire_try_line(char *line, size_t size);
bool wire_payload(void *data, size_t len);
bool wire_fill(void);
noreturn void die(struct run *r, const char *what, const char *fmt, ...) PRINTF(3, 4);

/* files.c: small file work and time */
uint64_t now_ns(void);
void pause_us(long us);
ssize_t read_small(const char *path, char *data, size_t size);
bool write_text(int dirfd, const char *path, const char *text);
const char *evidence(const char *path, size_t limit, size_t *len, bool *truncated);
void warn(struct run *r, const char *fmt, ...) PRINTF(2, 3);
void strings_add(struct run *r, struct strings *s, char *item, size_t len);
bool parse_number(const char *text, uint64_t *value);

/* config.c */
void configure(struct run *r);

/* probe.c */
void probe_all(struct run *r);

/* clean.c, remains.c: what earlier programs left in this guest */
void clean_guest(const char *empty_dir);
void empty_directory(const char *path);
void remains_look(void);
void remains_send(void);

/* symbols.c */
void symbols_load(struct run *r);
int symbols_save(void);
const char *symbol_find(const char *name);
unsigned int symbol_count(const char *name);
bool symbol_partial(const char *name);
void symbols_print(void (*print)(const char *fmt, ...));

/* trace.c, trace_send.c */
void trace_line(struct run *r, char *what, char *rest);
void trace_prepare(void);
void trace_open(struct run *r);
void trace_watch(struct run *r, pid_t pid);
void trace_descriptors(struct run *r);
void trace_close(struct run *r);
void trace_send(struct run *r, bool last);

/* launch.c, tree.c */
void launch(struct run *r);
void tree_open(struct run *r);
void tree_close(struct run *r);
void tree_kill(struct run *r);
void tree_reap(struct run *r);
size_t tree_pids(struct run *r, pid_t *pids, size_t max);
size_t tree_left(void);
bool tree_has(struct run *r, pid_t pid);

/* snapshot.c */
bool wait_stopped(pid_t pid, bool *gone);
void snapshot(struct run *r, pid_t pid);

/* checkpoint.c */
void checkpoint_exec(struct run *r);
void checkpoint_limit(struct run *r);
void checkpoint_named(struct run *r, pid_t pid, const char *name);
void checkpoint_stdin(struct run *r, pid_t pid, bool stop);
void checkpoint_signal(struct run *r, pid_t pid, int signal);
void checkpoint_release(struct run *r);

/* stdin.c: which process waits for input */
pid_t blocked_reader(struct run *r, bool *threads);

/* pump.c: program output, notes, kernel log */
void pump_output(struct run *r);
void pump_messages(struct run *r, bool accept_checkpoints);
void pump_kmsg(struct run *r);
void pump_input(struct run *r);
int kmsg_open(void);

/* core.c */
void core_open(struct run *r);
void core_close(struct run *r);
void core_accept(struct run *r);
int core_helper(int argc, char **argv);

#endif
