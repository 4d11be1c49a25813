// SPDX-License-Identifier: MIT
/*
 * port.c - the host's second way in: a virtio port, where labrun's protocol needs no SSH.
 *
 * init keeps the port open, so that nobody else can have it (drivers/char/virtio_console.c
 * lets a port be opened once).  When the host says something on it, labrun is
 * started with the port as its standard input and output, as by an inetd.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "port.h"

#define PORTS		"/sys/class/virtio-ports"
#define DRIVER		"/sys/bus/virtio/drivers/virtio_console"
#define NAME		"lab"
#define WAIT_MS		1000	/* for the device to tell the driver of its ports */

static bool has_name(const char *port)
{
	char path[320], name[16] = "";
	int fd;

	snprintf(path, sizeof(path), PORTS "/%s/name", port);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	(void)!read(fd, name, sizeof(name) - 1);
	close(fd);
	return !strncmp(name, NAME "\n", sizeof(NAME "\n") - 1);
}

static int find(void)
{
	DIR *dir = opendir(PORTS);
	struct dirent *d;
	char path[320];
	int fd = -1;

	while (dir && fd < 0 && (d = readdir(dir))) {
		if (!has_name(d->d_name))
			continue;
		snprintf(path, sizeof(path), "/dev/%s", d->d_name);
		fd = open(path, O_RDWR | O_CLOEXEC);
	}
	if (dir)
		closedir(dir);
	return fd;
}

int port_open(void)
{
	int fd = find();

	for (int i = 0; fd < 0 && i < WAIT_MS && access(DRIVER, F_OK) == 0; i++) {
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
		fd = find();
	}
	return fd;
}
