/* The whole user space of the bare guest: says what `uname -r` says, then the machine goes off. */
#include <string.h>
#include <sys/reboot.h>
#include <sys/utsname.h>
#include <unistd.h>

int main(void)
{
	struct utsname name;

	if (uname(&name) == 0) {
		write(1, name.release, strlen(name.release));
		write(1, "\n", 1);
	}
	reboot(RB_POWER_OFF);
	for (;;)
		pause();
}
