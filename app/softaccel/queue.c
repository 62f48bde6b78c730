/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sa_device.h"

void
sa_queue_init(struct softaccel_function *function, unsigned int number, uint32_t order)
{
	struct sa_queue *queue = &function->queues[number];

	queue->ring = (struct sa_ring){
		.transmits = number % 2 == 1, /* virtio 1.2, 5.1.2 */
		.doorbell = sa_doorbell_word(&function->doorbells, number),
		.kick_fd = function->doorbells.kick_fds[number],
		.call_fd = -1,
		.notice_fd = function->path->notice_fd,
		.order = order,
		.port = function->port,
	};
	sa_queue_reset(function, number);
}

void
sa_queue_fini(struct softaccel_function *function, unsigned int number)
{
	free(function->queues[number].notes);
	function->queues[number].notes = NULL;
}

void
sa_queue_negotiated(struct softaccel_function *function, unsigned int number)
{
	function->queues[number].position = rp_vring_position_fresh(function->driver_features);
}

static int
call_fd_of(const struct softaccel_function *function, const struct sa_queue *queue)
{
	if (queue->msix_vector >= sa_device_vectors(function))
		return -1;
	return function->call_fds[queue->msix_vector];
}

static bool
has_feature(const struct softaccel_function *function, unsigned int bit)
{
	return (function->driver_features & SA_FEATURE(bit)) != 0;
}

/* A ring that needs them keeps them for as long as the function lives: what was lent is not moved. */
static int
lend_notes(const struct softaccel_function *function, struct sa_queue *queue, struct rp_vring_layout *layout,
	   struct rp_wire_why *why)
{
	if (!rp_vring_dev_needs_notes(layout->features))
		return 0;
	if (queue->notes == NULL)
		queue->notes = calloc(function->queue_size_max, sizeof(*queue->notes));
	if (queue->notes == NULL)
		return rp_wire_why_set(why, -ENOMEM, "no memory for a ring of %u entries", function->queue_size_max);
	layout->notes = queue->notes;
	return 0;
}

/* With the gate closed. @return 0, -ENOMEM or -EBADMSG with the reason. */
static int
take_ring(struct softaccel_function *function, struct sa_queue *queue, struct rp_wire_why *why)
{
	struct rp_vring_layout layout = {
		.num = queue->size,
		.desc_iova = queue->desc_iova,
		.avail_iova = queue->avail_iova,
		.used_iova = queue->used_iova,
		.features = function->driver_features,
	};
	struct sa_ring *ring = &queue->ring;
	int rc = lend_notes(function, queue, &layout, why);

	if (rc < 0)
		return rc;
	rp_dma_reader_online(function->reader);
	rc = rp_vring_dev_init(&ring->vring, &layout, queue->position, function->reader, why);
	rp_dma_reader_offline(function->reader);
	if (rc < 0)
		return rc;
	ring->mergeable = has_feature(function, VIRTIO_NET_F_MRG_RXBUF);
	ring->csum = has_feature(function, VIRTIO_NET_F_CSUM);
	ring->guest_csum = has_feature(function, VIRTIO_NET_F_GUEST_CSUM);
	ring->call_fd = call_fd_of(function, queue);
	ring->awake = false;
	ring->interrupt_owed = false;
	ring->unpublished_count = 0;
	ring->position = queue->position;
	return 0;
}

static int
attach(struct softaccel_function *function, struct sa_queue *queue, struct rp_wire_why *why)
{
	int rc;

	sa_gate_close(&function->path->gate);
	rc = take_ring(function, queue, why);
	if (rc == 0) {
		__atomic_store_n(&queue->ring.state, SOFTACCEL_QUEUE_RUNNING, __ATOMIC_RELEASE);
		rc = sa_datapath_ring_add(function->path, &queue->ring);
		if (rc < 0) {
			__atomic_store_n(&queue->ring.state, SOFTACCEL_QUEUE_STOPPED, __ATOMIC_RELEASE);
			rp_wire_why_set(why, rc, "the data path has no room: %s", strerror(-rc));
		}
	}
	queue->attached = rc == 0;
	sa_gate_open(&function->path->gate);
	return rc;
}

/* A broken ring is taken out of the data path and still is broken. */
static void
detach(struct softaccel_function *function, struct sa_queue *queue)
{
	sa_gate_close(&function->path->gate);
	sa_datapath_ring_remove(function->path, &queue->ring);
	rp_dma_reader_online(function->reader);
	queue->position = sa_ring_release(&queue->ring);
	rp_dma_reader_offline(function->reader);
	queue->attached = false;
	if (queue->ring.state == SOFTACCEL_QUEUE_RUNNING)
		__atomic_store_n(&queue->ring.state, SOFTACCEL_QUEUE_STOPPED, __ATOMIC_RELEASE);
	sa_gate_open(&function->path->gate);
}

