// SPDX-License-Identifier: MIT
/*
 * init.c - the guest's PID 1: mounts, modules, network, then an inetd for dropbear.
 *
 * It does itself what a shell would start a dozen processes for, and listens on
 * port 22 itself: when it says "LAB: ready" on the console, a connection will be
 * answered.  Lines on the console that begin with "LAB: " are for the host:
 *
 *	LAB: boot <release>	the kernel runs us
 *	LAB: warn <text>	something is missing, the guest works without it
 *	LAB: fail <text>	the guest cannot work; what the kernel must have; power off
 *	LAB: ready <ms>		port 22 listens, so many milliseconds after the kernel's start
 *	LAB: saved <ms>		... but has no keys: it is made to be saved, and waits
 *	LAB: port 1		the host's virtio port is open: labrun can be started through it
 *	LAB: gone <text>	the labrun there ended without a last word
 *	LAB: own <ms>		this guest has what makes it one of its own (own.c)
 *	LAB: over status <n>	or signal <n>: a guest that runs its case by itself has done so, and stands still
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <stdnoreturn.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/klog.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "machine.h"
#include "own.h"
#include "port.h"

#define ADDRESS		"10.0.2.15"	/* QEMU's user-mode network gives it to its guest */
#define NETMASK		"255.255.255.0"
#define PORT		22
#define MODULES		"/lab/modules"
#define OWN		"init-own"	/* our name when we start over; the kernel calls us /init */
#define SESSIONS	32
#define DEVICE_MS	5000		/* for a network device to appear */
#define CONSOLE_OFF	6		/* syslog(2) */
#define CONSOLE_ON	7

static pid_t sessions[SESSIONS];
static size_t nr_sessions;
static int port = -1;		/* the host's; -1: there is none */
static pid_t port_session;	/* the labrun that has it; 0: none */

static void say(const char *word, const char *fmt, va_list ap)
{
	char line[512];
	int n = snprintf(line, sizeof(line), "LAB: %s ", word);

	n += vsnprintf(line + n, sizeof(line) - (size_t)n - 1, fmt, ap);
	if ((size_t)n > sizeof(line) - 2)
		n = sizeof(line) - 2;
	line[n++] = '\n';
	(void)!write(STDOUT_FILENO, line, (size_t)n);
}

static void __attribute__((format(printf, 1, 2))) warn(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say("warn", fmt, ap);
	va_end(ap);
}

/*
 * Words that the host waits for: the kernel's own messages, which bypass the
 * terminal, are kept from breaking into the line while it is on its way.
 */
static void __attribute__((format(printf, 2, 3))) announce(const char *word, const char *fmt, ...)
{
	int left = 0;
	va_list ap;

	klogctl(CONSOLE_OFF, NULL, 0);
	va_start(ap, fmt);
	say(word, fmt, ap);
	va_end(ap);
	for (int i = 0; i < 50 && ioctl(STDOUT_FILENO, TIOCOUTQ, &left) == 0 && left; i++)
		nanosleep(&(struct timespec){ .tv_nsec = 200000 }, NULL);
	klogctl(CONSOLE_ON, NULL, 0);
}

static noreturn void leave(int how)
{
	sync();
	tcdrain(STDOUT_FILENO);
	reboot(how);
	warn("the kernel does not power off: %s", strerror(errno));
	reboot(RB_HALT_SYSTEM);
	while (true)
		pause();
}

static noreturn void __attribute__((format(printf, 1, 2))) fail(const char *fmt, ...)
{
	char text[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	announce("fail", "%s", text);
	leave(RB_POWER_OFF);
}

static void put(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd >= 0) {
		(void)!write(fd, value, strlen(value));
		close(fd);
	}
}

static void open_console(void)
{
	int fd = open("/dev/console", O_RDWR | O_NOCTTY);

	if (fd < 0)
		return;
	for (int i = 0; i < 3; i++)
		if (fd != i)
			dup2(fd, i);
	if (fd > 2)
		close(fd);
}

