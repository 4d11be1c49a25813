/* SPDX-License-Identifier: MIT */
/*
 * lab.h - what a scenario program says to the lab.
 *
 * A message is one packet on descriptor LAB_FD, an AF_UNIX SOCK_SEQPACKET
 * socket that labrun left open; it is built in a buffer on the stack and sent
 * with one system call.  Nothing here allocates, uses stdio, touches errno or
 * calls into libc, so that the address space at a checkpoint is the program's
 * own.  Outside the lab LAB_FD is no such socket, and every call does nothing.
 *
 *	lab_checkpoint(name)		stop the whole process; the lab looks, then goes on
 *	lab_note(key, value)		report a text that the program knows
 *	lab_note_u64(key, value)	... an unsigned number, in decimal
 *	lab_note_i64(key, value)	... a signed number, in decimal
 *	lab_note_hex(key, value)	... a number, as 0x...
 *	lab_note_ptr(key, pointer)	... an address, as 0x...
 *	lab_trace_begin(window)		from here on the kernel records what it does for this
 *					program and all that it starts (scenario.yaml: trace)
 *	lab_trace_end(window)		... up to here
 *
 * Names and keys: [A-Za-z0-9._-], 1 to 64 characters.  A value is one line of
 * at most LAB_VALUE_MAX bytes; what is longer is cut.
 *
 * A window stays open across execve(): its end may be in the new program.  The
 * four trace files are open as LAB_TRACE_... below, and are inherited.  Windows
 * do not nest: every end stops the recording.  One without an end is an error,
 * unless its program dies in it.
 *
 *	lab_cost_begin(window)		from here on instructions are counted, the kernel's too
 *	lab_cost_end(window)		... up to here; the note cost.<window> says how many, and
 *					so does the result
 *	lab_cost_read()			the end without a note, to measure a few times
 *	lab_cost_note(window, count)	... and the note for what was chosen of them
 *
 * The count is exact in a guest that is deterministic (lab run --deterministic),
 * where the time-stamp counter counts instructions; elsewhere it counts whatever
 * the processor's does.  An empty window costs 0.  Nothing may be said to the lab
 * within one, and a process has one at a time.
 */
#ifndef LAB_H
#define LAB_H

#include <stddef.h>
#include <stdint.h>

#if !defined(__x86_64__) || defined(__ILP32__)
#error "lab.h: written for x86-64"
#endif

#define LAB_FD		100
#define LAB_TRACE_ON_FD		101	/* the events' tracing_on and trace_marker */
#define LAB_TRACE_MARKER_FD	102
#define LAB_GRAPH_ON_FD		103	/* the function graph's */
#define LAB_GRAPH_MARKER_FD	104
#define LAB_NAME_MAX	64
#define LAB_VALUE_MAX	1024
#define LAB_MESSAGE_MAX	(LAB_VALUE_MAX + LAB_NAME_MAX + 64)

enum {	/* the x86-64 ABI; spelled out so that no other header is needed */
	LAB_SYS_write = 1,
	LAB_SYS_getpid = 39,
	LAB_SYS_sendto = 44,
	LAB_SYS_getsockopt = 55,
	LAB_SYS_fstatfs = 138,
	LAB_SYS_gettid = 186,
	LAB_SYS_tgkill = 234,
	LAB_SOL_SOCKET = 1,
	LAB_SO_TYPE = 3,
	LAB_SOCK_SEQPACKET = 5,
	LAB_MSG_NOSIGNAL = 0x4000,
	LAB_SIGSTOP = 19,
	LAB_TRACEFS_MAGIC = 0x74726163,
	LAB_EINTR = 4
};

struct lab_message {
	size_t length;
	char text[LAB_MESSAGE_MAX];
};

/* A raw system call: the result or -errno, with errno itself left alone. */
static inline long lab_syscall(long nr, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long result;

	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "0"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return result;
}

static inline void lab_put_char(struct lab_message *m, char c)
{
	if (m->length < sizeof(m->text))
		m->text[m->length++] = c;
}

