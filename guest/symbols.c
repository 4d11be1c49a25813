// SPDX-License-Identifier: MIT
/*
 * symbols.c - which kernel functions this kernel really has: one pass over /proc/kallsyms.
 *
 * A compiler may keep a function under another name: f.isra.0 and f.constprop.0
 * are f with changed arguments, f.llvm.1234 is a static f that was made global.  Each
 * is a whole function, and where there are several, as copies for different callers,
 * none of them is all of f.  f.part.0 is what is left of an f whose beginning was
 * inlined: the symbol shows that there is an f, but not when it is called.  f.cold is
 * only its unlikely half, and not counted.
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
