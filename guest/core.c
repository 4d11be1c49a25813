// SPDX-License-Identifier: MIT
/*
 * core.c - the state at a fatal signal, by the kernel's own core dump pipe.
 *
 * kernel.core_pattern starts "labrun core" for a dying process and feeds it the
 * dump; while that helper lives, the process keeps its tasks and its memory
 * (kernel.core_pipe_limit makes the kernel wait for the helper's end).  The
 * helper reads the first notes only - NT_PRSTATUS of the dying thread and
 * NT_SIGINFO come before the large ones in every kernel's elf_core_dump() -
 * tells the labrun in charge over an abstract socket, and waits until that
 * closes the connection.  RLIMIT_CORE 0 does not prevent this: for a pipe only
 * the value 1 does (fs/coredump.c).
 */
#include "labrun.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/procfs.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/user.h>
#include <unistd.h>

#define PATTERN		"/proc/sys/kernel/core_pattern"
#define PIPE_LIMIT	"/proc/sys/kernel/core_pipe_limit"
#define SKIP_MAX	(16U << 20)
#define NOTE_MAX	65536U
#define NOTES_MAX	8

struct crash {
	bool have_info, have_regs;
	siginfo_t info;
	unsigned long ip, sp;
};

static socklen_t socket_name(struct sockaddr_un *a, int pid)
{
	memset(a, 0, sizeof(*a));
	a->sun_family = AF_UNIX;
	snprintf(a->sun_path + 1, sizeof(a->sun_path) - 1, CORE_SOCKET, pid);
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(a->sun_path + 1));
}

