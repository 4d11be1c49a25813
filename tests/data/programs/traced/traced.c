/*
 * What the tests of the kernel trace run: a window of touches, a window that
 * spans execve(), a window in which the program dies.
 */
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <string.h>
#include <unistd.h>
#include "lab.h"
#ifndef PAGES
#define PAGES 1
#endif
#ifndef ODD_NAME
#define ODD_NAME 0
#endif

int main(int argc, char **argv)
{
	volatile char *p;
	long i;

	if (argc > 1) {
		p = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		p[0] = 1;
		lab_note_ptr("second", (void *)p);
		lab_trace_end("exec");
		lab_checkpoint("executed");
		lab_trace_begin("fatal");
		*(volatile char *)16 = 1;
	}
	if (ODD_NAME)	/* a record of the trace then has two lines */
		prctl(PR_SET_NAME, "a\nb");
	prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
	p = mmap(0, PAGES * 4096L, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	lab_note_ptr("region", (void *)p);
	lab_trace_begin("touch");
	for (i = 0; i < PAGES; i++)
		p[i * 4096] = 1;
	lab_trace_end("touch");
	lab_checkpoint("touched");
	lab_trace_begin("exec");
	if (fork() == 0) {
		execl("/proc/self/exe", "again", "x", (char *)0);
		_exit(1);
	}
	wait(0);
	return 0;
}
