/* SPDX-License-Identifier: MIT */
/* own.h - what makes a guest one of its own: see own.c. */
#ifndef OWN_H
#define OWN_H

#define HOST_KEY	"/lab/hostkey"

/* The console neither echoes nor sends signals from here on; NULL, or what went wrong. */
const char *own_terminal(void);

/* Waits on the console for what makes this guest its own, and takes it; NULL, or what went wrong. */
const char *become_own(void);

#endif