static bool
should_run(const struct softaccel_function *function, const struct sa_queue *queue)
{
	return queue->enabled && (function->status & VIRTIO_CONFIG_S_DRIVER_OK) != 0 && function->connected &&
	       sa_ring_state(&queue->ring) != SOFTACCEL_QUEUE_BROKEN;
}

int
sa_queue_update(struct softaccel_function *function, unsigned int number, struct rp_wire_why *why)
{
	struct sa_queue *queue = &function->queues[number];
	bool run = should_run(function, queue);
	int rc;

	if (run == queue->attached)
		return 0;
	if (!run) {
		detach(function, queue);
		return 0;
	}
	rc = attach(function, queue, why);
	if (rc == 0)
		sa_device_event(function, "queue %u: started at position 0x%x", number, queue->position);
	return rc;
}

void
sa_queue_enable(struct softaccel_function *function, unsigned int number)
{
	struct sa_queue *queue = &function->queues[number];
	struct rp_wire_why why = {.error = 0};
	int rc;

	if (queue->enabled || (function->status & VIRTIO_CONFIG_S_FEATURES_OK) == 0)
		return;
	if (!rp_vfu_pci_is_bus_master(function->pci))
		sa_device_event(function, "queue %u: enabled while bus mastering is off: hardware would not run it",
				number);
	queue->enabled = true;
	if (should_run(function, queue)) {
		rc = sa_queue_update(function, number, &why);
	} else {
		/* Not to be touched before DRIVER_OK, but the driver wants to know now. */
		sa_gate_close(&function->path->gate);
		rc = take_ring(function, queue, &why);
		sa_gate_open(&function->path->gate);
	}
	if (rc == 0)
		return;
	queue->enabled = false;
	sa_count(&queue->ring.counters.errors, 1);
	sa_device_event(function, "queue %u: not enabled: %s", number, why.text);
}

static void
let_go(struct softaccel_function *function, struct sa_queue *queue)
{
	queue->enabled = false;
	if (queue->attached)
		detach(function, queue);
	__atomic_store_n(&queue->ring.state, SOFTACCEL_QUEUE_STOPPED, __ATOMIC_RELEASE);
}

void
sa_queue_stop(struct softaccel_function *function, unsigned int number)
{
	struct sa_queue *queue = &function->queues[number];

	if (!queue->enabled)
		return;
	let_go(function, queue);
	sa_device_event(function, "queue %u: stopped at position 0x%x", number, queue->position);
}

void
sa_queue_reset(struct softaccel_function *function, unsigned int number)
{
	struct sa_queue *queue = &function->queues[number];
	bool was_enabled = queue->enabled;

	let_go(function, queue);
	queue->size = function->queue_size_max;
	queue->msix_vector = SA_NO_VECTOR;
	queue->position = rp_vring_position_fresh(function->driver_features);
	queue->desc_iova = 0;
	queue->avail_iova = 0;
	queue->used_iova = 0;
	if (was_enabled)
		sa_device_event(function, "queue %u: reset", number);
}

void
sa_queue_forgive(struct softaccel_function *function, unsigned int number)
{
	struct sa_queue *queue = &function->queues[number];

	if (queue->attached)
		detach(function, queue);
	__atomic_store_n(&queue->ring.state, SOFTACCEL_QUEUE_STOPPED, __ATOMIC_RELEASE);
}

void
sa_queue_notice(struct softaccel_function *function, unsigned int number)
{
	struct sa_queue *queue = &function->queues[number];

	if (!queue->attached || sa_ring_state(&queue->ring) != SOFTACCEL_QUEUE_BROKEN)
		return;
	detach(function, queue);
	sa_device_event(function, "queue %u: broken at position 0x%x: %s", number, queue->position,
			rp_vring_dev_why(&queue->ring.vring));
}

void
sa_queue_rewire(struct softaccel_function *function, unsigned int number)
{
	struct sa_queue *queue = &function->queues[number];
	int call_fd = call_fd_of(function, queue);

	/* The fields of a ring that runs are read here and there, but only this side writes this one. */
	if (!queue->attached || queue->ring.call_fd == call_fd)
		return;
	sa_gate_close(&function->path->gate);
	sa_ring_set_call(&queue->ring, call_fd);
	sa_gate_open(&function->path->gate);
}
