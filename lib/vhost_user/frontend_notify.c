/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "rp_wire_fd.h"
#include "vhu_frontend.h"

static struct rp_wire_why *
nowhere(struct rp_wire_why *why)
{
	memset(why, 0, sizeof(*why));
	return why;
}

/* Also called from the middle of a waiting call and of the end of a connection: nobody may wait in it. */
static int
tell(struct rp_vhu_frontend *frontend, unsigned int queue, const struct rp_vhu_notify_map *map, struct rp_wire_why *why)
{
	bool in_callback = frontend->in_callback;
	int rc;

	if (frontend->ops == NULL || frontend->ops->notify_area == NULL)
		return 0;
	frontend->in_callback = true;
	rc = frontend->ops->notify_area(frontend->ctx, queue, map, why);
	frontend->in_callback = in_callback;
	return rc;
}

void
vhu_frontend_unmap(struct rp_vhu_frontend *frontend, unsigned int queue)
{
	const struct rp_vhu_notify_map none = {0};
	struct rp_vhu_notify_map old = frontend->queues[queue].map;
	struct rp_wire_why why;

	if (old.address == NULL)
		return;
	frontend->queues[queue].map = none;
	if (frontend->queues[queue].started)
		tell(frontend, queue, &none, nowhere(&why));
	munmap(old.address, old.size_bytes);
}

void
vhu_frontend_hide(struct rp_vhu_frontend *frontend, unsigned int queue)
{
	const struct rp_vhu_notify_map none = {0};
	bool shown = frontend->queues[queue].started && frontend->queues[queue].map.address != NULL;
	struct rp_wire_why why;

	frontend->queues[queue].started = false;
	if (shown)
		tell(frontend, queue, &none, nowhere(&why));
}

void
vhu_frontend_show(struct rp_vhu_frontend *frontend, unsigned int queue)
{
	const struct vhu_frontend_queue *q = &frontend->queues[queue];
	struct rp_wire_why why;

	/* An owner that does not want it any more kicks by eventfd, which the backend reads in any case. */
	if (q->map.address != NULL && !q->started && tell(frontend, queue, &q->map, nowhere(&why)) < 0)
		vhu_frontend_unmap(frontend, queue);
	frontend->queues[queue].started = true;
}

void
vhu_frontend_unmap_all(struct rp_vhu_frontend *frontend)
{
	unsigned int i;

	for (i = 0; i < frontend->config.queues_max; i++)
		vhu_frontend_unmap(frontend, i);
}

/* A file that shrinks under a mapping kills whoever touches it: ask it, where it can be asked. */
static int
check_file(int fd, const struct rp_vhu_wire_area *area, struct rp_wire_why *why)
{
	uint64_t end_bytes = area->offset_bytes + area->size_bytes;
	uint64_t page_bytes = rp_wire_fd_page_bytes(fd);
	struct stat st;
	int seals;

	if (fstat(fd, &st) < 0)
		return rp_wire_why_set(why, -EBADMSG, "descriptor: %s", strerror(errno));
	if (!S_ISREG(st.st_mode))
		return 0; /* a device's region: its driver knows its size */
	if ((uint64_t)st.st_size < end_bytes)
		return rp_wire_why_set(why, -EBADMSG, "descriptor: the file has %lld bytes, the area ends at %llu",
				       (long long)st.st_size, (unsigned long long)end_bytes);
	seals = fcntl(fd, F_GET_SEALS);
	if (seals < 0 || (seals & F_SEAL_SHRINK) == 0)
		return rp_wire_why_set(why, -EBADMSG, "descriptor: the file is not sealed against shrinking");
	if (area->size_bytes % page_bytes != 0)
		return rp_wire_why_set(why, -EBADMSG,
				       "descriptor: the file is mapped in pages of %llu bytes, the slot has %llu",
				       (unsigned long long)page_bytes, (unsigned long long)area->size_bytes);
	return 0;
}

static int
check_area(const struct rp_vhu_frontend *frontend, const struct rp_vhu_wire_area *area, int fd, struct rp_wire_why *why)
{
	uint64_t page_mask = (uint64_t)sysconf(_SC_PAGESIZE) - 1;
	uint64_t queue = area->queue_flags & RP_VHU_VRING_INDEX_MASK;

	if (!frontend->queues[queue].started)
		return rp_wire_why_set(why, -EBUSY, "ring %llu is not started", (unsigned long long)queue);
	if (area->size_bytes != frontend->config.notify_slot_bytes || (area->size_bytes & page_mask) != 0)
		return rp_wire_why_set(why, -EBADMSG, "size: %llu, expected %llu, one queue's slot, in whole pages",
				       (unsigned long long)area->size_bytes,
				       (unsigned long long)frontend->config.notify_slot_bytes);
	if ((area->offset_bytes & page_mask) != 0 || area->offset_bytes + area->size_bytes < area->offset_bytes)
		return rp_wire_why_set(why, -EBADMSG, "offset: 0x%llx, expected a multiple of the page size",
				       (unsigned long long)area->offset_bytes);
	return check_file(fd, area, why);
}

/* The old mapping stays until the new one has proved good. */
static int
replace(struct rp_vhu_frontend *frontend, const struct rp_vhu_wire_area *area, int fd, struct rp_wire_why *why)
{
	unsigned int queue = area->queue_flags & RP_VHU_VRING_INDEX_MASK;
	struct rp_vhu_notify_map old = frontend->queues[queue].map;
	struct rp_vhu_notify_map map = {.size_bytes = area->size_bytes};
	int rc = check_area(frontend, area, fd, why);

	if (rc < 0)
		return rc;
	map.address = mmap(NULL, area->size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)area->offset_bytes);
	if (map.address == MAP_FAILED)
		return rp_wire_why_set(why, -EBADMSG, "descriptor: mmap: %s", strerror(errno));
	rc = tell(frontend, queue, &map, why);
	if (rc < 0) {
		munmap(map.address, map.size_bytes);
		return rc;
	}
	frontend->queues[queue].map = map;
	if (old.address != NULL)
		munmap(old.address, old.size_bytes);
	return 0;
}

int
vhu_frontend_take_notify_area(struct rp_vhu_frontend *frontend, struct rp_wire_msg *msg, struct rp_wire_why *why)
{
	struct vhu_frontend_queue *queue;
	struct rp_vhu_wire_area area;
	int rc;

	memcpy(&area, msg->bytes + sizeof(struct rp_vhu_header), sizeof(area));
	rc = vhu_frontend_queue_of(frontend, area.queue_flags, msg->fds_count, &queue, why);
	if (rc < 0)
		return rc;
	if (msg->fds_count == 1)
		return replace(frontend, &area, msg->fds[0], why);
	vhu_frontend_unmap(frontend, (unsigned int)(queue - frontend->queues));
	return 0;
}

struct rp_vhu_notify_map
rp_vhu_frontend_notify_map(const struct rp_vhu_frontend *frontend, unsigned int queue)
{
	const struct rp_vhu_notify_map none = {0};

	if (queue >= frontend->config.queues_max || !frontend->queues[queue].started)
		return none;
	return frontend->queues[queue].map;
}
