/* Prints without end. */
#include <unistd.h>

int main(void)
{
	static char line[4096] = "\033[2Jflood\n";

	for (;;)
		if (write(1, line, sizeof(line)) < 0)
			return 1;
}
