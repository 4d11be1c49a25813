// SPDX-License-Identifier: MIT
/* A child in the parent's own memory; and a page that something else holds on to. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fork.h"
#include "lab.h"

void show_vfork(void)
{
	char *page = new_area(PAGE, MAP_PRIVATE);
	pid_t pid;

	write_word(page, 1);
	lab_note_ptr("page", page);
	lab_note_hex("parent-frame", frame_of(page));
	lab_trace_begin("vfork");
	pid = MUTATE_REAL_FORK ? fork() : vfork();	/* here: vfork must not return twice from a function */
	if (pid == 0) {
		write_word(page, 2);
		lab_note_hex("child-frame", frame_of(page));
		_exit(0);
	}
	lab_trace_end("vfork");
	wait_child(pid);
	lab_note_u64("value", read_word(page));
	lab_checkpoint("in-place");
}

/*
 * The page lies in a pipe as well (vmsplice without a copy), so it has one owner
 * and one more user.  Without write permission and with it again, the processor
 * may find its entry write-protected, as after a fork.
 */
void show_pinned(void)
{
	char *page = new_area(PAGE, MAP_PRIVATE);
	struct iovec vector = {page, PAGE};
	uint64_t word = 0;
	int pipe_ends[2];

	write_word(page, 1);
	touch_crowd();
	if (pipe(pipe_ends) || vmsplice(pipe_ends[1], &vector, 1, 0) != PAGE)
		abort();
	lab_note_hex("frame-before", frame_of(page));
	mprotect(page, PAGE, PROT_READ);
	mprotect(page, PAGE, PROT_READ | PROT_WRITE);
	if (!MUTATE_NO_WRITE)
		write_in_window("pinned", page, 2);
	lab_note_ptr("page", page);
	lab_note_hex("frame-after", frame_of(page));
	if (read(pipe_ends[0], &word, sizeof(word)) != sizeof(word))
		abort();
	lab_note_u64("in-pipe", word);
	lab_checkpoint("pinned");
}
