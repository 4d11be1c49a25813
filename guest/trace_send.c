// SPDX-License-Identifier: MIT
/*
 * trace_send.c - what the kernel recorded goes to the host, at checkpoints and at the end.
 *
 * Records are taken from trace_pipe, which removes what it gives and nothing else
 * (tracing_read_pipe(), kernel/trace/trace.c): a process that goes on recording
 * meanwhile loses none, as it would if "trace" were read and emptied then.  Their
 * text stays here until every window in it is closed: one that is still open is sent
 * as it is, and again from its beginning when there is more.
 *
 * A run sends at most limit.trace bytes, the last file cut.  For that what is sent
 * again takes a quarter at most; then an open window waits for its end or the program's.
 */
#include "labrun.h"
#include "lab.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CPUS		256
#define OPEN_MAX	64		/* windows at a time */
#define CHUNK		65536U		/* trace_pipe gives less than a page at a time */
#define KEPT		(1U << 20)	/* memory for later text */

struct cpu {	/* of per_cpu/cpuN/stats; all but the entries was lost */
	unsigned long long entries, overrun, commit_overrun, dropped;
};

struct window {
	char name[LAB_NAME_MAX + 1];
	size_t at;	/* the line of its begin mark */
};

static struct buffer {
	const char *dir, *name, *stats;
	const char *mark;	/* what stands before a mark of ours */
	char *text;
	size_t len, room;
	bool fresh;		/* some of it has not been sent */
	bool cut;		/* some of it is not here */
	struct window open[OPEN_MAX];
	size_t nr_open;
	struct cpu base[CPUS];	/* before the first record of the text */
} events = {
	.dir = TRACE_INSTANCE, .name = "events", .stats = "stats",
	.mark = "tracing_mark_write: lab: ",
}, graph = {
	.dir = TRACING, .name = "graph", .stats = "graph-stats", .mark = "/* lab: ",
};

/* Keeps text, or nothing from here on: no file has a gap in the middle. */
static void append(struct run *r, struct buffer *b, const char *data, size_t len)
{
	size_t room = b->room ? b->room : CHUNK;
	char *grown = b->text;

	b->fresh = true;
	if (b->len + len > r->limit.file)
		b->cut = true;
	while (room < b->len + len)
		room *= 2;
	if (!b->cut && room > b->room) {
		grown = realloc(b->text, room);
		b->cut = !grown;
	}
	if (b->cut)
		return;
	b->text = grown;
	b->room = room;
	memcpy(b->text + b->len, data, len);
	b->len += len;
}

static struct window *find_open(struct buffer *b, const char *name, size_t len)
{
	for (size_t i = 0; i < b->nr_open; i++)
		if (!strncmp(b->open[i].name, name, len) && !b->open[i].name[len])
			return &b->open[i];
	return NULL;
}

/* "begin NAME" or "end NAME": which windows are open now. */
static void take_mark(struct buffer *b, const char *text, size_t len, size_t at)
{
	bool begins = len > 6 && !memcmp(text, "begin ", 6);
	const char *name = text + (begins ? 6 : 4);
	struct window *w;
	size_t n = 0;

	if (!begins && (len <= 4 || memcmp(text, "end ", 4)))
		return;
	while (name + n < text + len && n < LAB_NAME_MAX && name[n] > ' ')
		n++;
	w = find_open(b, name, n);
	if (!begins) {
		if (w)
			*w = b->open[--b->nr_open];
		return;
	}
	if (!w && b->nr_open < OPEN_MAX)
		w = &b->open[b->nr_open++];
	if (w) {
		memcpy(w->name, name, n);
		w->name[n] = '\0';
		w->at = at;
	}
}

/* Whole lines. */
static void take_lines(struct run *r, struct buffer *b, const char *data, size_t len)
{
	const char *end = data + len, *p = data;
	size_t mark = strlen(b->mark);

	while ((p = memmem(p, (size_t)(end - p), b->mark, mark))) {
		const char *line = memrchr(data, '\n', (size_t)(p - data));
		const char *newline = memchr(p, '\n', (size_t)(end - p));

		line = line ? line + 1 : data;
		p += mark;
		take_mark(b, p, (size_t)((newline ? newline : end) - p),
			  b->len + (b->cut ? 0 : (size_t)(line - data)));
	}
	append(r, b, data, len);
}

/* Takes all that is recorded by now out of the kernel's buffer. */
static void drain(struct run *r, struct buffer *b)
{
	static char chunk[CHUNK];
	char path[128], *newline;
	size_t used = 0;
	ssize_t n = 0;
	int fd;

	snprintf(path, sizeof(path), "%s/trace_pipe", b->dir);
	fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	while (fd >= 0 && ((n = read(fd, chunk + used, sizeof(chunk) - used)) > 0 ||
			   (n < 0 && errno == EINTR))) {
		used += n > 0 ? (size_t)n : 0;
		newline = memrchr(chunk, '\n', used);
		if (!newline && used < sizeof(chunk))
			continue;
		n = newline ? newline + 1 - chunk : (ssize_t)used;
		take_lines(r, b, chunk, (size_t)n);
		used -= (size_t)n;
		memmove(chunk, chunk + n, used);
	}
	if (fd < 0 || (n < 0 && errno != EAGAIN)) {
		warn(r, "%s: %s", path, strerror(errno));
		b->cut = b->fresh = true;
	}
	if (used)
		take_lines(r, b, chunk, used);
	if (fd >= 0)
		close(fd);
}

