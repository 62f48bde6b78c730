/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>

#include "virtio.h"
#include "virtio_regs.h"

static int
read_status(const struct virtio_device *device, uint64_t *ret_status, struct rp_wire_why *why)
{
	return vdrv_common_read(device, COMMON_DEVICE_STATUS, 1, ret_status, why);
}

/* 4.1.4.3: two halves behind a select register */
int
vdrv_device_features(const struct virtio_device *device, uint64_t *ret_features, struct rp_wire_why *why)
{
	uint64_t features = 0, half_bits;
	unsigned int half;
	int rc;

	for (half = 0; half < 2; half++) {
		rc = vdrv_common_write(device, COMMON_DEVICE_FEATURE_SELECT, 4, half, why);
		if (rc == 0)
			rc = vdrv_common_read(device, COMMON_DEVICE_FEATURE, 4, &half_bits, why);
		if (rc != 0)
			return rc;
		features |= half_bits << 32 * half;
	}
	*ret_features = features;
	return 0;
}

static int
change_bus(const struct virtio_device *device, uint8_t clear_mask, uint8_t set_mask, struct rp_wire_why *why)
{
	const struct rp_accel_transport *transport = &device->transport;
	uint8_t bytes[2];
	int rc = transport->ops->region_read(transport->priv, RP_ACCEL_TRANSPORT_CONFIG_REGION, PCI_COMMAND,
					     sizeof(bytes), bytes, why);

	if (rc == 0) {
		bytes[0] = (uint8_t)((bytes[0] & ~clear_mask) | set_mask);
		rc = transport->ops->region_write(transport->priv, RP_ACCEL_TRANSPORT_CONFIG_REGION, PCI_COMMAND,
						  sizeof(bytes), bytes, why);
	}
	return rc;
}

/* A device on a real bus needs it before it may answer or reach memory; others may refuse to have such a register. */
int
vdrv_enable_bus(const struct virtio_device *device, struct rp_wire_why *why)
{
	int rc = change_bus(device, 0, PCI_COMMAND_MEMORY_MASK | PCI_COMMAND_MASTER_MASK, why);

	return vdrv_error_is_loss(rc) ? rc : 0;
}

void
vdrv_disable_master(const struct virtio_device *device)
{
	change_bus(device, PCI_COMMAND_MASTER_MASK, 0, NULL);
}

static int
write_reset(const struct virtio_device *device, struct rp_wire_why *why)
{
	struct virtio_access accesses[] = {
		virtio_common_set(COMMON_DEVICE_STATUS, 1, 0),
		virtio_common_get(COMMON_DEVICE_STATUS, 1),
	};
	int rc = vdrv_access_many(device, accesses, 2, why);

	/* 4.1.4.3.2: the reset is complete when the status reads 0. */
	if (rc < 0 || accesses[1].value == 0)
		return rc;
	return vdrv_wait(device, COMMON_DEVICE_STATUS, 1, 0, "device_status (reset)", why);
}

static bool
is_wired(const struct virtio_queue *queue)
{
	return queue->running || queue->prepared;
}

static void
forget_session(struct virtio_device *device)
{
	const struct rp_accel_transport *transport = &device->transport;
	int none[RP_ACCEL_QUEUES_MAX];
	unsigned int i, j, count;

	device->negotiated = false;
	device->driver_ok = false;
	device->net_told = false;
	device->mac_was_set = false;
	vdrv_ctrlq_forget(device);
	/* The device is quiet; a refusal leaves an eventfd with it that it has no reason to write. */
	for (i = 0; i < device->queues_count; i += count) {
		for (count = 0; i + count < device->queues_count && is_wired(&device->queues[i + count]); count++) {
			device->queues[i + count].running = false;
			device->queues[i + count].prepared = false;
			none[count] = -1;
		}
		if (count > 1 && transport->ops->irq_set_many != NULL)
			transport->ops->irq_set_many(transport->priv, i, count, none, NULL);
		else
			for (j = i; j < i + count; j++)
				transport->ops->irq_set(transport->priv, j, -1, NULL);
		count = count == 0 ? 1 : count;
	}
}

int
vdrv_reset(struct virtio_device *device, struct rp_wire_why *why)
{
	int rc = write_reset(device, why);

	device->is_reset = rc == 0;
	if (rc == 0)
		forget_session(device);
	return rc;
}

int
vdrv_reset_hard(struct virtio_device *device, struct rp_wire_why *why)
{
	const struct rp_accel_transport *transport = &device->transport;
	int rc = vdrv_reset(device, why);

	if (rc != -ETIMEDOUT || !device->transport_info.resettable)
		return rc;
	/* A device that ignores its driver may still obey its bus; if not, why keeps what led here. */
	device->config_wired = false;
	if (transport->ops->reset(transport->priv, NULL) < 0 || vdrv_enable_bus(device, NULL) < 0)
		return rc;
	return vdrv_reset(device, why);
}

