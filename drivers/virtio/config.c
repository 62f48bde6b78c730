/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>

#include "virtio.h"
#include "virtio_regs.h"

#define TRIES_MAX 16u

static int
read_bytes(const struct virtio_device *device, uint32_t offset_bytes, uint32_t size_bytes, uint8_t *ret_bytes,
	   struct rp_wire_why *why)
{
	const struct virtio_place *place = &device->layout.places[VIRTIO_CONFIG];
	int rc = device->transport.ops->region_read(device->transport.priv, place->bar,
						    place->offset_bytes + offset_bytes, size_bytes, ret_bytes, why);

	return rc < 0 ? vdrv_error_from_transport(rc, why) : 0;
}

/* 2.5.1: bytes belong together when the generation was the same before and after. */
static int
get(const struct virtio_device *device, uint32_t offset_bytes, uint32_t size_bytes, uint8_t *ret_bytes,
    uint64_t *ret_generation, struct rp_wire_why *why)
{
	const struct virtio_place *place = &device->layout.places[VIRTIO_CONFIG];
	uint64_t before, after;
	unsigned int try;

	if (!place->present)
		return rp_wire_why_set(why, -ENOTSUP, "the device has no device configuration");
	if (size_bytes == 0 || (uint64_t)offset_bytes + size_bytes > place->length_bytes)
		return rp_wire_why_set(why, -EINVAL, "device configuration: %u bytes at %u, it has %" PRIu64,
				       size_bytes, offset_bytes, place->length_bytes);
	for (try = 0; try < TRIES_MAX; try++) {
		int rc = vdrv_common_read(device, COMMON_CONFIG_GENERATION, 1, &before, why);

		if (rc == 0)
			rc = read_bytes(device, offset_bytes, size_bytes, ret_bytes, why);
		if (rc == 0)
			rc = vdrv_common_read(device, COMMON_CONFIG_GENERATION, 1, &after, why);
		if (rc != 0)
			return rc;
		*ret_generation = after;
		if (before == after)
			return 0;
	}
	return rp_wire_why_set(why, -EIO, "config_generation: changed in each of %u reads", TRIES_MAX);
}

int
vdrv_config_get(const struct virtio_device *device, uint32_t offset_bytes, uint32_t size_bytes, uint8_t *ret_bytes,
		struct rp_wire_why *why)
{
	uint64_t generation;

	return get(device, offset_bytes, size_bytes, ret_bytes, &generation, why);
}

int
vdrv_config_open(struct virtio_device *device, struct rp_wire_why *why)
{
	int rc;

	if (!vdrv_feature(device->device_features, VIRTIO_NET_F_MAC_BIT) ||
	    !device->layout.places[VIRTIO_CONFIG].present)
		return 0;
	rc = get(device, NET_CONFIG_MAC, NET_CONFIG_MAC_BYTES, device->mac, &device->generation, why);
	device->has_mac = device->generation_known = rc == 0;
	return rc;
}
