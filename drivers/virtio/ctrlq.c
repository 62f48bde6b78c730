/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "rp_vring_drv.h"
#include "rp_wire_clock.h"
#include "virtio.h"
#include "virtio_regs.h"

/*
 * The device's control queue (virtio 1.2, 5.1.6.5), driven by us: the guest's own
 * never leaves the VMM. One command at a time, in memory of our own; its answer is
 * waited for, so that no interrupt is needed. The device can write that memory at any
 * time: an answer is read once, and only after its chain came back by the rules.
 *
 * It is started with the first command of a session and runs until the device is
 * reset, or until its memory has to make way.
 */

#define ENTRIES_MIN 4u
#define ENTRIES_MAX 64u
#define PARTS_COUNT 3u /* of a command: header, data, answer */
#define PAUSE_MIN_US 20u
#define PAUSE_MAX_US 2000u

/* Behind the ring. The device writes the answer: not in a cache line of ours. */
#define HEADER_AT 0u
#define DATA_AT 64u
#define ANSWER_AT 128u
#define COMMAND_BYTES 192u

#define ANSWER_OK 0u
#define ANSWER_ERROR 1u
#define ANSWER_NONE 0xffu

static size_t
ring_bytes(const struct virtio_ctrlq *ctrlq)
{
	size_t split_bytes = rp_vring_drv_bytes(ctrlq->size, 0);
	size_t packed_bytes = rp_vring_drv_bytes(ctrlq->size, 1ull << VIRTIO_F_RING_PACKED_BIT);

	return split_bytes > packed_bytes ? split_bytes : packed_bytes;
}

size_t
vdrv_ctrlq_bytes(const struct virtio_ctrlq *ctrlq)
{
	return ring_bytes(ctrlq) + COMMAND_BYTES;
}

int
vdrv_ctrlq_open(struct virtio_device *device, uint64_t size, struct rp_wire_why *why)
{
	struct virtio_ctrlq *ctrlq = &device->ctrlq;

	/* A command must fit, and one size is to do for both kinds of ring. */
	if (size < ENTRIES_MIN)
		return rp_wire_why_set(why, -EBADMSG, "control queue: queue_size: %" PRIu64 ", expected at least %u",
				       size, ENTRIES_MIN);
	for (ctrlq->size = ENTRIES_MAX; ctrlq->size > size;)
		ctrlq->size /= 2;
	return 0;
}

void
vdrv_ctrlq_forget(struct virtio_device *device)
{
	device->ctrlq.ring = rp_vring_drv_destroy(device->ctrlq.ring);
}

static int
create_ring(struct virtio_device *device, struct rp_vring_drv **ret_ring)
{
	int rc = rp_vring_drv_create(device->ctrlq.size, device->ctrlq.memory, device->ctrlq.iova,
				     device->guest_features, ret_ring);

	if (rc == 0)
		rp_vring_drv_set_interrupt(*ret_ring, false);
	return rc;
}

static int
start(struct virtio_device *device, struct rp_wire_why *why)
{
	struct rp_accel_queue_config config = {.num = device->ctrlq.size, .call_fd = -1};
	struct rp_vring_layout layout;
	struct rp_vring_drv *ring;
	int rc = vdrv_ctrlq_memory_take(device, why);

	if (rc < 0)
		return rc;
	rc = create_ring(device, &ring);
	if (rc < 0)
		return rp_wire_why_set(why, -ENOTSUP, "no memory");
	rp_vring_drv_layout(ring, &layout);
	config.desc_iova = layout.desc_iova;
	config.avail_iova = layout.avail_iova;
	config.used_iova = layout.used_iova;
	rc = vdrv_queue_program(device, device->ctrlq.index, &config, VIRTIO_NO_VECTOR, why);
	if (rc == 0)
		rc = vdrv_set_driver_ok(device, why);
	if (rc < 0) {
		rp_vring_drv_destroy(ring);
		return rc;
	}
	device->ctrlq.ring = ring;
	return 0;
}

int
vdrv_ctrlq_adopt(struct virtio_device *device, const struct rp_vring_drv_state *state, struct rp_wire_why *why)
{
	struct virtio_ctrlq *ctrlq = &device->ctrlq;
	int rc;

	if (ctrlq->size < ENTRIES_MIN || ctrlq->size > ENTRIES_MAX || !virtio_is_power_of_two(ctrlq->size) ||
	    (ctrlq->memory != NULL && ctrlq->memory_bytes < vdrv_ctrlq_bytes(ctrlq)))
		return rp_wire_why_set(why, -EBADMSG,
				       "control queue: %u entries in %" PRIu64
				       " bytes, expected a power of two from %u to %u that fits",
				       ctrlq->size, ctrlq->memory_bytes, ENTRIES_MIN, ENTRIES_MAX);
	if (state == NULL)
		return 0;
	rc = rp_vring_drv_resume(ctrlq->size, ctrlq->memory, ctrlq->iova, device->guest_features, state, &ctrlq->ring);
	if (rc == -ENOMEM)
		return rp_wire_why_set(why, rc, "no memory");
	if (rc < 0)
		return rp_wire_why_set(why, -EBADMSG,
				       "control queue: position 0x%x, descriptor %u, at 0x%" PRIx64
				       ": is not where its ring is",
				       state->position, state->first_free, ctrlq->iova);
	return 0;
}