static inline void lab_put(struct lab_message *m, const char *text, size_t limit)
{
	size_t i;

	for (i = 0; text && text[i] && i < limit; i++)
		lab_put_char(m, text[i]);
}

static inline void lab_put_number(struct lab_message *m, uint64_t value, unsigned int base)
{
	char digits[24];
	size_t n = 0;

	do {
		digits[n++] = "0123456789abcdef"[value % base];
		value /= base;
	} while (value);
	while (n)
		lab_put_char(m, digits[--n]);
}

/* "<type> <pid> <tid> <name>" */
static inline void lab_begin(struct lab_message *m, const char *type, const char *name)
{
	m->length = 0;
	lab_put(m, type, LAB_NAME_MAX);
	lab_put_char(m, ' ');
	lab_put_number(m, (uint64_t)lab_syscall(LAB_SYS_getpid, 0, 0, 0, 0, 0, 0), 10);
	lab_put_char(m, ' ');
	lab_put_number(m, (uint64_t)lab_syscall(LAB_SYS_gettid, 0, 0, 0, 0, 0, 0), 10);
	lab_put_char(m, ' ');
	lab_put(m, name, LAB_NAME_MAX);
}

/* A descriptor of the program's own may happen to be number LAB_FD. */
static inline int lab_present(void)
{
	int type = 0;
	unsigned int size = sizeof(type);

	return lab_syscall(LAB_SYS_getsockopt, LAB_FD, LAB_SOL_SOCKET, LAB_SO_TYPE, (long)&type,
			   (long)&size, 0) == 0 && type == LAB_SOCK_SEQPACKET;
}

/* 1 when the lab has the message, 0 when there is no lab. */
static inline int lab_send(const struct lab_message *m)
{
	long sent;

	if (!lab_present())
		return 0;
	do {
		sent = lab_syscall(LAB_SYS_sendto, LAB_FD, (long)m->text, (long)m->length,
				   LAB_MSG_NOSIGNAL, 0, 0);
	} while (sent == -LAB_EINTR);
	return sent == (long)m->length;
}

/*
 * tgkill() to the calling thread, not kill(): the stop signal is then taken on
 * the way out of this very system call, and stops all threads of the process.
 * With kill() another thread may take it while this one runs on for a while.
 */
static inline void lab_checkpoint(const char *name)
{
	struct lab_message m;

	lab_begin(&m, "checkpoint", name);
	if (!lab_send(&m))
		return;
	lab_syscall(LAB_SYS_tgkill, lab_syscall(LAB_SYS_getpid, 0, 0, 0, 0, 0, 0),
		    lab_syscall(LAB_SYS_gettid, 0, 0, 0, 0, 0, 0), LAB_SIGSTOP, 0, 0, 0);
}

static inline void lab_note(const char *key, const char *value)
{
	struct lab_message m;

	lab_begin(&m, "note", key);
	lab_put_char(&m, '=');
	lab_put(&m, value, LAB_VALUE_MAX);
	lab_send(&m);
}

static inline void lab_note_u64(const char *key, uint64_t value)
{
	struct lab_message m;

	lab_begin(&m, "note", key);
	lab_put_char(&m, '=');
	lab_put_number(&m, value, 10);
	lab_send(&m);
}

static inline void lab_note_i64(const char *key, int64_t value)
{
	struct lab_message m;

	lab_begin(&m, "note", key);
	lab_put_char(&m, '=');
	if (value < 0)
		lab_put_char(&m, '-');
	lab_put_number(&m, value < 0 ? -(uint64_t)value : (uint64_t)value, 10);
	lab_send(&m);
}

static inline void lab_note_hex(const char *key, uint64_t value)
{
	struct lab_message m;

	lab_begin(&m, "note", key);
	lab_put(&m, "=0x", 3);
	lab_put_number(&m, value, 16);
	lab_send(&m);
}

static inline void lab_note_ptr(const char *key, const void *pointer)
{
	lab_note_hex(key, (uint64_t)(uintptr_t)pointer);
}

