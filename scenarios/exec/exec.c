/* SPDX-License-Identifier: MIT */
/*
 * exec - what execve() makes of an ELF program: its address space at the first
 * instruction, and what the dynamic linker adds to it before main().
 *
 * Shown: the kernel maps the loadable segments of program and interpreter, makes
 * the stack at the top of the address space, moves and widens it, adds vvar and
 * vdso, and leaves the heap empty; libraries come later, by mmap() from user
 * space; mm_struct's addresses and counters agree with the mappings.
 *
 * How: the lab's own checkpoint "exec" is the address space before the first
 * instruction.  What must be there is computed from the ELF program headers, which
 * the program reads in its own memory (segments.c).  A trace window spans a second
 * execve(): the old image opens it, the new one closes it, so that what the kernel
 * does inside the system call is on record.
 *
 * No stdio and no malloc: both would move the break, which is watched here.
 *
 * Each MUTATE_... is a negative control: it breaks the mechanism behind one
 * expectation of scenario.yaml, which must then fail.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "exec.h"
#include "lab.h"

extern char **environ;
extern char _end[];	/* of the bss: set by the linker, end(3) */

/* One object for each kind of section. */
static const int in_rodata = 1;
static int in_data = 1;
static int *const in_relro = &in_data;	/* a pointer: constant only after its relocation */
static char in_bss[4 * PAGE];

static uintptr_t kernel_break(void)
{
	return (uintptr_t)syscall(SYS_brk, 0);
}

/* Where the program's own objects lie. */
static void note_objects(void)
{
	int in_stack = 1;

	lab_note_hex("in-text", (uintptr_t)&note_objects);
	lab_note_ptr("in-rodata", &in_rodata);
	lab_note_ptr("in-relro", &in_relro);
	lab_note_ptr("in-data", &in_data);
	lab_note_ptr("in-bss", in_bss + 2 * PAGE);
	lab_note_ptr("in-stack", &in_stack);
	lab_note_ptr("end", _end);
}

static char *after(char *string)
{
	return string + strlen(string) + 1;
}

/*
 * Where the strings of the command line lie, and the word that the stack pointer
 * meant at first.  Those of the environment are counted from the last argument's
 * end on: environ[] may have other addresses by now, since up to glibc 2.38 the
 * dynamic linker copies GLIBC_TUNABLES.
 */
static void note_strings(int argc, char **argv)
{
	char *string = after(argv[argc - 1]);
	char *name = (char *)getauxval(AT_EXECFN);
	char **variable;

	lab_note_ptr("argc", argv - 1);
	lab_note_ptr("arguments", argv[0]);
	lab_note_ptr("environment", string);
	for (variable = environ; *variable; variable++)
		string = after(string);
	lab_note_ptr("strings-end", string);
	lab_note_ptr("name", name);
	lab_note_ptr("name-end", after(name));
}

static void note_file(void)
{
	struct stat file;

	if (stat(MUTATE_OTHER_FILE ? "/" : "/proc/self/exe", &file) == 0)
		lab_note_u64("inode", file.st_ino);
}

static void allow_writing(const void *object)
{
	mprotect((void *)page_down((uintptr_t)object), PAGE, PROT_READ | PROT_WRITE);
}

/* Its size is the kernel's affair: less than all of it can't be moved; more can since 6.17, with what lies above. */
static void move_vdso(void)
{
	char *vdso = (char *)getauxval(AT_SYSINFO_EHDR);
	char *place = mmap(NULL, 16 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	long size;

	for (size = PAGE; size <= 16 * PAGE; size += PAGE)
		if (mremap(vdso, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, place) == place)
			return;
}

static void map_above_linker(void)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;

	mmap((void *)linker_end(), PAGE, PROT_NONE, flags, -1, 0);
}

/* The record in mm_struct, changed behind the program's back. */
static void change_record(int what, uintptr_t address)
{
	prctl(PR_SET_MM, what, address, 0, 0);
}

