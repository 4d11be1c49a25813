/* SPDX-License-Identifier: MIT */
/* machine.h - the virtual machine as its guest sees it: see machine.c. */
#ifndef MACHINE_H
#define MACHINE_H

#include <stdbool.h>

#define ORDERS		"/lab/orders"	/* what labrun is told, where the host only listens */

/* The whole guest stands still until the host lets it go on; false where this machine has no such device. */
bool machine_pause(void);

/* Whether it could. */
bool machine_can_pause(void);

#endif
