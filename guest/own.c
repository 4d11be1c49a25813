// SPDX-License-Identifier: MIT
/*
 * own.c - a guest that is restored from a saved state becomes one of its own.
 *
 * The state was saved while become_own() waited.  All guests that are restored
 * from it go on here, alike to the last bit, until the host tells each on its
 * console, in one line of hexadecimal words:
 *
 *	own <seconds> <nanoseconds> <random bytes> <SSH host key> <authorized_keys>
 *
 * The random bytes go into the kernel's generator, which then begins anew, before
 * any process runs that could ask it for some.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/random.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "own.h"

#define LINE_SIZE	4096	/* what a terminal keeps of a line, N_TTY_BUF_SIZE */
#define SEED_MAX	256
#define AUTHORIZED	"/root/.ssh/authorized_keys"

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* In place; the number of bytes, or -1. */
static ssize_t from_hex(char *word)
{
	size_t n = 0;

	for (; word[2 * n]; n++) {
		int high = digit(word[2 * n]), low = high < 0 ? -1 : digit(word[2 * n + 1]);

		if (low < 0)
			return -1;
		word[n] = (char)(high << 4 | low);
	}
	return (ssize_t)n;
}

static const char *set_clock(const char *seconds, const char *nanoseconds)
{
	struct timespec t = { .tv_sec = strtoll(seconds, NULL, 16),
			      .tv_nsec = strtol(nanoseconds, NULL, 16) };

	return clock_settime(CLOCK_REALTIME, &t) < 0 ? "the time is refused" : NULL;
}

/* random(4): the bytes are credited, and the generator takes its next key from them now. */
static const char *seed_random(const char *bytes, size_t size)
{
	_Alignas(struct rand_pool_info) char room[sizeof(struct rand_pool_info) + SEED_MAX];
	struct rand_pool_info *pool = (struct rand_pool_info *)room;
	int fd = open("/dev/urandom", O_RDWR | O_CLOEXEC);
	bool good;

	if (fd < 0 || size > SEED_MAX)
		return "there is no /dev/urandom, or too much for it";
	pool->entropy_count = (int)size * 8;
	pool->buf_size = (int)size;
	memcpy(pool->buf, bytes, size);
	good = ioctl(fd, RNDADDENTROPY, pool) == 0 && ioctl(fd, RNDRESEEDCRNG) == 0;
	close(fd);
	explicit_bzero(room, sizeof(room));
	return good ? NULL : "the kernel takes no entropy (RNDADDENTROPY, RNDRESEEDCRNG)";
}

static const char *keep(const char *path, const char *bytes, size_t size)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	bool good = fd >= 0 && write(fd, bytes, size) == (ssize_t)size;

	if (fd >= 0)
		close(fd);
	return good ? NULL : path;
}

static const char *take(char *line)
{
	char *rest = NULL, *words[6];
	const char *problem;
	ssize_t seed, host_key, authorized;

	for (size_t i = 0; i < 6; i++) {
		words[i] = strtok_r(i ? NULL : line, " \n", &rest);
		if (!words[i])
			return "the line has not six words";
	}
	if (strcmp(words[0], "own"))
		return "the line begins otherwise";
	seed = from_hex(words[3]);
	host_key = from_hex(words[4]);
	authorized = from_hex(words[5]);
	if (seed < 32 || host_key <= 0 || authorized <= 0)
		return "a word is not hexadecimal, or too short";
	problem = set_clock(words[1], words[2]);
	if (!problem)
		problem = seed_random(words[3], (size_t)seed);
	mkdir("/root", 0700);
	mkdir("/root/.ssh", 0700);
	if (!problem)
		problem = keep(HOST_KEY, words[4], (size_t)host_key);
	return problem ? problem : keep(AUTHORIZED, words[5], (size_t)authorized);
}

static struct termios before;

const char *own_terminal(void)
{
	struct termios t;

	if (tcgetattr(STDIN_FILENO, &before) < 0)
		return "its console is no terminal";
	t = before;
	t.c_lflag &= (tcflag_t)~(ECHO | ECHONL | ISIG);
	t.c_lflag |= ICANON;
	tcsetattr(STDIN_FILENO, TCSANOW, &t);
	return NULL;
}

static const char *read_line(char *line, size_t size)
{
	ssize_t n;

	do {
		n = read(STDIN_FILENO, line, size - 1);
	} while (n < 0 && errno == EINTR);
	line[n < 0 ? 0 : n] = 0;
	tcsetattr(STDIN_FILENO, TCSANOW, &before);
	return n > 0 ? NULL : "nothing was said on its console";
}

const char *become_own(void)
{
	static char line[LINE_SIZE];
	const char *problem = read_line(line, sizeof(line));

	if (!problem)
		problem = take(line);
	explicit_bzero(line, sizeof(line));
	return problem;
}
