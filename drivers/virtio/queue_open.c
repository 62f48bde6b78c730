/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>

#include "virtio.h"
#include "virtio_regs.h"

/*
 * 3.1.1: a driver looks for queues after FEATURES_OK. Most devices show them before; QEMU's
 * has its pairs beyond the first, and its control queue behind them, only for a driver
 * with MQ, and from one reset to the next.
 */
static int
count_again(struct virtio_device *device, uint64_t *ret_num_queues, struct rp_wire_why *why)
{
	const uint64_t wanted = 1ull << VIRTIO_F_VERSION_1_BIT | 1ull << VIRTIO_F_ACCESS_PLATFORM_BIT |
				1ull << VIRTIO_F_ORDER_PLATFORM_BIT | 1ull << VIRTIO_NET_F_CTRL_VQ_BIT |
				1ull << VIRTIO_NET_F_MQ_BIT;
	int rc = vdrv_negotiate(device, device->device_features & wanted, why);

	return rc < 0 ? rc : vdrv_common_read(device, COMMON_NUM_QUEUES, 2, ret_num_queues, why);
}

/* 5.1.4 and 5.1.5: max_virtqueue_pairs */
static int
read_pairs(const struct virtio_device *device, unsigned int *ret_pairs_count, struct rp_wire_why *why)
{
	const struct virtio_place *place = &device->layout.places[VIRTIO_CONFIG];
	uint8_t bytes[2];
	int rc;

	if (!place->present || place->length_bytes < NET_CONFIG_MAX_PAIRS_END)
		return rp_wire_why_set(why, -EBADMSG,
				       "device configuration: length: %" PRIu64 ", expected at least %u with MQ",
				       place->present ? place->length_bytes : 0, NET_CONFIG_MAX_PAIRS_END);
	rc = vdrv_config_get(device, NET_CONFIG_MAX_PAIRS, sizeof(bytes), bytes, why);
	if (rc < 0)
		return rc;
	*ret_pairs_count = bytes[0] | (unsigned int)bytes[1] << 8;
	if (*ret_pairs_count == 0 || *ret_pairs_count > NET_PAIRS_LIMIT)
		return rp_wire_why_set(why, -EBADMSG, "max_virtqueue_pairs: %u, expected 1 to %u", *ret_pairs_count,
				       NET_PAIRS_LIMIT);
	return 0;
}

/*
 * 5.1.2: with MQ, which is ours with a control queue, all pairs can be used and the
 * control queue comes after them; without, it comes after the first pair, and the
 * others are dead.
 */
static int
count_with_control(struct virtio_device *device, uint64_t *num_queues, uint64_t *ret_count, struct rp_wire_why *why)
{
	bool has_pairs = vdrv_feature(device->device_features, VIRTIO_NET_F_MQ_BIT);
	unsigned int pairs_count = 1;
	int rc = has_pairs ? read_pairs(device, &pairs_count, why) : 0;

	if (rc == 0 && *num_queues <= 2 * pairs_count && *num_queues > 0 && has_pairs)
		rc = count_again(device, num_queues, why);
	if (rc < 0)
		return rc;
	if (*num_queues <= 2 * pairs_count)
		return rp_wire_why_set(why, -EBADMSG,
				       "num_queues: %" PRIu64 ", expected at least %u: %u for data and one for control",
				       *num_queues, 2 * pairs_count + 1, 2 * pairs_count);
	device->ctrlq.present = true;
	device->ctrlq.index = 2 * pairs_count;
	*ret_count = 2 * pairs_count;
	return 0;
}

static int
count_data_queues(struct virtio_device *device, uint64_t *num_queues, uint64_t *ret_count, struct rp_wire_why *why)
{
	if (vdrv_feature(device->device_features, VIRTIO_NET_F_CTRL_VQ_BIT))
		return count_with_control(device, num_queues, ret_count, why);
	/* MQ means nothing without the queue by which it is set. */
	*ret_count = vdrv_feature(device->device_features, VIRTIO_NET_F_MQ_BIT) && *num_queues > 2 ? 2 : *num_queues;
	if (*num_queues < 2)
		return rp_wire_why_set(why, -EBADMSG, "num_queues: %" PRIu64 ", expected at least one pair",
				       *num_queues);
	return 0;
}

static int
count_queues(struct virtio_device *device, uint64_t num_queues, struct rp_wire_why *why)
{
	uint32_t msix_count = device->transport_info.msix_count;
	uint64_t count = 0;
	int rc = count_data_queues(device, &num_queues, &count, why);

	if (rc < 0)
		return rc;
	if (msix_count < 2)
		return rp_wire_why_set(why, -ENOTSUP,
				       "MSI-X: %u vectors, expected at least 2: one for each queue (QEMU: vectors=N)",
				       msix_count);
	if (count > RP_ACCEL_QUEUES_MAX)
		count = RP_ACCEL_QUEUES_MAX;
	device->vectors_short = count > msix_count;
	if (device->vectors_short)
		count = msix_count;
	device->queues_count = (unsigned int)count & ~1u;
	device->all_queues_count = (unsigned int)num_queues;
	device->doorbells_count = num_queues < VIRTIO_DOORBELLS_MAX ? (unsigned int)num_queues : VIRTIO_DOORBELLS_MAX;
	device->has_config_vector = msix_count > device->queues_count;
	return 0;
}

