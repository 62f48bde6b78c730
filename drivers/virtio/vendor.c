/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <stddef.h>

#include "rp_accel_vendor.h"
#include "virtio.h"

#define HEADER(field) offsetof(struct rp_accel_vendor_header, field)
#define QUEUE(field) offsetof(struct rp_accel_vendor_queue, field)

static int
read_header(const struct virtio_device *device, uint64_t offset_bytes, unsigned int width_bytes, uint64_t *ret_value,
	    struct rp_wire_why *why)
{
	return vdrv_read(device, VIRTIO_VENDOR, offset_bytes, width_bytes, ret_value, why);
}

uint64_t
vdrv_vendor_register(const struct virtio_device *device, unsigned int queue, size_t field_bytes)
{
	return sizeof(struct rp_accel_vendor_header) + (uint64_t)queue * device->vendor.stride_bytes + field_bytes;
}

static int
check_extent(const struct virtio_device *device, uint64_t stride_bytes, uint64_t queues_count, uint64_t flags,
	     struct rp_wire_why *why)
{
	uint64_t wishes_bytes =
		(flags & RP_ACCEL_VENDOR_DOORBELL_MASK) != 0 ? rp_accel_vendor_wishes_bytes((uint32_t)queues_count) : 0;
	uint64_t length_bytes = device->layout.places[VIRTIO_VENDOR].length_bytes;

	if (stride_bytes < sizeof(struct rp_accel_vendor_queue) || stride_bytes % 8 != 0)
		return rp_wire_why_set(why, -EBADMSG,
				       "ring state: stride: %" PRIu64 ", expected a multiple of 8, at least %zu",
				       stride_bytes, sizeof(struct rp_accel_vendor_queue));
	if (queues_count < device->queues_count)
		return rp_wire_why_set(why, -EBADMSG, "ring state: queues: %" PRIu64 ", expected at least %u",
				       queues_count, device->queues_count);
	/* Two 16-bit and 32-bit numbers: cannot wrap. */
	if (rp_accel_vendor_wishes_at((uint16_t)stride_bytes, (uint32_t)queues_count) + wishes_bytes > length_bytes)
		return rp_wire_why_set(why, -EBADMSG,
				       "ring state: %" PRIu64 " queues of %" PRIu64 " bytes%s reach beyond "
				       "its length %" PRIu64,
				       queues_count, stride_bytes, wishes_bytes != 0 ? " and their wishes" : "",
				       length_bytes);
	return 0;
}

int
vdrv_vendor_open(struct virtio_device *device, struct rp_wire_why *why)
{
	uint64_t magic, version, stride_bytes, queues_count, flags;
	int rc;

	if (!device->layout.places[VIRTIO_VENDOR].present)
		return 0;
	rc = read_header(device, HEADER(magic), 4, &magic, why);
	if (rc == 0)
		rc = read_header(device, HEADER(version), 2, &version, why);
	if (rc == 0)
		rc = read_header(device, HEADER(stride_bytes), 2, &stride_bytes, why);
	if (rc == 0)
		rc = read_header(device, HEADER(queues_count), 4, &queues_count, why);
	if (rc == 0)
		rc = read_header(device, HEADER(flags), 4, &flags, why);
	if (rc != 0)
		return rc;
	if (magic != RP_ACCEL_VENDOR_MAGIC)
		return rp_wire_why_set(why, -EBADMSG, "ring state: magic: 0x%" PRIx64 ", expected 0x%x", magic,
				       RP_ACCEL_VENDOR_MAGIC);
	if (version != RP_ACCEL_VENDOR_VERSION)
		return rp_wire_why_set(why, -EBADMSG, "ring state: version: %" PRIu64 ", expected %u", version,
				       RP_ACCEL_VENDOR_VERSION);
	rc = check_extent(device, stride_bytes, queues_count, flags, why);
	if (rc != 0)
		return rc;
	device->vendor.flags = (uint32_t)flags;
	device->vendor.stride_bytes = (uint16_t)stride_bytes;
	device->vendor.queues_count = (uint32_t)queues_count;
	return 0;
}

bool
vdrv_vendor_has(const struct virtio_device *device, uint32_t flag_mask)
{
	return (device->vendor.flags & flag_mask) != 0;
}

