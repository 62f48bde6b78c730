/* SPDX-License-Identifier: BSD-3-Clause */
#include <sys/eventfd.h>

#include "sa_doorbell.h"
#include "sa_ring.h"

static void
wake(struct sa_ring *ring)
{
	if (ring->awake || ring->state != SOFTACCEL_QUEUE_RUNNING)
		return;
	ring->awake = true;
	if (rp_vring_dev_set_notify(&ring->vring, false) < 0)
		sa_ring_break(ring);
}

void
sa_ring_rung(struct sa_ring *ring)
{
	if (!ring->carried) {
		wake(ring);
		return;
	}
	__atomic_store_n(&ring->rung, true, __ATOMIC_RELEASE);
	eventfd_write(ring->courier_fd, 1);
}

bool
sa_ring_observe(struct sa_ring *ring)
{
	if (!ring->watch.watched || !sa_doorbell_observe(ring->doorbell))
		return false;
	sa_count(&ring->counters.direct_kicks, 1);
	sa_ring_rung(ring);
	return true;
}

/* Asleep it has asked for a kick, and looked once more: what is there now came with one. */
static bool
has_something(struct sa_ring *ring)
{
	int waiting = rp_vring_dev_available(&ring->vring);

	if (waiting < 0)
		sa_ring_break(ring);
	return waiting > 0;
}

bool
sa_ring_heard(struct sa_ring *ring, bool named)
{
	if (!ring->running) {
		ring->unheard = true;
		return false;
	}
	/* What becomes of it is looked at before it goes on. */
	if (ring->state != SOFTACCEL_QUEUE_RUNNING)
		return false;
	/* Its courier looks; that it is told so says nothing of a kick. */
	if (!named && ring->carried) {
		sa_ring_rung(ring);
		return false;
	}
	if (!named && (ring->awake || !has_something(ring)))
		return false;
	sa_count(&ring->counters.direct_kicks, 1);
	sa_ring_rung(ring);
	return true;
}

bool
sa_ring_judge(struct sa_ring *ring)
{
	const struct softaccel_queue_counters *counters = &ring->counters;

	switch (sa_watch_judge(&ring->watch, counters->direct_kicks + counters->eventfd_kicks + counters->packets,
			       *ring->now_ms)) {
	case SA_WATCH_SAME:
		return false;
	case SA_WATCH_WISH:
		eventfd_write(ring->notice_fd, 1);
		return false;
	case SA_WATCH_KICK:
		break;
	}
	/*
	 * The last look: what is stored from now on is seen when the doorbell is watched again. A word that is others'
	 * too is not ours to take: if nobody watches it any more it is seen then as well.
	 */
	if (ring->bell == NULL && sa_doorbell_observe(ring->doorbell))
		sa_count(&ring->counters.direct_kicks, 1);
	sa_ring_rung(ring);
	return true;
}

void
sa_ring_kicked(struct sa_ring *ring)
{
	uint64_t count = sa_doorbell_drain(ring->kick_fd);

	/* If both are readable it is called twice. */
	if (count == 0 && ring->said_fd >= 0)
		count = sa_doorbell_drain(ring->said_fd);
	if (count == 0)
		return;
	/* Kicks and interrupts between us and a courier are not the guest's. */
	if (!ring->carried)
		sa_count(&ring->counters.eventfd_kicks, count);
	/* But as many as the guest gives reason for. */
	if (sa_watch_kicked(&ring->watch, count, *ring->now_ms))
		eventfd_write(ring->notice_fd, 1);
	wake(ring);
}

/* Memory that we cannot reach, others may: then what is done is published, so that they go on exactly here. */
static void
hand_on(struct sa_ring *ring)
{
	const char *why = rp_vring_dev_why(&ring->vring);

	ring->missed = rp_vring_dev_missed(&ring->vring, &ring->missed_iova, &ring->missed_access_mask);
	if (!rp_vring_dev_mend(&ring->vring))
		return;
	ring->far_why = why;
	if (!ring->transmits)
		sa_held_begin(&ring->held);
	sa_ring_flush(ring);
}

