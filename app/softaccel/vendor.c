/* SPDX-License-Identifier: BSD-3-Clause */
#include <endian.h>
#include <stddef.h>
#include <string.h>

#include "sa_device.h"

/* The ring state capability; its registers are described in rp_accel_vendor.h. */

#define QUEUE_BYTES ((uint32_t)sizeof(struct rp_accel_vendor_queue))
#define HEADER_BYTES ((uint32_t)sizeof(struct rp_accel_vendor_header))

uint32_t
sa_vendor_bytes(const struct softaccel_function *function)
{
	return HEADER_BYTES + function->queues_count * QUEUE_BYTES;
}

static uint32_t
control_of(const struct sa_queue *queue)
{
	if (sa_ring_state(&queue->ring) == SOFTACCEL_QUEUE_BROKEN && !sa_queue_is_changing(queue))
		return RP_ACCEL_VENDOR_BROKEN;
	if (queue->drain == SA_DRAIN_STOP)
		return RP_ACCEL_VENDOR_STOPPING;
	return queue->enabled ? RP_ACCEL_VENDOR_RUNNING : RP_ACCEL_VENDOR_STOPPED;
}

static void
queue_image(struct softaccel_function *function, unsigned int number, struct rp_accel_vendor_queue *ret_image)
{
	struct softaccel_queue_counters counters;

	sa_queue_watch_drain(function, number);
	softaccel_queue_counters(function, number, &counters);
	*ret_image = (struct rp_accel_vendor_queue){
		.position = htole32(sa_queue_position(&function->queues[number])),
		.control = htole32(control_of(&function->queues[number])),
		.direct_kicks = htole64(counters.direct_kicks),
		.eventfd_kicks = htole64(counters.eventfd_kicks),
		.interrupts = htole64(counters.interrupts),
		.packets = htole64(counters.packets),
		.bytes = htole64(counters.bytes),
		.errors = htole64(counters.errors),
	};
}

/* Copy the part of `image`, which lies at `image_at`, that the access covers. */
static void
copy_overlap(const void *image, uint32_t image_at, uint32_t image_bytes, uint32_t at, uint32_t count,
	     uint8_t *ret_bytes)
{
	uint32_t first = RTE_MAX(at, image_at);
	uint32_t end = RTE_MIN(at + count, image_at + image_bytes);

	if (first < end)
		memcpy(ret_bytes + (first - at), (const uint8_t *)image + (first - image_at), end - first);
}

void
sa_vendor_read(struct softaccel_function *function, uint32_t at, uint32_t count, uint8_t *ret_bytes)
{
	const struct rp_accel_vendor_header header = {
		.magic = htole32(RP_ACCEL_VENDOR_MAGIC),
		.version = htole16(RP_ACCEL_VENDOR_VERSION),
		.stride_bytes = htole16(QUEUE_BYTES),
		.queues_count = htole32(function->queues_count),
		.flags = htole32(RP_ACCEL_VENDOR_RING_STATE_MASK | RP_ACCEL_VENDOR_NOTIFY_ADDRESS_MASK |
				 RP_ACCEL_VENDOR_COUNTERS_MASK),
	};
	uint32_t number = at < HEADER_BYTES ? 0 : (at - HEADER_BYTES) / QUEUE_BYTES;

	copy_overlap(&header, 0, HEADER_BYTES, at, count, ret_bytes);
	for (; number < function->queues_count; number++) {
		uint32_t queue_at = HEADER_BYTES + number * QUEUE_BYTES;
		struct rp_accel_vendor_queue image;

		if (queue_at >= at + count)
			break;
		queue_image(function, number, &image);
		copy_overlap(&image, queue_at, QUEUE_BYTES, at, count, ret_bytes);
	}
}

void
sa_vendor_write(struct softaccel_function *function, uint32_t at, uint32_t count, const uint8_t *bytes)
{
	uint32_t value, number, field;

	if (count != sizeof(value) || at < HEADER_BYTES)
		return;
	memcpy(&value, bytes, sizeof(value));
	value = le32toh(value);
	number = (at - HEADER_BYTES) / QUEUE_BYTES;
	field = (at - HEADER_BYTES) % QUEUE_BYTES;
	/* Judged with the ring, at queue_enable. */
	if (field == offsetof(struct rp_accel_vendor_queue, position) && !function->queues[number].enabled)
		function->queues[number].position = value;
	else if (field == offsetof(struct rp_accel_vendor_queue, control) && value == RP_ACCEL_VENDOR_STOP)
		sa_queue_stop(function, number);
}
