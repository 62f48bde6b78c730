/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "vhu_frontend.h"

static int
replace(struct vhu_frontend_queue *queue, struct rp_vhu_vfio_files *files, int *fd, enum rp_vhu_vfio_type type,
	struct rp_wire_why *why)
{
	struct rp_vhu_vfio_file *file = NULL;
	int rc = rp_vhu_vfio_file_get(files, fd, type, &file, why);

	if (rc < 0)
		return rc;
	/* The new one is in: only now may the old one go. The same file again just passes through. */
	rp_vhu_vfio_file_put(queue->vfio_file);
	queue->vfio_file = file;
	return 0;
}

int
vhu_frontend_take_vfio_file(struct rp_vhu_frontend *frontend, struct rp_wire_msg *msg, struct rp_wire_why *why)
{
	struct rp_vhu_wire_vfio_file wire = {.type = RP_VHU_VFIO_GROUP};
	struct vhu_frontend_queue *queue;
	size_t size_bytes = msg->size_bytes - sizeof(struct rp_vhu_header);
	bool in_callback = frontend->in_callback;
	int rc = 0;

	/* Profile vfio2018 has the first field only. */
	memcpy(&wire, msg->bytes + sizeof(struct rp_vhu_header),
	       size_bytes < sizeof(wire) ? sizeof(wire.queue_flags) : sizeof(wire));
	rc = vhu_frontend_queue_of(frontend, wire.queue_flags, msg->fds_count, &queue, why);
	if (rc < 0)
		return rc;
	frontend->in_callback = true;
	if (msg->fds_count == 1)
		rc = replace(queue, frontend->vfio_files, &msg->fds[0], (enum rp_vhu_vfio_type)wire.type, why);
	else
		queue->vfio_file = rp_vhu_vfio_file_put(queue->vfio_file);
	frontend->in_callback = in_callback;
	return rc;
}

void
vhu_frontend_drop_vfio_files(struct rp_vhu_frontend *frontend)
{
	bool in_callback = frontend->in_callback;
	unsigned int i;

	frontend->in_callback = true;
	for (i = 0; i < frontend->config.queues_max; i++)
		frontend->queues[i].vfio_file = rp_vhu_vfio_file_put(frontend->queues[i].vfio_file);
	frontend->in_callback = in_callback;
}

const struct rp_vhu_vfio_file *
rp_vhu_frontend_vfio_file(const struct rp_vhu_frontend *frontend, unsigned int queue)
{
	return queue < frontend->config.queues_max ? frontend->queues[queue].vfio_file : NULL;
}
