// SPDX-License-Identifier: MIT
/*
 * symbols.c - which kernel functions this kernel really has, from /proc/kallsyms.
 *
 * A compiler may keep a function under another name: f.isra.0 and f.constprop.0
 * are f with changed arguments, f.llvm.1234 is a static f that was made global.  Each
 * is a whole function, and where there are several, as copies for different callers,
 * none of them is all of f.  f.part.0 is what is left of an f whose beginning was
 * inlined: the symbol shows that there is an f, but not when it is called.  f.cold is
 * only its unlikely half, and not counted.
 *
 * The kernel expands its whole list each time that it is read.  A guest which is
 * saved for others to go on from has it in SYMBOLS_FILE, sorted: no kernel module
 * comes or goes after init has loaded them.
 */
#include "labrun.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct symbol {
	const char *name;	/* as asked for */
	char *found;		/* as this kernel calls it; NULL when it is absent */
	char type;
	bool exact, partial;	/* which name that is */
	unsigned int count;	/* whole functions that can be meant: static ones may share a name */
};

static struct symbol *symbols;
static size_t nr_symbols;

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct symbol *)a)->name, ((const struct symbol *)b)->name);
}

enum part { NOTHING, PART, WHOLE };

/* What a name's suffix says: ".isra.0", ".part.0.constprop.1", ".isra.0.cold" */
static enum part part_of(const char *suffix)
{
	static const char *const known[] = { ".isra.", ".constprop.", ".part.", ".llvm." };

	if (strstr(suffix, ".cold"))
		return NOTHING;
	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
		if (!strncmp(suffix, known[i], strlen(known[i])))
			return strstr(suffix, ".part.") ? PART : WHOLE;
	return NOTHING;
}

/* The exact name is preferred, and a part comes last, wherever in the list they stand. */
static void remember(struct symbol *s, char type, const char *name, bool exact, bool partial)
{
	bool better = !s->found || (s->partial && !partial) || (exact && !s->exact);

	s->count += !partial;
	if (!better)
		return;
	free(s->found);
	s->found = strdup(name);
	s->type = type;
	s->exact = exact;
	s->partial = partial;
}

/* A function that has a dot in its name already may be asked for by that. */
static void take(char type, char *name)
{
	struct symbol key = { .name = name }, *hit;
	char *dot = strchr(name, '.');
	enum part part = dot ? part_of(dot) : NOTHING;

	hit = bsearch(&key, symbols, nr_symbols, sizeof(*symbols), by_name);
	if (hit)
		remember(hit, type, name, true, false);
	if (part == NOTHING)
		return;
	*dot = '\0';
	hit = bsearch(&key, symbols, nr_symbols, sizeof(*symbols), by_name);
	*dot = '.';
	if (hit)
		remember(hit, type, name, false, part == PART);
}

/* "ffffffff81000000 T name\t[module]" becomes "T name"; NULL for anything else. */
static char *cut_line(char *line)
{
	char *space = strchr(line, ' ');

	if (!space || !space[1] || space[2] != ' ')
		return NULL;
	space[3 + strcspn(space + 3, "\t\n ")] = '\0';
	return space + 1;
}

static bool take_kernels(void)
{
	FILE *f = fopen("/proc/kallsyms", "re");
	char line[1024], *found;

	if (!f)
		return false;
	while (fgets(line, sizeof(line), f))
		if ((found = cut_line(line)))
			take(found[0], found + 2);
	fclose(f);
	return true;
}

/* The order of SYMBOLS_FILE: by the name before a dot, which all variants of a function share. */
static int by_stem(const char *a, const char *b)
{
	while (*a && *a == *b && *a != '.') {
		a++;
		b++;
	}
	return (unsigned char)(*a == '.' || *a == '\n' ? 0 : *a) -
	       (unsigned char)(*b == '.' || *b == '\n' ? 0 : *b);
}

/* The first line from which on no stem comes before that of the name. */
static const char *lower_bound(const char *list, const char *end, const char *name)
{
	const char *low = list, *high = end;

	while (low < high) {
		const char *line = low + (high - low) / 2;

		while (line > low && line[-1] != '\n')
			line--;
		if (by_stem(line + 2, name) < 0)
			low = (const char *)memchr(line, '\n', (size_t)(end - line)) + 1;
		else
			high = line;
	}
	return low;
}

static bool stem_was_before(size_t index)
{
	for (size_t i = 0; i < index; i++)
		if (by_stem(symbols[i].name, symbols[index].name) == 0)
			return true;
	return false;
}

