// SPDX-License-Identifier: MIT
/*
 * symbols.c - which kernel functions this kernel really has: one pass over /proc/kallsyms.
 *
 * A compiler may keep a function under another name: f.isra.0 and f.constprop.0
 * are f with changed arguments, f.part.0 is what is left of an f whose beginning
 * was inlined.  f.cold is only its unlikely half, and not counted.
 */
#include "labrun.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct symbol {
	const char *name;	/* as asked for */
	char *found;		/* as this kernel calls it; NULL when it is absent */
	char type;
	unsigned int count;	/* functions of that name: static ones may share it */
};

static struct symbol *symbols;
static size_t nr_symbols;

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct symbol *)a)->name, ((const struct symbol *)b)->name);
}

static bool same_function(const char *suffix)
{
	static const char *const known[] = { ".isra.", ".constprop.", ".part.", ".llvm." };

	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
		if (!strncmp(suffix, known[i], strlen(known[i])))
			return !strstr(suffix, ".cold");
	return false;
}

/* The exact name is preferred, wherever in the list it stands. */
static void take(char type, char *name)
{
	char *dot = strchr(name, '.');
	struct symbol key = { .name = name }, *hit;

	hit = bsearch(&key, symbols, nr_symbols, sizeof(*symbols), by_name);
	if (!hit && dot && same_function(dot)) {
		*dot = '\0';
		hit = bsearch(&key, symbols, nr_symbols, sizeof(*symbols), by_name);
		*dot = '.';
		if (hit && hit->found)
			return;
	}
	if (!hit)
		return;
	if (hit->found && !strcmp(hit->found, hit->name)) {
		hit->count += !strcmp(name, hit->name);
		return;
	}
	hit->count = 1;
	free(hit->found);
	hit->found = strdup(name);
	hit->type = type;
}

/* "ffffffff81000000 T name\t[module]" */
static void take_line(char *line)
{
	char *space = strchr(line, ' ');

	if (!space || !space[1] || space[2] != ' ')
		return;
	space[3 + strcspn(space + 3, "\t\n ")] = '\0';
	take(space[1], space + 3);
}

/* Looks up every name that the host asked for; later names are not known. */
void symbols_load(struct run *r)
{
	FILE *f = fopen("/proc/kallsyms", "re");
	char line[1024];

	symbols = calloc(r->symbols.count + 1, sizeof(*symbols));
	if (!f || !symbols) {
		warn(r, "/proc/kallsyms: %s", strerror(errno));
		return;
	}
	for (size_t i = 0; i < r->symbols.count; i++)
		symbols[i].name = r->symbols.item[i];
	nr_symbols = r->symbols.count;
	qsort(symbols, nr_symbols, sizeof(*symbols), by_name);
	while (fgets(line, sizeof(line), f))
		take_line(line);
	fclose(f);
}

/* The kernel's own name for a function; NULL when it has none. */
const char *symbol_find(const char *name)
{
	struct symbol key = { .name = name }, *hit;

	hit = bsearch(&key, symbols, nr_symbols, sizeof(*symbols), by_name);
	return hit ? hit->found : NULL;
}

/* How many functions have the name: more than one can't be told apart by it. */
unsigned int symbol_count(const char *name)
{
	struct symbol key = { .name = name }, *hit;

	hit = bsearch(&key, symbols, nr_symbols, sizeof(*symbols), by_name);
	return hit ? hit->count : 0;
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
