// SPDX-License-Identifier: MIT
/*
 * processes - fork() by the number of pages that the parent has touched, and execve().
 *
 * A fork is counted until it returns in the parent.  An execve is counted from the system call to
 * the first instruction of the new program: of one that is a few instructions without libc, which is
 * the kernel's work alone, and of this one's main(), where the dynamic linker has been at work.
 */
#include "cost.h"

#include <elf.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define TELL	200	/* the descriptor on which the new program says when it began */
#define BASE	0x400000UL

static void finish(pid_t child)
{
	if (child == 0)
		_exit(0);
	need(child > 0 && waitpid(child, NULL, 0) == child, "a child");
}

static void show_fork(const char *window, size_t pages)
{
	char *place = pages ? mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
			    : NULL;
	pid_t child;

	need(place != MAP_FAILED, "memory to fork with");
	if (pages)
		madvise(place, pages * PAGE, MADV_NOHUGEPAGE);
#ifndef MUTATE_NO_PAGES
	for (size_t n = 0; n < pages; n++)
		touch(place + n * PAGE);
#endif
	MEASURE(window, NOTHING, child = fork(), finish(child));
	if (pages)
		munmap(place, pages * PAGE);
}

void show_forks(void)
{
	show_fork("fork.0", 0);
	show_fork("fork.4096", 4096);
	show_fork("fork.8192", 8192);
	show_fork("fork.12288", 12288);
}

/* write(TELL, &counter, 8), exit(0); as lab_cost_counter() reads it */
extern const char tiny[], tiny_end[];
__asm__(".pushsection .rodata\n"
	"tiny:\trdtscp\n\tshl $32, %rdx\n\tor %rdx, %rax\n\tpush %rax\n"
	"\tmov %rsp, %rsi\n\tmov $200, %edi\n\tmov $8, %edx\n\tmov $1, %eax\n\tsyscall\n"
	"\txor %edi, %edi\n\tmov $60, %eax\n\tsyscall\n"
	"tiny_end:\n\t.popsection\n");

/* An executable of one segment. */
static void write_tiny(const char *path)
{
	struct {
		Elf64_Ehdr head;
		Elf64_Phdr segment;
		char code[64];
	} file = {
		.head = {
			.e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
			.e_type = ET_EXEC, .e_machine = EM_X86_64, .e_version = EV_CURRENT,
			.e_entry = BASE + sizeof(Elf64_Ehdr) + sizeof(Elf64_Phdr),
			.e_phoff = sizeof(Elf64_Ehdr), .e_ehsize = sizeof(Elf64_Ehdr),
			.e_phentsize = sizeof(Elf64_Phdr), .e_phnum = 1,
		},
		.segment = {
			.p_type = PT_LOAD, .p_flags = PF_R | PF_X, .p_vaddr = BASE, .p_paddr = BASE,
			.p_filesz = sizeof(file), .p_memsz = sizeof(file), .p_align = PAGE,
		},
	};
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);

	memcpy(file.code, tiny, (size_t)(tiny_end - tiny));
	need(fd >= 0 && write(fd, &file, sizeof(file)) == (ssize_t)sizeof(file), "an executable");
	close(fd);
}

/* In the new program: who started it hears when that was. */
void arrived(uint64_t now)
{
	(void)!write(TELL, &now, sizeof(now));
}

/* From the child's execve() to the new program's first look at the counter. */
static uint64_t exec_once(const char *program, char *const argv[], uint64_t *shared)
{
	uint64_t end = 0;
	int ends[2];
	pid_t child;

	need(pipe(ends) == 0, "a pipe");
	child = fork();
	if (child == 0) {
		dup2(ends[1], TELL);
		lab_cost_begin("execve");
		*shared = lab_cost_start;
		execve(program, argv, (char *[]){ NULL });
		_exit(1);
	}
	close(ends[1]);
	need(child > 0 && read(ends[0], &end, sizeof(end)) == (ssize_t)sizeof(end), "a word from the new program");
	waitpid(child, NULL, 0);
	close(ends[0]);
	return ((end - *shared) >> LAB_COST_SHIFT) - LAB_COST_EMPTY;
}

static void show_execs(const char *window, const char *program, char *const argv[], uint64_t *shared)
{
	uint64_t least = UINT64_MAX;

	for (int n = 0; n < REPEATS; n++) {
		uint64_t cost = exec_once(program, argv, shared);

		least = cost < least ? cost : least;
	}
	lab_cost_note(window, least);
}

void show_exec(const char *self)
{
	uint64_t *shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	need(shared != MAP_FAILED, "a page for parent and child");
	*shared = 0;
	write_tiny("tiny");
#ifdef MUTATE_TINY
	self = "./tiny";
#endif
	show_execs("exec.static", "./tiny", (char *[]){ "tiny", NULL }, shared);
	show_execs("exec.to-main", self, (char *[]){ "cost", "arrived", NULL }, shared);
	munmap(shared, PAGE);
}
