/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * What a successor must know of the connection to go on with it. Nothing of it changes,
 * and the frontend hears nothing. backend_adopt.c reads it.
 */

#include <errno.h>

#include "backend_given.h"
#include "vhu_backend.h"

static void
give_dialect(const struct rp_vhu_backend *backend, struct rp_wire_parcel *parcel)
{
	const struct rp_vhu_dialect *dialect = &backend->dialect;

	rp_wire_parcel_put_text(parcel, "profile", rp_vhu_profile_name(dialect->profile));
	rp_wire_parcel_put_number(parcel, "vfio_mask", dialect->vfio_mask);
	rp_wire_parcel_put_number(parcel, "vfio_file_request", dialect->vfio_file.id);
	rp_wire_parcel_put_number(parcel, "notify_area_request", dialect->notify_area.id);
}

static void
give_features(const struct rp_vhu_backend *backend, struct rp_wire_parcel *parcel)
{
	rp_wire_parcel_put_number(parcel, "queues_max", backend->config.queues_max);
	rp_wire_parcel_put_number(parcel, "queues_told", backend->config.queues_told);
	rp_wire_parcel_put_number(parcel, "offered", backend->offered);
	rp_wire_parcel_put_number(parcel, "features_asked", backend->features_asked);
	rp_wire_parcel_put_number(parcel, "features_acked", backend->features_acked);
	rp_wire_parcel_put_number(parcel, "features", backend->features);
	rp_wire_parcel_put_number(parcel, "protocol_features", backend->protocol_features);
	rp_wire_parcel_put_number(parcel, "status", backend->status);
}

static void
give_regions(const struct rp_vhu_backend *backend, struct rp_wire_parcel *parcel)
{
	unsigned int i;

	rp_wire_parcel_put_number(parcel, "regions_count", backend->regions_count);
	for (i = 0; i < backend->regions_count; i++) {
		const struct rp_vhu_region *region = &backend->regions[i];

		rp_wire_parcel_enter(parcel, "region", i);
		rp_wire_parcel_put_number(parcel, "gpa", region->gpa);
		rp_wire_parcel_put_number(parcel, "size_bytes", region->size_bytes);
		rp_wire_parcel_put_number(parcel, "uva", region->uva);
		rp_wire_parcel_put_number(parcel, "offset_bytes", region->offset_bytes);
		rp_wire_parcel_put_number(parcel, "adds", backend->region_adds[i]);
		rp_wire_parcel_put_fd(parcel, "fd", region->fd);
		rp_wire_parcel_leave(parcel);
	}
}

static void
give_shared_file(struct rp_wire_parcel *parcel, const char *name, const struct rp_vhu_shared_file *file)
{
	rp_wire_parcel_enter(parcel, name, 0);
	rp_wire_parcel_put_fd(parcel, "fd", file->fd);
	rp_wire_parcel_put_number(parcel, "size_bytes", file->size_bytes);
	rp_wire_parcel_put_number(parcel, "offset_bytes", file->offset_bytes);
	rp_wire_parcel_leave(parcel);
}

static void
give_files(const struct rp_vhu_backend *backend, struct rp_wire_parcel *parcel)
{
	const struct rp_vhu_inflight_layout *layout;

	rp_wire_parcel_put_number(parcel, "has_log", backend->log != NULL);
	if (backend->log != NULL)
		give_shared_file(parcel, "log", &backend->log_file);
	rp_wire_parcel_put_fd(parcel, "log_fd", backend->log_fd);
	rp_wire_parcel_put_number(parcel, "has_inflight", backend->inflight != NULL);
	if (backend->inflight == NULL)
		return;
	give_shared_file(parcel, "inflight", &backend->inflight_file);
	layout = rp_vhu_inflight_layout(backend->inflight);
	rp_wire_parcel_put_number(parcel, "inflight_queues_count", layout->queues_count);
	rp_wire_parcel_put_number(parcel, "inflight_queue_num", layout->queue_num);
}

