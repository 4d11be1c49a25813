/* SPDX-License-Identifier: MIT */
/* abuse.h - the abuses, each in a process of its own. */
#ifndef ABUSE_H
#define ABUSE_H

struct abuse {
	const char *name;
	int (*commit)(void);	/* returns, if nobody noticed, whether the abuse worked */
};

void try_abuses(const struct abuse *abuses, int count);

#define TRY_ABUSES(abuses)	try_abuses(abuses, (int)(sizeof(abuses) / sizeof((abuses)[0])))

#endif
