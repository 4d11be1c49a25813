/* Forks without end; no child ever leaves. */
#include <unistd.h>

int main(void)
{
	for (;;)
		fork();
}
