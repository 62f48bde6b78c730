/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kvfio.h"
#include "rp_wire_fd.h"
#include "rp_wire_parcel.h"

/*
 * A device goes on in another process. What keeps it as it is are three open files: its own,
 * its group's and its container's. The kernel keeps what is mapped as long as the container
 * lives, whoever mapped it, and the eventfds of interrupts as long as the device is open. What
 * it does not tell is written down: what is mapped, and how many vectors were enabled.
 *
 * The device's own file comes along only to keep it open. The successor opens it once more, by
 * its address from its group, which a group allows, so that it is the right one.
 */

#define SCOPE "vfio"
#define STATE_VERSION 1u
#define VECTORS_MAX 2048u

static int
check_giveable(const struct kvfio_device *device, struct rp_wire_why *why)
{
	const struct kvfio_container *container = device->group->container;
	const struct kvfio_mapping *mapping;

	if (device->lost.error != 0)
		return rp_wire_why_set(why, device->lost.error, "%s", device->lost.text);
	if (device->group->borrowed || container->borrowed)
		return rp_wire_why_set(why, -ENOTSUP, "%s: its group or container is the application's",
				       device->address);
	for (mapping = container->books.first; mapping != NULL; mapping = mapping->next)
		if (kvfio_dma_is_held(device, mapping) && mapping->file_inode == 0)
			return rp_wire_why_set(why, -ENOTSUP,
					       "DMA 0x%" PRIx64 " + 0x%" PRIx64
					       ": is memory of this process, expected a file's, which outlives it",
					       mapping->iova, mapping->size_bytes);
	return 0;
}

static void
pack_mappings(const struct kvfio_device *device, struct rp_wire_parcel *parcel)
{
	const struct kvfio_mapping *mapping;
	unsigned int count = 0;

	for (mapping = device->group->container->books.first; mapping != NULL; mapping = mapping->next) {
		if (!kvfio_dma_is_held(device, mapping))
			continue;
		rp_wire_parcel_enter(parcel, "mapping", count++);
		rp_wire_parcel_put_number(parcel, "iova", mapping->iova);
		rp_wire_parcel_put_number(parcel, "size", mapping->size_bytes);
		rp_wire_parcel_put_number(parcel, "device", mapping->file_device);
		rp_wire_parcel_put_number(parcel, "inode", mapping->file_inode);
		rp_wire_parcel_put_number(parcel, "offset", mapping->offset_bytes);
		rp_wire_parcel_leave(parcel);
	}
	rp_wire_parcel_put_number(parcel, "mappings", count);
}

int
kvfio_give(const struct kvfio_device *device, struct rp_wire_parcel *parcel, struct rp_wire_why *why)
{
	const struct kvfio_group *group = device->group;
	int rc = check_giveable(device, why);

	if (rc < 0)
		return rc;
	rp_wire_parcel_enter(parcel, SCOPE, 0);
	rp_wire_parcel_put_number(parcel, "version", STATE_VERSION);
	rp_wire_parcel_put_text(parcel, "address", device->address);
	rp_wire_parcel_put_number(parcel, "group_number", group->number);
	rp_wire_parcel_put_number(parcel, "vectors", device->msix_enabled_count);
	rp_wire_parcel_put_fd(parcel, "container", group->container->fd);
	/* With a keeper it is kept already, and by another name. */
	if (device->host->keeper == NULL)
		rp_wire_parcel_put_fd(parcel, "group", group->fd);
	rp_wire_parcel_put_fd(parcel, "device", device->fd);
	rp_wire_parcel_put_fd(parcel, "error", device->error_event_fd);
	rp_wire_parcel_put_fd(parcel, "request", device->request_event_fd);
	pack_mappings(device, parcel);
	rp_wire_parcel_leave(parcel);
	return rp_wire_parcel_result(parcel, why);
}

/*
 * Its slot, and what it holds, stay taken: another device of the container that stays here must not
 * unmap what the successor uses.
 */
