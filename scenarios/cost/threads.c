// SPDX-License-Identifier: MIT
/*
 * threads - a thread from its creation until it is joined, with a stack of its own and with one
 * that another thread left in glibc's cache.
 *
 * A cached stack must be large enough: each of the fresh ones is larger than those before it.
 */
#include "cost.h"

#include <pthread.h>

#define LEAST	(256UL << 10)
#define STEP	(64UL << 10)

static void *nothing(void *argument)
{
	return argument;
}

static void once(const pthread_attr_t *attributes)
{
	pthread_t thread;

	need(pthread_create(&thread, attributes, nothing, NULL) == 0, "a thread");
	pthread_join(thread, NULL);
}

static void resize(pthread_attr_t *attributes, size_t size)
{
	need(pthread_attr_setstacksize(attributes, size) == 0, "a stack of another size");
}

void show_threads(void)
{
	pthread_attr_t attributes;

	pthread_attr_init(&attributes);
#ifdef MUTATE_CACHED
	resize(&attributes, LEAST + 2 * REPEATS * STEP);
	once(&attributes);
#endif
	MEASURE("thread.fresh-stack", resize(&attributes, LEAST + i * STEP), once(&attributes), NOTHING);
	MEASURE("thread.cached-stack", NOTHING, once(&attributes), NOTHING);
	pthread_attr_destroy(&attributes);
}
