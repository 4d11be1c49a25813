// SPDX-License-Identifier: MIT
/*
 * machine.c - the guest stands still, at one instruction that is always the same.
 *
 * Three of QEMU's debug consoles are I/O ports: what is written there goes to a pipe
 * of the host's.  The first one rings: the host looks up.  The other two are gates,
 * taken in turn: their pipes are full, and the one instruction that writes to one does
 * not end before the host has made room.  No time passes for the guest meanwhile, as
 * that is a count of instructions.  (Pausing the virtual machine by pvpanic or QMP takes
 * two threads of QEMU, and which is faster decides whether the clock jumps to the next
 * timer: hw/char/debugcon.c, accel/tcg/icount-common.c; ioperm(2))
 */
#include "machine.h"

#include <sys/io.h>

#define BELL		0xe9	/* QEMU's debug console is at home here, and says so when it is read */
#define GATE		0xea	/* ... and the next one */
#define PORTS		3

bool machine_can_pause(void)
{
	static bool opened;

	opened = opened || (ioperm(BELL, PORTS, 1) == 0 && inb(BELL) == BELL);
	return opened;
}

bool machine_pause(void)
{
	static unsigned short turn;

	if (!machine_can_pause())
		return false;
	outb(1, BELL);
	outb(1, (unsigned short)(GATE + turn));
	turn ^= 1;
	return true;
}
