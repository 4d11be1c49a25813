// SPDX-License-Identifier: MIT
/*
 * config.c - the host's lines up to "start": one function per word.
 *
 * Each line takes effect as it arrives, so that a sysctl which fails ends the
 * run before anything ran, and the probes that follow show what is in force.
 */
#include "labrun.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define INPUT_MAX	(16U << 20)
#define FILE_MAX	(512U << 20)
#define SYMBOLS_MAX	1024
#define SETTINGS_MAX	64

static uint64_t number(struct run *r, const char *text, uint64_t max)
{
	uint64_t value;

	if (!parse_number(text, &value) || value > max)
		die(r, "protocol", "not a number of at most %llu: %.64s",
		    (unsigned long long)max, text);
	return value;
}

/* Cuts the first word off, which stays in *rest's old place. */
static char *word(char **rest)
{
	char *start = *rest, *space = strchr(start, ' ');

	if (space) {
		*space = '\0';
		*rest = space + 1;
	} else {
		*rest = start + strlen(start);
	}
	return start;
}

/* Relative, and no component that is empty, "." or "..". */
static bool path_ok(const char *path)
{
	const char *p = path;

	if (!*path || strlen(path) > 200)
		return false;
	while (true) {
		size_t len = strcspn(p, "/");

		if (len == 0 || (len == 1 && p[0] == '.') || (len == 2 && !memcmp(p, "..", 2)))
			return false;
		if (!p[len])
			return true;
		p += len + 1;
	}
}

static int create(struct run *r, const char *path, mode_t mode)
{
	char full[512], *slash;
	int fd;

	snprintf(full, sizeof(full), "%s/%s", r->case_dir, path);
	slash = full + strlen(r->case_dir) + 1;
	while ((slash = strchr(slash, '/'))) {
		*slash = '\0';
		if (mkdir(full, 0755) < 0 && errno != EEXIST)
			die(r, "file", "%s: cannot make the directory: %s", full, strerror(errno));
		*slash++ = '/';
	}
	unlink(full);
	fd = open(full, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0 || fchmod(fd, mode) < 0)
		die(r, "file", "%s: cannot be created: %s", full, strerror(errno));
	return fd;
}

static void take_file(struct run *r, char *rest)
{
	char *octal = word(&rest), *end;
	unsigned long mode = strtoul(octal, &end, 8);
	uint64_t left = number(r, word(&rest), FILE_MAX);
	char data[PAYLOAD_MAX];
	int fd;

	if (end == octal || *end || mode > 07777 || !path_ok(rest))
		die(r, "protocol", "file: bad mode or path: %.64s %.200s", octal, rest);
	fd = create(r, rest, (mode_t)mode);
	while (left) {
		size_t n = left < sizeof(data) ? (size_t)left : sizeof(data);

		if (!wire_payload(data, n))
			die(r, "protocol", "the input ended inside file %s", rest);
		for (size_t done = 0; done < n; ) {
			ssize_t w = write(fd, data + done, n - done);

			if (w < 0 && errno != EINTR)
				die(r, "file", "%s: %s", rest, strerror(errno));
			done += w < 0 ? 0 : (size_t)w;
		}
		left -= n;
	}
	close(fd);
}

static char *take_bytes(struct run *r, uint64_t len)
{
	char *data = malloc((size_t)len + 1);

	if (!data || !wire_payload(data, (size_t)len))
		die(r, "protocol", "the input ended inside a value of %llu bytes",
		    (unsigned long long)len);
	data[len] = '\0';
	return data;
}

static void take_string(struct run *r, struct strings *to, char *rest)
{
	uint64_t len = number(r, rest, STRING_TOTAL);
	char *data = take_bytes(r, len);

	if (strlen(data) != len)
		die(r, "protocol", "a NUL byte inside an argument or variable");
	strings_add(r, to, data, (size_t)len);
}

static void take_arg(struct run *r, char *rest)
{
	take_string(r, &r->argv, rest);
}

static void take_env(struct run *r, char *rest)
{
	take_string(r, &r->env, rest);
}

static void take_symbol(struct run *r, char *rest)
{
	char *copy = strdup(rest);

	if (!copy || !*rest || r->symbols.count == SYMBOLS_MAX)
		die(r, "protocol", "symbol: no name, or more than %d of them", SYMBOLS_MAX);
	strings_add(r, &r->symbols, copy, strlen(copy));
}

static void take_stdin(struct run *r, char *rest)
{
	r->input_len = (size_t)number(r, rest, INPUT_MAX);
	r->input = take_bytes(r, r->input_len);
	r->fixed_input = true;
}

static rlim_t rlimit_value(struct run *r, const char *text)
{
	return strcmp(text, "unlimited") ? (rlim_t)number(r, text, UINT64_MAX) : RLIM_INFINITY;
}

