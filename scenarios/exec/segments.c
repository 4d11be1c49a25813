/* SPDX-License-Identifier: MIT */
/*
 * segments - what the ELF program headers say must be mapped.
 *
 * Every image in memory begins with its ELF header and program headers, because
 * its first loadable segment holds them; dl_iterate_phdr() gives them for the
 * program, the libraries and the dynamic linker.  A segment is mapped in whole
 * pages of its file, up to p_filesz; the rest up to p_memsz is anonymous memory,
 * a mapping of its own where it goes beyond the last page of the file.
 */
#define _GNU_SOURCE
#include <link.h>
#include <stdint.h>
#include <string.h>
#include <sys/auxv.h>

#include "exec.h"
#include "lab.h"

/* "program-start-2": the start of the third loadable segment of the program. */
static const char *key_of(const char *object, const char *what, int number)
{
	static char key[LAB_NAME_MAX];

	strcpy(key, object);
	strcat(key, what);
	key[strlen(key) + 1] = '\0';
	key[strlen(key)] = (char)('0' + number);
	return key;
}

static const char *rights_of(const ElfW(Phdr) *segment)
{
	static char rights[] = "---p";

	rights[0] = segment->p_flags & PF_R ? 'r' : '-';
	rights[1] = segment->p_flags & PF_W || MUTATE_ALL_WRITABLE ? 'w' : '-';
	rights[2] = segment->p_flags & PF_X ? 'x' : '-';
	return rights;
}

/* The end of what comes from the file; the program's own for MUTATE_MEMORY_SIZE. */
static uintptr_t file_end(const char *object, const ElfW(Phdr) *segment, uintptr_t base)
{
	int whole = MUTATE_MEMORY_SIZE && object[0] == 'p';

	return page_up(base + segment->p_vaddr + (whole ? segment->p_memsz : segment->p_filesz));
}

static void note_segment(const char *object, int number, uintptr_t base, const ElfW(Phdr) *segment)
{
	lab_note_hex(key_of(object, "-start-", number), page_down(base + segment->p_vaddr));
	lab_note_hex(key_of(object, "-end-", number), file_end(object, segment, base));
	lab_note_hex(key_of(object, "-offset-", number), page_down(segment->p_offset));
	lab_note(key_of(object, "-rights-", number), rights_of(segment));
}

struct sums {	/* over program and dynamic linker, which execve() maps */
	int segments, anonymous;
};

static int is_linker(const struct dl_phdr_info *object)
{
	return object->dlpi_addr == getauxval(AT_BASE);
}

/* The vdso is no file, and is mapped as a whole. */
static int is_vdso(const struct dl_phdr_info *object)
{
	uintptr_t vdso = getauxval(AT_SYSINFO_EHDR);

	return (uintptr_t)object->dlpi_phdr - vdso < (uintptr_t)PAGE;
}

static int is_libc(const struct dl_phdr_info *object)
{
	return strstr(object->dlpi_name, "/libc.so") != NULL;
}

static const char *name_of(const struct dl_phdr_info *object)
{
	if (object->dlpi_name[0] == '\0')
		return "program";
	if (is_linker(object))
		return "linker";
	return is_libc(object) && !MUTATE_LINKER_AS_LIBRARY ? "libc" : "";
}

static void note_all(const char *name, const struct dl_phdr_info *object)
{
	int i, number = 0;

	for (i = 0; i < object->dlpi_phnum; i++)
		if (object->dlpi_phdr[i].p_type == PT_LOAD)
			note_segment(name, number++, object->dlpi_addr, &object->dlpi_phdr[i]);
}

static void add_up(struct sums *sums, const struct dl_phdr_info *object)
{
	int i;

	for (i = 0; i < object->dlpi_phnum; i++) {
		const ElfW(Phdr) *segment = &object->dlpi_phdr[i];
		uintptr_t start = object->dlpi_addr + segment->p_vaddr;

		if (segment->p_type != PT_LOAD)
			continue;
		sums->segments++;
		sums->anonymous += page_up(start + segment->p_memsz) >
				   page_up(start + segment->p_filesz);
	}
}

static int note_object(struct dl_phdr_info *object, size_t size, void *sums)
{
	const char *name = name_of(object);

	(void)size;
	if (is_vdso(object))
		return 0;
	if (name[0])
		note_all(name, object);
	if (is_linker(object) && MUTATE_LINKER_AS_LIBRARY)
		note_all("libc", object);
	if (strcmp(name, "program") == 0 || is_linker(object) || MUTATE_COUNT_LIBRARIES)
		add_up(sums, object);
	return 0;
}

static int find_end(struct dl_phdr_info *object, size_t size, void *end)
{
	const ElfW(Phdr) *segment;
	int i;

	(void)size;
	for (i = 0; is_linker(object) && i < object->dlpi_phnum; i++) {
		segment = &object->dlpi_phdr[i];
		if (segment->p_type == PT_LOAD)	/* in the order of addresses */
			*(uintptr_t *)end =
				page_up(object->dlpi_addr + segment->p_vaddr + segment->p_memsz);
	}
	return 0;
}

/* Where the last page of the dynamic linker ends. */
uintptr_t linker_end(void)
{
	uintptr_t end = 0;

	dl_iterate_phdr(find_end, &end);
	return end;
}

void note_segments(void)
{
	struct sums sums = { 0, 0 };

	dl_iterate_phdr(note_object, &sums);
	lab_note_i64("segments", sums.segments);
	lab_note_i64("anonymous", sums.anonymous);
}

/* The addresses that load_elf_binary() takes from the headers into mm_struct, to the byte. */
static int note_ends(struct dl_phdr_info *program, size_t size, void *data)
{
	int i;

	(void)size;
	(void)data;
	for (i = 0; i < program->dlpi_phnum; i++) {
		const ElfW(Phdr) *segment = &program->dlpi_phdr[i];
		uintptr_t start = program->dlpi_addr + segment->p_vaddr;

		if (segment->p_type != PT_LOAD)
			continue;
		if (segment->p_flags & PF_X) {
			lab_note_hex("code-start", start);
			lab_note_hex("code-end", start + segment->p_filesz);
		}
		if (segment->p_flags & PF_W) {
			lab_note_hex("data-start", start);
			lab_note_hex("data-end", start + segment->p_filesz);
		}
	}
	return 1;	/* the program comes first; no other object is wanted */
}

void note_code_and_data(void)
{
	dl_iterate_phdr(note_ends, NULL);
}
