// SPDX-License-Identifier: MIT
/*
 * pump.c - what flows while the program runs: its output, its notes, its fixed
 * input, the kernel's log.  Every function takes what is there and returns.
 */
#include "labrun.h"
#include "lab.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define KMSG_MAX	(4U << 20)
#define KMSG_RECORD	8192	/* at least the kernel's limit for one record */

/* Many small writes of the program become few frames. */
static void pump_fd(struct run *r, int *from, int fd)
{
	static char data[PAYLOAD_MAX];
	size_t len = 0;
	ssize_t n = 1;

	while (*from >= 0 && n > 0 && r->output <= r->limit.output) {
		uint64_t room = r->limit.output - r->output;

		n = read(*from, data + len, sizeof(data) - len);
		if (n < 0 && errno == EINTR) {
			n = 1;
			continue;
		}
		if (n > 0) {
			r->output += (uint64_t)n;
			len += (uint64_t)n > room ? (size_t)room : (size_t)n;
		}
		if (len && (n <= 0 || len == sizeof(data) || r->output > r->limit.output)) {
			wire_frame("output", data, len, "fd=%d", fd);
			len = 0;
		}
	}
	if (n == 0 && *from >= 0) {
		close(*from);
		*from = -1;
	}
}

/* What is in the pipes now; more than the limit ends the program. */
void pump_output(struct run *r)
{
	pump_fd(r, &r->out_fd, 1);
	pump_fd(r, &r->err_fd, 2);
	if (r->output > r->limit.output && !r->reason) {
		r->reason = "output-limit";
		tree_kill(r);
	}
}

static bool name_ok(const char *name, size_t len)
{
	if (len == 0 || len > LAB_NAME_MAX)
		return false;
	for (size_t i = 0; i < len; i++)
		if (!isalnum((unsigned char)name[i]) && !strchr("._-", name[i]))
			return false;
	return true;
}

static void take_note(struct run *r, pid_t pid, long tid, char *text)
{
	char *equals = strchr(text, '=');

	if (++r->notes > r->limit.notes) {
		if (!r->reason) {
			r->reason = "note-limit";
			tree_kill(r);
		}
		return;
	}
	if (!equals || !name_ok(text, (size_t)(equals - text))) {
		warn(r, "process %d: a note without a proper key was left out", pid);
		return;
	}
	for (char *p = equals; *p; p++)
		if (*p == '\n' || *p == '\r')
			*p = ' ';
	wire_note(pid, (pid_t)tid, "%s", text);
}

/* A bad name must not leave the program stopped for ever. */
static void take_checkpoint(struct run *r, pid_t pid, char *name)
{
	if (!name_ok(name, strlen(name))) {
		warn(r, "process %d: a checkpoint without a proper name", pid);
		name = (char *)"unnamed";
	}
	checkpoint_named(r, pid, name);
}

/* The sender's pid is the kernel's (SCM_CREDENTIALS), not the message's. */
static ssize_t receive(int fd, char *text, size_t size, pid_t *pid)
{
	union {
		char space[CMSG_SPACE(sizeof(struct ucred))];
		struct cmsghdr align;
	} control;
	struct iovec iov = { text, size - 1 };
	struct msghdr m = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = &control, .msg_controllen = sizeof(control),
	};
	struct cmsghdr *c;
	ssize_t n = recvmsg(fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	if (n < 0)
		return n;
	text[n] = '\0';
	*pid = 0;
	for (c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c))
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_CREDENTIALS)
			*pid = ((struct ucred *)CMSG_DATA(c))->pid;
	return n;
}

/* Notes, up to the first checkpoint; then the rest waits in the socket. */
void pump_messages(struct run *r, bool accept_checkpoints)
{
	char text[LAB_MESSAGE_MAX + 1];
	ssize_t n;
	pid_t pid;

	while (r->lab_fd >= 0 && r->hold == HOLD_NONE) {
		char *rest;
		long tid;

		n = receive(r->lab_fd, text, sizeof(text), &pid);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return;
		if (n == 0 && pid == 0) {	/* nobody has the other end any more */
			close(r->lab_fd);
			r->lab_fd = -1;
			return;
		}
		rest = strchr(text, ' ');
		if (!rest)
			continue;
		strtol(rest, &rest, 10);
		tid = strtol(rest, &rest, 10);
		if (*rest++ != ' ')
			continue;
		if (!strncmp(text, "note ", 5))
			take_note(r, pid, tid, rest);
		else if (!strncmp(text, "checkpoint ", 11) && accept_checkpoints)
			take_checkpoint(r, pid, rest);
	}
}

/* The input that the host fixed; closed when it is through. */
void pump_input(struct run *r)
{
	while (r->in_fd >= 0 && r->input_off < r->input_len) {
		ssize_t n = write(r->in_fd, r->input + r->input_off, r->input_len - r->input_off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0)
			break;
		r->input_off += (size_t)n;
	}
	if (r->in_fd >= 0) {
		close(r->in_fd);
		r->in_fd = -1;
	}
}

/* From the newest record on. */
int kmsg_open(void)
{
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	if (fd >= 0)
		lseek(fd, 0, SEEK_END);
	return fd;
}

/* One record for each read(); EPIPE says that records were overwritten. */
void pump_kmsg(struct run *r)
{
	static char data[PAYLOAD_MAX];
	size_t len = 0;
	ssize_t n = 0;

	while (r->kmsg_fd >= 0 && n >= 0) {
		n = read(r->kmsg_fd, data + len, sizeof(data) - len);
		if (n < 0 && errno == EPIPE) {
			warn(r, "kernel messages were lost");
			n = 0;
		}
		len += n > 0 ? (size_t)n : 0;
		if (len && (n < 0 || sizeof(data) - len < KMSG_RECORD)) {
			wire_frame("kmsg", data, len, NULL);
			r->kmsg += len;
			len = 0;
		}
		if (r->kmsg > KMSG_MAX) {
			warn(r, "kernel messages after the first %u bytes were left out", KMSG_MAX);
			close(r->kmsg_fd);
			r->kmsg_fd = -1;
		}
	}
}