void
kvfio_leave(struct kvfio_device *device)
{
	device->group->given = true;
	kvfio_device_free(device);
}

/* What a parcel says, judged; descriptors are owned. */
struct given {
	uint32_t vectors_count;
	unsigned int mappings_count;
	int container_fd;
	int group_fd; /* -1: to be had from the keeper */
	int device_fd; /* keeps it open until we have it */
	int error_event_fd;
	int request_event_fd;
	bool kept; /* the group comes from the keeper */
};

static void
given_release(struct given *given)
{
	rp_wire_fd_close(&given->container_fd);
	rp_wire_fd_close(&given->group_fd);
	rp_wire_fd_close(&given->device_fd);
	rp_wire_fd_close(&given->error_event_fd);
	rp_wire_fd_close(&given->request_event_fd);
}

static int
unpack_numbers(struct rp_wire_parcel *parcel, const struct kvfio_place *place, unsigned int mappings_count,
	       struct given *given, struct rp_wire_why *why)
{
	uint64_t version = rp_wire_parcel_get_number(parcel, "version", UINT32_MAX);
	uint64_t group = rp_wire_parcel_get_number(parcel, "group_number", UINT32_MAX);
	uint64_t count = rp_wire_parcel_get_number(parcel, "mappings", UINT32_MAX);
	char address[VFIO_ADDRESS_BYTES];
	int rc;

	given->vectors_count = (uint32_t)rp_wire_parcel_get_number(parcel, "vectors", VECTORS_MAX);
	rp_wire_parcel_get_text(parcel, "address", address, sizeof(address));
	rc = rp_wire_parcel_result(parcel, why);
	if (rc < 0)
		return rc;
	if (version != STATE_VERSION)
		return rp_wire_why_set(why, -ENOTSUP, "version: %" PRIu64 ", expected %u", version, STATE_VERSION);
	if (strcmp(address, place->address) != 0)
		return rp_wire_why_set(why, -EBADMSG, "address: %s, expected %s", address, place->address);
	if (group != place->group)
		return rp_wire_why_set(why, -EBADMSG, "group_number: %" PRIu64 ", expected %u", group, place->group);
	if (count != mappings_count)
		return rp_wire_why_set(why, -EBADMSG, "mappings: %" PRIu64 ", expected %u", count, mappings_count);
	given->mappings_count = mappings_count;
	return 0;
}

static int
unpack_fds(struct rp_wire_parcel *parcel, struct given *given, struct rp_wire_why *why)
{
	int rc;

	given->container_fd = rp_wire_parcel_need_fd(parcel, "container");
	given->device_fd = rp_wire_parcel_need_fd(parcel, "device");
	given->group_fd = rp_wire_parcel_get_fd(parcel, "group");
	rc = rp_wire_parcel_result(parcel, why);
	if (rc < 0)
		return rc;
	given->error_event_fd = rp_accel_hand_over_eventfd(parcel, "error", why);
	if (given->error_event_fd >= 0)
		given->request_event_fd = rp_accel_hand_over_eventfd(parcel, "request", why);
	rc = rp_wire_parcel_result(parcel, why);
	return rc == 0 && given->request_event_fd < 0 ? -EBADMSG : rc;
}

/* The kept one is the one that stays in the store. */
static int
take_group(struct kvfio_host *host, unsigned int number, struct given *given, struct rp_wire_why *why)
{
	int fd = -1;

	if (host->keeper != NULL && !kvfio_container_has(host, number))
		host->keeper->take(host->keeper_ctx, number, &fd);
	given->kept = fd >= 0;
	if (fd >= 0)
		rp_wire_fd_replace(&given->group_fd, &fd);
	if (given->group_fd < 0 && !kvfio_container_has(host, number))
		return rp_wire_why_set(why, -EBADMSG, "group: neither in the parcel nor kept, expected group %u",
				       number);
	return 0;
}

