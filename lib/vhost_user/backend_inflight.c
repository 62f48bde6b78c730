/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Handlers of the in-flight region. Its file is the frontend's from the moment it was
 * made: what comes back, perhaps from another backend, is checked like any other.
 */

#include <errno.h>
#include <string.h>

#include "rp_wire_fd.h"
#include "vhu_backend.h"

static int
parse(const struct rp_vhu_backend *backend, const struct vhu_request *request, struct rp_vhu_wire_inflight *ret_wire,
      struct rp_vhu_inflight_layout *ret_layout, struct rp_wire_why *why)
{
	memcpy(ret_wire, request->payload, sizeof(*ret_wire));
	if (ret_wire->queues_count == 0 || ret_wire->queues_count > backend->config.queues_max)
		return rp_wire_why_set(why, -EBADMSG, "num queues: %u, expected 1 to %u", ret_wire->queues_count,
				       backend->config.queues_max);
	if (ret_wire->queue_num == 0 || ret_wire->queue_num > backend->config.vring_num_max)
		return rp_wire_why_set(why, -EBADMSG, "queue size: %u, expected 1 to %u", ret_wire->queue_num,
				       backend->config.vring_num_max);
	*ret_layout = (struct rp_vhu_inflight_layout){
		.packed = vhu_vring_packed(backend),
		.queues_count = ret_wire->queues_count,
		.queue_num = ret_wire->queue_num,
	};
	return 0;
}

int
vhu_on_get_inflight_fd(struct rp_vhu_backend *backend, struct vhu_request *request, struct rp_wire_why *why)
{
	struct rp_vhu_inflight_layout layout;
	struct rp_vhu_wire_inflight wire;
	uint64_t size_bytes = 0, offset_bytes = 0;
	int rc = parse(backend, request, &wire, &layout, why);

	if (rc < 0)
		return rc;
	if (backend->ops->inflight_get != NULL) {
		rc = backend->ops->inflight_get(backend->ctx, wire.queues_count, wire.queue_num, &request->reply_fd,
						&size_bytes, &offset_bytes, why);
	} else {
		size_bytes = rp_vhu_inflight_bytes(&layout);
		rc = rp_vhu_inflight_file(&layout, &request->reply_fd, why);
	}
	if (rc < 0)
		return rc;
	wire.mmap_bytes = size_bytes;
	wire.mmap_offset_bytes = offset_bytes;
	/* As long as the question: who pads it expects padding. */
	memset(request->reply, 0, request->size_bytes);
	memcpy(request->reply, &wire, sizeof(wire));
	request->reply_bytes = request->size_bytes;
	return 0;
}

static void
replace(struct rp_vhu_backend *backend, struct rp_vhu_inflight *inflight, struct rp_vhu_shared_file *file)
{
	struct rp_vhu_inflight *old = backend->inflight;

	if (old == inflight)
		return;
	backend->inflight = inflight;
	rp_wire_fd_replace(&backend->inflight_file.fd, &file->fd);
	backend->inflight_file.size_bytes = file->size_bytes;
	backend->inflight_file.offset_bytes = file->offset_bytes;
	if (backend->ops->inflight != NULL)
		backend->ops->inflight(backend->ctx, inflight);
	rp_vhu_inflight_destroy(old);
}

int
vhu_on_set_inflight_fd(struct rp_vhu_backend *backend, struct vhu_request *request, struct rp_wire_why *why)
{
	int ring = vhu_vrings_any_started(backend);
	struct rp_vhu_inflight *inflight = NULL;
	struct rp_vhu_shared_file file;
	struct rp_vhu_inflight_layout layout;
	struct rp_vhu_wire_inflight wire;
	int rc;

	if (ring >= 0)
		return rp_wire_why_set(why, -EBUSY, "ring %d is started", ring);
	rc = parse(backend, request, &wire, &layout, why);
	if (rc == 0)
		rc = rp_vhu_inflight_create(request->msg->fds[0], &layout, wire.mmap_bytes, wire.mmap_offset_bytes,
					    &inflight, why);
	if (rc < 0)
		return rc;
	file = (struct rp_vhu_shared_file){
		.fd = rp_wire_fd_take(&request->msg->fds[0]),
		.size_bytes = wire.mmap_bytes,
		.offset_bytes = wire.mmap_offset_bytes,
	};
	replace(backend, inflight, &file);
	return 0;
}

void
vhu_inflight_clear(struct rp_vhu_backend *backend)
{
	struct rp_vhu_shared_file none = {.fd = -1};

	replace(backend, NULL, &none);
}

struct rp_vhu_inflight *
rp_vhu_backend_inflight(const struct rp_vhu_backend *backend)
{
	return backend->inflight;
}

int
rp_vhu_backend_inflight_file(const struct rp_vhu_backend *backend, struct rp_vhu_shared_file *ret_file,
			     uint16_t *ret_queues_count, uint16_t *ret_queue_num)
{
	const struct rp_vhu_inflight_layout *layout;

	if (backend->inflight == NULL)
		return -ENOENT;
	layout = rp_vhu_inflight_layout(backend->inflight);
	*ret_file = backend->inflight_file;
	*ret_queues_count = layout->queues_count;
	*ret_queue_num = layout->queue_num;
	return 0;
}
