// SPDX-License-Identifier: MIT
/*
 * wire.c - the protocol's two directions (README.md has the tables).
 *
 * Frames go to descriptor 1 with blocking writes: a host that reads slowly
 * slows labrun down, and nothing is queued here.  Lines come from descriptor 0
 * through one fixed buffer.
 */
#include "labrun.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LINGER_MS	3000

bool host_gone;

static struct {
	char data[PAYLOAD_MAX];
	size_t start, end;
} in;

static void write_all(const char *data, size_t len)
{
	while (len && !host_gone) {
		ssize_t n = write(STDOUT_FILENO, data, len);

		if (n >= 0) {
			data += n;
			len -= (size_t)n;
		} else if (errno == EAGAIN) {
			struct pollfd p = { .fd = STDOUT_FILENO, .events = POLLOUT };

			poll(&p, 1, -1);
		} else if (errno != EINTR) {
			host_gone = true;
		}
	}
}

/* "<type> <length>[ key=value]...\n", then exactly length bytes. */
void wire_frame(const char *type, const void *data, size_t len, const char *keys, ...)
{
	char head[1024];
	int n = snprintf(head, sizeof(head), "%s %zu", type, len);

	if (keys) {
		va_list ap;

		head[n++] = ' ';
		va_start(ap, keys);
		n += vsnprintf(head + n, sizeof(head) - (size_t)n - 1, keys, ap);
		va_end(ap);
		if ((size_t)n > sizeof(head) - 2)
			n = sizeof(head) - 2;
	}
	head[n++] = '\n';
	write_all(head, (size_t)n);
	write_all(data, len);
}

void wire_note(pid_t pid, pid_t tid, const char *fmt, ...)
{
	char text[2048];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	wire_frame("note", text, strlen(text), "pid=%d tid=%d", pid, tid);
}

/* One read into the buffer; false at the end of input. */
bool wire_fill(void)
{
	ssize_t n;

	if (in.start) {
		memmove(in.data, in.data + in.start, in.end - in.start);
		in.end -= in.start;
		in.start = 0;
	}
	do {
		n = read(STDIN_FILENO, in.data + in.end, sizeof(in.data) - in.end);
		if (n < 0 && errno == EAGAIN) {
			struct pollfd p = { .fd = STDIN_FILENO, .events = POLLIN };

			poll(&p, 1, -1);
			errno = EINTR;
		}
	} while (n < 0 && errno == EINTR);
	if (n <= 0) {
		host_gone = true;
		return false;
	}
	in.end += (size_t)n;
	return true;
}

/* A line that is already in the buffer, without its end; an overlong one loses its tail. */
bool wire_try_line(char *line, size_t size)
{
	char *end = memchr(in.data + in.start, '\n', in.end - in.start);
	size_t len;

	if (!end) {
		if (in.end - in.start == sizeof(in.data))
			host_gone = true;	/* 64 KiB without a line end: not our host */
		return false;
	}
	len = (size_t)(end - (in.data + in.start));
	memcpy(line, in.data + in.start, len < size ? len : size - 1);
	line[len < size ? len : size - 1] = '\0';
	in.start += len + 1;
	return true;
}

bool wire_line(char *line, size_t size)
{
	while (!wire_try_line(line, size))
		if (host_gone || !wire_fill())
			return false;
	return true;
}

/* Whether the host's next line is that one; it is taken then. */
bool wire_take_line(const char *wanted)
{
	size_t len = strlen(wanted);
	char line[LINE_SIZE];

	while (!memchr(in.data + in.start, '\n', in.end - in.start))
		if (host_gone || in.end - in.start == sizeof(in.data) || !wire_fill())
			return false;
	if (in.end - in.start <= len || memcmp(in.data + in.start, wanted, len) ||
	    in.data[in.start + len] != '\n')
		return false;
	return wire_try_line(line, sizeof(line));
}

bool wire_payload(void *data, size_t len)
{
	char *to = data;

	while (len) {
		size_t have = in.end - in.start;
		size_t n = have < len ? have : len;

		memcpy(to, in.data + in.start, n);
		in.start += n;
		to += n;
		len -= n;
		if (len && !wire_fill())
			return false;
	}
	return true;
}

/*
 * A host that is still sending must be able to finish and read the error: what
 * it sends is thrown away until it closes, or says nothing for a while.
 */
static void linger(void)
{
	struct pollfd p = { .fd = STDIN_FILENO, .events = POLLIN };

	while (!host_gone && poll(&p, 1, LINGER_MS) > 0) {
		in.start = in.end;
		wire_fill();
	}
}

/* Ends the run: the program and all it started, then labrun. */
noreturn void die(struct run *r, const char *what, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	tree_kill(r);
	core_close(r);
	trace_close(r);
	tree_close(r);
	wire_frame("error", text, strlen(text), "what=%s", what);
	wire_frame("bye", NULL, 0, NULL);
	linger();
	exit(1);
}