static int
check_files(const struct kvfio_kernel *kernel, unsigned int number, const struct given *given, struct rp_wire_why *why)
{
	bool is_in = true;
	char name[16];
	int rc = kvfio_keep_check_file(kernel, "vfio", given->container_fd, why);

	if (rc < 0)
		rp_wire_why_prefix(why, "container: ");
	if (rc == 0)
		rc = kvfio_container_check(kernel, given->container_fd, why);
	if (rc < 0 || given->group_fd < 0)
		return rc;
	snprintf(name, sizeof(name), "%u", number);
	rc = kvfio_keep_check_file(kernel, name, given->group_fd, why);
	if (rc < 0)
		rp_wire_why_prefix(why, "group: ");
	if (rc == 0)
		rc = kvfio_group_check(kernel, number, given->group_fd, &is_in, why);
	if (rc == 0 && !is_in)
		rc = rp_wire_why_set(why, -EIO, "group %u: is in no container any more", number);
	return rc;
}

static const struct rp_accel_memory *
find_memory(const struct rp_accel_memory *memories, unsigned int count, const struct kvfio_mapping *mapping)
{
	unsigned int i;

	for (i = 0; i < count; i++)
		if (memories[i].iova == mapping->iova && memories[i].size_bytes == mapping->size_bytes &&
		    memories[i].fd >= 0)
			return &memories[i];
	return NULL;
}

/* As many as the caller has, each one of his, and none twice: the books see to that. */
static int
unpack_mappings(struct kvfio_device *device, struct rp_wire_parcel *parcel, const struct given *given,
		const struct rp_accel_memory *memories, struct rp_wire_why *why)
{
	unsigned int i;
	int rc = 0;

	for (i = 0; i < given->mappings_count && rc == 0; i++) {
		const struct rp_accel_memory *memory;
		struct kvfio_mapping mapping = {0};

		rp_wire_parcel_enter(parcel, "mapping", i);
		mapping.iova = rp_wire_parcel_get_number(parcel, "iova", UINT64_MAX);
		mapping.size_bytes = rp_wire_parcel_get_number(parcel, "size", UINT64_MAX);
		mapping.file_device = rp_wire_parcel_get_number(parcel, "device", UINT64_MAX);
		mapping.file_inode = rp_wire_parcel_get_number(parcel, "inode", UINT64_MAX);
		mapping.offset_bytes = rp_wire_parcel_get_number(parcel, "offset", UINT64_MAX);
		rp_wire_parcel_leave(parcel);
		rc = rp_wire_parcel_result(parcel, why);
		memory = find_memory(memories, given->mappings_count, &mapping);
		if (rc == 0 && memory == NULL)
			rc = rp_wire_why_set(why, -EBADMSG,
					     "DMA 0x%" PRIx64 " + 0x%" PRIx64
					     ": is mapped, expected a range that is mapped here",
					     mapping.iova, mapping.size_bytes);
		if (rc == 0)
			rc = kvfio_dma_adopt(device, &mapping, memory, why);
	}
	return rc;
}

static int
check_not_open(const struct kvfio_device *device, struct rp_wire_why *why)
{
	const struct kvfio_device *other;

	for (other = device->group->devices; other != NULL; other = other->next)
		if (other != device && strcmp(other->address, device->address) == 0)
			return rp_wire_why_set(why, -EEXIST, "%s is open already in this process", device->address);
	return 0;
}

/* Everything that can be asked is asked again. */
static int
rebuild(struct kvfio_device *device, struct rp_wire_parcel *parcel, struct given *given,
	const struct rp_accel_memory *memories, struct rp_wire_why *why)
{
	int rc = check_not_open(device, why);

	if (rc == 0)
		rc = kvfio_device_open_fd(device, why);
	if (rc == 0)
		rc = kvfio_device_inspect(device, why);
	if (rc == 0 && given->vectors_count > device->msix_count)
		rc = rp_wire_why_set(why, -EBADMSG, "vectors: %u, expected at most %u", given->vectors_count,
				     device->msix_count);
	if (rc == 0)
		rc = kvfio_events_adopt(device, &given->error_event_fd, &given->request_event_fd, why);
	if (rc == 0)
		rc = unpack_mappings(device, parcel, given, memories, why);
	device->msix_enabled_count = given->vectors_count;
	return rc;
}

