// SPDX-License-Identifier: MIT
/*
 * trace.c - has the kernel record what it does in the windows that the program marks.
 *
 * Events go to a tracing instance of their own, so that the function graph,
 * which old kernels have at the top level only, does not mix with them.  Both
 * record the program and its descendants alone (set_event_pid with event-fork),
 * and nothing before lab_trace_begin(): the program itself turns them on.  When
 * the buffer is full the kernel drops what is newest, and the statistics say so;
 * nothing is ever overwritten.
 *
 * Functions become kprobes "lab_NAME" with the call chain of each hit.  What this
 * kernel does not have, or does not let be probed, is said in the probe "trace".
 * What was recorded goes to the host by trace_send.c.
 */
#include "labrun.h"
#include "lab.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define INSTANCE	TRACE_INSTANCE
#define REPORT_MAX	65536

static struct {
	char text[REPORT_MAX];
	size_t len;
} report;

static void PRINTF(1, 2) say(const char *fmt, ...)
{
	size_t room = sizeof(report.text) - report.len;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(report.text + report.len, room, fmt, ap);
	va_end(ap);
	if (n > 0 && (size_t)n < room)
		report.len += (size_t)n;
}

/* One line of the report: what was asked for, and whether the kernel does it. */
static bool say_result(const char *what, const char *name, bool ok, const char *as)
{
	if (ok)
		say("%s %s ok %s\n", what, name, as);
	else
		say("%s %s refused %s\n", what, name, strerror(errno));
	return ok;
}

static bool name_ok(const char *name, const char *more)
{
	if (!*name || strlen(name) > 100)
		return false;
	for (; *name; name++)
		if (!isalnum((unsigned char)*name) && *name != '_' && !strchr(more, *name))
			return false;
	return true;
}

static void keep(struct run *r, struct strings *to, const char *name, const char *more)
{
	char *copy = strdup(name);

	if (!copy || !name_ok(name, more) || to->count == 512)
		die(r, "protocol", "trace: bad name %.64s, or too many of them", name);
	strings_add(r, to, copy, strlen(copy));
}

/* "event GROUP:NAME", "function NAME", "graph NAME", "filter [!]PATTERN", "buffer KIB" */
void trace_line(struct run *r, char *what, char *rest)
{
	r->trace.asked = true;
	if (!strcmp(what, "event"))
		keep(r, &r->trace.events, rest, ":");
	else if (!strcmp(what, "function"))
		keep(r, &r->trace.functions, rest, ".");
	else if (!strcmp(what, "graph"))
		keep(r, &r->trace.graph, rest, ".");
	else if (!strcmp(what, "filter"))
		keep(r, &r->trace.filters, rest, "*?.!");
	else if (strcmp(what, "buffer") || !parse_number(rest, &r->trace.buffer_kib) ||
		 r->trace.buffer_kib > 1U << 20)
		die(r, "protocol", "trace: what is %.64s %.64s?", what, rest);
}

static bool put(const char *dir, const char *file, const char *text)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/%s", dir, file);
	return write_text(AT_FDCWD, path, text);
}

/* Opened with O_TRUNC these files forget what they hold. */
static void empty(const char *dir, const char *file)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, file);
	fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	if (fd >= 0)
		close(fd);
}

/* "GROUP:NAME" as the path events/GROUP/NAME/FILE. */
static bool put_event(const char *event, const char *file, const char *text)
{
	const char *colon = strchr(event, ':');
	char path[256];

	if (!colon) {
		errno = EINVAL;
		return false;
	}
	snprintf(path, sizeof(path), "events/%.*s/%s/%s", (int)(colon - event), event, colon + 1,
		 file);
	return put(INSTANCE, path, text);
}

static void start_event(const char *event)
{
	bool ok = put_event(event, "enable", "1");

	if (ok && !strcmp(event, "kmem:mm_page_alloc"))
		ok = put_event(event, "trigger", "stacktrace");
	say_result("event", event, ok, event);
}

/* Adds a kprobe event of the group "lab" and turns it on. */
static bool start_probe(const char *definition, const char *name, bool chain)
{
	int fd = open(TRACING "/kprobe_events", O_WRONLY | O_APPEND | O_CLOEXEC);
	char event[160];
	ssize_t n;

	if (fd < 0)
		return false;
	n = write(fd, definition, strlen(definition));
	if (n < 0) {
		int saved = errno;

		close(fd);
		errno = saved;
		return false;
	}
	close(fd);
	snprintf(event, sizeof(event), "lab:%s", name);
	return (!chain || put_event(event, "trigger", "stacktrace")) &&
	       put_event(event, "enable", "1");
}

static void start_function(const char *name)
{
	const char *symbol = symbol_find(name);
	char event[128], definition[512];

	if (!symbol) {
		say("function %s absent\n", name);
		return;
	}
	if (symbol_partial(name)) {
		say("function %s refused only a part of it has a symbol: %s; its calls can't be "
		    "counted\n", name, symbol);
		return;
	}
	if (symbol_count(name) > 1) {	/* old kernels would take the first */
		say("function %s refused %u functions have this name\n", name, symbol_count(name));
		return;
	}
	snprintf(event, sizeof(event), "lab_%.55s", name);
	for (char *p = event; *p; p++)
		if (*p == '.')
			*p = '_';
	snprintf(definition, sizeof(definition), "p:lab/%s %s", event, symbol);
	say_result("function", name, start_probe(definition, event, true), symbol);
}

/*
 * handle_mm_fault(vma, address, flags, regs) since bce617edecad (5.9), before it
 * without regs; struct vm_area_struct begins with vm_start and vm_end in all.
 */
