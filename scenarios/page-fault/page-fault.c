/* SPDX-License-Identifier: MIT */
/*
 * page-fault - how a process gets its memory: page by page, when it touches it.
 *
 * Shown: the first touch of a page of anonymous memory is a minor fault that
 * brings one zeroed page; the page tables on the way to it are made with it; a
 * page that is only read is the shared zero page; with huge pages one fault
 * brings 2 MiB; a fault on a file maps pages of the page cache, its neighbours
 * too, and a private write copies one; memory can be faulted in ahead, and given
 * back.
 *
 * How: each part maps memory, stops, touches it, stops again.  Faults are counted
 * by getrusage(2), pages by smaps, tables by VmPTE, and which page frame it is by
 * pagemap.  Around the touches that matter a window of the kernel's trace is
 * opened.  VMAs and page tables before and after are read from the memory of the
 * guest, which stands still for it.  One part a file: anonymous, tables, levels,
 * zero, huge, file, prefault.
 *
 * No stdio and no malloc, whose memory would fault in between.  Each MUTATE_... is
 * a negative control: it breaks the mechanism behind an expectation of
 * scenario.yaml, which must then fail.
 */
#include <sys/resource.h>

#include "page-fault.h"

/* The parts need address space, more than memory: they must not depend on `ulimit`. The program is root. */
static void lift_limits(void)
{
	const struct rlimit none = { RLIM_INFINITY, RLIM_INFINITY };

	if (setrlimit(RLIMIT_AS, &none) || setrlimit(RLIMIT_DATA, &none) || setrlimit(RLIMIT_FSIZE, &none))
		give_up("setrlimit");
}

int main(void)
{
	lift_limits();
	warm_up();
	if (MUTATE_DEPOSIT)
		write_byte(huge_range());
	show_fault();
	show_count();
	show_tables();
	show_levels();
	show_zero();
	show_huge();
	show_file();
	show_prefault();
	return 0;
}
