/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SA_GATE_H
#define SA_GATE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/**
 * @file
 * The gate between the control side and the data path.
 *
 * Theory of operation: the data path holds the gate's lock while it iterates.
 * It gives it up while it sleeps, and at sa_gate_pass(), where it looks whether
 * the control side wants in. A closed gate therefore means that the data path is
 * between two iterations and holds nothing. It costs the data path one load per
 * iteration.
 *
 * Closing is bounded by one iteration. A control side that closes again at once
 * (a guest can make it) first waits until the data path had an iteration, so it
 * cannot starve the other guests.
 *
 * Either side looks for the other for some microseconds before it sleeps: what both do
 * here is shorter than to fall asleep and be woken, and a device's start closes the
 * gate often.
 *
 * Threads: close and open: the control side; the others: the data path.
 */

struct sa_gate {
	pthread_mutex_t lock;
	pthread_cond_t opened;
	pthread_cond_t moved; /* the data path parked, went on, or fell asleep */
	bool wanted; /* atomic: the control side is at the gate */
	uint64_t openings_count; /* atomic */
	bool parked; /* atomic: the data path waits at the gate ... */
	uint64_t parked_at; /* atomic: ... since this opening */
	bool asleep;
	int wake_fd; /* ends a sleep; in the data path's epoll */
};

/** @return 0 or a negative errno. */
int sa_gate_init(struct sa_gate *gate);
void sa_gate_fini(struct sa_gate *gate);

/** On return the data path is between two iterations, and stays there until sa_gate_open(). */
void sa_gate_close(struct sa_gate *gate);
/** Let the data path go on; a sleeping one wakes, because what it waits for may have changed. */
void sa_gate_open(struct sa_gate *gate);

void sa_gate_enter(struct sa_gate *gate);
void sa_gate_leave(struct sa_gate *gate);

/** Whether the control side waits: then let go of everything and call sa_gate_pass(). */
static inline bool
sa_gate_is_wanted(const struct sa_gate *gate)
{
	return __atomic_load_n(&gate->wanted, __ATOMIC_RELAXED);
}

void sa_gate_pass(struct sa_gate *gate);
void sa_gate_sleep(struct sa_gate *gate);
void sa_gate_wake(struct sa_gate *gate);

#endif
