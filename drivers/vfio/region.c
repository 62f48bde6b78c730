/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <linux/vfio.h>
#include <stdlib.h>
#include <string.h>

#include "kvfio.h"

static int
add_area(struct kvfio_region *region, uint32_t index, uint64_t offset_bytes, uint64_t size_bytes,
	 struct rp_wire_why *why)
{
	if (size_bytes == 0)
		return 0;
	if (offset_bytes > region->size_bytes || size_bytes > region->size_bytes - offset_bytes)
		return rp_wire_why_set(why, -EBADMSG,
				       "VFIO: region %u: area 0x%" PRIx64 " + 0x%" PRIx64
				       ", expected within its 0x%" PRIx64 " bytes",
				       index, offset_bytes, size_bytes, region->size_bytes);
	region->areas[region->areas_count].offset_bytes = offset_bytes;
	region->areas[region->areas_count++].size_bytes = size_bytes;
	return 0;
}

static int
read_areas(const struct kvfio_capability *capability, uint32_t index, struct kvfio_region *region,
	   struct rp_wire_why *why)
{
	struct vfio_region_info_cap_sparse_mmap fixed;
	struct vfio_region_sparse_mmap_area area;
	uint32_t i;
	int rc = 0;

	if (capability->size_bytes < sizeof(fixed))
		return rp_wire_why_set(why, -EBADMSG, "VFIO: region %u: areas: %zu bytes, expected at least %zu", index,
				       capability->size_bytes, sizeof(fixed));
	memcpy(&fixed, capability->bytes, sizeof(fixed));
	if (fixed.nr_areas > VFIO_AREAS_MAX || fixed.nr_areas > (capability->size_bytes - sizeof(fixed)) / sizeof(area))
		return rp_wire_why_set(why, -EBADMSG,
				       "VFIO: region %u: nr_areas: %u, expected at most %u, and %zu bytes", index,
				       fixed.nr_areas, VFIO_AREAS_MAX, fixed.nr_areas * sizeof(area));
	region->areas = calloc(fixed.nr_areas + 1, sizeof(*region->areas));
	if (region->areas == NULL)
		return rp_wire_why_set(why, -ENOMEM, "no memory");
	for (i = 0; rc == 0 && i < fixed.nr_areas; i++) {
		memcpy(&area, capability->bytes + sizeof(fixed) + i * sizeof(area), sizeof(area));
		rc = add_area(region, index, area.offset, area.size, why);
	}
	return rc;
}

/* Without a list of areas all of it can be mapped. */
static int
read_mmap(const struct kvfio_info *info, const struct vfio_region_info *fixed, struct kvfio_region *region,
	  struct rp_wire_why *why)
{
	struct kvfio_capability capability;
	int rc = 0;

	if ((fixed->flags & VFIO_REGION_INFO_FLAG_MMAP) == 0)
		return 0;
	if ((fixed->flags & VFIO_REGION_INFO_FLAG_CAPS) != 0)
		rc = kvfio_info_capability(info, sizeof(*fixed), fixed->cap_offset, VFIO_REGION_INFO_CAP_SPARSE_MMAP,
					   &capability, why);
	if (rc < 0)
		return rc;
	if (rc == 1)
		return read_areas(&capability, fixed->index, region, why);
	region->areas = calloc(1, sizeof(*region->areas));
	if (region->areas == NULL)
		return rp_wire_why_set(why, -ENOMEM, "no memory");
	return add_area(region, fixed->index, 0, region->size_bytes, why);
}

static int
judge_region(const struct kvfio_info *info, uint32_t index, struct kvfio_region *region, struct rp_wire_why *why)
{
	struct vfio_region_info fixed;

	memcpy(&fixed, info->bytes, sizeof(fixed));
	if (fixed.index != index)
		return rp_wire_why_set(why, -EBADMSG, "VFIO: region %u: index: %u, expected the one that was asked for",
				       index, fixed.index);
	if (fixed.offset > INT64_MAX || fixed.size > INT64_MAX - fixed.offset)
		return rp_wire_why_set(why, -EBADMSG,
				       "VFIO: region %u: 0x%" PRIx64 " bytes at 0x%" PRIx64
				       ", expected an end below 2^63",
				       index, (uint64_t)fixed.size, (uint64_t)fixed.offset);
	region->size_bytes = fixed.size;
	region->file_offset_bytes = fixed.offset;
	region->readable = (fixed.flags & VFIO_REGION_INFO_FLAG_READ) != 0;
	region->writable = (fixed.flags & VFIO_REGION_INFO_FLAG_WRITE) != 0;
	return read_mmap(info, &fixed, region, why);
}

