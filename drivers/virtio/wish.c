/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "rp_accel_vendor.h"
#include "virtio.h"
#include "virtio_regs.h"

/*
 * How the device wants to be kicked (rp_accel_vendor.h). It says so by the interrupt for
 * configuration changes, which says nothing of what it is about: a generation that has not
 * moved means that the configuration did not.
 *
 * Who kicks by a store into the page cannot say that nobody does, and who has no such interrupt
 * would not hear that the page is wanted: then the device is told nothing, and watches always.
 */

#define ALL_WISHES 0xff

static bool
understands(const struct virtio_device *device)
{
	return vdrv_vendor_has(device, RP_ACCEL_VENDOR_DOORBELL_MASK) && device->config_armed;
}

static int
read_wishes(const struct virtio_device *device, uint32_t *ret_words, struct rp_wire_why *why)
{
	uint64_t at = rp_accel_vendor_wishes_at(device->vendor.stride_bytes, device->vendor.queues_count);
	unsigned int i, words = (device->queues_count + 31) / 32;
	int rc = 0;

	for (i = 0; i < words && rc == 0; i++) {
		uint64_t word = UINT32_MAX;

		rc = vdrv_read(device, VIRTIO_VENDOR, at + 4 * (uint64_t)i, 4, &word, why);
		ret_words[i] = (uint32_t)word;
	}
	return rc;
}

void
vdrv_wishes_begin(struct virtio_device *device, uint64_t config_vector)
{
	device->config_armed = device->has_config_vector && config_vector == device->queues_count;
	memset(device->page_wishes, ALL_WISHES, sizeof(device->page_wishes));
	device->generation_known = false;
}

int
vdrv_wishes_adopt(struct virtio_device *device, struct rp_wire_why *why)
{
	uint64_t vector = VIRTIO_NO_VECTOR;
	int rc = vdrv_common_read(device, COMMON_CONFIG_MSIX_VECTOR, 2, &vector, why);

	vdrv_wishes_begin(device, vector);
	return rc == 0 && understands(device) ? read_wishes(device, device->page_wishes, why) : rc;
}

int
vdrv_wishes_tell(const struct virtio_device *device, unsigned int queue, bool page, struct rp_wire_why *why)
{
	if (queue >= device->queues_count)
		return rp_wire_why_set(why, -EINVAL, "queue %u: expected 0 to %u", queue, device->queues_count - 1);
	if (!understands(device) || device->queues[queue].kick_path == VIRTIO_KICK_STORE)
		return rp_wire_why_set(why, -ENOTSUP, "queue %u: the device watches its doorbell always", queue);
	return vdrv_write(device, VIRTIO_VENDOR,
			  vdrv_vendor_register(device, queue, offsetof(struct rp_accel_vendor_queue, doorbell)), 4,
			  page ? RP_ACCEL_VENDOR_DOORBELL_PAGE : RP_ACCEL_VENDOR_DOORBELL_EVENTFD, why);
}

bool
vdrv_wishes_page(const struct virtio_device *device, unsigned int queue)
{
	return queue >= device->queues_count || (device->page_wishes[queue / 32] >> queue % 32 & 1) != 0;
}

/* Before it was heard of since the reset, which may begin it anew, any interrupt may be about it. */
static int
generation_changed(struct virtio_device *device, bool *ret_changed, struct rp_wire_why *why)
{
	uint64_t now = 0;
	int rc = vdrv_common_read(device, COMMON_CONFIG_GENERATION, 1, &now, why);

	*ret_changed = !device->generation_known || now != device->generation;
	device->generation_known = rc == 0;
	device->generation = now;
	return rc;
}

int
vdrv_wishes_changed(struct virtio_device *device, struct rp_wire_why *why)
{
	uint32_t words[RP_ACCEL_QUEUES_MAX / 32];
	bool config = true;
	int rc;

	if (!understands(device))
		return RP_ACCEL_CHANGED_CONFIG;
	memcpy(words, device->page_wishes, sizeof(words));
	rc = generation_changed(device, &config, why);
	if (rc == 0)
		rc = read_wishes(device, words, why);
	if (rc < 0)
		return rc;
	memcpy(device->page_wishes, words, sizeof(words));
	/* A wish that is what it was when we looked last may have been another meanwhile. */
	return RP_ACCEL_CHANGED_WISHES | (config ? RP_ACCEL_CHANGED_CONFIG : 0);
}