static void take_from(const char *list, const char *end)
{
	char name[1024];

	for (size_t i = 0; i < nr_symbols; i++) {
		const char *line = lower_bound(list, end, symbols[i].name);

		if (stem_was_before(i))
			continue;
		while (line < end && by_stem(line + 2, symbols[i].name) == 0) {
			const char *next = (const char *)memchr(line, '\n', (size_t)(end - line)) + 1;

			snprintf(name, sizeof(name), "%.*s", (int)(next - line - 3), line + 2);
			take(line[0], name);
			line = next;
		}
	}
}

/* Only a list that is whole: its last line has its end. */
static bool take_saved(void)
{
	int fd = open(SYMBOLS_FILE, O_RDONLY | O_CLOEXEC);
	struct stat st;
	char *list = MAP_FAILED;

	if (fd >= 0 && fstat(fd, &st) == 0 && st.st_size > 3)
		list = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (fd >= 0)
		close(fd);
	if (list == MAP_FAILED || list[st.st_size - 1] != '\n')
		return false;
	take_from(list, list + st.st_size);
	munmap(list, (size_t)st.st_size);
	return true;
}

/* Looks up every name that the host asked for; later names are not known. */
void symbols_load(struct run *r)
{
	symbols = calloc(r->symbols.count + 1, sizeof(*symbols));
	if (!symbols)
		return;
	for (size_t i = 0; i < r->symbols.count; i++)
		symbols[i].name = r->symbols.item[i];
	nr_symbols = r->symbols.count;
	qsort(symbols, nr_symbols, sizeof(*symbols), by_name);
	if (!take_saved() && !take_kernels()) {
		nr_symbols = 0;
		warn(r, "/proc/kallsyms: %s", strerror(errno));
	}
}

struct line {
	char *text;
	size_t number;
};

/* The kernel's own order is kept among variants: the first of equals is preferred. */
static int by_line(const void *a, const void *b)
{
	const struct line *left = a, *right = b;
	int stem = by_stem(left->text + 2, right->text + 2);

	return stem ? stem : left->number < right->number ? -1 : 1;
}

/* Writes SYMBOLS_FILE. Without it everything works, and takes longer. */
int symbols_save(void)
{
	FILE *from = fopen("/proc/kallsyms", "re"), *to;
	char line[1024], *found;
	struct line *lines = NULL;
	size_t count = 0, room = 0;
	bool good;

	while (from && fgets(line, sizeof(line), from)) {
		if (count == room)
			lines = realloc(lines, (room = room ? room * 2 : 1U << 16) * sizeof(*lines));
		if (!lines)
			return 1;
		if (!(found = cut_line(line)))
			continue;
		lines[count] = (struct line){ strdup(found), count };
		if (!lines[count++].text)
			return 1;
	}
	if (!count || !(to = fopen(SYMBOLS_FILE ".new", "we")))
		return 1;
	qsort(lines, count, sizeof(*lines), by_line);
	for (size_t i = 0; i < count; i++)
		fprintf(to, "%s\n", lines[i].text);
	good = !ferror(to);
	return fclose(to) == 0 && good && rename(SYMBOLS_FILE ".new", SYMBOLS_FILE) == 0 ? 0 : 1;
}

static const struct symbol *look_up(const char *name)
{
	struct symbol key = { .name = name };

	return bsearch(&key, symbols, nr_symbols, sizeof(*symbols), by_name);
}

/* The kernel's own name for a function; NULL when it has none. */
const char *symbol_find(const char *name)
{
	const struct symbol *s = look_up(name);

	return s ? s->found : NULL;
}

/* How many functions the name can mean: more than one can't be told apart by it. */
unsigned int symbol_count(const char *name)
{
	const struct symbol *s = look_up(name);

	return s ? s->count : 0;
}

/* Whether only a part of the function has a symbol. */
bool symbol_partial(const char *name)
{
	const struct symbol *s = look_up(name);

	return s && s->partial;
}

/* "NAME present TYPE", "NAME present TYPE ITS-OTHER-NAME" or "NAME absent", each name once. */
void symbols_print(void (*print)(const char *fmt, ...))
{
	for (size_t i = 0; i < nr_symbols; i++) {
		const struct symbol *s = &symbols[i];

		if (i && !strcmp(s->name, symbols[i - 1].name))
			continue;
		if (!s->found)
			print("%s absent\n", s->name);
		else if (!strcmp(s->found, s->name))
			print("%s present %c\n", s->name, s->type);
		else
			print("%s present %c %s\n", s->name, s->type, s->found);
	}
}
