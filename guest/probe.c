// SPDX-License-Identifier: MIT
/*
 * probe.c - the environment as measured, one "probe" frame for each kind.
 *
 * Everything is read from the running kernel and libc, nothing is assumed; what
 * this kernel does not have is sent as an empty payload or left out.
 */
#include "labrun.h"

#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PROBE_MAX	(256U << 10)
#define VALUE_MAX	256

static struct {
	char data[PROBE_MAX];
	size_t len;
} text;

static void PRINTF(1, 2) put(const char *fmt, ...)
{
	size_t room = sizeof(text.data) - text.len;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(text.data + text.len, room, fmt, ap);
	va_end(ap);
	if (n > 0 && (size_t)n < room)
		text.len += (size_t)n;
}

static void send_text(const char *name)
{
	wire_frame("probe", text.data, text.len, "name=%s", name);
	text.len = 0;
}

static void probe_file(const char *name, const char *path)
{
	bool truncated;
	size_t len;
	const char *data = evidence(path, PROBE_MAX, &len, &truncated);

	if (data)
		wire_frame("probe", data, len, "name=%s%s", name, truncated ? " truncated=1" : "");
}

/* Where the kernel keeps what a crash dump is read with: physical address and size, both hexadecimal. */
static void probe_vmcoreinfo(void)
{
	probe_file("vmcoreinfo", "/sys/kernel/vmcoreinfo");
}

/*
 * The kernel's own GNU build-id, hexadecimal: it says whether a vmlinux is this
 * kernel's. /sys/kernel/notes holds ELF notes (elf(5)): sizes of name and of
 * descriptor, type, name, descriptor, each padded to 4 bytes.
 */
static void probe_buildid(void)
{
	static const char owner[] = "GNU";
	bool truncated;
	size_t len, at = 0;
	const char *data = evidence("/sys/kernel/notes", PROBE_MAX, &len, &truncated);

	while (data && len - at >= 12) {
		uint32_t head[3];
		size_t name, desc;

		memcpy(head, data + at, sizeof(head));
		name = at + sizeof(head);
		if (head[0] > len || head[1] > len)
			break;
		desc = name + ((head[0] + 3U) & ~3U);
		at = desc + ((head[1] + 3U) & ~3U);
		if (at > len)
			break;
		if (head[2] != NT_GNU_BUILD_ID || head[0] != sizeof(owner) || memcmp(data + name, owner, sizeof(owner)))
			continue;
		for (size_t i = 0; i < head[1]; i++)
			put("%02x", (unsigned char)data[desc + i]);
		put("\n");
		break;
	}
	send_text("buildid");
}

static void probe_uname(void)
{
	struct utsname u;

	uname(&u);
	put("sysname = %s\nrelease = %s\nversion = %s\nmachine = %s\n", u.sysname, u.release,
	    u.version, u.machine);
	send_text("uname");
}

/* Lines "name = value"; a value of several lines is joined by spaces. */
static void sysctl_value(const char *path)
{
	const char *name = path + strlen("/proc/sys/");
	char value[VALUE_MAX], dotted[256];
	ssize_t n = read_small(path, value, sizeof(value));
	size_t i;

	if (n < 0)
		return;
	while (n && value[n - 1] == '\n')
		value[--n] = '\0';
	for (char *p = value; *p; p++)
		if (*p == '\n')
			*p = ' ';
	for (i = 0; name[i] && i < sizeof(dotted) - 1; i++)
		dotted[i] = name[i] == '/' ? '.' : name[i];
	dotted[i] = '\0';
	put("%s = %s\n", dotted, value);
}

static void sysctl_dir(const char *dir, int depth)
{
	struct dirent **names;
	char path[512];
	struct stat st;
	int n = scandir(dir, &names, NULL, alphasort);

	for (int i = 0; i < n; i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, names[i]->d_name);
		if (names[i]->d_name[0] == '.' || stat(path, &st) < 0)
			;
		else if (S_ISDIR(st.st_mode) && depth)
			sysctl_dir(path, depth - 1);
		else if (S_ISREG(st.st_mode) && (st.st_mode & 0444))
			sysctl_value(path);
		free(names[i]);
	}
	if (n >= 0)
		free(names);
}

static void probe_sysctl(void)
{
	sysctl_dir("/proc/sys/fs", 0);
	sysctl_dir("/proc/sys/kernel", 1);
	sysctl_dir("/proc/sys/vm", 0);
	send_text("sysctl");
}

static void probe_thp(void)
{
	static const char dir[] = "/sys/kernel/mm/transparent_hugepage";
	static const char *const names[] = {
		"enabled", "defrag", "shmem_enabled", "use_zero_page", "hpage_pmd_size",
	};
	char path[128], value[VALUE_MAX];

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		if (read_small(path, value, sizeof(value)) > 0)
			put("%s = %s", names[i], value);
	}
	send_text("thp");
}

/* glibc's shared object, run as a program, says which release it is. */
static void probe_glibc(void)
{
	static const char *const paths[] = {
		"/lib/x86_64-linux-gnu/libc.so.6", "/usr/lib/x86_64-linux-gnu/libc.so.6",
		"/lib64/libc.so.6", "/usr/lib64/libc.so.6", "/usr/lib/libc.so.6",
	};
	size_t i = 0, len = 0;
	char line[512];
	int fds[2];
	ssize_t n;
	pid_t pid;

	while (i < sizeof(paths) / sizeof(*paths) && access(paths[i], X_OK))
		i++;
	if (i == sizeof(paths) / sizeof(*paths) || pipe2(fds, O_CLOEXEC) < 0) {
		send_text("glibc");
		return;
	}
	pid = fork();
	if (pid == 0) {
		dup2(fds[1], STDOUT_FILENO);
		execle(paths[i], paths[i], NULL, (char *[]){ NULL });
		_exit(127);
	}
	close(fds[1]);
	while (len < sizeof(line) - 1 && (n = read(fds[0], line + len, sizeof(line) - 1 - len)) > 0)
		len += (size_t)n;
	close(fds[0]);
	if (pid > 0)
		waitpid(pid, NULL, 0);
	line[len] = '\0';
	line[strcspn(line, "\n")] = '\0';
	put("%s\n", line);
	send_text("glibc");
}

static void probe_clock(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	put("%lld.%09ld\n", (long long)t.tv_sec, t.tv_nsec);
	send_text("clock");
}

void probe_all(struct run *r)
{
	probe_uname();
	probe_buildid();
	probe_vmcoreinfo();
	probe_file("version", "/proc/version");
	probe_file("cmdline", "/proc/cmdline");
	probe_file("cpuinfo", "/proc/cpuinfo");
	probe_file("meminfo", "/proc/meminfo");
	probe_file("mounts", "/proc/mounts");
	probe_file("modules", "/proc/modules");
	probe_file("config", "/proc/config.gz");
	probe_sysctl();
	probe_thp();
	probe_glibc();
	put("%ld\n", sysconf(_SC_PAGESIZE));
	send_text("pagesize");
	probe_clock();
	remains_send();
	if (r->symbols.count) {
		symbols_load(r);
		symbols_print(put);
		send_text("symbols");
	}
}