/* How many processors there are; what was read counts as an entry still. */
static int read_stats(const struct buffer *b, struct cpu *cpus)
{
	static const char *const keys[] = { "entries: ", "read events: ", "\noverrun: ",
					    "commit overrun: ", "dropped events: " };
	char path[256], data[1024];
	int cpu;

	for (cpu = 0; cpu < CPUS; cpu++) {
		unsigned long long value[5] = { 0 };

		snprintf(path, sizeof(path), "%s/per_cpu/cpu%d/stats", b->dir, cpu);
		if (read_small(path, data, sizeof(data)) <= 0)
			break;
		for (int i = 0; i < 5; i++) {
			const char *at = strstr(data, keys[i]);

			value[i] = at ? strtoull(at + strlen(keys[i]), NULL, 10) : 0;
		}
		cpus[cpu] = (struct cpu){ value[0] + value[1], value[2], value[3], value[4] };
	}
	return cpu;
}

/*
 * "probe lab_fault hits=7 missed=1", where any was missed: the probe was hit while a
 * probe's handler was running, and such a hit is not recorded (kprobes_inc_nmissed_count()).
 */
static size_t missed_hits(char *text, size_t size)
{
	static char profile[65536];
	unsigned long long hits, missed;
	char name[128], *save, *line;
	size_t len = 0;

	if (read_small(TRACING "/kprobe_profile", profile, sizeof(profile)) <= 0)
		return 0;
	for (line = strtok_r(profile, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		if (sscanf(line, "%127s %llu %llu", name, &hits, &missed) == 3 && missed &&
		    !strncmp(name, "lab_", 4) && len + 256 < size)
			len += (size_t)sprintf(text + len, "probe %s hits=%llu missed=%llu\n",
					       name, hits, missed);
	return len;
}

/* "cpu0 entries=3 overrun=0 commit_overrun=0 dropped=0": since the text's first record. */
static void send_stats(struct buffer *b)
{
	static char text[CPUS * 160 + 65536];
	struct cpu now[CPUS];
	size_t len = 0;
	int n = read_stats(b, now);

	for (int i = 0; i < n; i++)
		len += (size_t)sprintf(text + len, "cpu%d entries=%llu overrun=%llu "
				       "commit_overrun=%llu dropped=%llu\n", i,
				       now[i].entries - b->base[i].entries,
				       now[i].overrun - b->base[i].overrun,
				       now[i].commit_overrun - b->base[i].commit_overrun,
				       now[i].dropped - b->base[i].dropped);
	if (b == &events)
		len += missed_hits(text + len, sizeof(text) - len);
	wire_frame("file", text, len, "name=trace/%s", b->stats);
}

/* What is before every open window is the host's now. */
static void forget_closed(struct buffer *b, const struct cpu *before)
{
	size_t first = b->len;

	for (size_t i = 0; i < b->nr_open; i++)
		if (b->open[i].at < first)
			first = b->open[i].at;
	if (!b->nr_open) {
		b->cut = false;
		memcpy(b->base, before, sizeof(b->base));
	}
	if (first)
		memmove(b->text, b->text + first, b->len - first);
	b->len -= first;
	for (size_t i = 0; i < b->nr_open; i++)
		b->open[i].at -= first;
	if (!b->len && b->room > KEPT) {
		free(b->text);
		b->text = NULL;
		b->room = 0;
	}
}

/* No window is open, and marks may be among what was lost: those in the text don't tell. */
static bool lost_marks(const struct buffer *b, const struct cpu *now, int cpus)
{
	char path[128], on[8];

	snprintf(path, sizeof(path), "%s/tracing_on", b->dir);
	if (read_small(path, on, sizeof(on)) <= 0 || on[0] != '0')
		return false;
	for (int i = 0; i < cpus; i++)
		if (now[i].overrun != b->base[i].overrun || now[i].dropped != b->base[i].dropped ||
		    now[i].commit_overrun != b->base[i].commit_overrun)
			return true;
	return false;
}

static void send_buffer(struct run *r, struct buffer *b, bool last)
{
	struct cpu before[CPUS] = { 0 };
	bool closed;
	uint64_t left;
	size_t len;

	/* What is lost from here on counts for the next text too. */
	closed = lost_marks(b, before, read_stats(b, before));
	drain(r, b);
	if (closed)
		b->nr_open = 0;
	if (!b->fresh || (b->nr_open && !last && r->trace.sent > r->limit.trace / 4))
		return;
	left = r->limit.trace > r->trace.sent ? r->limit.trace - r->trace.sent : 0;
	len = b->len < left ? b->len : (size_t)left;
	wire_frame("file", b->text, len, "name=trace/%s%s", b->name,
		   b->cut || len < b->len ? " truncated=1" : "");
	send_stats(b);
	r->trace.sent += len;
	b->fresh = false;
	forget_closed(b, before);
}

/* What was recorded since the last time, and windows that were open then. */
void trace_send(struct run *r, bool last)
{
	if (!r->trace.open)
		return;
	send_buffer(r, &events, last);
	if (r->trace.graph.count)
		send_buffer(r, &graph, last);
}
