/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>

#include "rp_accel_vendor.h"
#include "virtio.h"

/* Which rings this device can be given. */

/* 2.7 and 2.8 */
static int
check_ring(const struct virtio_device *device, unsigned int queue, const struct rp_accel_queue_config *config,
	   struct rp_wire_why *why)
{
	bool packed = vdrv_is_packed(device);
	unsigned int avail_alignment_bytes = packed ? 4 : 2;
	struct rp_wire_why words = {0};

	if (config->num == 0 || config->num > device->queues[queue].size_max ||
	    (!packed && !virtio_is_power_of_two(config->num)))
		return rp_wire_why_set(why, -EINVAL, "queue %u: size: %u, expected %s up to %u", queue, config->num,
				       packed ? "1" : "a power of two", device->queues[queue].size_max);
	if (config->desc_iova % 16 != 0 || config->avail_iova % avail_alignment_bytes != 0 ||
	    config->used_iova % 4 != 0)
		return rp_wire_why_set(why, -EINVAL,
				       "queue %u: ring: desc 0x%" PRIx64 ", avail 0x%" PRIx64 ", used 0x%" PRIx64
				       ": expected multiples of 16, %u and 4",
				       queue, config->desc_iova, config->avail_iova, config->used_iova,
				       avail_alignment_bytes);
	if (rp_vring_position_check(device->guest_features, config->num, config->position, &words) < 0)
		return rp_wire_why_set(why, -EINVAL, "queue %u: %.140s", queue, words.text);
	if (config->position != rp_vring_position_fresh(device->guest_features) &&
	    !vdrv_vendor_has(device, RP_ACCEL_VENDOR_RING_STATE_MASK))
		return rp_wire_why_set(why, -ENOTSUP,
				       "queue %u: position: 0x%x: the device starts fresh rings only (class B)", queue,
				       config->position);
	return 0;
}

int
vdrv_queue_check(const struct virtio_device *device, unsigned int queue, const struct rp_accel_queue_config *config,
		 struct rp_wire_why *why)
{
	if (queue >= device->queues_count)
		return rp_wire_why_set(why, -EINVAL, "queue %u: expected less than %u%s", queue, device->queues_count,
				       vdrv_queues_limit(device));
	if (!device->negotiated)
		return rp_wire_why_set(why, -EINVAL, "queue %u: features are not negotiated", queue);
	if (device->queues[queue].running)
		return rp_wire_why_set(why, -EBUSY, "queue %u: is running", queue);
	return check_ring(device, queue, config, why);
}
