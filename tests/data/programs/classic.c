/* The classic demonstration of the program break, as text books have it: nothing of the lab in it. */
#include <stdio.h>
#include <sys/types.h>
#include <unistd.h>

int main(void)
{
	void *first, *now;

	printf("Welcome to the program break: %d\n", (int)getpid());
	first = now = sbrk(0);
	printf("Program break 1: %p\n", now);
	getchar();

	brk((char *)now + 4096);
	now = sbrk(0);
	printf("Program break 2: %p\n", now);
	getchar();

	brk(first);
	now = sbrk(0);
	printf("Program break 3: %p\n", now);
	getchar();
	return 0;
}
