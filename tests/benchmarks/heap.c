/* Heaps of 10,000 and of 1,000,000 chunks, a third of them free. */
#include <stdlib.h>

#include "lab.h"

static void fill(long chunks)
{
	for (long i = 0; i < chunks; i++) {
		void *block = malloc(24 + (size_t)(i % 5) * 16);

		if (i % 3 == 0)
			free(block);
	}
}

int main(void)
{
	lab_checkpoint("first");
	lab_checkpoint("later");
	fill(10000);
	lab_checkpoint("small");
	fill(1200000);
	lab_checkpoint("large");
	return 0;
}
