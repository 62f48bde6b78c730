/* SPDX-License-Identifier: BSD-3-Clause */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <unistd.h>

#include "rp_wire_clock.h"
#include "virtio.h"
#include "virtio_regs.h"

#define PAUSE_MIN_US 50u
#define PAUSE_MAX_US 2000u
#define ACCESSES_TOGETHER_MAX 256u

bool
vdrv_error_is_loss(int error)
{
	return error == -ENOTCONN || error == -ETIMEDOUT || error == -EIO;
}

int
vdrv_error_from_transport(int error, struct rp_wire_why *why)
{
	int ours = vdrv_error_is_loss(error) ? error : -EIO;

	if (why != NULL)
		why->error = ours;
	return ours;
}

static int
read_register(const struct virtio_device *device, enum virtio_structure structure, uint64_t offset_bytes,
	      unsigned int width_bytes, uint64_t *ret_value, struct rp_wire_why *why)
{
	const struct virtio_place *place = &device->layout.places[structure];
	uint8_t bytes[8] = {0};
	uint64_t value = 0;
	unsigned int i;
	int rc;

	assert(place->present && offset_bytes + width_bytes <= place->length_bytes);
	rc = device->transport.ops->region_read(device->transport.priv, place->bar, place->offset_bytes + offset_bytes,
						width_bytes, bytes, why);
	if (rc != 0) {
		rp_wire_why_prefix(why, "%s: read at 0x%" PRIx64 ": ", vdrv_structure_name(structure), offset_bytes);
		return vdrv_error_from_transport(rc, why);
	}
	for (i = 0; i < width_bytes; i++)
		value |= (uint64_t)bytes[i] << 8 * i;
	*ret_value = value;
	return 0;
}

/*
 * A device that fell off its bus, or whose memory decoding was taken away, reads all
 * ones. A register may have that value; the status of a device cannot.
 */
static int
check_presence(const struct virtio_device *device, enum virtio_structure structure, uint64_t offset_bytes,
	       struct rp_wire_why *why)
{
	uint64_t status = 0;
	int rc = read_register(device, VIRTIO_COMMON, COMMON_DEVICE_STATUS, 1, &status, why);

	if (rc < 0 || status != VIRTIO_STATUS_ALL_ONES)
		return rc;
	return rp_wire_why_set(why, -EIO, "%s: read at 0x%" PRIx64 ": the device does not answer (all ones)",
			       vdrv_structure_name(structure), offset_bytes);
}

int
vdrv_read(const struct virtio_device *device, enum virtio_structure structure, uint64_t offset_bytes,
	  unsigned int width_bytes, uint64_t *ret_value, struct rp_wire_why *why)
{
	uint64_t value = 0;
	int rc = read_register(device, structure, offset_bytes, width_bytes, &value, why);

	assert(width_bytes > 0 && width_bytes <= sizeof(value));
	if (rc == 0 && value == UINT64_MAX >> (64 - 8 * width_bytes))
		rc = check_presence(device, structure, offset_bytes, why);
	if (rc == 0)
		*ret_value = value;
	return rc;
}

