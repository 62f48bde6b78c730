/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "virtio.h"
#include "virtio_regs.h"

/* The device's BARs as another device is given them. */

static void
add_hole(const struct virtio_device *device, enum virtio_structure structure, uint32_t region,
	 struct rp_accel_region *ret_region)
{
	const struct virtio_place *place = &device->layout.places[structure];

	if (place->present && place->bar == region)
		ret_region->holes[ret_region->holes_count++] =
			(struct rp_dma_section_hole){place->offset_bytes, place->length_bytes};
}

int
vdrv_region_info(const struct virtio_device *device, uint32_t region, struct rp_accel_region *ret_region,
		 struct rp_wire_why *why)
{
	const struct rp_accel_transport *transport = &device->transport;
	struct rp_accel_region found = {0};
	int rc;

	if (region >= PCI_BARS_COUNT)
		return rp_wire_why_set(why, -ENOTSUP, "BAR %u: expected 0 to %u", region, PCI_BARS_COUNT - 1);
	rc = transport->ops->region_size(transport->priv, region, &found.size_bytes, why);
	if (rc < 0)
		return rc;
	if (found.size_bytes == 0)
		return rp_wire_why_set(why, -ENOTSUP, "BAR %u is absent", region);
	add_hole(device, VIRTIO_MSIX_TABLE, region, &found);
	add_hole(device, VIRTIO_MSIX_PBA, region, &found);
	*ret_region = found;
	return 0;
}

int
vdrv_region_window(const struct virtio_device *device, uint32_t region, uint64_t offset_bytes, uint64_t size_bytes,
		   struct rp_accel_window *ret_window, struct rp_wire_why *why)
{
	const struct rp_accel_transport *transport = &device->transport;
	struct rp_accel_transport_window window;
	int rc;

	if (region >= PCI_BARS_COUNT)
		return rp_wire_why_set(why, -ENOTSUP, "BAR %u: expected 0 to %u", region, PCI_BARS_COUNT - 1);
	rc = transport->ops->region_window(transport->priv, region, offset_bytes, size_bytes, &window, why);
	if (rc < 0)
		return rc;
	*ret_window = (struct rp_accel_window){
		.fd = window.fd,
		.offset_bytes = window.offset_bytes,
		.size_bytes = window.size_bytes,
		/* The kernel's VFIO has one file for all regions; a device process gives one for each. */
		.all_of_device = device->transport_info.vfio_file_fd >= 0,
	};
	return 0;
}