static void mount_all(void)
{
	static const struct {
		const char *type, *where, *options, *needs;
		bool vital;
	} table[] = {
		{ "devtmpfs", "/dev", "mode=0755", "CONFIG_DEVTMPFS", true },
		{ "proc", "/proc", NULL, "CONFIG_PROC_FS", true },
		{ "sysfs", "/sys", NULL, "CONFIG_SYSFS", false },
		{ "devpts", "/dev/pts", "mode=0620,ptmxmode=0666", "CONFIG_UNIX98_PTYS", false },
		{ "tmpfs", "/dev/shm", "mode=1777", "CONFIG_TMPFS", false },
		{ "tmpfs", "/run", "mode=0755", "CONFIG_TMPFS", false },
		{ "tmpfs", "/tmp", "mode=1777", "CONFIG_TMPFS", false },
		{ "tracefs", "/sys/kernel/tracing", NULL, "CONFIG_TRACING", false },
		{ "cgroup2", "/sys/fs/cgroup", NULL, "CONFIG_CGROUPS", false },
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
		mkdir(table[i].where, 0755);
		if (mount(table[i].type, table[i].where, table[i].type, MS_NOSUID,
			  table[i].options) == 0 || errno == EBUSY) {
			if (i == 0)
				open_console();
		} else if (table[i].vital) {
			fail("cannot mount %s: %s; the kernel needs %s", table[i].type,
			     strerror(errno), table[i].needs);
		} else {
			warn("cannot mount %s at %s: %s; the kernel may lack %s", table[i].type,
			     table[i].where, strerror(errno), table[i].needs);
		}
	}
}

static int is_module(const struct dirent *d)
{
	size_t len = strlen(d->d_name);

	return len > 3 && !strcmp(d->d_name + len - 3, ".ko");
}

/* In the order of their names: the host numbers them. */
static void load_modules(void)
{
	struct dirent **names;
	int n = scandir(MODULES, &names, is_module, alphasort);

	for (int i = 0; i < n; i++) {
		char path[512];
		int fd;

		snprintf(path, sizeof(path), MODULES "/%s", names[i]->d_name);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0 || (syscall(SYS_finit_module, fd, "", 0) < 0 && errno != EEXIST))
			warn("module %s: %s", names[i]->d_name, strerror(errno));
		if (fd >= 0)
			close(fd);
		free(names[i]);
	}
	if (n >= 0)
		free(names);
}

static bool set_address(int sock, const char *name, const char *address, const char *mask)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	struct ifreq r = { 0 };

	strncpy(r.ifr_name, name, IFNAMSIZ - 1);
	inet_pton(AF_INET, address, &a.sin_addr);
	memcpy(&r.ifr_addr, &a, sizeof(a));
	if (ioctl(sock, SIOCSIFADDR, &r) < 0)
		return false;
	inet_pton(AF_INET, mask, &a.sin_addr);
	memcpy(&r.ifr_netmask, &a, sizeof(a));
	if (ioctl(sock, SIOCSIFNETMASK, &r) < 0 || ioctl(sock, SIOCGIFFLAGS, &r) < 0)
		return false;
	r.ifr_flags |= IFF_UP | IFF_RUNNING;
	return ioctl(sock, SIOCSIFFLAGS, &r) == 0;
}

/* Ethernet, and hardware: bond0 or dummy0 say that they are Ethernet as well. */
static bool find_ethernet(int sock, char *name)
{
	struct if_nameindex *all = if_nameindex();
	bool found = false;

	for (struct if_nameindex *i = all; i && i->if_index && !found; i++) {
		struct ifreq r = { 0 };
		char device[96];

		strncpy(r.ifr_name, i->if_name, IFNAMSIZ - 1);
		snprintf(device, sizeof(device), "/sys/class/net/%s/device", i->if_name);
		if (ioctl(sock, SIOCGIFHWADDR, &r) == 0 &&
		    r.ifr_hwaddr.sa_family == ARPHRD_ETHER &&
		    (access(device, F_OK) == 0 || access("/sys/class/net", F_OK) < 0)) {
			strcpy(name, r.ifr_name);
			found = true;
		}
	}
	if (all)
		if_freenameindex(all);
	return found;
}

static uint64_t uptime_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_BOOTTIME, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* A driver may find its device late; the kernel announces each new link. */
static bool await_ethernet(int sock, char *name)
{
	struct sockaddr_nl a = { .nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK };
	struct pollfd p = { .fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE),
			    .events = POLLIN };
	uint64_t deadline = uptime_ms() + DEVICE_MS;
	char waste[4096];
	bool found;

	bind(p.fd, (struct sockaddr *)&a, sizeof(a));
	while (!(found = find_ethernet(sock, name)) && uptime_ms() < deadline) {
		if (poll(&p, 1, (int)(deadline - uptime_ms())) > 0)
			(void)!recv(p.fd, waste, sizeof(waste), 0);
	}
	close(p.fd);
	return found;
}

static void network(void)
{
	int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	char name[IFNAMSIZ];

	if (sock < 0)
		fail("no IPv4: %s; the kernel needs CONFIG_INET", strerror(errno));
	if (!set_address(sock, "lo", "127.0.0.1", "255.0.0.0"))
		warn("interface lo: %s", strerror(errno));
	if (!await_ethernet(sock, name))
		fail("no network device; the kernel needs CONFIG_VIRTIO_PCI and CONFIG_VIRTIO_NET, "
		     "built in or as modules given with it");
	if (!set_address(sock, name, ADDRESS, NETMASK))
		fail("interface %s cannot be set up: %s", name, strerror(errno));
	close(sock);
}