static int
read_region(struct kvfio_device *device, uint32_t index, struct rp_wire_why *why)
{
	struct vfio_region_info question = {.index = index};
	struct rp_wire_why words = {0};
	struct kvfio_info info;
	int rc = kvfio_info_ask(device->host->kernel, device->fd, VFIO_DEVICE_GET_REGION_INFO, &question,
				sizeof(question), &info, &words);

	/* A device without VGA says so this way. */
	if (rc == -EINVAL)
		return 0;
	if (rc < 0)
		return rp_wire_why_set(why, rc, "region %u: %s", index, words.text);
	rc = judge_region(&info, index, &device->regions[index], why);
	free(info.bytes);
	return rc;
}

int
kvfio_regions_read(struct kvfio_device *device, uint32_t regions_count, struct rp_wire_why *why)
{
	const struct kvfio_region *config = &device->regions[RP_ACCEL_TRANSPORT_CONFIG_REGION];
	uint32_t i;
	int rc = 0;

	for (i = 0; rc == 0 && i < VFIO_REGIONS_COUNT && i < regions_count; i++)
		rc = read_region(device, i, why);
	if (rc < 0)
		return rc;
	if (config->size_bytes < 256 || !config->readable || !config->writable)
		return rp_wire_why_set(why, -EBADMSG,
				       "VFIO: configuration space: %" PRIu64
				       " bytes, expected at least 256 that can be read and written",
				       config->size_bytes);
	return 0;
}

void
kvfio_regions_free(struct kvfio_device *device)
{
	uint32_t i;

	for (i = 0; i < VFIO_REGIONS_COUNT; i++)
		free(device->regions[i].areas);
	memset(device->regions, 0, sizeof(device->regions));
}

static int
explain_access(struct kvfio_device *device, uint32_t region, uint64_t offset_bytes, const char *verb, ssize_t done,
	       struct rp_wire_why *why)
{
	struct rp_wire_why words = {0};

	rp_wire_why_set(&words, -EIO, "region %u: %s at 0x%" PRIx64 ": %s: the device does not answer", region, verb,
			offset_bytes, done < 0 ? strerror((int)-done) : "cut short");
	kvfio_lose(device, -EIO, &words);
	return rp_wire_why_set(why, -EIO, "%s", words.text);
}

int
kvfio_region_access(struct kvfio_device *device, uint32_t region, uint64_t offset_bytes, uint32_t count_bytes,
		    void *bytes, bool is_write, struct rp_wire_why *why)
{
	const struct kvfio_kernel *kernel = device->host->kernel;
	const struct kvfio_region *place = &device->regions[region < VFIO_REGIONS_COUNT ? region : 0];
	const char *verb = is_write ? "write" : "read";
	off_t at_bytes;
	ssize_t done;

	if (region >= VFIO_REGIONS_COUNT || offset_bytes > place->size_bytes ||
	    count_bytes > place->size_bytes - offset_bytes)
		return rp_wire_why_set(why, -EINVAL, "region %u: %s of %u bytes at 0x%" PRIx64 ": beyond its end",
				       region, verb, count_bytes, offset_bytes);
	if (!(is_write ? place->writable : place->readable))
		return rp_wire_why_set(why, -ENOTSUP, "region %u: %s is not possible", region, verb);
	at_bytes = (off_t)(place->file_offset_bytes + offset_bytes);
	done = is_write ? kernel->pwrite(kernel->ctx, device->fd, bytes, count_bytes, at_bytes) :
			  kernel->pread(kernel->ctx, device->fd, bytes, count_bytes, at_bytes);
	if (done != (ssize_t)count_bytes)
		return explain_access(device, region, offset_bytes, verb, done, why);
	return 0;
}

int
kvfio_region_window(const struct kvfio_device *device, uint32_t region, uint64_t offset_bytes, uint64_t size_bytes,
		    struct rp_accel_transport_window *ret_window, struct rp_wire_why *why)
{
	const struct kvfio_region *place;
	unsigned int i;

	if (region >= VFIO_REGIONS_COUNT || device->regions[region].size_bytes == 0)
		return rp_wire_why_set(why, -ENOTSUP, "region %u is absent", region);
	place = &device->regions[region];
	for (i = 0; i < place->areas_count; i++) {
		uint64_t start_bytes = place->areas[i].offset_bytes, room_bytes = place->areas[i].size_bytes;

		if (offset_bytes < start_bytes || offset_bytes - start_bytes > room_bytes ||
		    size_bytes > room_bytes - (offset_bytes - start_bytes))
			continue;
		ret_window->fd = device->fd;
		ret_window->offset_bytes = place->file_offset_bytes + offset_bytes;
		ret_window->size_bytes = size_bytes;
		return 0;
	}
	return rp_wire_why_set(why, -ENOTSUP, "region %u is not mmap-able at 0x%" PRIx64 " for %" PRIu64 " bytes",
			       region, offset_bytes, size_bytes);
}
