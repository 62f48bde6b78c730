/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "rp_dma_node.h"
#include "sa_device.h"

/* Each queue's local memory has its own place in the function's local space. */
#define LOCAL_STRIDE_BYTES (UINT64_C(1) << 32)

static uint64_t
now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Once for a function, when its first queue needs it. */
static int
make_messenger(struct softaccel_function *function)
{
	int rc = 0;

	if (function->messenger != NULL)
		return 0;
	if (function->local_space == NULL)
		rc = rp_dma_space_create(NULL, &function->local_space);
	if (rc == 0 && function->local_reader == NULL) {
		rc = rp_dma_reader_create(function->local_space, &function->local_reader);
		if (rc == 0) {
			sa_gate_close(&function->path->gate);
			sa_datapath_reader_add(function->path, function->local_reader);
			sa_gate_open(&function->path->gate);
		}
	}
	if (rc == 0)
		rc = sa_messenger_create(rp_vfu_server_dma(function->server), function->queues_count,
					 &function->path->place.vote, function->path->notice_fd, &function->messenger);
	return rc;
}

void
sa_carried_fini(struct softaccel_function *function)
{
	function->messenger = sa_messenger_destroy(function->messenger);
	if (function->local_reader != NULL) {
		sa_gate_close(&function->path->gate);
		sa_datapath_reader_remove(function->path, function->local_reader);
		sa_gate_open(&function->path->gate);
	}
	function->local_reader = rp_dma_reader_destroy(function->local_reader);
	function->local_space = rp_dma_space_destroy(function->local_space);
}

int
sa_carried_check(struct softaccel_function *function, unsigned int number, struct rp_wire_why *why)
{
	struct sa_queue *queue = &function->queues[number];
	const struct rp_vring_copy nothing = {.parts = {NULL}};
	struct rp_vring_layout layout;
	int rc = sa_queue_layout(function, queue, &layout, why);

	if (rc == 0)
		rc = rp_vring_dev_init_copy(&queue->ring.vring, &layout, queue->regs->position, &nothing, why);
	if (rc == 0)
		rc = sa_reach_check(function, queue, why);
	return rc;
}

/* With the gate closed: the local ring, and the data path's view of it. */
static int
make_local(struct softaccel_function *function, unsigned int number)
{
	struct sa_queue *queue = &function->queues[number];
	struct sa_courier *courier = &queue->carriage->courier;
	struct rp_vring_layout layout;
	int rc = sa_local_init(&courier->local, function->local_space, (number + 1) * LOCAL_STRIDE_BYTES,
			       queue->regs->size);

	if (rc < 0)
		return rc;
	rp_vring_drv_layout(courier->local.ring, &layout);
	rp_dma_reader_online(function->local_reader);
	rc = rp_vring_dev_init(&queue->ring.vring, &layout, rp_vring_position_fresh(layout.features),
			       function->local_reader, NULL);
	rp_dma_reader_offline(function->local_reader);
	return rc;
}

static int
make_carriage(struct softaccel_function *function, unsigned int number, struct rp_wire_why *why)
{
	struct sa_queue *queue = &function->queues[number];
	struct sa_carriage *carriage = calloc(1, sizeof(*carriage));
	struct rp_vring_layout layout;
	int rc;

	if (carriage == NULL)
		return rp_wire_why_set(why, -ENOMEM, "no memory for a queue by messages");
	carriage->call_fd = -1;
	carriage->courier.ring = &queue->ring;
	carriage->courier.transmits = queue->ring.transmits;
	carriage->courier.guest_kick_fd = function->doorbells.kick_fds[number];
	carriage->courier.guest_said_fd = function->doorbells.said_fds[number];
	carriage->courier.counters = &queue->carried;
	rc = sa_queue_layout(function, queue, &layout, why);
	if (rc == 0)
		rc = sa_courier_init(&carriage->courier, &layout, queue->regs->position, &sa_messenger_access, carriage,
				     why);
	if (rc < 0) {
		free(carriage);
		return rc;
	}
	queue->carriage = carriage;
	rc = make_local(function, number);
	if (rc < 0) {
		sa_courier_fini(&carriage->courier);
		free(carriage);
		queue->carriage = NULL;
		return rp_wire_why_set(why, rc, "local ring: %s", strerror(-rc));
	}
	return 0;
}

/* With the gate closed. */
static void
ready_ring(const struct softaccel_function *function, unsigned int number)
{
	struct sa_queue *queue = &function->queues[number];
	struct sa_courier *courier = &queue->carriage->courier;

	sa_queue_ready_ring(function, queue);
	queue->ring.node = sa_reach_node(function, number);
	queue->ring.carried = true;
	queue->ring.rung = false;
	queue->ring.courier_fd = courier->bell_fd;
	queue->ring.kick_fd = courier->local_kick_fd;
	queue->ring.said_fd = -1;
	queue->ring.call_fd = courier->bell_fd;
}

