/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include "rp_accel_iommu.h"
#include "virtio.h"

/*
 * A device that asks for translations asks for those of all its queues, and does not say
 * for which one. Our own control queue would have to have addresses that the guest's IOMMU
 * never gives: such a device is used without.
 */

int
vdrv_iommu_check(const struct virtio_device *device, struct rp_wire_why *why)
{
	if (!device->transport_info.asks || !device->ctrlq.present)
		return 0;
	return rp_wire_why_set(why, -ENOTSUP, "a device with a control queue that asks for translations");
}

int
vdrv_translated(const struct virtio_device *device, uint64_t token, const struct rp_accel_translation *translation)
{
	const struct rp_accel_transport *transport = &device->transport;

	return device->transport_info.asks ? transport->ops->translated(transport->priv, token, translation) : -ENOTSUP;
}

int
vdrv_page_respond(const struct virtio_device *device, uint32_t group, bool present)
{
	const struct rp_accel_transport *transport = &device->transport;

	return device->transport_info.asks ? transport->ops->page_respond(transport->priv, group, present) : -ENOTSUP;
}

int
vdrv_invalidate(const struct virtio_device *device, uint64_t iova, uint64_t size_bytes, struct rp_wire_why *why)
{
	const struct rp_accel_transport *transport = &device->transport;
	int rc;

	if (!device->transport_info.asks)
		return rp_wire_why_set(why, -ENOTSUP, "the device asks for no translations");
	rc = transport->ops->invalidate(transport->priv, iova, size_bytes, why);
	return rc == 0 || rc == -EINVAL ? rc : vdrv_error_from_transport(rc, why);
}
