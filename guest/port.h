/* SPDX-License-Identifier: MIT */
/* port.h - the host's virtio port, which starts labrun: see port.c. */
#ifndef PORT_H
#define PORT_H

#include <stdbool.h>
#include <sys/types.h>

/* The host's port, open; -1 where this kernel or QEMU has none. */
int port_open(void);

/* A labrun that speaks with the host through the port; -1 where no process can be made. */
pid_t port_labrun(int port);

#endif
