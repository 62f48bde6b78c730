/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * The list of regions, and the messages that add and remove one of them. The owner
 * hears of each change before the list has it.
 */

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "rp_wire_fd.h"
#include "vhu_backend.h"

static bool
overlaps(uint64_t a, uint64_t a_size, uint64_t b, uint64_t b_size)
{
	return a - b < b_size || b - a < a_size;
}

bool
vhu_region_overlaps(const struct rp_vhu_region *a, const struct rp_vhu_region *b)
{
	return overlaps(a->gpa, a->size_bytes, b->gpa, b->size_bytes) ||
	       overlaps(a->uva, a->size_bytes, b->uva, b->size_bytes);
}

static bool
same_file(int a, int b)
{
	struct stat sa, sb;

	if (rp_wire_fd_same(a, b) == 1)
		return true;
	/* Another open of the same file gives the same bytes; anonymous inodes of the kernel are one for all. */
	return fstat(a, &sa) == 0 && fstat(b, &sb) == 0 && sa.st_dev == sb.st_dev && sa.st_ino == sb.st_ino &&
	       (S_ISREG(sa.st_mode) || S_ISCHR(sa.st_mode));
}

bool
vhu_region_same(const struct rp_vhu_region *a, int a_fd, const struct rp_vhu_region *b)
{
	return a->gpa == b->gpa && a->size_bytes == b->size_bytes && a->uva == b->uva &&
	       a->offset_bytes == b->offset_bytes && same_file(a_fd, b->fd);
}

int
vhu_region_from_wire(const struct rp_vhu_wire_region *wire, struct rp_vhu_region *ret_region, struct rp_wire_why *why)
{
	*ret_region = (struct rp_vhu_region){
		.gpa = wire->gpa,
		.size_bytes = wire->size_bytes,
		.uva = wire->uva,
		.offset_bytes = wire->offset_bytes,
		.fd = -1,
	};
	if (wire->size_bytes == 0)
		return rp_wire_why_set(why, -EBADMSG, "region at 0x%llx: size is 0", (unsigned long long)wire->gpa);
	if (wire->gpa + wire->size_bytes < wire->gpa || wire->uva + wire->size_bytes < wire->uva ||
	    wire->offset_bytes + wire->size_bytes < wire->offset_bytes)
		return rp_wire_why_set(why, -EBADMSG, "region at 0x%llx: size 0x%llx wraps around",
				       (unsigned long long)wire->gpa, (unsigned long long)wire->size_bytes);
	return 0;
}

int
vhu_region_overlap_error(const struct rp_vhu_region *a, const struct rp_vhu_region *b, struct rp_wire_why *why)
{
	return rp_wire_why_set(why, -EEXIST, "region at 0x%llx, 0x%llx bytes: overlaps the one at 0x%llx, 0x%llx bytes",
			       (unsigned long long)a->gpa, (unsigned long long)a->size_bytes,
			       (unsigned long long)b->gpa, (unsigned long long)b->size_bytes);
}

int
vhu_memory_add(struct rp_vhu_backend *backend, struct rp_vhu_region *region, struct rp_wire_why *why)
{
	int rc;

	if (backend->regions_count == RP_VHU_SLOTS_MAX)
		return rp_wire_why_set(why, -ENOSPC, "regions: there are %u already", RP_VHU_SLOTS_MAX);
	rc = vhu_log_check_region(backend, region, why);
	if (rc == 0 && backend->ops->region_add != NULL)
		rc = backend->ops->region_add(backend->ctx, region, why);
	if (rc < 0)
		return rc;
	backend->regions[backend->regions_count] = *region;
	backend->regions[backend->regions_count].fd = rp_wire_fd_take(&region->fd);
	backend->region_adds[backend->regions_count] = 1;
	backend->region_marks[backend->regions_count] = VHU_MARK_NEW;
	backend->regions_count++;
	return 0;
}

struct rp_vhu_region
vhu_memory_take_out(struct rp_vhu_backend *backend, unsigned int index)
{
	struct rp_vhu_region region = backend->regions[index];

	if (backend->ops->region_remove != NULL)
		backend->ops->region_remove(backend->ctx, &region);
	backend->regions_count--;
	memmove(&backend->regions[index], &backend->regions[index + 1],
		(backend->regions_count - index) * sizeof(region));
	memmove(&backend->region_adds[index], &backend->region_adds[index + 1],
		(backend->regions_count - index) * sizeof(backend->region_adds[0]));
	memmove(&backend->region_marks[index], &backend->region_marks[index + 1],
		(backend->regions_count - index) * sizeof(backend->region_marks[0]));
	return region;
}