/* A descriptor of the program's own may happen to have the number. */
static inline void lab_trace_write(int fd, const char *text, size_t length)
{
	long info[32];	/* struct statfs: 120 bytes, f_type first */

	if (lab_syscall(LAB_SYS_fstatfs, fd, (long)info, 0, 0, 0, 0) == 0 &&
	    info[0] == LAB_TRACEFS_MAGIC)
		lab_syscall(LAB_SYS_write, fd, (long)text, (long)length, 0, 0, 0);
}

static inline void lab_trace_mark(struct lab_message *m, const char *what, const char *window)
{
	m->length = 0;
	lab_put(m, "lab: ", LAB_NAME_MAX);
	lab_put(m, what, LAB_NAME_MAX);
	lab_put_char(m, ' ');
	lab_put(m, window, LAB_NAME_MAX);
	lab_put_char(m, '\n');
}

/* The events' marker comes last, and at the end first: nothing of ours lies between them. */
static inline void lab_trace_begin(const char *window)
{
	struct lab_message m;

	if (!lab_present())
		return;
	lab_trace_mark(&m, "begin", window);
	lab_trace_write(LAB_GRAPH_ON_FD, "1", 1);
	lab_trace_write(LAB_GRAPH_MARKER_FD, m.text, m.length);
	lab_trace_write(LAB_TRACE_ON_FD, "1", 1);
	lab_trace_write(LAB_TRACE_MARKER_FD, m.text, m.length);
}

static inline void lab_trace_end(const char *window)
{
	struct lab_message m;

	if (!lab_present())
		return;
	lab_trace_mark(&m, "end", window);
	lab_trace_write(LAB_TRACE_MARKER_FD, m.text, m.length);
	lab_trace_write(LAB_TRACE_ON_FD, "0", 1);
	lab_trace_write(LAB_GRAPH_MARKER_FD, m.text, m.length);
	lab_trace_write(LAB_GRAPH_ON_FD, "0", 1);
}

/*
 * rdtscp waits until all before it is done.  What lies between the two of an empty window is written
 * down here, whatever the compiler makes of the rest: begin's own four instructions.  Macros, as an
 * inlined function brings instructions of its own without optimisation.
 */
#define LAB_COST_EMPTY	4
#define LAB_COST_SHIFT	3	/* the counter has 2^3 ticks an instruction: an instruction takes 8 ns of its time */

static uint64_t lab_cost_start __attribute__((unused));

#define lab_cost_begin(window) \
	__asm__ volatile("rdtscp\n\tshl $32, %%rdx\n\tor %%rdx, %%rax\n\tmov %%rax, %0" \
			 : "=m"(lab_cost_start) : : "rax", "rcx", "rdx", "memory", "cc")

/* The counter itself. */
#define lab_cost_counter() __extension__({ \
	uint64_t lab_cost_now_; \
	__asm__ volatile("rdtscp\n\tshl $32, %%rdx\n\tor %%rdx, %%rax" \
			 : "=a"(lab_cost_now_) : : "rcx", "rdx", "memory", "cc"); \
	lab_cost_now_; \
})

#define lab_cost_read() __extension__({ \
	uint64_t lab_cost_end_ = lab_cost_counter(); \
	((lab_cost_end_ - lab_cost_start) >> LAB_COST_SHIFT) - LAB_COST_EMPTY; \
})

#define lab_cost_end(window) __extension__({ \
	uint64_t lab_cost_ = lab_cost_read(); \
	lab_cost_note(window, lab_cost_); \
	lab_cost_; \
})

/* The note cost.<window>, for a count that was made before. */
static inline void lab_cost_note(const char *window, uint64_t instructions)
{
	struct lab_message m;

	lab_begin(&m, "note", "cost.");
	lab_put(&m, window, LAB_NAME_MAX);
	lab_put_char(&m, '=');
	lab_put_number(&m, instructions, 10);
	lab_send(&m);
}

#endif