void
sa_ring_break(struct sa_ring *ring)
{
	uint64_t iova;
	uint32_t access_mask;

	if (ring->state != SOFTACCEL_QUEUE_RUNNING)
		return;
	/* While it was handed on the ring itself went: what could not be published is done again. */
	if (ring->far_why != NULL && rp_vring_dev_missed(&ring->vring, &iova, &access_mask))
		return;
	ring->far_why = NULL;
	hand_on(ring);
	/* It broke for good meanwhile. */
	if (ring->state != SOFTACCEL_QUEUE_RUNNING)
		return;
	ring->awake = false;
	if (ring->far_why == NULL)
		sa_count(&ring->counters.errors, 1);
	__atomic_store_n(&ring->state, SOFTACCEL_QUEUE_BROKEN, __ATOMIC_RELEASE);
	eventfd_write(ring->notice_fd, 1);
}

bool
sa_ring_try_sleep(struct sa_ring *ring)
{
	int waiting;

	if (rp_vring_dev_set_notify(&ring->vring, true) < 0) {
		sa_ring_break(ring);
		return true;
	}
	waiting = rp_vring_dev_available(&ring->vring);
	if (waiting < 0) {
		sa_ring_break(ring);
		return true;
	}
	if (waiting == 0) {
		ring->awake = false;
		return true;
	}
	if (rp_vring_dev_set_notify(&ring->vring, false) < 0) {
		sa_ring_break(ring);
		return true;
	}
	return false;
}

bool
sa_ring_found_empty(struct sa_ring *ring)
{
	if (++ring->empty_looks < SA_RING_EMPTY_LOOKS)
		return false;
	ring->empty_looks = 0;
	return sa_ring_try_sleep(ring);
}

/* What cannot be said now is owed: the driver asks for no other interrupt before it has had this one. */
static void
interrupt(struct sa_ring *ring)
{
	ring->interrupt_owed = ring->call_fd < 0 || rp_wire_caller_call(ring->caller, ring->call_fd) < 0;
	if (!ring->interrupt_owed && !ring->carried)
		sa_count(&ring->counters.interrupts, 1);
}

/* Once for each flush: a descriptor that never takes one neither holds the loop nor keeps the ring awake. */
static void
interrupt_again(struct sa_ring *ring)
{
	if (ring->call_fd >= 0 && ring->interrupt_owed)
		interrupt(ring);
}

void
sa_ring_flush(struct sa_ring *ring)
{
	int wanted;

	if (ring->state != SOFTACCEL_QUEUE_RUNNING)
		return;
	if (ring->unpublished_count == 0) {
		interrupt_again(ring);
		return;
	}
	if (rp_vring_dev_publish(&ring->vring, ring->unpublished_count) < 0) {
		sa_ring_break(ring);
		return;
	}
	ring->unpublished_count = 0;
	__atomic_store_n(&ring->position, rp_vring_dev_position(&ring->vring), __ATOMIC_RELAXED);
	wanted = rp_vring_dev_needs_interrupt(&ring->vring);
	if (wanted < 0)
		sa_ring_break(ring);
	else if (wanted > 0)
		interrupt(ring);
	else
		interrupt_again(ring);
}

void
sa_ring_set_call(struct sa_ring *ring, int call_fd)
{
	ring->call_fd = call_fd;
	interrupt_again(ring);
}

uint32_t
sa_ring_release(struct sa_ring *ring)
{
	if (ring->state == SOFTACCEL_QUEUE_RUNNING)
		rp_vring_dev_set_notify(&ring->vring, true);
	ring->awake = false;
	/* A broken ring may hold entries that were taken and never given back: the next owner does them again. */
	return rp_vring_dev_position_used(&ring->vring);
}