int
vdrv_write(const struct virtio_device *device, enum virtio_structure structure, uint64_t offset_bytes,
	   unsigned int width_bytes, uint64_t value, struct rp_wire_why *why)
{
	const struct virtio_place *place = &device->layout.places[structure];
	uint8_t bytes[8];
	unsigned int i;
	int rc;

	assert(place->present && offset_bytes + width_bytes <= place->length_bytes);
	for (i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(value >> 8 * i);
	rc = device->transport.ops->region_write(device->transport.priv, place->bar, place->offset_bytes + offset_bytes,
						 width_bytes, bytes, why);
	if (rc == 0)
		return 0;
	rp_wire_why_prefix(why, "%s: write at 0x%" PRIx64 ": ", vdrv_structure_name(structure), offset_bytes);
	return vdrv_error_from_transport(rc, why);
}

static void
to_transport(const struct virtio_device *device, const struct virtio_access *access,
	     struct rp_accel_transport_access *ret_access)
{
	const struct virtio_place *place = &device->layout.places[access->structure];
	unsigned int i;

	assert(place->present && access->offset_bytes + access->width_bytes <= place->length_bytes);
	*ret_access = (struct rp_accel_transport_access){
		.region = place->bar,
		.count_bytes = access->width_bytes,
		.offset_bytes = place->offset_bytes + access->offset_bytes,
		.write = access->write,
	};
	for (i = 0; i < sizeof(ret_access->bytes); i++)
		ret_access->bytes[i] = (uint8_t)(access->value >> 8 * i);
}

static int
take_read(const struct virtio_device *device, const struct rp_accel_transport_access *done,
	  struct virtio_access *access, struct rp_wire_why *why)
{
	bool all_ones = true;
	unsigned int i;

	access->value = 0;
	for (i = 0; i < access->width_bytes; i++) {
		access->value |= (uint64_t)done->bytes[i] << 8 * i;
		all_ones = all_ones && done->bytes[i] == UINT8_MAX;
	}
	if (!all_ones)
		return 0;
	return check_presence(device, access->structure, access->offset_bytes, why);
}

/* @param vectors wired before; NULL: none. */
static int
access_together(const struct virtio_device *device, struct virtio_vectors *vectors, struct virtio_access *accesses,
		unsigned int count, struct rp_wire_why *why)
{
	const struct rp_accel_transport *transport = &device->transport;
	struct rp_accel_transport_access list[ACCESSES_TOGETHER_MAX];
	unsigned int i;
	int rc;

	for (i = 0; i < count; i++)
		to_transport(device, &accesses[i], &list[i]);
	if (vectors == NULL)
		rc = transport->ops->region_access_many(transport->priv, list, count, why);
	else
		rc = transport->ops->irq_access_many(transport->priv, vectors->first, vectors->count, vectors->eventfds,
						     list, count, &vectors->error, why);
	if (rc < 0) {
		rp_wire_why_prefix(why, "%u registers from %s 0x%" PRIx64 " on: ", count,
				   vdrv_structure_name(accesses[0].structure), accesses[0].offset_bytes);
		return vdrv_error_from_transport(rc, why);
	}
	for (i = 0; rc == 0 && i < count; i++)
		if (!accesses[i].write)
			rc = take_read(device, &list[i], &accesses[i], why);
	return rc;
}

static int
access_one(const struct virtio_device *device, struct virtio_access *access, struct rp_wire_why *why)
{
	if (access->write)
		return vdrv_write(device, access->structure, access->offset_bytes, access->width_bytes, access->value,
				  why);
	return vdrv_read(device, access->structure, access->offset_bytes, access->width_bytes, &access->value, why);
}

int
vdrv_access_many(const struct virtio_device *device, struct virtio_access *accesses, unsigned int count,
		 struct rp_wire_why *why)
{
	unsigned int at = 0, some;
	int rc = 0;

	for (; rc == 0 && at < count; at += some) {
		some = device->transport.ops->region_access_many == NULL ? 1 : ACCESSES_TOGETHER_MAX;
		some = some < count - at ? some : count - at;
		rc = some == 1 ? access_one(device, &accesses[at], why) :
				 access_together(device, NULL, &accesses[at], some, why);
	}
	return rc;
}

int
vdrv_access_wired(const struct virtio_device *device, struct virtio_vectors *vectors, struct virtio_access *accesses,
		  unsigned int count, struct rp_wire_why *why)
{
	unsigned int some = count < ACCESSES_TOGETHER_MAX ? count : ACCESSES_TOGETHER_MAX;
	int rc = access_together(device, vectors, accesses, some, why);

	return rc < 0 ? rc : vdrv_access_many(device, accesses + some, count - some, why);
}

int
vdrv_common_read(const struct virtio_device *device, uint64_t offset_bytes, unsigned int width_bytes,
		 uint64_t *ret_value, struct rp_wire_why *why)
{
	return vdrv_read(device, VIRTIO_COMMON, offset_bytes, width_bytes, ret_value, why);
}

int
vdrv_common_write(const struct virtio_device *device, uint64_t offset_bytes, unsigned int width_bytes, uint64_t value,
		  struct rp_wire_why *why)
{
	return vdrv_write(device, VIRTIO_COMMON, offset_bytes, width_bytes, value, why);
}

int
vdrv_queue_select(const struct virtio_device *device, unsigned int queue, struct rp_wire_why *why)
{
	return vdrv_common_write(device, COMMON_QUEUE_SELECT, 2, queue, why);
}

int
vdrv_wait_while(const struct virtio_device *device, uint64_t offset_bytes, uint64_t passing, uint64_t *ret_value,
		struct rp_wire_why *why)
{
	uint64_t deadline_ms = rp_wire_clock_ms() + device->wait_ms;
	unsigned int pause_us = PAUSE_MIN_US;

	for (;;) {
		int rc = vdrv_read(device, VIRTIO_VENDOR, offset_bytes, 4, ret_value, why);

		if (rc < 0 || *ret_value != passing || rp_wire_clock_ms() >= deadline_ms)
			return rc;
		usleep(pause_us);
		if (pause_us < PAUSE_MAX_US)
			pause_us *= 2;
	}
}

int
vdrv_wait(const struct virtio_device *device, uint64_t offset_bytes, unsigned int width_bytes, uint64_t expected,
	  const char *name, struct rp_wire_why *why)
{
	uint64_t deadline_ms = rp_wire_clock_ms() + device->wait_ms;
	unsigned int pause_us = PAUSE_MIN_US;

	for (;;) {
		uint64_t value = 0;
		int rc = vdrv_common_read(device, offset_bytes, width_bytes, &value, why);

		if (rc < 0 || value == expected)
			return rc;
		if (rp_wire_clock_ms() >= deadline_ms)
			return rp_wire_why_set(why, -ETIMEDOUT,
					       "%s: still 0x%02" PRIx64 " after %u ms, expected 0x%02" PRIx64, name,
					       value, device->wait_ms, expected);
		usleep(pause_us);
		if (pause_us < PAUSE_MAX_US)
			pause_us *= 2;
	}
}
