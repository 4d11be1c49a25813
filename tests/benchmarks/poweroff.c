/* The whole user space of the bare guest: as soon as it runs, the machine goes off. */
#include <sys/reboot.h>
#include <unistd.h>

int main(void)
{
	reboot(RB_POWER_OFF);
	for (;;)
		pause();
}