/* Nothing is said to the kernel; what the device held alone is forgotten. */
static void
abandon(struct kvfio_device *device)
{
	kvfio_dma_forget_all(device);
	device->group->container->holders_mask &= ~(UINT64_C(1) << device->slot);
	kvfio_device_free(device);
}

/* It is ours from here on, and kept for the next one. */
static void
settle(struct kvfio_host *host, struct kvfio_group *group, const struct given *given)
{
	group->given = false;
	if (host->keeper != NULL && !given->kept)
		host->keeper->opened(host->keeper_ctx, group->number, group->fd);
}

/* The device goes on failure. */
static int
adopt_into(struct kvfio_device *device, const struct rp_vfio_config *config, const struct kvfio_place *place,
	   struct rp_wire_parcel *parcel, struct given *given, const struct rp_accel_memory *memories,
	   struct rp_wire_why *why)
{
	struct kvfio_host *host = device->host;
	bool had_group = kvfio_container_has(host, place->group);
	int rc = check_files(host->kernel, place->group, given, why);

	if (rc == 0)
		rc = kvfio_container_adopt(host, place->group, config->container != NULL ? config->container : "",
					   &given->container_fd, &given->group_fd, &device->group, why);
	if (rc == 0) {
		device->group->given = device->group->given || !had_group;
		rc = kvfio_device_enter(device, why);
	}
	if (rc < 0) {
		free(device);
		return rc;
	}
	rc = rebuild(device, parcel, given, memories, why);
	if (rc < 0)
		abandon(device);
	else if (!had_group)
		settle(host, device->group, given);
	return rc;
}

static int
adopt(struct kvfio_device *device, const struct rp_vfio_config *config, const struct kvfio_place *place,
      struct rp_wire_parcel *parcel, const struct rp_accel_memory *memories, unsigned int memories_count,
      struct rp_wire_why *why)
{
	struct given given = {
		.container_fd = -1, .group_fd = -1, .device_fd = -1, .error_event_fd = -1, .request_event_fd = -1};
	struct kvfio_host *host = device->host;
	struct rp_wire_why words = {0};
	int rc;

	rp_wire_parcel_enter(parcel, SCOPE, 0);
	rc = unpack_numbers(parcel, place, memories_count, &given, &words);
	if (rc == 0)
		rc = unpack_fds(parcel, &given, &words);
	if (rc == 0)
		rc = take_group(host, place->group, &given, &words);
	if (rc == 0)
		rc = adopt_into(device, config, place, parcel, &given, memories, &words);
	else
		free(device);
	rp_wire_parcel_leave(parcel);
	given_release(&given);
	/* It is of no use in the store then, and nobody could open it. */
	if (rc < 0 && given.kept)
		host->keeper->closed(host->keeper_ctx, place->group, &words);
	return rc < 0 ? rp_wire_why_set(why, rc, "%s", words.text) : 0;
}

int
kvfio_transport_adopt(struct kvfio_host *host, const struct rp_vfio_config *config, struct rp_wire_parcel *parcel,
		      const struct rp_accel_memory *memories, unsigned int memories_count,
		      struct rp_accel_transport *ret_transport, struct rp_wire_why *why)
{
	struct kvfio_device *device;
	struct kvfio_place place;
	int rc;

	if (config->container_fd >= 0 || config->group_fd >= 0)
		return rp_wire_why_set(why, -ENOTSUP, "a container or group of the application's own is not adopted");
	rc = kvfio_device_create(host, config, &place, &device, why);
	if (rc < 0)
		return rc;
	pthread_mutex_lock(&host->lock);
	rc = adopt(device, config, &place, parcel, memories, memories_count, why);
	pthread_mutex_unlock(&host->lock);
	if (rc < 0)
		return rc;
	ret_transport->ops = &kvfio_transport_ops;
	ret_transport->priv = device;
	return 0;
}
