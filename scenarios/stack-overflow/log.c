/* SPDX-License-Identifier: MIT */
/*
 * log - what the kernel wrote about a process: the records of /dev/kmsg that
 * name it, "program[PID]", since the last look, and the parts of the segfault
 * line, which show_signal_msg() in arch/x86/mm/fault.c prints:
 *
 *	NAME[PID]: segfault at ADDRESS ip IP sp SP error BITS in FILE[START+SIZE]
 *	... in FILE[START+SIZE] likely on CPU N (core N, socket N)	since 6.1
 *	... in FILE[OFFSET,START+SIZE] likely on CPU N ...		newer kernels
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lab.h"
#include "stack.h"

static int log_fd;
static char record[2 * PAGE];
static char line[2 * PAGE];	/* the last segfault line of the process asked for */

void log_open(void)
{
	log_fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	lseek(log_fd, 0, SEEK_END);
}

/* The next record's text; NULL when there is none yet. */
static const char *next_record(void)
{
	const char *text;
	ssize_t n;

	do {
		n = read(log_fd, record, sizeof(record) - 1);
	} while (n < 0 && (errno == EPIPE || errno == EINTR));	/* EPIPE: some were overwritten */
	if (n <= 0)
		return NULL;
	record[n] = '\0';
	text = strchr(record, ';');
	record[strcspn(record, "\n")] = '\0';
	return text ? text + 1 : record;
}

void log_forget(void)
{
	while (next_record())
		;
}

static void note_text(const char *prefix, const char *key, const char *from, size_t length)
{
	char name[LAB_NAME_MAX], value[256];

	snprintf(name, sizeof(name), "%s.%s", prefix, key);
	snprintf(value, sizeof(value), "%.*s", (int)length, from);
	lab_note(name, value);
}

/* The number in hexadecimal after a word; "none" if the line lacks the word. */
static void note_number(const char *prefix, const char *key, const char *word)
{
	const char *at = strstr(line, word);

	if (at)
		note_value(prefix, key, strtoull(at + strlen(word), NULL, 16));
	else
		note_text(prefix, key, "none", 4);
}

/* FILE[START+SIZE], or FILE[OFFSET,START+SIZE] */
static void note_mapping(const char *prefix)
{
	const char *file = strstr(line, " in ");
	const char *bracket = file ? strchr(file, '[') : NULL;
	const char *numbers = bracket ? bracket + 1 : "";
	bool offset = strcspn(numbers, ",") < strcspn(numbers, "]");

	if (bracket)
		note_text(prefix, "file", file + 4, (size_t)(bracket - file - 4));
	else
		note_text(prefix, "file", "none", 4);
	if (offset)
		note_value(prefix, "offset", strtoull(numbers, NULL, 16));
	else
		note_text(prefix, "offset", "none", 4);
	numbers += offset ? strcspn(numbers, ",") + 1 : 0;
	note_value(prefix, "start", strtoull(numbers, NULL, 16));
	numbers += strcspn(numbers, "+");
	note_value(prefix, "size", strtoull(numbers, NULL, 16));
}

static void note_line(const char *prefix)
{
	const char *pid = strchr(line, '[');

	if (pid) {
		note_text(prefix, "name", line, (size_t)(pid - line));
		note_value(prefix, "pid", strtoull(pid + 1, NULL, 10));
	} else {
		note_text(prefix, "name", "none", 4);
		note_text(prefix, "pid", "none", 4);
	}
	note_number(prefix, "at", "segfault at ");
	note_number(prefix, "ip", " ip ");
	note_number(prefix, "sp", " sp ");
	note_number(prefix, "bits", " error ");
	note_number(prefix, "cpu", " likely on CPU ");
	note_mapping(prefix);
}

/* Reports how many new records name the process ("prefix.records"), and its segfault line. */
void log_note(const char *prefix, pid_t pid)
{
	unsigned int count = 0;
	char wanted[32];
	const char *text;

	line[0] = '\0';
	snprintf(wanted, sizeof(wanted), "[%d]", pid);
	while ((text = next_record())) {
		if (!strstr(text, wanted))
			continue;
		count++;
		if (strstr(text, "segfault at"))
			strcpy(line, text);
	}
	note_value(prefix, "records", count);
	note_line(prefix);
}
