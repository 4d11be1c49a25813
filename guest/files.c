// SPDX-License-Identifier: MIT
/*
 * files.c - whole small files, one reused buffer for evidence, time, strings.
 *
 * The buffer for evidence is one lazy anonymous mapping as large as the limit
 * for one file; what a large file took is given back after the next use.
 */
#include "labrun.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

/* Only between two looks at a fact that /proc does not announce. */
void pause_us(long us)
{
	struct timespec t = { .tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000 };

	nanosleep(&t, NULL);
}

/* How much there is; *broken when an error came before the end. */
static size_t read_all(int fd, char *data, size_t size, bool *broken)
{
	size_t len = 0;

	*broken = false;
	while (len < size) {
		ssize_t n = read(fd, data + len, size - len);

		if (n < 0 && errno == EINTR)
			continue;
		*broken = n < 0;
		if (n <= 0)
			break;
		len += (size_t)n;
	}
	return len;
}

/* At most size - 1 bytes, NUL-terminated; -1 when it cannot be read. */
ssize_t read_small(const char *path, char *data, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	bool broken;
	size_t len;

	data[0] = '\0';
	if (fd < 0)
		return -1;
	len = read_all(fd, data, size - 1, &broken);
	close(fd);
	data[broken ? 0 : len] = '\0';
	return broken ? -1 : (ssize_t)len;
}

bool write_text(int dirfd, const char *path, const char *text)
{
	int fd = openat(dirfd, path, O_WRONLY | O_CLOEXEC);
	ssize_t n;
	int saved;

	if (fd < 0)
		return false;
	n = write(fd, text, strlen(text));
	saved = errno;
	close(fd);
	errno = saved;
	return n == (ssize_t)strlen(text);
}

/* The file's content, valid until the next call; NULL when none of it can be read, as when it vanished. */
const char *evidence(const char *path, size_t limit, size_t *len, bool *truncated)
{
	static char *buffer;
	static size_t size;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	bool broken;

	if (fd < 0)
		return NULL;
	if (size < limit + 1) {
		if (buffer)
			munmap(buffer, size);
		size = limit + 1;
		buffer = mmap(NULL, size, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (buffer == MAP_FAILED) {
			buffer = NULL;
			size = 0;
			close(fd);
			return NULL;
		}
	}
	madvise(buffer, size, MADV_DONTNEED);
	*len = read_all(fd, buffer, limit + 1, &broken);
	close(fd);
	if (broken && !*len)
		return NULL;
	*truncated = broken || *len > limit;
	if (*len > limit)
		*len = limit;
	return buffer;
}

/* Before the start: collected for "probe name=warnings"; after it: a note. */
void warn(struct run *r, const char *fmt, ...)
{
	size_t used = strlen(r->warnings);
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (r->start_ns)
		wire_note(0, 0, "lab.warning=%s", text);
	else
		snprintf(r->warnings + used, sizeof(r->warnings) - used, "%s\n", text);
}

/* Takes over item, which is NUL-terminated memory of the heap. */
void strings_add(struct run *r, struct strings *s, char *item, size_t len)
{
	char **grown = realloc(s->item, (s->count + 2) * sizeof(*grown));

	s->bytes += len + 1 + sizeof(*grown);
	if (!grown || s->bytes > STRING_TOTAL)
		die(r, "protocol", "arguments or environment of more than %u bytes", STRING_TOTAL);
	s->item = grown;
	s->item[s->count++] = item;
	s->item[s->count] = NULL;
}

bool parse_number(const char *text, uint64_t *value)
{
	char *end;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	*value = strtoull(text, &end, 10);
	return errno == 0 && *end == '\0';
}
