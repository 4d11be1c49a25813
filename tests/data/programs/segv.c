/* Writes to a page that may only be read. */
#include <sys/mman.h>

int main(void)
{
	char *page = mmap(0, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	page[42] = 1;
	return 0;
}
