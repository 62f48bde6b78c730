/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "rp_vhu_proto.h"
#include "rp_wire_fd.h"
#include "vhu_inflight.h"

#define NUM_MAX 32768u

struct rp_vhu_inflight {
	struct rp_vhu_inflight_layout layout;
	uint8_t *queues;
	void *map;
	size_t map_bytes;
};

static uint64_t
queue_bytes(const struct rp_vhu_inflight_layout *layout)
{
	const uint64_t mask = RP_VHU_INFLIGHT_ALIGN_BYTES - 1, num = layout->queue_num;
	uint64_t bytes;

	if (layout->packed)
		bytes = sizeof(struct vhu_inflight_packed_region) + num * sizeof(struct vhu_inflight_packed_entry);
	else
		bytes = sizeof(struct vhu_inflight_split_region) + num * sizeof(struct vhu_inflight_split_entry);
	return (bytes + mask) & ~mask;
}

static int
check_layout(const struct rp_vhu_inflight_layout *layout, struct rp_wire_why *why)
{
	if (layout->queues_count == 0 || layout->queues_count > RP_VHU_QUEUES_MAX)
		return rp_wire_why_set(why, -EBADMSG, "num queues: %u, expected 1 to %u", layout->queues_count,
				       RP_VHU_QUEUES_MAX);
	if (layout->queue_num == 0 || layout->queue_num > NUM_MAX)
		return rp_wire_why_set(why, -EBADMSG, "queue size: %u, expected 1 to %u", layout->queue_num, NUM_MAX);
	return 0;
}

uint64_t
rp_vhu_inflight_bytes(const struct rp_vhu_inflight_layout *layout)
{
	return check_layout(layout, NULL) < 0 ? 0 : layout->queues_count * queue_bytes(layout);
}

