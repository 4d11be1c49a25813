/* Ends itself with the signal that its macro names, after a first checkpoint. */
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#ifndef SIGNAL
#define SIGNAL SIGKILL
#endif

int main(void)
{
	getchar();
	kill(getpid(), SIGNAL);
	pause();
	return 0;
}
