/* SPDX-License-Identifier: MIT */
/* port.h - the host's virtio port, which starts labrun: see port.c. */
#ifndef PORT_H
#define PORT_H

/* The host's port, open; -1 where this kernel or QEMU has none. */
int port_open(void);

#endif
