/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>

#include "virtio.h"
#include "virtio_regs.h"

#define CTRL_VQ_BIT 17u
#define MQ_BIT 22u
#define RING_PACKED_BIT 34u
#define RING_RESET_BIT 40u

/*
 * How many data queues can be used. Without MQ, which goes with the control queue,
 * only the first pair is alive (5.1.2), whatever the device has.
 */
static int
count_queues(struct virtio_device *device, uint64_t num_queues, struct rp_wire_why *why)
{
	uint64_t count = num_queues;

	if (vdrv_feature(device->device_features, CTRL_VQ_BIT) && count > 0)
		count--;
	if (vdrv_feature(device->device_features, MQ_BIT) && count > 2)
		count = 2;
	if (count > RP_ACCEL_QUEUES_MAX)
		count = RP_ACCEL_QUEUES_MAX;
	if (count < 2)
		return rp_wire_why_set(why, -EBADMSG, "num_queues: %" PRIu64 ", expected at least one pair",
				       num_queues);
	if (device->transport_info.msix_count < 2)
		return rp_wire_why_set(why, -ENOTSUP,
				       "MSI-X: %u vectors, expected at least 2: one for each queue (QEMU: vectors=N)",
				       device->transport_info.msix_count);
	if (count > device->transport_info.msix_count)
		count = device->transport_info.msix_count;
	device->queues_count = (unsigned int)count & ~1u;
	device->all_queues_count = (unsigned int)num_queues;
	device->doorbells_count = num_queues < VIRTIO_DOORBELLS_MAX ? (unsigned int)num_queues : VIRTIO_DOORBELLS_MAX;
	device->has_config_vector = device->transport_info.msix_count > device->queues_count;
	return 0;
}

static int
open_size(struct virtio_device *device, unsigned int queue, struct rp_wire_why *why)
{
	uint64_t size;
	int rc = vdrv_common_read(device, COMMON_QUEUE_SIZE, 2, &size, why);

	if (rc < 0)
		return rc;
	/* 2.8.10: only packed rings can have another size. */
	if (size == 0 || size > VIRTIO_QUEUE_SIZE_LIMIT ||
	    (!virtio_is_power_of_two(size) && !vdrv_feature(device->device_features, RING_PACKED_BIT)))
		return rp_wire_why_set(why, -EBADMSG,
				       "queue %u: queue_size: %" PRIu64 ", expected a power of two up to %u", queue,
				       size, VIRTIO_QUEUE_SIZE_LIMIT);
	device->queues[queue].size_max = (uint16_t)size;
	if (device->queue_size_max == 0 || size < device->queue_size_max)
		device->queue_size_max = (uint16_t)size;
	return 0;
}

/* 4.1.4.4: offset = cap.offset + queue_notify_off * notify_off_multiplier */
static int
open_doorbell(struct virtio_device *device, unsigned int queue, struct rp_wire_why *why)
{
	const struct virtio_place *notify = &device->layout.places[VIRTIO_NOTIFY];
	uint64_t notify_off, at;
	int rc = vdrv_common_read(device, COMMON_QUEUE_NOTIFY_OFF, 2, &notify_off, why);

	if (rc < 0)
		return rc;
	at = notify_off * device->layout.notify_multiplier;
	device->doorbells[queue] = notify->offset_bytes + at;
	/* Those that we do not ring matter only as neighbours. */
	if (queue >= device->queues_count)
		return 0;
	if (at + VIRTIO_DOORBELL_BYTES > notify->length_bytes)
		return rp_wire_why_set(why, -EBADMSG,
				       "queue %u: queue_notify_off: %" PRIu64 " times %u lies beyond the "
				       "notify structure of 0x%" PRIx64 " bytes",
				       queue, notify_off, device->layout.notify_multiplier, notify->length_bytes);
	if (device->doorbells[queue] % VIRTIO_DOORBELL_BYTES != 0)
		return rp_wire_why_set(why, -EBADMSG, "queue %u: doorbell: offset 0x%" PRIx64 " is odd", queue,
				       device->doorbells[queue]);
	return 0;
}

int
vdrv_queues_open(struct virtio_device *device, struct rp_wire_why *why)
{
	uint64_t num_queues;
	unsigned int i;
	int rc = vdrv_common_read(device, COMMON_NUM_QUEUES, 2, &num_queues, why);

	if (rc == 0)
		rc = count_queues(device, num_queues, why);
	if (rc == 0 && vdrv_feature(device->device_features, RING_RESET_BIT) &&
	    device->layout.places[VIRTIO_COMMON].length_bytes < COMMON_WITH_QUEUE_RESET_BYTES)
		rc = rp_wire_why_set(why, -EBADMSG,
				     "common configuration: length: %" PRIu64 ", expected at least %u with "
				     "RING_RESET",
				     device->layout.places[VIRTIO_COMMON].length_bytes, COMMON_WITH_QUEUE_RESET_BYTES);
	for (i = 0; i < device->doorbells_count && rc == 0; i++) {
		rc = vdrv_queue_select(device, i, why);
		if (rc == 0 && i < device->queues_count)
			rc = open_size(device, i, why);
		if (rc == 0)
			rc = open_doorbell(device, i, why);
	}
	return rc;
}
