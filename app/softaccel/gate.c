/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <sys/eventfd.h>

#include <rte_pause.h>

#include "rp_wire_fd.h"
#include "sa_gate.h"

/*
 * How often one side looks for the other before it sleeps. An iteration, and what the control side does at the gate,
 * take a microsecond or a few; to sleep and be woken takes ten times that, and a hundred times where a CPU halts.
 */
#define LOOKS_MAX 1000u

static void
lock(struct sa_gate *gate)
{
	unsigned int looks;

	for (looks = 0; looks < LOOKS_MAX; looks++) {
		if (pthread_mutex_trylock(&gate->lock) == 0)
			return;
		rte_pause();
	}
	pthread_mutex_lock(&gate->lock);
}

/* Parked before the last opening: it has not had its turn yet. */
static bool
has_turn_due(const struct sa_gate *gate)
{
	return __atomic_load_n(&gate->parked, __ATOMIC_ACQUIRE) &&
	       __atomic_load_n(&gate->parked_at, __ATOMIC_RELAXED) != gate->openings_count;
}

/* Not "while wanted": the next closing may have begun before we looked. */
static bool
must_stay(const struct sa_gate *gate)
{
	return sa_gate_is_wanted(gate) && __atomic_load_n(&gate->parked_at, __ATOMIC_RELAXED) ==
						  __atomic_load_n(&gate->openings_count, __ATOMIC_ACQUIRE);
}

int
sa_gate_init(struct sa_gate *gate)
{
	*gate = (struct sa_gate){
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.opened = PTHREAD_COND_INITIALIZER,
		.moved = PTHREAD_COND_INITIALIZER,
	};
	gate->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return gate->wake_fd < 0 ? -errno : 0;
}

void
sa_gate_fini(struct sa_gate *gate)
{
	rp_wire_fd_close(&gate->wake_fd);
	pthread_cond_destroy(&gate->moved);
	pthread_cond_destroy(&gate->opened);
	pthread_mutex_destroy(&gate->lock);
}

void
sa_gate_close(struct sa_gate *gate)
{
	unsigned int looks;

	__atomic_store_n(&gate->wanted, true, __ATOMIC_SEQ_CST);
	lock(gate);
	if (!has_turn_due(gate))
		return;
	pthread_mutex_unlock(&gate->lock);
	for (looks = 0; looks < LOOKS_MAX && has_turn_due(gate); looks++)
		rte_pause();
	lock(gate);
	while (has_turn_due(gate))
		pthread_cond_wait(&gate->moved, &gate->lock);
}

void
sa_gate_open(struct sa_gate *gate)
{
	bool asleep = gate->asleep;

	__atomic_store_n(&gate->wanted, false, __ATOMIC_SEQ_CST);
	__atomic_store_n(&gate->openings_count, gate->openings_count + 1, __ATOMIC_RELEASE);
	pthread_cond_signal(&gate->opened);
	pthread_mutex_unlock(&gate->lock);
	if (asleep)
		eventfd_write(gate->wake_fd, 1);
}

void
sa_gate_enter(struct sa_gate *gate)
{
	pthread_mutex_lock(&gate->lock);
}

void
sa_gate_leave(struct sa_gate *gate)
{
	pthread_mutex_unlock(&gate->lock);
}

void
sa_gate_pass(struct sa_gate *gate)
{
	unsigned int looks;

	__atomic_store_n(&gate->parked_at, gate->openings_count, __ATOMIC_RELAXED);
	__atomic_store_n(&gate->parked, true, __ATOMIC_RELEASE);
	pthread_cond_signal(&gate->moved);
	pthread_mutex_unlock(&gate->lock);
	for (looks = 0; looks < LOOKS_MAX && must_stay(gate); looks++)
		rte_pause();
	lock(gate);
	while (must_stay(gate))
		pthread_cond_wait(&gate->opened, &gate->lock);
	__atomic_store_n(&gate->parked, false, __ATOMIC_RELEASE);
	pthread_cond_signal(&gate->moved);
}

void
sa_gate_sleep(struct sa_gate *gate)
{
	gate->asleep = true;
	pthread_mutex_unlock(&gate->lock);
}

void
sa_gate_wake(struct sa_gate *gate)
{
	eventfd_t ignored;

	pthread_mutex_lock(&gate->lock);
	gate->asleep = false;
	eventfd_read(gate->wake_fd, &ignored);
}