static void start_fault(void)
{
	static const char definition[] =
		"p:lab/lab_fault handle_mm_fault vma=%di address=%si flags=%dx:x32 "
		"vma_start=+0(%di) vma_end=+8(%di)";

	say_result("probe", "handle_mm_fault", start_probe(definition, "lab_fault", false),
		   "handle_mm_fault");
}

static void start_graph(struct run *r)
{
	struct strings *s = &r->trace.filters;
	int fd = open(TRACING "/set_ftrace_filter", O_WRONLY | O_APPEND | O_CLOEXEC);

	/* All with one open: the list takes effect, and costs, when it is closed. */
	for (size_t i = 0; fd >= 0 && i < s->count; i++)
		dprintf(fd, "%s\n", s->item[i]);	/* some match nothing here */
	if (fd >= 0)
		close(fd);
	s = &r->trace.graph;
	for (size_t i = 0; i < s->count; i++) {
		const char *symbol = symbol_find(s->item[i]);

		if (!symbol)
			say("graph %s absent\n", s->item[i]);
		else
			say_result("graph", s->item[i],
				   put(TRACING, "set_graph_function", symbol), symbol);
	}
	say_result("option", "function-fork", put(TRACING, "options/function-fork", "1"), "1");
	put(TRACING, "options/funcgraph-proc", "1");
	put(TRACING, "options/funcgraph-args", "1");	/* since 6.15; ff5c9c576e75 */
	put(TRACING, "options/overwrite", "0");
	say_result("tracer", "function_graph", put(TRACING, "current_tracer", "function_graph"),
		   "function_graph");
}

/* What an earlier run left, however it ended. */
static void forget(bool graph)
{
	rmdir(INSTANCE);
	empty(TRACING, "kprobe_events");
	if (!graph)
		return;
	put(TRACING, "tracing_on", "0");
	put(TRACING, "current_tracer", "nop");
	empty(TRACING, "set_ftrace_filter");
	empty(TRACING, "set_graph_function");
	empty(TRACING, "set_ftrace_pid");
	empty(TRACING, "trace");
}

static int open_file(const char *dir, const char *file)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", dir, file);
	return open(path, O_WRONLY | O_CLOEXEC);
}

/*
 * A guest that is saved for others has the instance already: old kernels make a
 * thousand directories for one.  Without it everything works, and takes longer.
 */
void trace_prepare(void)
{
	if (mkdir(INSTANCE, 0700) == 0)
		put(INSTANCE, "tracing_on", "0");
}

static bool make_instance(struct run *r)
{
	char size[32];

	if (mkdir(INSTANCE, 0700) < 0 && !(r->first && errno == EEXIST))
		return false;
	if (!put(INSTANCE, "tracing_on", "0"))
		return false;
	snprintf(size, sizeof(size), "%llu", (unsigned long long)r->trace.buffer_kib);
	return put(INSTANCE, "buffer_size_kb", size) && put(INSTANCE, "options/overwrite", "0") &&
	       put(INSTANCE, "options/event-fork", "1");
}

/* After the probes, because it needs the symbols; the windows are closed until the program opens one. */
void trace_open(struct run *r)
{
	struct trace *t = &r->trace;

	if (!t->asked)
		return;
	if (!r->guest) {
		warn(r, "no kernel trace: this is not a guest of the lab");
		return;
	}
	if (r->first)
		put(TRACING, "tracing_on", "0");	/* as the kernel boots it is on */
	else
		forget(true);
	if (!make_instance(r)) {
		say("instance lab refused %s\n", strerror(errno));
	} else {
		t->open = true;
		for (size_t i = 0; i < t->events.count; i++)
			start_event(t->events.item[i]);
		start_fault();
		for (size_t i = 0; i < t->functions.count; i++)
			start_function(t->functions.item[i]);
		if (t->graph.count)
			start_graph(r);
		t->on_fd = open_file(INSTANCE, "tracing_on");
		t->marker_fd = open_file(INSTANCE, "trace_marker");
		if (t->graph.count) {
			t->graph_on_fd = open_file(TRACING, "tracing_on");
			t->graph_marker_fd = open_file(TRACING, "trace_marker");
		}
	}
}

/*
 * The program is loaded and stands before its first instruction: it and its children are recorded,
 * and nobody else.  With that the report is complete.
 */
void trace_watch(struct run *r, pid_t pid)
{
	char text[16];

	snprintf(text, sizeof(text), "%d", pid);
	if (r->trace.open && !r->exited) {
		say_result("filter", "set_event_pid", put(INSTANCE, "set_event_pid", text), text);
		if (r->trace.graph.count &&
		    !say_result("filter", "set_ftrace_pid",
				put(TRACING, "set_ftrace_pid", text), text))
			put(TRACING, "current_tracer", "nop");
	}
	if (report.len)
		wire_frame("probe", report.text, report.len, "name=trace");
}

/* In the child, before execve(). */
void trace_descriptors(struct run *r)
{
	const int from[] = { r->trace.on_fd, r->trace.marker_fd, r->trace.graph_on_fd,
			     r->trace.graph_marker_fd };

	for (int i = 0; i < 4; i++)
		if (from[i] >= 0)
			dup2(from[i], LAB_TRACE_ON_FD + i);
}

void trace_close(struct run *r)
{
	int *fds[] = { &r->trace.on_fd, &r->trace.marker_fd, &r->trace.graph_on_fd,
		       &r->trace.graph_marker_fd };

	if (!r->trace.open)
		return;
	r->trace.open = false;
	for (size_t i = 0; i < sizeof(fds) / sizeof(*fds); i++) {
		if (*fds[i] >= 0)
			close(*fds[i]);
		*fds[i] = -1;
	}
	forget(r->trace.graph.count > 0);
}
