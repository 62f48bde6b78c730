/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <sys/eventfd.h>

#include "rp_wire_fd.h"
#include "sa_gate.h"

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
	__atomic_store_n(&gate->wanted, true, __ATOMIC_SEQ_CST);
	pthread_mutex_lock(&gate->lock);
	/* Parked before the last opening: it has not had its turn yet. */
	while (gate->parked && gate->parked_at != gate->openings_count)
		pthread_cond_wait(&gate->moved, &gate->lock);
}

void
sa_gate_open(struct sa_gate *gate)
{
	bool asleep = gate->asleep;

	__atomic_store_n(&gate->wanted, false, __ATOMIC_SEQ_CST);
	gate->openings_count++;
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
	gate->parked = true;
	gate->parked_at = gate->openings_count;
	pthread_cond_signal(&gate->moved);
	/* Not "while wanted": the next closing may have begun before we woke. */
	while (sa_gate_is_wanted(gate) && gate->parked_at == gate->openings_count)
		pthread_cond_wait(&gate->opened, &gate->lock);
	gate->parked = false;
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
