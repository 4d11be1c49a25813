/* SPDX-License-Identifier: MIT */
/*
 * worker - a thread that says where it is and then stands still.
 *
 * It neither mallocs nor uses stdio, so that it gets no malloc arena of its own:
 * all that is mapped for it is its stack.
 */
#define _GNU_SOURCE
#include <asm/prctl.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "threads.h"

static __thread int thread_local;

uintptr_t fs_base(void)
{
	uintptr_t base = 0;

	syscall(SYS_arch_prctl, ARCH_GET_FS, &base);
	return base;
}

static void *work(void *argument)
{
	struct worker *self = argument;
	int local;

	self->self = (uintptr_t)pthread_self();
	self->fs = fs_base();
	self->frame = (uintptr_t)&local;
	self->tls = (uintptr_t)&thread_local;
	self->tid = (pid_t)syscall(SYS_gettid);
	if (self->work)
		self->work(self);
	sem_post(&self->ready);
	while (sem_wait(&self->leave))
		;
	if (self->last)
		self->last(self);
	return NULL;
}

/* Returns when the thread stands still; or at once, with pthread_create()'s error. */
int start_worker(struct worker *worker, const pthread_attr_t *attributes)
{
	int error;

	sem_init(&worker->ready, 0, 0);
	sem_init(&worker->leave, 0, 0);
	error = pthread_create(&worker->thread, attributes, work, worker);
	worker->runs = !error;
	while (worker->runs && sem_wait(&worker->ready))
		;
	return error;
}

int start_sized(struct worker *worker, size_t size)
{
	pthread_attr_t attributes;
	int error;

	pthread_attr_init(&attributes);
	error = pthread_attr_setstacksize(&attributes, size);
	if (!error)
		error = start_worker(worker, &attributes);
	pthread_attr_destroy(&attributes);
	return error;
}

/*
 * pthread_join() returns when the kernel has cleared the tid in struct pthread, a
 * moment before the task leaves its thread group (and the count in status).
 */
void stop_worker(struct worker *worker)
{
	if (!worker->runs)
		return;
	worker->runs = 0;
	sem_post(&worker->leave);
	pthread_join(worker->thread, NULL);
	while (syscall(SYS_tgkill, getpid(), worker->tid, 0) == 0)
		sched_yield();
}

/* Where glibc says the stack is; another thread asks, because the call mallocs. */
void read_attributes(struct worker *worker)
{
	pthread_attr_t attributes;
	void *low = NULL;

	if (!worker->runs)
		return;
	pthread_getattr_np(worker->thread, &attributes);
	pthread_attr_getstack(&attributes, &low, &worker->size);
	pthread_attr_getguardsize(&attributes, &worker->guard);
	pthread_attr_destroy(&attributes);
	worker->low = (uintptr_t)low;
}
