/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SLEEPER_H
#define SLEEPER_H

#include <pthread.h>
#include <stdbool.h>

/*
 * A thread that sleeps until a descriptor is readable, does what there is to do, and sleeps again: a
 * port's, or softaccel's control side. It is on the CPUs of whoever starts it.
 */
struct sleeper {
	pthread_t thread;
	bool runs;
	int fd, stop_fd;
	void (*process)(void *ctx);
	void *ctx;
};

/* `process` is called once before it sleeps. @return 0 or a negative errno. */
int sleeper_start(struct sleeper *sleeper, int fd, void (*process)(void *ctx), void *ctx);
/* Nothing is processed any more. One that was not started, or all zeroes, is fine. */
void sleeper_stop(struct sleeper *sleeper);

#endif
