/* Two threads in pause, then one blocked reader of standard input. */
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

static void *idle(void *unused)
{
	pause();
	return unused;
}

int main(void)
{
	pthread_t one, two;

	getchar();
	pthread_create(&one, NULL, idle, NULL);
	pthread_create(&two, NULL, idle, NULL);
	getchar();
	return 0;
}