const char *
vdrv_queues_limit(const struct virtio_device *device)
{
	return device->vectors_short ?
		       ": MSI-X has too few vectors for more, one is needed for each (QEMU: vectors=N)" :
		       "";
}

static int
read_size(const struct virtio_device *device, unsigned int queue, uint64_t *ret_size, struct rp_wire_why *why)
{
	int rc = vdrv_common_read(device, COMMON_QUEUE_SIZE, 2, ret_size, why);

	if (rc < 0)
		return rc;
	/* 2.8.10: only packed rings can have another size. */
	if (*ret_size == 0 || *ret_size > VIRTIO_QUEUE_SIZE_LIMIT ||
	    (!virtio_is_power_of_two(*ret_size) && !vdrv_feature(device->device_features, VIRTIO_F_RING_PACKED_BIT)))
		return rp_wire_why_set(why, -EBADMSG,
				       "queue %u: queue_size: %" PRIu64 ", expected a power of two up to %u", queue,
				       *ret_size, VIRTIO_QUEUE_SIZE_LIMIT);
	return 0;
}

static int
open_size(struct virtio_device *device, unsigned int queue, struct rp_wire_why *why)
{
	uint64_t size = 0;
	int rc = read_size(device, queue, &size, why);

	if (rc < 0)
		return rc;
	device->queues[queue].size_max = (uint16_t)size;
	if (device->queue_size_max == 0 || size < device->queue_size_max)
		device->queue_size_max = (uint16_t)size;
	return 0;
}

/* 4.1.4.4: offset = cap.offset + queue_notify_off * notify_off_multiplier */
int
vdrv_queue_doorbell(const struct virtio_device *device, unsigned int queue, bool is_ours, uint64_t *ret_doorbell,
		    struct rp_wire_why *why)
{
	const struct virtio_place *notify = &device->layout.places[VIRTIO_NOTIFY];
	uint64_t notify_off, at;
	int rc = vdrv_common_read(device, COMMON_QUEUE_NOTIFY_OFF, 2, &notify_off, why);

	if (rc < 0)
		return rc;
	at = notify_off * device->layout.notify_multiplier;
	*ret_doorbell = notify->offset_bytes + at;
	/* Those that we do not ring matter only as neighbours. */
	if (!is_ours)
		return 0;
	if (at + VIRTIO_DOORBELL_BYTES > notify->length_bytes)
		return rp_wire_why_set(why, -EBADMSG,
				       "queue %u: queue_notify_off: %" PRIu64 " times %u lies beyond the "
				       "notify structure of 0x%" PRIx64 " bytes",
				       queue, notify_off, device->layout.notify_multiplier, notify->length_bytes);
	if (*ret_doorbell % VIRTIO_DOORBELL_BYTES != 0)
		return rp_wire_why_set(why, -EBADMSG, "queue %u: doorbell: offset 0x%" PRIx64 " is odd", queue,
				       *ret_doorbell);
	return 0;
}

static int
open_control(struct virtio_device *device, struct rp_wire_why *why)
{
	unsigned int queue = device->ctrlq.index;
	uint64_t size = 0;
	int rc = vdrv_queue_select(device, queue, why);

	if (rc == 0)
		rc = read_size(device, queue, &size, why);
	if (rc == 0)
		rc = vdrv_queue_doorbell(device, queue, true, &device->ctrlq.doorbell, why);
	return rc < 0 ? rc : vdrv_ctrlq_open(device, size, why);
}

static int
survey(struct virtio_device *device, struct rp_wire_why *why)
{
	uint64_t num_queues = 0;
	unsigned int i;
	int rc = vdrv_common_read(device, COMMON_NUM_QUEUES, 2, &num_queues, why);

	if (rc == 0)
		rc = count_queues(device, num_queues, why);
	if (rc == 0 && vdrv_feature(device->device_features, VIRTIO_F_RING_RESET_BIT) &&
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
			rc = vdrv_queue_doorbell(device, i, i < device->queues_count, &device->doorbells[i], why);
	}
	return rc == 0 && device->ctrlq.present ? open_control(device, why) : rc;
}

int
vdrv_queues_open(struct virtio_device *device, struct rp_wire_why *why)
{
	int rc = survey(device, why);

	/* It was negotiated with only to see them. */
	if (!device->negotiated || vdrv_error_is_loss(rc))
		return rc;
	if (rc < 0)
		vdrv_reset(device, NULL);
	return rc < 0 ? rc : vdrv_reset(device, why);
}
