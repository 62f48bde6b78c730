/* SPDX-License-Identifier: BSD-3-Clause */
#include <time.h>

#include "sa_device.h"

/* How a queue's doorbell is watched (sa_watch.h), as the control side sees it. */

static uint64_t
clock_ms(void)
{
	struct timespec now;

	/* The data path's. */
	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void
sa_queue_begin_watch(struct sa_queue *queue)
{
	const struct softaccel_queue_counters *counters = &queue->ring.counters;

	sa_watch_begin(&queue->ring.watch, queue->regs->doorbell, clock_ms(),
		       counters->direct_kicks + counters->eventfd_kicks + counters->packets);
}

void
sa_queue_doorbell(struct softaccel_function *function, unsigned int number)
{
	struct sa_queue *queue = &function->queues[number];

	sa_gate_close(&function->path->gate);
	sa_watch_tell(&queue->ring.watch, queue->regs->doorbell, clock_ms());
	sa_gate_open(&function->path->gate);
}

void
sa_queue_say_wish(struct softaccel_function *function, unsigned int number)
{
	const struct sa_queue *queue = &function->queues[number];

	if (function->idle_ms != 0 && queue->attached)
		rp_vfu_virtio_want_page(function->virtio, number, sa_watch_wants_page(&queue->ring.watch));
}