static void
give_vring(const struct vhu_vring *vring, struct rp_wire_parcel *parcel)
{
	const struct rp_vhu_vring *state = &vring->state;

	rp_wire_parcel_put_number(parcel, "num_known", vring->num_known);
	rp_wire_parcel_put_number(parcel, "num", state->num);
	rp_wire_parcel_put_number(parcel, "base_wire", vring->base_wire);
	rp_wire_parcel_put_number(parcel, "base_ours", vring->base_ours);
	rp_wire_parcel_put_number(parcel, "addr_known", vring->addr_known);
	rp_wire_parcel_put_number(parcel, "desc_uva", vring->addr.desc_uva);
	rp_wire_parcel_put_number(parcel, "avail_uva", vring->addr.avail_uva);
	rp_wire_parcel_put_number(parcel, "used_uva", vring->addr.used_uva);
	rp_wire_parcel_put_number(parcel, "enabled_by_message", vring->enabled_by_message);
	rp_wire_parcel_put_number(parcel, "log_used", state->log_used);
	rp_wire_parcel_put_number(parcel, "log_gpa", state->log_gpa);
	rp_wire_parcel_put_number(parcel, "started", state->started);
	rp_wire_parcel_put_fd(parcel, "kick", state->kick_fd);
	rp_wire_parcel_put_fd(parcel, "call", state->call_fd);
	rp_wire_parcel_put_fd(parcel, "err", state->err_fd);
}

static void
give_channel(const struct rp_vhu_backend *backend, struct rp_wire_parcel *parcel)
{
	unsigned int i;

	if (backend->channel == NULL)
		return;
	rp_wire_parcel_put_fd(parcel, "channel", rp_wire_conn_fd(backend->channel));
	rp_wire_parcel_put_number(parcel, "pending_count", backend->pending_count);
	for (i = 0; i < backend->pending_count; i++) {
		const struct vhu_pending *pending = &backend->pending[(backend->pending_head + i) % VHU_PENDING_MAX];

		rp_wire_parcel_enter(parcel, "pending", i);
		rp_wire_parcel_put_number(parcel, "request", pending->request);
		rp_wire_parcel_put_number(parcel, "token", pending->token);
		rp_wire_parcel_leave(parcel);
	}
}

static int
check(const struct rp_vhu_backend *backend, struct rp_wire_why *why)
{
	if (backend->conn == NULL)
		return rp_wire_why_set(why, -ENOTCONN, "no frontend is connected");
	if (backend->in_process || backend->detach_wanted || backend->closing)
		return rp_wire_why_set(why, -EBUSY, "a request of the frontend's is being served");
	if (vhu_iotlb_negotiated(backend))
		return rp_wire_why_set(why, -ENOTSUP,
				       "VIRTIO_F_ACCESS_PLATFORM is negotiated: translations that the "
				       "frontend told are not handed over");
	if (!rp_wire_conn_is_idle(backend->conn) ||
	    (backend->channel != NULL && !rp_wire_conn_is_idle(backend->channel)))
		return rp_wire_why_set(why, -EAGAIN,
				       "a message of the frontend's is half read, or one of ours half "
				       "sent");
	return 0;
}

int
rp_vhu_backend_give(const struct rp_vhu_backend *backend, struct rp_wire_parcel *parcel, struct rp_wire_why *why)
{
	unsigned int i;
	int rc = check(backend, why);

	if (rc < 0)
		return rc;
	rp_wire_parcel_put_number(parcel, "version", VHU_GIVEN_VERSION);
	rp_wire_parcel_put_fd(parcel, "connection", rp_wire_conn_fd(backend->conn));
	give_dialect(backend, parcel);
	give_features(backend, parcel);
	give_regions(backend, parcel);
	give_files(backend, parcel);
	for (i = 0; i < backend->config.queues_max; i++) {
		rp_wire_parcel_enter(parcel, "ring", i);
		give_vring(&backend->vrings[i], parcel);
		rp_wire_parcel_leave(parcel);
	}
	give_channel(backend, parcel);
	return rp_wire_parcel_result(parcel, why);
}

void
rp_vhu_backend_leave(struct rp_vhu_backend *backend)
{
	vhu_backend_forget(backend);
}