static int
add(struct virtio_device *device, const struct virtio_command *command, struct rp_wire_why *why)
{
	struct virtio_ctrlq *ctrlq = &device->ctrlq;
	uint8_t *memory = ctrlq->memory + ring_bytes(ctrlq);
	uint64_t iova = ctrlq->iova + ring_bytes(ctrlq);
	const struct rp_vring_part parts[PARTS_COUNT] = {
		{.iova = iova + HEADER_AT, .size_bytes = 2},
		{.iova = iova + DATA_AT, .size_bytes = command->size_bytes},
		{.iova = iova + ANSWER_AT, .size_bytes = 1, .device_writes = true},
	};
	uint32_t written_bytes;
	void *cookie;

	if (rp_vring_drv_get(ctrlq->ring, &cookie, &written_bytes) != 0)
		return rp_wire_why_set(why, -EIO, "the device answered what it was not asked");
	memory[HEADER_AT] = command->class;
	memory[HEADER_AT + 1] = command->number;
	memcpy(memory + DATA_AT, command->data, command->size_bytes);
	memory[ANSWER_AT] = ANSWER_NONE;
	/* All came back before: there is room. */
	if (rp_vring_drv_add(ctrlq->ring, parts, PARTS_COUNT, memory) < 0)
		return rp_wire_why_set(why, -EIO, "no room in the ring");
	/* A full fence between the ring and the doorbell; whether it wants to be rung is not asked. */
	rp_vring_drv_needs_kick(ctrlq->ring);
	return vdrv_write(device, VIRTIO_NOTIFY, ctrlq->doorbell - device->layout.places[VIRTIO_NOTIFY].offset_bytes,
			  VIRTIO_DOORBELL_BYTES, ctrlq->index, why);
}

static int
wait_for_answer(struct virtio_device *device, struct rp_wire_why *why)
{
	uint64_t deadline_ms = rp_wire_clock_ms() + device->wait_ms;
	unsigned int pause_us = PAUSE_MIN_US;

	for (;;) {
		bool late = rp_wire_clock_ms() >= deadline_ms;
		uint32_t written_bytes;
		void *cookie;
		int rc = rp_vring_drv_get(device->ctrlq.ring, &cookie, &written_bytes);

		if (rc == 1)
			return 0;
		if (rc < 0)
			return rp_wire_why_set(why, -EIO,
					       "the device broke its ring: an index, an id or a length that cannot be");
		/* It may need us to reach memory, or be gone. */
		rc = device->transport.ops->process(device->transport.priv, why);
		if (rc < 0)
			return vdrv_error_from_transport(rc, why);
		rc = vdrv_status_check(device, why);
		if (rc < 0)
			return rc;
		if (late)
			return rp_wire_why_set(why, -ETIMEDOUT, "no answer after %u ms", device->wait_ms);
		usleep(pause_us);
		if (pause_us < PAUSE_MAX_US)
			pause_us *= 2;
	}
}

static int
judge_answer(const struct virtio_device *device, struct rp_wire_why *why)
{
	const volatile uint8_t *memory = device->ctrlq.memory + ring_bytes(&device->ctrlq);
	uint8_t answer = memory[ANSWER_AT];

	if (answer == ANSWER_OK)
		return 0;
	if (answer == ANSWER_ERROR)
		return rp_wire_why_set(why, -ENOTSUP, "the device refuses it");
	return rp_wire_why_set(why, -EIO, "the answer is 0x%02x, expected 0 or 1", answer);
}

int
vdrv_ctrlq_command(struct virtio_device *device, const struct virtio_command *command, struct rp_wire_why *why)
{
	int rc = 0;

	if (device->ctrlq.ring == NULL) {
		rc = start(device, why);
		if (rc < 0)
			rp_wire_why_prefix(why, "control queue: ");
		if (rc < 0)
			return rc;
	}
	rc = add(device, command, why);
	if (rc == 0)
		rc = wait_for_answer(device, why);
	if (rc == 0)
		rc = judge_answer(device, why);
	if (rc < 0)
		rp_wire_why_prefix(why, "control queue: %s: ", command->name);
	return rc;
}

/* The device lets go of its memory. */
static int
stop(struct virtio_device *device, struct rp_wire_why *why)
{
	unsigned int running;

	if (device->ctrlq.ring == NULL)
		return 0;
	if (vdrv_feature(device->own_features, VIRTIO_F_RING_RESET_BIT)) {
		int rc = vdrv_queue_reset(device, device->ctrlq.index, why);

		if (rc == 0)
			vdrv_ctrlq_forget(device);
		return rc;
	}
	running = vdrv_queue_running(device, device->queues_count);
	if (running < device->queues_count)
		return rp_wire_why_set(why, -EEXIST,
				       "memory at 0x%" PRIx64 ": the control queue's own is there, and cannot move "
				       "while queue %u runs (no RING_RESET)",
				       device->ctrlq.iova, running);
	/* What the device was told is told again with the next queue. */
	return vdrv_negotiate(device, device->guest_features, why);
}

int
vdrv_ctrlq_make_way(struct virtio_device *device, struct rp_wire_why *why)
{
	int rc = stop(device, why);

	return rc < 0 ? rc : vdrv_ctrlq_memory_give(device, why);
}
