/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <unistd.h>

#include "virtio.h"

/*
 * Whoever maps a doorbell's page can write all of it. So nothing else may live in
 * it: no other doorbell, no register, nothing that the device has not declared;
 * and the file behind it must not change under the mapping.
 *
 * The doorbell may be that of several queues, up to all of them (notify_off_multiplier 0), if
 * each is ours: the guest can then kick its other queues there, and our control queue. A kick too
 * many is legal. It has the device look at a ring and take what was published there, which is what
 * the ring's driver is about to kick for: of the control queue a command is published whole. A
 * queue that is not enabled is not looked at. A queue of the device that we do not open is not
 * vouched for: whoever it is for may be somebody else.
 */

/* The control queue's, which is ours, is one of them. */
static unsigned int
count_doorbells(const struct virtio_device *device, uint64_t page, uint64_t page_bytes)
{
	unsigned int i, count = 0;

	for (i = 0; i < device->doorbells_count; i++)
		if (device->doorbells[i] >= page && device->doorbells[i] < page + page_bytes)
			count++;
	return count;
}

static bool
is_ours(const struct virtio_device *device, unsigned int queue)
{
	return queue < device->queues_count || (device->ctrlq.present && queue == device->ctrlq.index);
}

/* Whether all doorbells of a page are one, at its begin. */
static bool
is_one_of_ours(const struct virtio_device *device, uint64_t page, uint64_t page_bytes)
{
	unsigned int i;

	for (i = 0; i < device->doorbells_count; i++)
		if (device->doorbells[i] >= page && device->doorbells[i] < page + page_bytes &&
		    (device->doorbells[i] != page || !is_ours(device, i)))
			return false;
	return true;
}

static int
check_neighbours(const struct virtio_device *device, uint64_t page, uint64_t page_bytes, struct rp_wire_why *why)
{
	const struct virtio_place *notify = &device->layout.places[VIRTIO_NOTIFY];
	unsigned int count = count_doorbells(device, page, page_bytes);
	enum virtio_structure other = vdrv_layout_find(&device->layout, notify->bar, page, page_bytes);

	if (count > 1 && !is_one_of_ours(device, page, page_bytes))
		return rp_wire_why_set(why, -ENOTSUP,
				       "doorbell page is shared by %u queues (multiplier %u, page %" PRIu64 ")", count,
				       device->layout.notify_multiplier, page_bytes);
	if (device->all_queues_count > device->doorbells_count)
		return rp_wire_why_set(why, -ENOTSUP,
				       "doorbell page: the device has %u queues, and only those below %u "
				       "are known not to share it",
				       device->all_queues_count, device->doorbells_count);
	if (other != VIRTIO_STRUCTURES_COUNT)
		return rp_wire_why_set(why, -ENOTSUP, "doorbell page also holds the %s", vdrv_structure_name(other));
	if (page < notify->offset_bytes || page + page_bytes > notify->offset_bytes + notify->length_bytes)
		return rp_wire_why_set(why, -ENOTSUP,
				       "doorbell page reaches beyond the notify structure (0x%" PRIx64
				       " bytes at 0x%" PRIx64 ")",
				       notify->length_bytes, notify->offset_bytes);
	return 0;
}

int
vdrv_notify_area(const struct virtio_device *device, unsigned int queue, struct rp_accel_notify_area *ret_area,
		 struct rp_wire_why *why)
{
	const struct rp_accel_transport *transport = &device->transport;
	const struct virtio_place *notify = &device->layout.places[VIRTIO_NOTIFY];
	uint64_t page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
	struct rp_accel_transport_window window;
	uint64_t page;
	int rc;

	if (queue >= device->queues_count)
		return rp_wire_why_set(why, -EINVAL, "queue %u: expected less than %u", queue, device->queues_count);
	page = vdrv_doorbell_page(device, queue);
	rc = check_neighbours(device, page, page_bytes, why);
	if (rc < 0)
		return rc;
	if (device->doorbells[queue] != page)
		return rp_wire_why_set(why, -ENOTSUP, "doorbell is at offset %" PRIu64 " of its page, expected 0",
				       device->doorbells[queue] - page);
	rc = transport->ops->region_window(transport->priv, notify->bar, page, page_bytes, &window, why);
	if (rc < 0) {
		rp_wire_why_prefix(why, "doorbell page: ");
		if (vdrv_error_is_loss(rc))
			return rc;
		why->error = -ENOTSUP;
		return -ENOTSUP;
	}
	if (window.offset_bytes % page_bytes != 0)
		return rp_wire_why_set(why, -ENOTSUP,
				       "doorbell file: offset 0x%" PRIx64 ", expected a multiple of the "
				       "page size %" PRIu64,
				       window.offset_bytes, page_bytes);
	rc = vdrv_window_check(&window, why);
	if (rc < 0)
		return rc;
	ret_area->fd = window.fd;
	ret_area->offset_bytes = window.offset_bytes;
	ret_area->size_bytes = page_bytes;
	return 0;
}
