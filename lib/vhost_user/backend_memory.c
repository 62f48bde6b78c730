/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * SET_MEM_TABLE says the whole table anew, often the same one while rings run.
 * It is compared with what is known: what is in both stays untouched, what is new
 * is added before the answer, what is missing is removed. Adding comes first, so
 * that nothing that stays in use is ever absent, unless the new lies where the
 * old one must go first.
 */

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "rp_wire_fd.h"
#include "vhu_backend.h"

struct table {
	struct rp_vhu_region regions[RP_VHU_REGIONS_MAX]; /* descriptors owned until moved */
	bool known[RP_VHU_REGIONS_MAX]; /* the same as a region that is there */
	unsigned int count;
};

static bool
overlaps(uint64_t a, uint64_t a_size, uint64_t b, uint64_t b_size)
{
	return a - b < b_size || b - a < a_size;
}

static bool
regions_overlap(const struct rp_vhu_region *a, const struct rp_vhu_region *b)
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

static bool
same_region(const struct rp_vhu_region *a, const struct rp_vhu_region *b)
{
	return a->gpa == b->gpa && a->size_bytes == b->size_bytes && a->uva == b->uva &&
	       a->offset_bytes == b->offset_bytes;
}

static int
region_from_wire(const struct rp_vhu_wire_region *wire, struct rp_vhu_region *ret_region, struct rp_wire_why *why)
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

static int
overlap_error(const struct rp_vhu_region *a, const struct rp_vhu_region *b, struct rp_wire_why *why)
{
	return rp_wire_why_set(why, -EEXIST, "region at 0x%llx, 0x%llx bytes: overlaps the one at 0x%llx, 0x%llx bytes",
			       (unsigned long long)a->gpa, (unsigned long long)a->size_bytes,
			       (unsigned long long)b->gpa, (unsigned long long)b->size_bytes);
}

/* The caller owns fd of the region; on success it is the backend's (left as -1). */
static int
add(struct rp_vhu_backend *backend, struct rp_vhu_region *region, struct rp_wire_why *why)
{
	int rc = 0;

	if (backend->regions_count == RP_VHU_SLOTS_MAX)
		return rp_wire_why_set(why, -ENOSPC, "regions: there are %u already", RP_VHU_SLOTS_MAX);
	if (backend->ops->region_add != NULL)
		rc = backend->ops->region_add(backend->ctx, region, why);
	if (rc < 0)
		return rc;
	backend->regions[backend->regions_count] = *region;
	backend->regions[backend->regions_count].fd = rp_wire_fd_take(&region->fd);
	backend->region_adds[backend->regions_count] = 1;
	backend->regions_count++;
	return 0;
}

/* Tell the owner and drop it from the list; its descriptor is the caller's now. */
static struct rp_vhu_region
take_out(struct rp_vhu_backend *backend, unsigned int index)
{
	struct rp_vhu_region region = backend->regions[index];

	if (backend->ops->region_remove != NULL)
		backend->ops->region_remove(backend->ctx, &region);
	backend->regions_count--;
	memmove(&backend->regions[index], &backend->regions[index + 1],
		(backend->regions_count - index) * sizeof(region));
	memmove(&backend->region_adds[index], &backend->region_adds[index + 1],
		(backend->regions_count - index) * sizeof(backend->region_adds[0]));
	return region;
}

static void
remove_at(struct rp_vhu_backend *backend, unsigned int index)
{
	struct rp_vhu_region region = take_out(backend, index);

	rp_wire_fd_close(&region.fd);
}

static int
refuse_in_use(const struct rp_vhu_backend *backend, const struct rp_vhu_region *region, struct rp_wire_why *why)
{
	int ring = vhu_vrings_inside(backend, region->gpa, region->size_bytes);

	if (ring < 0)
		return 0;
	return rp_wire_why_set(why, -EBUSY, "region at 0x%llx: ring %d lies in it and is started",
			       (unsigned long long)region->gpa, ring);
}

static int
parse_table(struct vhu_request *request, struct table *table, struct rp_wire_why *why)
{
	struct rp_vhu_wire_mem_table wire;
	unsigned int i, j;

	memcpy(&wire, request->payload, request->size_bytes);
	for (i = 0; i < wire.count; i++) {
		int rc = region_from_wire(&wire.regions[i], &table->regions[i], why);

		if (rc < 0)
			return rc;
		for (j = 0; j < i; j++)
			if (regions_overlap(&table->regions[i], &table->regions[j]))
				return overlap_error(&table->regions[i], &table->regions[j], why);
		table->regions[i].fd = rp_wire_fd_take(&request->msg->fds[i]);
		table->count++;
	}
	return 0;
}

