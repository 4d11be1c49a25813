/*
 * The classic demonstration without a word printed.  The first getchar() makes
 * glibc malloc the buffer of stdin above the break that sbrk(0) told; brk() then
 * cuts malloc's heap down to a page, and off.  The last read has no buffer any
 * more (EFAULT), so that getchar() returns EOF; nothing crashes.
 */
#include <stdio.h>
#include <unistd.h>

int main(void)
{
	char *start = sbrk(0);

	getchar();
	brk(start + 4096);
	getchar();
	brk(start);
	getchar();
	return 0;
}
