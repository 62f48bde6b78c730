/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>

#include "rp_accel_vendor.h"
#include "virtio.h"
#include "virtio_regs.h"

/* How a queue is let go of: as this device can. */

/* 4.1.4.3.2: the reset is over when queue_reset reads 0, and then queue_enable does too. */
int
vdrv_queue_reset(const struct virtio_device *device, unsigned int queue, struct rp_wire_why *why)
{
	uint64_t enabled;
	int rc = vdrv_queue_select(device, queue, why);

	if (rc == 0)
		rc = vdrv_common_write(device, COMMON_QUEUE_RESET, 2, 1, why);
	if (rc == 0)
		rc = vdrv_wait(device, COMMON_QUEUE_RESET, 2, 0, "queue_reset", why);
	if (rc == 0)
		rc = vdrv_common_read(device, COMMON_QUEUE_ENABLE, 2, &enabled, why);
	if (rc != 0)
		return rc;
	if (enabled != 0)
		return rp_wire_why_set(why, -EIO, "queue %u: queue_enable: reads %" PRIu64 " after a queue reset",
				       queue, enabled);
	return 0;
}

unsigned int
vdrv_queue_running(const struct virtio_device *device, unsigned int except)
{
	unsigned int i;

	for (i = 0; i < device->queues_count; i++)
		if (i != except && device->queues[i].running)
			break;
	return i;
}

static int
stop_by_device_reset(struct virtio_device *device, unsigned int queue, struct rp_wire_why *why)
{
	unsigned int other = vdrv_queue_running(device, queue);

	if (other < device->queues_count)
		return rp_wire_why_set(why, -ENOTSUP,
				       "queue %u: the device cannot stop one queue while queue %u "
				       "runs (neither RING_RESET nor ring state): a reset stops all",
				       queue, other);
	return vdrv_negotiate(device, device->guest_features, why);
}

static int
stop(struct virtio_device *device, unsigned int queue, uint32_t *ret_position, struct rp_wire_why *why)
{
	if (vdrv_vendor_has(device, RP_ACCEL_VENDOR_RING_STATE_MASK))
		return vdrv_vendor_stop(device, queue, ret_position, why);
	if (vdrv_feature(device->own_features, VIRTIO_F_RING_RESET_BIT))
		return vdrv_queue_reset(device, queue, why);
	return stop_by_device_reset(device, queue, why);
}

int
vdrv_queue_stop(struct virtio_device *device, unsigned int queue, uint32_t *ret_position, struct rp_wire_why *why)
{
	int rc;

	if (queue >= device->queues_count || !device->queues[queue].running)
		return rp_wire_why_set(why, -EINVAL, "queue %u: is not running", queue);
	rc = stop(device, queue, ret_position, why);
	if (rc != 0)
		return rc;
	device->queues[queue].running = false;
	/* The ring is let go of; that a vector keeps its eventfd longer harms nobody. */
	if (device->transport.ops->irq_drop != NULL)
		device->transport.ops->irq_drop(device->transport.priv, queue);
	else
		vdrv_vector_set(device, queue, -1, NULL);
	return 0;
}