int
rp_vhu_inflight_file(const struct rp_vhu_inflight_layout *layout, int *ret_fd, struct rp_wire_why *why)
{
	RP_WIRE_FD_SCOPED int fd = -1;
	int rc = check_layout(layout, why);

	if (rc < 0)
		return rc;
	fd = memfd_create("vhost-inflight", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0 || ftruncate(fd, (off_t)rp_vhu_inflight_bytes(layout)) < 0 ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		return rp_wire_why_set(why, -ENOSPC, "no file for the region: %s", strerror(errno));
	*ret_fd = rp_wire_fd_take(&fd);
	return 0;
}

static int
check_place(const struct rp_vhu_inflight_layout *layout, uint64_t size_bytes, uint64_t offset_bytes,
	    struct rp_wire_why *why)
{
	uint64_t needed_bytes = rp_vhu_inflight_bytes(layout);
	int rc = check_layout(layout, why);

	if (rc < 0)
		return rc;
	if (size_bytes < needed_bytes)
		return rp_wire_why_set(why, -EBADMSG, "mmap size: %llu, expected at least %llu for %u queues of %u",
				       (unsigned long long)size_bytes, (unsigned long long)needed_bytes,
				       layout->queues_count, layout->queue_num);
	if (offset_bytes % RP_VHU_INFLIGHT_ALIGN_BYTES != 0 || offset_bytes + size_bytes < offset_bytes)
		return rp_wire_why_set(why, -EBADMSG, "mmap offset: 0x%llx, expected a multiple of %u below 2^64",
				       (unsigned long long)offset_bytes, RP_VHU_INFLIGHT_ALIGN_BYTES);
	return 0;
}

static int
check_file(int fd, uint64_t end_bytes, struct rp_wire_why *why)
{
	struct stat st;
	int seals = fcntl(fd, F_GET_SEALS);

	if (seals < 0 || (seals & F_SEAL_SHRINK) == 0)
		return rp_wire_why_set(why, -EBADMSG, "descriptor: no file that is sealed against shrinking");
	if (fstat(fd, &st) < 0 || (uint64_t)st.st_size < end_bytes)
		return rp_wire_why_set(why, -EBADMSG, "descriptor: the file ends before the region, at %llu",
				       (unsigned long long)end_bytes);
	return 0;
}

int
vhu_inflight_check_head(const struct vhu_inflight_head *head, uint16_t queue_num, struct rp_wire_why *why)
{
	if (head->version > VHU_INFLIGHT_VERSION)
		return rp_wire_why_set(why, -EBADMSG, "version: %u, expected 0 or %u", head->version,
				       VHU_INFLIGHT_VERSION);
	if (head->version == VHU_INFLIGHT_VERSION && head->desc_num != queue_num)
		return rp_wire_why_set(why, -EBADMSG, "desc_num: %u, expected %u", head->desc_num, queue_num);
	return 0;
}

static int
check_queues(const struct rp_vhu_inflight *inflight, struct rp_wire_why *why)
{
	unsigned int i;
	int rc = 0;

	for (i = 0; i < inflight->layout.queues_count && rc == 0; i++) {
		struct vhu_inflight_head head;

		memcpy(&head, inflight->queues + i * queue_bytes(&inflight->layout), sizeof(head));
		rc = vhu_inflight_check_head(&head, inflight->layout.queue_num, why);
		if (rc < 0)
			rp_wire_why_prefix(why, "queue %u: ", i);
	}
	return rc;
}

int
rp_vhu_inflight_create(int fd, const struct rp_vhu_inflight_layout *layout, uint64_t size_bytes, uint64_t offset_bytes,
		       struct rp_vhu_inflight **ret_inflight, struct rp_wire_why *why)
{
	uint64_t page_bytes = rp_wire_fd_page_bytes(fd), into_page = offset_bytes % page_bytes;
	struct rp_vhu_inflight *inflight;
	int rc = check_place(layout, size_bytes, offset_bytes, why);

	if (rc == 0)
		rc = check_file(fd, offset_bytes + size_bytes, why);
	if (rc < 0)
		return rc;
	inflight = calloc(1, sizeof(*inflight));
	if (inflight == NULL)
		return rp_wire_why_set(why, -ENOSPC, "in-flight region: no memory");
	inflight->layout = *layout;
	/* Only what the layout needs, however large the frontend says it is. */
	inflight->map_bytes =
		(size_t)((into_page + rp_vhu_inflight_bytes(layout) + page_bytes - 1) / page_bytes * page_bytes);
	inflight->map = mmap(NULL, inflight->map_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
			     (off_t)(offset_bytes - into_page));
	if (inflight->map == MAP_FAILED) {
		free(inflight);
		return rp_wire_why_set(why, -EBADMSG, "descriptor: mmap: %s", strerror(errno));
	}
	inflight->queues = (uint8_t *)inflight->map + into_page;
	rc = check_queues(inflight, why);
	if (rc < 0)
		rp_vhu_inflight_destroy(inflight);
	else
		*ret_inflight = inflight;
	return rc;
}

struct rp_vhu_inflight *
rp_vhu_inflight_destroy(struct rp_vhu_inflight *inflight)
{
	if (inflight == NULL)
		return NULL;
	munmap(inflight->map, inflight->map_bytes);
	free(inflight);
	return NULL;
}

const struct rp_vhu_inflight_layout *
rp_vhu_inflight_layout(const struct rp_vhu_inflight *inflight)
{
	return &inflight->layout;
}

void *
vhu_inflight_queue(struct rp_vhu_inflight *inflight, unsigned int queue, bool packed)
{
	if (queue >= inflight->layout.queues_count || packed != inflight->layout.packed)
		return NULL;
	return inflight->queues + queue * queue_bytes(&inflight->layout);
}

static int
compare(const void *a, const void *b)
{
	const struct vhu_inflight_order *left = a, *right = b;

	if (left->counter != right->counter)
		return left->counter < right->counter ? -1 : 1;
	return (int)left->entry - (int)right->entry;
}

void
vhu_inflight_sort(struct vhu_inflight_order *order, unsigned int count)
{
	qsort(order, count, sizeof(*order), compare);
}