void
vdrv_vendor_position(const struct virtio_device *device, unsigned int queue, uint32_t position,
		     struct virtio_access *ret_write, struct virtio_access *ret_back)
{
	*ret_back = (struct virtio_access){VIRTIO_VENDOR, 4, vdrv_vendor_register(device, queue, QUEUE(position)),
					   false, 0};
	*ret_write = *ret_back;
	ret_write->write = true;
	ret_write->value = position;
}

int
vdrv_vendor_check_position(unsigned int queue, const struct virtio_access *written, const struct virtio_access *back,
			   struct rp_wire_why *why)
{
	if (back->value == written->value)
		return 0;
	return rp_wire_why_set(why, -EIO,
			       "ring state: queue %u: position: reads 0x%" PRIx64 " after 0x%" PRIx64 " was written",
			       queue, back->value, written->value);
}

int
vdrv_vendor_stop(const struct virtio_device *device, unsigned int queue, uint32_t *ret_position,
		 struct rp_wire_why *why)
{
	const uint64_t control_at = vdrv_vendor_register(device, queue, QUEUE(control));
	struct virtio_access accesses[] = {
		{VIRTIO_VENDOR, 4, control_at, true, RP_ACCEL_VENDOR_STOP},
		{VIRTIO_VENDOR, 4, control_at, false, 0},
		{VIRTIO_VENDOR, 4, vdrv_vendor_register(device, queue, QUEUE(position)), false, 0},
	};
	struct virtio_access *state = &accesses[1], *position = &accesses[2];
	struct rp_wire_why words = {0};
	int rc = vdrv_access_many(device, accesses, 3, why);

	/* A device that reaches the ring by messages drains after it answered. */
	if (rc == 0 && state->value == RP_ACCEL_VENDOR_STOPPING) {
		rc = vdrv_wait_while(device, control_at, RP_ACCEL_VENDOR_STOPPING, &state->value, why);
		if (rc == 0)
			rc = vdrv_access_many(device, position, 1, why);
	}
	if (rc != 0)
		return rc;
	if (state->value != RP_ACCEL_VENDOR_STOPPED)
		return rp_wire_why_set(why, -EIO, "ring state: queue %u: control: reads %" PRIu64 " after a stop",
				       queue, state->value);
	if (rp_vring_position_check(device->guest_features, device->queues[queue].size, (uint32_t)position->value,
				    &words) < 0)
		return rp_wire_why_set(why, -EIO, "ring state: queue %u: %.140s", queue, words.text);
	*ret_position = (uint32_t)position->value;
	return 0;
}

int
vdrv_vendor_counters(const struct virtio_device *device, unsigned int queue,
		     struct rp_accel_queue_counters *ret_counters, struct rp_wire_why *why)
{
	struct rp_accel_queue_counters counters;
	const struct {
		uint64_t *value;
		size_t at_bytes;
	} fields[] = {
		{&counters.direct_kicks, QUEUE(direct_kicks)},
		{&counters.eventfd_kicks, QUEUE(eventfd_kicks)},
		{&counters.interrupts, QUEUE(interrupts)},
		{&counters.packets, QUEUE(packets)},
		{&counters.bytes, QUEUE(bytes)},
		{&counters.errors, QUEUE(errors)},
	};
	struct virtio_access accesses[sizeof(fields) / sizeof(fields[0])];
	const unsigned int count = sizeof(fields) / sizeof(fields[0]);
	unsigned int i;
	int rc;

	if (!vdrv_vendor_has(device, RP_ACCEL_VENDOR_COUNTERS_MASK))
		return rp_wire_why_set(why, -ENOTSUP, "the device does not count");
	for (i = 0; i < count; i++)
		accesses[i] = (struct virtio_access){VIRTIO_VENDOR, 8,
						     vdrv_vendor_register(device, queue, fields[i].at_bytes), false, 0};
	rc = vdrv_access_many(device, accesses, count, why);
	if (rc != 0)
		return rc;
	for (i = 0; i < count; i++)
		*fields[i].value = accesses[i].value;
	*ret_counters = counters;
	return 0;
}
