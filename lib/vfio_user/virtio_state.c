/* SPDX-License-Identifier: BSD-3-Clause */
#include <endian.h>
#include <stddef.h>
#include <string.h>

#include "rp_accel_vendor.h"
#include "vfu_virtio.h"

/* The ring state capability's block (rp_accel_vendor.h): a header, an entry for each queue, words of wishes. */

#define HEADER_BYTES ((uint32_t)sizeof(struct rp_accel_vendor_header))
#define QUEUE_BYTES ((uint32_t)sizeof(struct rp_accel_vendor_queue))
#define POSITION_AT ((uint32_t)offsetof(struct rp_accel_vendor_queue, position))
#define CONTROL_AT ((uint32_t)offsetof(struct rp_accel_vendor_queue, control))
#define DOORBELL_AT ((uint32_t)offsetof(struct rp_accel_vendor_queue, doorbell))
#define FIELD_BYTES 4u

uint32_t
vfu_virtio_state_bytes(const struct rp_vfu_virtio *virtio)
{
	uint32_t bytes = (uint32_t)rp_accel_vendor_wishes_at(QUEUE_BYTES, virtio->config.queues_count);

	if (virtio->config.has_doorbell_wishes)
		bytes += (uint32_t)rp_accel_vendor_wishes_bytes(virtio->config.queues_count);
	return bytes;
}

static uint32_t
control_of(const struct rp_vfu_virtio_queue *regs)
{
	if (regs->broken)
		return RP_ACCEL_VENDOR_BROKEN;
	if (regs->stopping)
		return RP_ACCEL_VENDOR_STOPPING;
	return regs->enabled ? RP_ACCEL_VENDOR_RUNNING : RP_ACCEL_VENDOR_STOPPED;
}

static struct rp_accel_vendor_queue
queue_image(struct rp_vfu_virtio *virtio, unsigned int queue)
{
	struct rp_vfu_virtio_counters counters = {.direct_kicks = 0};

	if (virtio->ops.look != NULL)
		virtio->ops.look(virtio->ctx, queue, &counters);
	return (struct rp_accel_vendor_queue){
		.position = htole32(virtio->queues[queue].position),
		.control = htole32(control_of(&virtio->queues[queue])),
		.direct_kicks = htole64(counters.direct_kicks),
		.eventfd_kicks = htole64(counters.eventfd_kicks),
		.interrupts = htole64(counters.interrupts),
		.packets = htole64(counters.packets),
		.bytes = htole64(counters.bytes),
		.errors = htole64(counters.errors),
		.doorbell = htole32(virtio->queues[queue].doorbell),
	};
}

/* Copy the part of `image`, which lies at `image_at`, that the access covers. */
static void
copy_overlap(const void *image, uint32_t image_at, uint32_t image_bytes, uint32_t at, uint32_t count_bytes,
	     uint8_t *ret_bytes)
{
	uint32_t first = at > image_at ? at : image_at;
	uint32_t end = at + count_bytes < image_at + image_bytes ? at + count_bytes : image_at + image_bytes;

	if (first < end)
		memcpy(ret_bytes + (first - at), (const uint8_t *)image + (first - image_at), end - first);
}

/* Of those that an access may touch; it may be none. */
static uint32_t
first_queue(uint32_t at)
{
	return at < HEADER_BYTES ? 0 : (at - HEADER_BYTES) / QUEUE_BYTES;
}

static void
wishes_image(const struct rp_vfu_virtio *virtio, uint32_t *ret_words)
{
	unsigned int queue;

	for (queue = 0; queue < virtio->config.queues_count; queue++)
		ret_words[queue / 32] |= htole32((uint32_t)virtio->queues[queue].wants_page << queue % 32);
}

void
vfu_virtio_state_read(struct rp_vfu_virtio *virtio, uint32_t at, uint32_t count_bytes, uint8_t *ret_bytes)
{
	const struct rp_accel_vendor_header header = {
		.magic = htole32(RP_ACCEL_VENDOR_MAGIC),
		.version = htole16(RP_ACCEL_VENDOR_VERSION),
		.stride_bytes = htole16(QUEUE_BYTES),
		.queues_count = htole32(virtio->config.queues_count),
		.flags = htole32(RP_ACCEL_VENDOR_RING_STATE_MASK | RP_ACCEL_VENDOR_NOTIFY_ADDRESS_MASK |
				 (virtio->config.has_counters ? RP_ACCEL_VENDOR_COUNTERS_MASK : 0) |
				 (virtio->config.has_doorbell_wishes ? RP_ACCEL_VENDOR_DOORBELL_MASK : 0)),
	};
	uint32_t wishes_at = (uint32_t)rp_accel_vendor_wishes_at(QUEUE_BYTES, virtio->config.queues_count);
	uint32_t queue = first_queue(at);
	uint32_t wishes[RP_VFU_VIRTIO_QUEUES_MAX / 32] = {0};

	copy_overlap(&header, 0, HEADER_BYTES, at, count_bytes, ret_bytes);
	for (; queue < virtio->config.queues_count; queue++) {
		uint32_t queue_at = HEADER_BYTES + queue * QUEUE_BYTES;
		struct rp_accel_vendor_queue image;

		if (queue_at >= at + count_bytes)
			break;
		image = queue_image(virtio, queue);
		copy_overlap(&image, queue_at, QUEUE_BYTES, at, count_bytes, ret_bytes);
	}
	if (!virtio->config.has_doorbell_wishes || at + count_bytes <= wishes_at)
		return;
	wishes_image(virtio, wishes);
	copy_overlap(wishes, wishes_at, (uint32_t)rp_accel_vendor_wishes_bytes(virtio->config.queues_count), at,
		     count_bytes, ret_bytes);
}

/* Registers that are not covered as a whole stay as they are: half a position means nothing. */
static bool
covers(uint32_t at, uint32_t count_bytes, const uint8_t *bytes, uint32_t field_at, uint32_t *ret_value)
{
	if (field_at < at || field_at + FIELD_BYTES > at + count_bytes)
		return false;
	memcpy(ret_value, bytes + (field_at - at), FIELD_BYTES);
	*ret_value = le32toh(*ret_value);
	return true;
}

void
vfu_virtio_state_write(struct rp_vfu_virtio *virtio, uint32_t at, uint32_t count_bytes, const uint8_t *bytes)
{
	uint32_t queue = first_queue(at), value;

	for (; queue < virtio->config.queues_count; queue++) {
		uint32_t queue_at = HEADER_BYTES + queue * QUEUE_BYTES;

		if (queue_at >= at + count_bytes)
			return;
		/* Judged with the ring, when that is begun. */
		if (covers(at, count_bytes, bytes, queue_at + POSITION_AT, &value) && !virtio->queues[queue].enabled)
			virtio->queues[queue].position = value;
		if (covers(at, count_bytes, bytes, queue_at + CONTROL_AT, &value) && value == RP_ACCEL_VENDOR_STOP)
			vfu_virtio_queue_stop(virtio, queue, RP_VFU_VIRTIO_STOP);
		if (covers(at, count_bytes, bytes, queue_at + DOORBELL_AT, &value))
			vfu_virtio_queue_doorbell(virtio, queue, value);
	}
}