void
vhu_memory_remove(struct rp_vhu_backend *backend, unsigned int index)
{
	struct rp_vhu_region region = vhu_memory_take_out(backend, index);

	rp_wire_fd_close(&region.fd);
}

int
vhu_memory_changed(struct rp_vhu_backend *backend, struct rp_wire_why *why)
{
	return backend->ops->memory != NULL ? backend->ops->memory(backend->ctx, why) : 0;
}

static int
refuse_in_use(const struct rp_vhu_backend *backend, const struct rp_vhu_region *region, struct rp_wire_why *why)
{
	int ring = vhu_vrings_inside(backend, region);

	if (ring < 0)
		return 0;
	return rp_wire_why_set(why, -EBUSY, "region at 0x%llx: ring %d lies in it and is started",
			       (unsigned long long)region->gpa, ring);
}

int
vhu_on_get_max_mem_slots(struct rp_vhu_backend *backend, struct vhu_request *request, struct rp_wire_why *why)
{
	(void)backend, (void)why;
	vhu_request_reply_u64(request, RP_VHU_SLOTS_MAX);
	return 0;
}

int
vhu_on_add_mem_reg(struct rp_vhu_backend *backend, struct vhu_request *request, struct rp_wire_why *why)
{
	struct rp_vhu_wire_mem_slot wire;
	struct rp_vhu_region region;
	unsigned int i;
	int rc;

	memcpy(&wire, request->payload, sizeof(wire));
	rc = vhu_region_from_wire(&wire.region, &region, why);
	if (rc < 0)
		return rc;
	for (i = 0; i < backend->regions_count; i++) {
		const struct rp_vhu_region *old = &backend->regions[i];

		/* QEMU before 8.1 says it once per queue pair, and REM_MEM_REG as well. */
		if (vhu_region_same(&region, request->msg->fds[0], old)) {
			backend->region_adds[i]++;
			return 0;
		}
		if (vhu_region_overlaps(&region, old))
			return vhu_region_overlap_error(&region, old, why);
	}
	region.fd = rp_wire_fd_take(&request->msg->fds[0]);
	rc = vhu_memory_add(backend, &region, why);
	rp_wire_fd_close(&region.fd);
	return rc == 0 ? vhu_memory_changed(backend, why) : rc;
}

int
vhu_on_rem_mem_reg(struct rp_vhu_backend *backend, struct vhu_request *request, struct rp_wire_why *why)
{
	struct rp_vhu_wire_mem_slot wire;
	unsigned int i;
	int rc;

	memcpy(&wire, request->payload, sizeof(wire));
	for (i = 0; i < backend->regions_count; i++) {
		const struct rp_vhu_region *region = &backend->regions[i];

		if (region->gpa != wire.region.gpa || region->size_bytes != wire.region.size_bytes ||
		    region->uva != wire.region.uva)
			continue;
		if (backend->region_adds[i] > 1) {
			backend->region_adds[i]--;
			return 0;
		}
		rc = refuse_in_use(backend, region, why);
		if (rc < 0)
			return rc;
		vhu_memory_remove(backend, i);
		return vhu_memory_changed(backend, why);
	}
	return rp_wire_why_set(why, -EBADMSG, "region at 0x%llx, 0x%llx bytes: there is none like it",
			       (unsigned long long)wire.region.gpa, (unsigned long long)wire.region.size_bytes);
}

void
vhu_memory_clear(struct rp_vhu_backend *backend)
{
	while (backend->regions_count > 0)
		vhu_memory_remove(backend, backend->regions_count - 1);
}

int
vhu_memory_translate(const struct rp_vhu_backend *backend, uint64_t uva, uint64_t size_bytes, uint64_t *ret_gpa)
{
	return vhu_regions_translate(backend->regions, backend->regions_count, uva, size_bytes, ret_gpa);
}

int
vhu_regions_translate(const struct rp_vhu_region *regions, unsigned int count, uint64_t uva, uint64_t size_bytes,
		      uint64_t *ret_gpa)
{
	unsigned int i;

	for (i = 0; i < count; i++) {
		const struct rp_vhu_region *region = &regions[i];
		uint64_t into = uva - region->uva;

		if (into < region->size_bytes && size_bytes <= region->size_bytes - into) {
			*ret_gpa = region->gpa + into;
			return 0;
		}
	}
	return -EBADMSG;
}

unsigned int
rp_vhu_backend_regions_count(const struct rp_vhu_backend *backend)
{
	return backend->regions_count;
}

int
rp_vhu_backend_region(const struct rp_vhu_backend *backend, unsigned int index, struct rp_vhu_region *ret_region)
{
	if (index >= backend->regions_count)
		return -EINVAL;
	*ret_region = backend->regions[index];
	return 0;
}