/* Beside those who copy to and from it; the ring itself has voted by now. */
static void
place_local(const struct softaccel_function *function, const struct sa_queue *queue)
{
	const struct sa_local *local = &queue->carriage->courier.local;

	rp_dma_node_place(local->memory, local->size_bytes, rp_dma_vote_node(&function->path->place.vote));
}

/*
 * A former client's kicks say that there is something, not that its successor's memory is there.
 * With the gate closed.
 */
static bool
forget_kicks(struct sa_queue *queue)
{
	const struct sa_courier *courier = &queue->carriage->courier;
	bool rung = sa_bell_forget(&queue->ring);

	rung |= sa_doorbell_drain(courier->guest_said_fd) > 0;
	return sa_doorbell_drain(courier->guest_kick_fd) > 0 || rung;
}

int
sa_carried_attach(struct softaccel_function *function, unsigned int number, bool awake, struct rp_wire_why *why)
{
	struct sa_queue *queue = &function->queues[number];
	bool resumed = queue->carriage != NULL;
	int rc = sa_reach_check(function, queue, why);

	if (rc < 0)
		return rc;
	rc = make_messenger(function);
	if (rc < 0)
		return rp_wire_why_set(why, rc, "messenger: %s", strerror(-rc));
	sa_gate_close(&function->path->gate);
	if (resumed)
		awake |= forget_kicks(queue);
	if (queue->carriage == NULL)
		rc = make_carriage(function, number, why);
	if (rc == 0) {
		ready_ring(function, number);
		__atomic_store_n(&queue->ring.state, SOFTACCEL_QUEUE_RUNNING, __ATOMIC_RELEASE);
		rc = sa_datapath_ring_add(function->path, &queue->ring);
		if (rc < 0)
			rp_wire_why_set(why, rc, "the data path has no room: %s", strerror(-rc));
		else
			awake |= sa_bell_unheard(&queue->ring);
	}
	sa_gate_open(&function->path->gate);
	if (rc == 0) {
		place_local(function, queue);
		queue->carriage->courier.awake |= awake;
		sa_messenger_set_call(function->messenger, queue->carriage, sa_queue_call_fd(function, queue));
		rc = sa_messenger_start(function->messenger, queue->carriage, number, resumed);
		if (rc < 0)
			rp_wire_why_set(why, rc, "messenger: %s", strerror(-rc));
	}
	queue->attached = rc == 0;
	if (rc < 0) {
		sa_carried_park(function, number);
		__atomic_store_n(&queue->ring.state, SOFTACCEL_QUEUE_STOPPED, __ATOMIC_RELEASE);
	}
	__atomic_store_n(&queue->by_messages, rc == 0, __ATOMIC_RELAXED);
	return rc;
}

/* The data path lets go of the local ring; what it has done with it stays there to be brought back. */
static void
leave_datapath(struct softaccel_function *function, struct sa_queue *queue)
{
	sa_gate_close(&function->path->gate);
	sa_datapath_ring_remove(function->path, &queue->ring);
	rp_dma_reader_online(function->local_reader);
	sa_ring_release(&queue->ring);
	rp_dma_reader_offline(function->local_reader);
	sa_gate_open(&function->path->gate);
}

void
sa_carried_park(struct softaccel_function *function, unsigned int number)
{
	struct sa_queue *queue = &function->queues[number];

	queue->attached = false;
	queue->drain = SA_DRAIN_NONE;
	if (queue->carriage == NULL)
		return;
	leave_datapath(function, queue);
	sa_messenger_park(function->messenger, queue->carriage, number);
	queue->regs->position = rp_vring_mirror_position(queue->carriage->courier.mirror);
}

void
sa_carried_end(struct softaccel_function *function, unsigned int number)
{
	struct sa_queue *queue = &function->queues[number];

	if (queue->carriage == NULL)
		return;
	sa_gate_close(&function->path->gate);
	sa_courier_fini(&queue->carriage->courier);
	sa_gate_open(&function->path->gate);
	free(queue->carriage);
	queue->carriage = NULL;
	queue->ring.carried = false;
	__atomic_store_n(&queue->by_messages, false, __ATOMIC_RELAXED);
}

void
sa_carried_drain(struct softaccel_function *function, unsigned int number, enum sa_drain drain)
{
	struct sa_queue *queue = &function->queues[number];

	queue->drain = drain;
	queue->drain_since_ms = now_ms();
	if (drain == SA_DRAIN_SWITCH)
		sa_queue_hold(function, queue);
	leave_datapath(function, queue);
	sa_messenger_drain(function->messenger, queue->carriage);
}

void
sa_queue_watch_drain(struct softaccel_function *function, unsigned int number)
{
	struct sa_queue *queue = &function->queues[number];

	if (queue->drain != SA_DRAIN_STOP || now_ms() - queue->drain_since_ms < RP_ACCEL_VENDOR_STOPPING_MAX_MS)
		return;
	sa_device_event(function, "queue %u: could not be drained in %u ms", number, RP_ACCEL_VENDOR_STOPPING_MAX_MS);
	sa_queue_drained(function, number);
}