static void take_rlimit(struct run *r, char *rest)
{
	static const struct {
		const char *name;
		int resource;
	} known[] = {
		{ "as", RLIMIT_AS }, { "core", RLIMIT_CORE }, { "cpu", RLIMIT_CPU },
		{ "data", RLIMIT_DATA }, { "fsize", RLIMIT_FSIZE }, { "locks", RLIMIT_LOCKS },
		{ "memlock", RLIMIT_MEMLOCK }, { "msgqueue", RLIMIT_MSGQUEUE },
		{ "nice", RLIMIT_NICE }, { "nofile", RLIMIT_NOFILE }, { "nproc", RLIMIT_NPROC },
		{ "rss", RLIMIT_RSS }, { "rtprio", RLIMIT_RTPRIO }, { "rttime", RLIMIT_RTTIME },
		{ "sigpending", RLIMIT_SIGPENDING }, { "stack", RLIMIT_STACK },
	};
	char *name = word(&rest), *soft = word(&rest), *hard = word(&rest);
	struct resource_limit *l = &r->rlimits[r->nr_rlimits];
	size_t i = 0;

	while (i < sizeof(known) / sizeof(*known) && strcmp(known[i].name, name))
		i++;
	if (i == sizeof(known) / sizeof(*known))
		die(r, "rlimit", "no resource limit is called %.64s", name);
	if (r->nr_rlimits == sizeof(r->rlimits) / sizeof(*r->rlimits))
		die(r, "rlimit", "more than %zu resource limits", r->nr_rlimits);
	l->name = known[i].name;
	l->resource = known[i].resource;
	l->value.rlim_cur = rlimit_value(r, soft);
	l->keep_hard = !strcmp(hard, "-");
	l->value.rlim_max = l->keep_hard ? 0 : rlimit_value(r, hard);
	r->nr_rlimits++;
}

/* What was there before, so that the next run in this guest finds it as it was. */
static struct setting {
	char path[512], value[256];
} changed[SETTINGS_MAX];
static size_t nr_changed;

static void restore_settings(void)
{
	while (nr_changed) {
		struct setting *s = &changed[--nr_changed];

		(void)write_text(AT_FDCWD, s->path, s->value);
	}
}

/* A choice between words shows all of them: "always [madvise] never". */
static void remember(struct run *r, const char *path)
{
	struct setting *s = &changed[nr_changed];
	char *chosen;

	if (nr_changed == SETTINGS_MAX)
		die(r, "sysctl", "more than %d settings", SETTINGS_MAX);
	if (read_small(path, s->value, sizeof(s->value)) <= 0)
		return;
	chosen = strchr(s->value, '[');
	if (chosen) {
		chosen[strcspn(chosen, "]")] = '\0';
		memmove(s->value, chosen + 1, strlen(chosen));
	}
	snprintf(s->path, sizeof(s->path), "%s", path);
	if (nr_changed++ == 0)
		atexit(restore_settings);
}

/* System-wide, so only where the system is the lab's own guest. */
static void write_setting(struct run *r, const char *root, const char *path, const char *value)
{
	char full[512];

	if (!path_ok(path))
		die(r, "sysctl", "bad name: %.200s", path);
	snprintf(full, sizeof(full), "%s/%s", root, path);
	if (access(full, F_OK) < 0)
		die(r, "sysctl", "%s: %s", full, strerror(errno));
	if (!r->guest)
		die(r, "sysctl", "%s: not written, this is not a guest of the lab", full);
	remember(r, full);
	if (!write_text(AT_FDCWD, full, value))
		die(r, "sysctl", "%s: %.100s refused: %s", full, value, strerror(errno));
}

static void take_sysctl(struct run *r, char *rest)
{
	char *name = word(&rest);

	for (char *p = name; *p; p++)
		if (*p == '.')
			*p = '/';
	write_setting(r, "/proc/sys", name, rest);
}

static void take_sysfs(struct run *r, char *rest)
{
	char *path = word(&rest);

	write_setting(r, "/sys", path, rest);
}

/* "trace event GROUP:NAME", "trace function NAME", ...: see trace.c */
static void take_trace(struct run *r, char *rest)
{
	char *what = word(&rest);

	trace_line(r, what, rest);
}

static void take_limit(struct run *r, char *rest)
{
	const struct {
		const char *name;
		uint64_t *value, max;
	} known[] = {
		{ "output", &r->limit.output, 1U << 30 },
		{ "checkpoints", &r->limit.checkpoints, 1U << 20 },
		{ "file", &r->limit.file, 256U << 20 },
		{ "tasks", &r->limit.tasks, 1U << 16 },
		{ "stdin", &r->limit.input, 1U << 20 },
		{ "pids", &r->limit.pids, 1U << 20 },
		{ "notes", &r->limit.notes, 1U << 30 },
		{ "trace", &r->limit.trace, 1U << 30 },
	};
	char *name = word(&rest);

	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++) {
		if (!strcmp(known[i].name, name)) {
			*known[i].value = number(r, rest, known[i].max);
			return;
		}
	}
	die(r, "protocol", "no limit is called %.64s", name);
}

/* Reads up to "start"; exits quietly when the host leaves first. */
void configure(struct run *r)
{
	static const struct {
		const char *name;
		void (*take)(struct run *r, char *rest);
	} known[] = {
		{ "file", take_file }, { "arg", take_arg }, { "env", take_env },
		{ "rlimit", take_rlimit }, { "sysctl", take_sysctl }, { "sysfs", take_sysfs },
		{ "symbol", take_symbol }, { "limit", take_limit }, { "stdin", take_stdin },
		{ "trace", take_trace },
	};
	char line[LINE_SIZE], *rest, *name;
	size_t i;

	while (wire_line(line, sizeof(line))) {
		rest = line;
		name = word(&rest);
		if (!strcmp(name, "start"))
			return;
		for (i = 0; i < sizeof(known) / sizeof(*known); i++)
			if (!strcmp(known[i].name, name))
				break;
		if (i == sizeof(known) / sizeof(*known))
			die(r, "protocol", "unknown line: %.64s", name);
		known[i].take(r, rest);
	}
	exit(1);
}
