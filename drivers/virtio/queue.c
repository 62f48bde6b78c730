/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>

#include "rp_accel_vendor.h"
#include "virtio.h"
#include "virtio_regs.h"

/* Write a register and see that the device took it. */
static int
set_and_verify(const struct virtio_device *device, uint64_t offset_bytes, uint64_t value, const char *name,
	       unsigned int queue, struct rp_wire_why *why)
{
	uint64_t back;
	int rc = vdrv_common_write(device, offset_bytes, 2, value, why);

	if (rc == 0)
		rc = vdrv_common_read(device, offset_bytes, 2, &back, why);
	if (rc != 0)
		return rc;
	if (back != value)
		return rp_wire_why_set(why, -ENOTSUP,
				       "queue %u: %s: reads 0x%" PRIx64 " after 0x%" PRIx64
				       " was written: the device refuses it",
				       queue, name, back, value);
	return 0;
}

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

static int
check_config(const struct virtio_device *device, unsigned int queue, const struct rp_accel_queue_config *config,
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

/* 4.1.3.1: 64-bit fields as two 32-bit accesses */
static int
set_address(const struct virtio_device *device, uint64_t offset_bytes, uint64_t iova, struct rp_wire_why *why)
{
	int rc = vdrv_common_write(device, offset_bytes, 4, iova & 0xffffffffu, why);

	return rc < 0 ? rc : vdrv_common_write(device, offset_bytes + 4, 4, iova >> 32, why);
}

/* 4.1.5.1.3 and 4.1.5.1.2.1 */
int
vdrv_queue_program(const struct virtio_device *device, unsigned int queue, const struct rp_accel_queue_config *config,
		   uint16_t vector, struct rp_wire_why *why)
{
	uint64_t enabled;
	int rc = vdrv_queue_select(device, queue, why);

	if (rc == 0)
		rc = vdrv_common_read(device, COMMON_QUEUE_ENABLE, 2, &enabled, why);
	if (rc == 0 && enabled != 0)
		rc = rp_wire_why_set(why, -EIO, "queue %u: queue_enable: reads %" PRIu64 " though it was stopped",
				     queue, enabled);
	if (rc == 0)
		rc = set_and_verify(device, COMMON_QUEUE_SIZE, config->num, "queue_size", queue, why);
	if (rc == 0)
		rc = set_and_verify(device, COMMON_QUEUE_MSIX_VECTOR, vector, "queue_msix_vector", queue, why);
	if (rc == 0)
		rc = set_address(device, COMMON_QUEUE_DESC, config->desc_iova, why);
	if (rc == 0)
		rc = set_address(device, COMMON_QUEUE_DRIVER, config->avail_iova, why);
	if (rc == 0)
		rc = set_address(device, COMMON_QUEUE_DEVICE, config->used_iova, why);
	if (rc == 0 && queue < device->queues_count && vdrv_vendor_has(device, RP_ACCEL_VENDOR_RING_STATE_MASK))
		rc = vdrv_vendor_set_position(device, queue, config->position, why);
	return rc < 0 ? rc : set_and_verify(device, COMMON_QUEUE_ENABLE, 1, "queue_enable", queue, why);
}

static int
set_vector(const struct virtio_device *device, unsigned int queue, int call_fd, struct rp_wire_why *why)
{
	int rc = device->transport.ops->irq_set(device->transport.priv, queue, call_fd, why);

	if (rc == 0)
		return 0;
	rp_wire_why_prefix(why, "queue %u: MSI-X vector: ", queue);
	return rc;
}

/* No eventfd, which is a VMM's mistake, or no interrupt left in this machine: the device is as it was. */
static int
start_error(int error, struct rp_wire_why *why)
{
	if (error != -EINVAL && error != -ENOSPC)
		return vdrv_error_from_transport(error, why);
	why->error = -ENOTSUP;
	return -ENOTSUP;
}

int
vdrv_queue_start(struct virtio_device *device, unsigned int queue, const struct rp_accel_queue_config *config,
		 struct rp_wire_why *why)
{
	int rc = check_config(device, queue, config, why);

	if (rc == 0)
		rc = vdrv_net_tell(device, why);
	if (rc < 0)
		return rc;
	rc = set_vector(device, queue, config->call_fd, why);
	if (rc < 0)
		return start_error(rc, why);
	/* The vector of a queue has its number. */
	rc = vdrv_queue_program(device, queue, config, (uint16_t)queue, why);
	if (rc < 0) {
		set_vector(device, queue, -1, NULL);
		return rc;
	}
	device->queues[queue].running = true;
	device->queues[queue].size = config->num;
	rc = vdrv_set_driver_ok(device, why);
	return rc < 0 ? rc : vdrv_status_check(device, why);
}

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
	set_vector(device, queue, -1, NULL);
	return 0;
}

int
vdrv_queue_call(struct virtio_device *device, unsigned int queue, int call_fd, struct rp_wire_why *why)
{
	int rc;

	if (queue >= device->queues_count || !device->queues[queue].running)
		return rp_wire_why_set(why, -EINVAL, "queue %u: is not running", queue);
	rc = set_vector(device, queue, call_fd, why);
	/* Who would have interrupted whom is not known any more. */
	return rc < 0 ? vdrv_error_from_transport(rc, why) : 0;
}