static int listen_ssh(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(PORT) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, 64) < 0)
		fail("cannot listen on port %d: %s", PORT, strerror(errno));
	return fd;
}

static const char *find_dropbear(void)
{
	static const char *const paths[] = {
		"/usr/sbin/dropbear", "/usr/bin/dropbear", "/sbin/dropbear", "/bin/dropbear",
	};

	for (size_t i = 0; i < sizeof(paths) / sizeof(*paths); i++)
		if (access(paths[i], X_OK) == 0)
			return paths[i];
	fail("no dropbear in the userland (looked at /usr/sbin/dropbear and the like)");
}

static char *const environment[] = { "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", NULL };

/*
 * What speaks with the host through a descriptor.  oom_score_adj is inherited by
 * the user's shell: -900, so that the kernel's last resort can still end what a
 * shell started.
 */
static void begin_session(int fd)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setsid();
	put("/proc/self/oom_score_adj", "-900");
	dup2(fd, STDIN_FILENO);
	dup2(fd, STDOUT_FILENO);
}

/*
 * Keys only (-s, -g), no forwarding (-j -k), no message of the day (-m).  Its
 * complaints about its own start go to stderr, the console.
 */
static noreturn void ssh_session(const char *dropbear, int connection)
{
	begin_session(connection);
	execle(dropbear, "dropbear", "-i", "-m", "-s", "-g", "-j", "-k", "-r", HOST_KEY,
	       NULL, environment);
	_exit(127);
}

/* labrun's protocol on the host's virtio port, without SSH; its input may be another. */
static noreturn void labrun_session(int input)
{
	begin_session(port);
	dup2(input, STDIN_FILENO);
	(void)!chdir("/root");
	execle("/lab/labrun", "/lab/labrun", "run", NULL, environment);
	_exit(127);
}

/* fork() can fail for a while in a guest that is full. */
static pid_t fork_patiently(void)
{
	pid_t pid = -1;

	for (int i = 0; i < 40 && (pid = fork()) < 0; i++)
		nanosleep(&(struct timespec){ .tv_nsec = 50000000 }, NULL);
	return pid;
}

/* Where no process can be made, the host tries again. */
static void accept_one(const char *dropbear, int listener)
{
	int connection = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	pid_t pid;

	if (connection < 0)
		return;
	pid = fork_patiently();
	if (pid == 0)
		ssh_session(dropbear, connection);
	if (pid > 0)
		sessions[nr_sessions++] = pid;
	else
		warn("no process for an SSH connection: %s", strerror(errno));
	close(connection);
}

static void reap(void)
{
	pid_t pid;
	int status;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid == port_session) {
			port_session = 0;
			if (WIFSIGNALED(status))
				announce("gone", "labrun was ended by signal %d", WTERMSIG(status));
			else if (WEXITSTATUS(status))
				announce("gone", "labrun ended with status %d", WEXITSTATUS(status));
		}
		for (size_t i = 0; i < nr_sessions; i++) {
			if (sessions[i] != pid)
				continue;
			sessions[i] = sessions[--nr_sessions];
			if (WIFSIGNALED(status))
				warn("an SSH session was ended by signal %d", WTERMSIG(status));
			else if (WEXITSTATUS(status) == 127)
				warn("dropbear cannot be executed");
			break;
		}
	}
}

/* busybox: poweroff sends SIGUSR2, halt SIGUSR1; Ctrl-Alt-Del sends SIGINT. */
static void take_signals(int fd)
{
	struct signalfd_siginfo s;

	while (read(fd, &s, sizeof(s)) == sizeof(s)) {
		if (s.ssi_signo == SIGCHLD)
			reap();
		else
			leave(s.ssi_signo == SIGINT ? RB_AUTOBOOT : RB_POWER_OFF);
	}
}

static int watch_signals(void)
{
	static const int signals[] = { SIGCHLD, SIGTERM, SIGUSR1, SIGUSR2, SIGPWR, SIGINT };
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < sizeof(signals) / sizeof(*signals); i++)
		sigaddset(&set, signals[i]);
	sigprocmask(SIG_BLOCK, &set, NULL);
	reboot(RB_DISABLE_CAD);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static void take_port(short events)
{
	if (events & POLLIN) {
		port_session = fork_patiently();
		if (port_session == 0)
			labrun_session(port);
		if (port_session < 0)
			warn("no process for labrun: %s", strerror(errno));
	}
	if (port_session <= 0 && (events & (POLLIN | POLLHUP | POLLERR | POLLNVAL))) {
		port_session = 0;
		port = -1;	/* the host has left, or nothing works any more */
	}
}