/*
 * Without it the device still works, but we learn that it failed only when we use it. The eventfd stays with
 * the vector through resets of the device; which vector it is, does not.
 */
static uint64_t
config_vector(struct virtio_device *device)
{
	const struct rp_accel_transport *transport = &device->transport;

	if (device->has_config_vector && !device->config_wired)
		device->config_wired = transport->ops->irq_set(transport->priv, device->queues_count,
							       device->config_event_fd, NULL) == 0;
	return device->config_wired ? device->queues_count : VIRTIO_NO_VECTOR;
}

static int
accept_features(struct virtio_device *device, uint64_t features, struct rp_wire_why *why)
{
	const uint64_t driver = VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER;
	/* 3.1.1, in its order */
	struct virtio_access accesses[] = {
		virtio_common_set(COMMON_DEVICE_STATUS, 1, VIRTIO_STATUS_ACKNOWLEDGE),
		virtio_common_set(COMMON_DEVICE_STATUS, 1, driver),
		virtio_common_set(COMMON_DRIVER_FEATURE_SELECT, 4, 0),
		virtio_common_set(COMMON_DRIVER_FEATURE, 4, features & 0xffffffffu),
		virtio_common_set(COMMON_DRIVER_FEATURE_SELECT, 4, 1),
		virtio_common_set(COMMON_DRIVER_FEATURE, 4, features >> 32),
		virtio_common_set(COMMON_DEVICE_STATUS, 1, driver | VIRTIO_STATUS_FEATURES_OK),
		virtio_common_set(COMMON_CONFIG_MSIX_VECTOR, 2, config_vector(device)),
		virtio_common_get(COMMON_CONFIG_MSIX_VECTOR, 2),
		virtio_common_get(COMMON_DEVICE_STATUS, 1),
	};
	const unsigned int count = sizeof(accesses) / sizeof(accesses[0]);
	char names[160];
	uint64_t status;
	int rc = vdrv_access_many(device, accesses, count, why);

	if (rc != 0)
		return rc;
	status = accesses[count - 1].value;
	vdrv_wishes_begin(device, accesses[count - 2].value);
	if ((status & VIRTIO_STATUS_NEEDS_RESET) != 0)
		return rp_wire_why_set(why, -EIO, "device_status: 0x%02" PRIx64 ", it asks for a reset", status);
	if ((status & VIRTIO_STATUS_FEATURES_OK) != 0)
		return 0;
	vdrv_features_names(features, names, sizeof(names));
	rp_wire_why_set(why, -ENOTSUP, "features: the device refuses the set %s", names);
	/* Nothing was started; a failed reset would show at the next use. */
	vdrv_reset(device, NULL);
	return -ENOTSUP;
}

/* 3.1.1 */
int
vdrv_negotiate(struct virtio_device *device, uint64_t guest_features, struct rp_wire_why *why)
{
	/* One that was reset last and told nothing since is as it would be after another reset. */
	int rc = device->is_reset ? 0 : vdrv_reset(device, why);

	device->is_reset = false;
	if (rc == 0)
		rc = accept_features(device, guest_features | device->own_features, why);
	if (rc != 0)
		return rc;
	device->guest_features = guest_features;
	device->negotiated = true;
	return 0;
}

struct virtio_access
vdrv_driver_ok(void)
{
	return virtio_common_set(COMMON_DEVICE_STATUS, 1,
				 VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_FEATURES_OK |
					 VIRTIO_STATUS_DRIVER_OK);
}

int
vdrv_set_driver_ok(struct virtio_device *device, struct rp_wire_why *why)
{
	struct virtio_access access = vdrv_driver_ok();
	int rc;

	if (device->driver_ok)
		return 0;
	rc = vdrv_access_many(device, &access, 1, why);
	device->driver_ok = rc == 0;
	return rc;
}

int
vdrv_status_judge(const struct virtio_device *device, uint64_t status, struct rp_wire_why *why)
{
	uint64_t expected = VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_FEATURES_OK;

	if (device->driver_ok)
		expected |= VIRTIO_STATUS_DRIVER_OK;
	if ((status & VIRTIO_STATUS_NEEDS_RESET) != 0)
		return rp_wire_why_set(why, -EIO, "device_status: 0x%02" PRIx64 ", it asks for a reset", status);
	if (status != expected)
		return rp_wire_why_set(why, -EIO,
				       "device_status: 0x%02" PRIx64 ", expected 0x%02" PRIx64
				       ": it was reset by somebody else",
				       status, expected);
	return 0;
}

int
vdrv_status_check(const struct virtio_device *device, struct rp_wire_why *why)
{
	uint64_t status;
	int rc;

	if (!device->negotiated)
		return 0;
	rc = read_status(device, &status, why);
	return rc < 0 ? rc : vdrv_status_judge(device, status, why);
}