static void
table_release(struct table *table)
{
	unsigned int i;

	for (i = 0; i < table->count; i++)
		rp_wire_fd_close(&table->regions[i].fd);
}

struct difference {
	bool stays[RP_VHU_SLOTS_MAX];
	bool goes_first[RP_VHU_SLOTS_MAX]; /* something new lies where it is */
};

static int
compare(const struct rp_vhu_backend *backend, struct table *table, struct difference *difference,
	struct rp_wire_why *why)
{
	unsigned int i, j;

	memset(difference, 0, sizeof(*difference));
	for (i = 0; i < backend->regions_count; i++) {
		const struct rp_vhu_region *old = &backend->regions[i];
		int rc;

		for (j = 0; j < table->count; j++) {
			if (same_region(old, &table->regions[j]) && same_file(old->fd, table->regions[j].fd))
				difference->stays[i] = table->known[j] = true;
			else if (regions_overlap(old, &table->regions[j]))
				difference->goes_first[i] = true;
		}
		rc = difference->stays[i] ? 0 : refuse_in_use(backend, old, why);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* Back to what it was: what was added goes, what had to go first comes back. */
static void
roll_back(struct rp_vhu_backend *backend, unsigned int first_added, struct rp_vhu_region *gone, unsigned int gone_count)
{
	struct rp_wire_why ignored;
	unsigned int i;

	while (backend->regions_count > first_added)
		remove_at(backend, backend->regions_count - 1);
	for (i = 0; i < gone_count; i++)
		add(backend, &gone[i], &ignored);
}

static int
apply(struct rp_vhu_backend *backend, struct table *table, struct difference *difference, struct rp_wire_why *why)
{
	struct rp_vhu_region gone[RP_VHU_SLOTS_MAX];
	unsigned int gone_count = 0, later_count = 0, first_added, i;
	int rc = 0;

	for (i = backend->regions_count; i-- > 0;) {
		if (difference->stays[i] || !difference->goes_first[i])
			continue;
		gone[gone_count++] = take_out(backend, i);
		memmove(&difference->stays[i], &difference->stays[i + 1], backend->regions_count - i);
	}
	first_added = backend->regions_count;
	for (i = 0; i < first_added; i++)
		later_count += !difference->stays[i];
	for (i = 0; i < table->count && rc == 0; i++)
		if (!table->known[i])
			rc = add(backend, &table->regions[i], why);
	if (rc < 0)
		roll_back(backend, first_added, gone, gone_count);
	else
		for (i = first_added; later_count > 0 && i-- > 0;)
			if (!difference->stays[i])
				remove_at(backend, i);
	for (i = 0; i < gone_count; i++)
		rp_wire_fd_close(&gone[i].fd);
	return rc;
}

int
vhu_on_set_mem_table(struct rp_vhu_backend *backend, struct vhu_request *request, struct rp_wire_why *why)
{
	struct table table = {0};
	struct difference difference;
	int rc = parse_table(request, &table, why);

	if (rc == 0)
		rc = compare(backend, &table, &difference, why);
	if (rc == 0)
		rc = apply(backend, &table, &difference, why);
	table_release(&table);
	return rc;
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
	rc = region_from_wire(&wire.region, &region, why);
	if (rc < 0)
		return rc;
	for (i = 0; i < backend->regions_count; i++) {
		const struct rp_vhu_region *old = &backend->regions[i];

		/* QEMU before 8.1 says it once per queue pair, and REM_MEM_REG as well. */
		if (same_region(&region, old) && same_file(request->msg->fds[0], old->fd)) {
			backend->region_adds[i]++;
			return 0;
		}
		if (regions_overlap(&region, old))
			return overlap_error(&region, old, why);
	}
	region.fd = rp_wire_fd_take(&request->msg->fds[0]);
	rc = add(backend, &region, why);
	rp_wire_fd_close(&region.fd);
	return rc;
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
		if (rc == 0)
			remove_at(backend, i);
		return rc;
	}
	return rp_wire_why_set(why, -EBADMSG, "region at 0x%llx, 0x%llx bytes: there is none like it",
			       (unsigned long long)wire.region.gpa, (unsigned long long)wire.region.size_bytes);
}

void
vhu_memory_clear(struct rp_vhu_backend *backend)
{
	while (backend->regions_count > 0)
		remove_at(backend, backend->regions_count - 1);
}

int
vhu_memory_translate(const struct rp_vhu_backend *backend, uint64_t uva, uint64_t size_bytes, uint64_t *ret_gpa)
{
	unsigned int i;

	for (i = 0; i < backend->regions_count; i++) {
		const struct rp_vhu_region *region = &backend->regions[i];
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