static void mutate(char **argv)
{
	if (MUTATE_UNPROTECT)
		allow_writing(&in_relro);
	if (MUTATE_WRITABLE_CONSTANTS)
		allow_writing(&in_rodata);
	if (MUTATE_MOVED_VDSO)
		move_vdso();
	if (MUTATE_ABOVE)
		map_above_linker();
	if (MUTATE_OTHER_CODE)
		change_record(PR_SET_MM_END_CODE, page_down((uintptr_t)&note_objects) + 1);
	if (MUTATE_MOVED_DATA)
		change_record(PR_SET_MM_START_DATA, page_down((uintptr_t)&in_data));
	if (MUTATE_MOVED_BSS)
		change_record(PR_SET_MM_END_DATA, (uintptr_t)in_bss + 2 * PAGE);
	if (MUTATE_MOVED_ARGUMENTS)
		change_record(PR_SET_MM_ARG_START, (uintptr_t)argv[0] + 1);
}

static void show_start(int argc, char **argv)
{
	note_segments();
	note_code_and_data();
	note_objects();
	note_strings(argc, argv);
	note_file();
	lab_note_hex("brk", kernel_break());
	lab_note_hex("vdso", getauxval(AT_SYSINFO_EHDR));
	mutate(argv);
	lab_checkpoint("start");
}

static void show_heap(char **argv)
{
	if (!MUTATE_NO_GROWTH)
		syscall(SYS_brk, kernel_break() + PAGE);
	if (MUTATE_MOVED_STACK)
		change_record(PR_SET_MM_START_STACK, (uintptr_t)&in_data);
	lab_note_hex("brk", kernel_break());
	lab_checkpoint("grown");
	if (MUTATE_MOVED_STACK)	/* [stack] is the name of the VMA that holds it */
		change_record(PR_SET_MM_START_STACK, (uintptr_t)(argv - 1));
}

/* The bare system call, because nothing but it is to be in the window. */
static void exec_self(const char *how)
{
	const char *argv[] = { "exec", how, NULL };

	lab_syscall(SYS_execve, (long)"/proc/self/exe", (long)argv, (long)environ, 0, 0, 0);
}

static __attribute__((noinline)) void touch_deep_stack(void)
{
	volatile char pad[64 * PAGE];
	long i;

	for (i = (long)sizeof(pad) - PAGE; i >= 0; i -= PAGE)
		pad[i] = 1;
}

/* In the new image: first of all the window is closed. */
static int show_image(void)
{
	lab_trace_end("exec");
	if (MUTATE_DEEP_STACK)
		touch_deep_stack();
	note_segments();
	lab_note_hex("brk", kernel_break());
	lab_checkpoint("image");
	return 0;
}

/*
 * The window is opened here, and closed by the new image.  The descriptor keeps the
 * old mm_struct (mm_count), though nothing of the address space: no later mm_struct
 * can have its place in memory, and so its address.
 */
static int show_exec(void)
{
	open("/proc/self/mem", O_RDONLY);
	lab_trace_begin("exec");
	if (MUTATE_NO_EXEC) {
		in_bss[2 * PAGE] = 1;	/* a fault, of the old image */
		return show_image();
	}
	exec_self(MUTATE_TWO_EXECS ? "again" : "image");
	return 1;
}

/* What is mapped here must not depend on `ulimit`; RLIMIT_STACK, which execve itself reads, stays. */
static void lift_limits(void)
{
	const struct rlimit none = { RLIM_INFINITY, RLIM_INFINITY };

	setrlimit(RLIMIT_AS, &none);
	setrlimit(RLIMIT_DATA, &none);
}

int main(int argc, char **argv)
{
	char how = argc > 1 ? argv[1][0] : '\0';

	prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);	/* a huge page would be counted as 512 */
	switch (how) {
	case 's':
		return report_sample();
	case 'a':
		exec_self("image");
		return 1;
	case 'i':
		return show_image();
	}
	lift_limits();
	show_start(argc, argv);
	show_heap(argv);
	show_counts();
	show_random();
	show_relatives();
	return show_exec();
}