static bool take(void *to, size_t len)
{
	char *p = to;

	while (len) {
		ssize_t n = read(STDIN_FILENO, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		p += n;
		len -= (size_t)n;
	}
	return true;
}

static bool skip(uint64_t len)
{
	char waste[4096];

	if (len > SKIP_MAX)
		return false;
	while (len) {
		size_t n = len < sizeof(waste) ? (size_t)len : sizeof(waste);

		if (!take(waste, n))
			return false;
		len -= n;
	}
	return true;
}

static void use_note(struct crash *c, uint32_t type, const char *desc, size_t len)
{
	if (type == NT_SIGINFO && len >= sizeof(c->info)) {
		memcpy(&c->info, desc, sizeof(c->info));
		c->have_info = true;
	} else if (type == NT_PRSTATUS && len >= sizeof(struct elf_prstatus) && !c->have_regs) {
		struct elf_prstatus status;
		struct user_regs_struct regs;

		memcpy(&status, desc, sizeof(status));
		memcpy(&regs, status.pr_reg, sizeof(regs));
		c->ip = regs.rip;
		c->sp = regs.rsp;
		c->have_regs = true;
	}
}

/* The stream's head: ELF header, program headers (the first is PT_NOTE), notes. */
static void read_core(struct crash *c)
{
	static char desc[NOTE_MAX];
	Elf64_Ehdr e;
	Elf64_Phdr p;
	uint64_t at;

	if (!take(&e, sizeof(e)) || memcmp(e.e_ident, ELFMAG, SELFMAG) ||
	    e.e_phoff < sizeof(e) || e.e_phentsize != sizeof(p) ||
	    !skip(e.e_phoff - sizeof(e)) || !take(&p, sizeof(p)) || p.p_type != PT_NOTE)
		return;
	at = e.e_phoff + sizeof(p);
	if (p.p_offset < at || !skip(p.p_offset - at))
		return;
	for (int i = 0; i < NOTES_MAX && !(c->have_info && c->have_regs); i++) {
		Elf64_Nhdr n;

		if (!take(&n, sizeof(n)) || n.n_namesz > 64 || n.n_descsz > NOTE_MAX ||
		    !skip((n.n_namesz + 3) & ~3U) || !take(desc, n.n_descsz) ||
		    !skip(-n.n_descsz & 3))
			return;
		use_note(c, n.n_type, desc, n.n_descsz);
	}
}

/* labrun core <labrun's pid> <pid> <tid> <signal>, run by the kernel as root. */
int core_helper(int argc, char **argv)
{
	struct sockaddr_un a;
	struct crash c = { 0 };
	char text[256];
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	if (argc != 6 || fd < 0 || connect(fd, (void *)&a, socket_name(&a, atoi(argv[2]))) < 0)
		return 1;
	signal(SIGPIPE, SIG_IGN);
	write_text(AT_FDCWD, "/proc/self/oom_score_adj", "-1000");
	read_core(&c);
	snprintf(text, sizeof(text), "%.16s %.16s %.16s %d %d %lx %d %lx %lx", argv[3],
		 argv[4], argv[5], c.have_info, c.info.si_code, (unsigned long)c.info.si_addr,
		 c.have_regs, c.ip, c.sp);
	if (send(fd, text, strlen(text), 0) < 0)
		return 1;
	while (recv(fd, text, sizeof(text), 0) < 0 && errno == EINTR)
		;
	return 0;
}

void core_open(struct run *r)
{
	struct sockaddr_un a;
	char pattern[96];

	if (!r->guest) {
		warn(r, "no signal checkpoints: not a guest of the lab");
		return;
	}
	r->core_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (r->core_fd < 0 || bind(r->core_fd, (void *)&a, socket_name(&a, getpid())) < 0 ||
	    listen(r->core_fd, 32) < 0) {
		warn(r, "no signal checkpoints: socket: %s", strerror(errno));
		return;
	}
	read_small(PATTERN, r->old_pattern, sizeof(r->old_pattern));
	read_small(PIPE_LIMIT, r->old_pipe_limit, sizeof(r->old_pipe_limit));
	snprintf(pattern, sizeof(pattern), "|" GUEST_PATH " core %d %%P %%I %%s", getpid());
	if (!write_text(AT_FDCWD, PIPE_LIMIT, "16") || !write_text(AT_FDCWD, PATTERN, pattern))
		warn(r, "no signal checkpoints: core_pattern: %s", strerror(errno));
}

void core_close(struct run *r)
{
	if (r->core_fd < 0)
		return;
	close(r->core_fd);
	r->core_fd = -1;
	if (r->old_pattern[0]) {
		write_text(AT_FDCWD, PATTERN, r->old_pattern);
		write_text(AT_FDCWD, PIPE_LIMIT, r->old_pipe_limit);
	}
}

/* si_addr is a member of a union: an address only where the kernel found a fault. */
static bool is_fault(int signal, int code)
{
	return code > 0 && (signal == SIGSEGV || signal == SIGBUS || signal == SIGILL ||
			    signal == SIGFPE || signal == SIGTRAP);
}

static void report(struct run *r, const char *text)
{
	unsigned long addr, ip, sp;
	int pid, tid, signal, have_info, code, have_regs;

	if (sscanf(text, "%d %d %d %d %d %lx %d %lx %lx", &pid, &tid, &signal, &have_info, &code,
		   &addr, &have_regs, &ip, &sp) != 9 || !tree_has(r, pid))
		return;
	pump_output(r);
	pump_messages(r, false);
	wire_note(pid, tid, "signal.number=%d", signal);
	if (have_info)
		wire_note(pid, tid, "signal.code=%d", code);
	if (have_info && is_fault(signal, code))
		wire_note(pid, tid, "signal.addr=0x%lx", addr);
	if (have_regs) {
		wire_note(pid, tid, "signal.ip=0x%lx", ip);
		wire_note(pid, tid, "signal.sp=0x%lx", sp);
	}
	checkpoint_signal(r, pid, signal);
}

/* A helper connects first and writes when it has read the notes. */
void core_accept(struct run *r)
{
	struct timeval limit = { .tv_sec = STOP_SECONDS };
	char text[256];
	ssize_t n;

	r->helper_fd = accept4(r->core_fd, NULL, NULL, SOCK_CLOEXEC);
	if (r->helper_fd < 0)
		return;
	setsockopt(r->helper_fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	n = recv(r->helper_fd, text, sizeof(text) - 1, 0);
	text[n > 0 ? n : 0] = '\0';
	report(r, text);
	if (r->hold == HOLD_NONE && r->helper_fd >= 0) {
		close(r->helper_fd);
		r->helper_fd = -1;
	}
}