static noreturn void serve(const char *dropbear, int listener, int signals)
{
	while (true) {
		struct pollfd p[] = {
			{ .fd = signals, .events = POLLIN },
			{ .fd = nr_sessions < SESSIONS ? listener : -1, .events = POLLIN },
			{ .fd = port_session ? -1 : port, .events = POLLIN },
		};

		if (poll(p, 3, -1) < 0)
			continue;
		if (p[0].revents)
			take_signals(signals);
		if (p[1].revents)
			accept_one(dropbear, listener);
		if (p[2].revents)
			take_port(p[2].revents);
	}
}

static void run(const char *program, const char *argument)
{
	pid_t pid = fork();

	if (pid == 0) {
		execle(program, program, argument, NULL, (char *[]){ NULL });
		_exit(127);
	}
	if (pid > 0)
		waitpid(pid, NULL, 0);
}

/* Whoever was restored from a saved state starts over, with a layout and random bytes of its own. */
static noreturn void start_over(int listener)
{
	char numbers[2][16];

	snprintf(numbers[0], sizeof(numbers[0]), "%d", listener);
	snprintf(numbers[1], sizeof(numbers[1]), "%d", port);
	fcntl(listener, F_SETFD, 0);
	if (port >= 0)
		fcntl(port, F_SETFD, 0);
	execle("/init", OWN, numbers[0], numbers[1], NULL, (char *[]){ NULL });
	fail("init cannot be executed once more: %s", strerror(errno));
}

static noreturn void go_on(int listener)
{
	fcntl(listener, F_SETFD, FD_CLOEXEC);
	if (port >= 0)
		fcntl(port, F_SETFD, FD_CLOEXEC);
	announce("own", "%llu", (unsigned long long)uptime_ms());
	serve(find_dropbear(), listener, watch_signals());
}

/*
 * Asked by a child: whoever may use I/O ports, and all that it starts, pays for it at each way back
 * from the kernel (TIF_IO_BITMAP, arch_exit_to_user_mode_prepare()).
 */
static bool can_stand_still(void)
{
	int status = -1;
	pid_t pid = fork();

	if (pid == 0)
		_exit(machine_can_pause() ? 0 : 1);
	return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* No network, no SSH, nothing that the host says while it runs: time is what is executed here. */
static noreturn void run_alone(void)
{
	int orders = open(ORDERS, O_RDONLY | O_CLOEXEC), status = -1;
	pid_t pid;

	port = port_open();
	if (port < 0)
		fail("no virtio port; the kernel needs CONFIG_VIRTIO_PCI and CONFIG_VIRTIO_CONSOLE, "
		     "built in or as modules given with it");
	if (!can_stand_still())
		fail("the guest cannot stand still: no debug console of QEMU's, or no ioperm(); "
		     "the kernel needs CONFIG_X86_IOPL_IOPERM");
	announce("ready", "%llu", (unsigned long long)uptime_ms());
	pid = fork();
	if (pid == 0)
		labrun_session(orders);
	while (pid > 0 && wait(&status) != pid)
		;
	announce("over", "%s %d", WIFSIGNALED(status) ? "signal" : "status",
		 WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	while (machine_pause())	/* one of the gates is closed */
		;
	leave(RB_POWER_OFF);
}

int main(int argc, char **argv)
{
	const char *dropbear;
	struct utsname u;
	int signals, listener;

	if (getpid() != 1) {
		fprintf(stderr, "init: only as process 1 of a guest of the lab\n");
		return 2;
	}
	if (argc == 3 && !strcmp(argv[0], OWN)) {
		port = atoi(argv[2]);
		go_on(atoi(argv[1]));
	}
	signals = watch_signals();
	open_console();
	uname(&u);
	mount_all();
	announce("boot", "%s", u.release);
	put("/proc/self/oom_score_adj", "-1000");
	sethostname("lab", 3);
	(void)!chdir("/");
	load_modules();
	if (access(ORDERS, R_OK) == 0)
		run_alone();
	network();
	dropbear = find_dropbear();
	listener = listen_ssh();
	port = port_open();
	if (port >= 0)
		announce("port", "1");
	announce("ready", "%llu", (unsigned long long)uptime_ms());
	if (access(HOST_KEY, R_OK) < 0) {	/* the host saves this guest, for others to go on from */
		const char *problem;

		run("/lab/labrun", "prepare");
		problem = own_terminal();
		if (problem)
			fail("this guest cannot be made its own: %s", problem);
		announce("saved", "%llu", (unsigned long long)uptime_ms());
		problem = become_own();
		if (problem)
			fail("this guest cannot be made its own: %s", problem);
		start_over(listener);
	}
	serve(dropbear, listener, signals);
}
