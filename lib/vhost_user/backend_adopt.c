/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Going on with a connection that a predecessor served. What it left is judged as the
 * frontend's own messages are, by the same functions where there are some; only then
 * does the backend have it. The owner is not called: it asks.
 */

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "backend_given.h"
#include "rp_wire_fd.h"
#include "vhu_backend.h"

#define REGION_ADDS_MAX 65536u

static int
expect(bool same, const char *what, struct rp_wire_why *why)
{
	return same ? 0 :
		      rp_wire_why_set(why, -ENOTSUP, "%s: found another than ours, which the frontend would not know",
				      what);
}

static int
check_dialect(const struct rp_vhu_backend *backend, struct rp_wire_parcel *parcel, struct rp_wire_why *why)
{
	const struct rp_vhu_dialect *dialect = &backend->dialect;
	uint64_t mask = rp_wire_parcel_get_number(parcel, "vfio_mask", UINT64_MAX);
	uint64_t file = rp_wire_parcel_get_number(parcel, "vfio_file_request", UINT32_MAX);
	uint64_t area = rp_wire_parcel_get_number(parcel, "notify_area_request", UINT32_MAX);
	char profile[16];
	int rc;

	rp_wire_parcel_get_text(parcel, "profile", profile, sizeof(profile));
	rc = rp_wire_parcel_result(parcel, why);
	if (rc == 0)
		rc = expect(strcmp(profile, rp_vhu_profile_name(dialect->profile)) == 0, "profile", why);
	if (rc == 0)
		rc = expect(mask == dialect->vfio_mask && file == dialect->vfio_file.id &&
				    area == dialect->notify_area.id,
			    "numbers of the extension", why);
	return rc;
}

static int
check_features(const struct rp_vhu_backend *backend, struct rp_wire_why *why)
{
	uint64_t lost = backend->offered & ~backend->config.features;

	if (lost != 0)
		return rp_wire_why_set(why, -ENOTSUP, "features: 0x%llx were offered, and cannot be any more",
				       (unsigned long long)lost);
	if ((backend->features & ~backend->offered) != 0)
		return rp_wire_why_set(why, -EBADMSG, "features: 0x%llx, expected some of 0x%llx",
				       (unsigned long long)backend->features, (unsigned long long)backend->offered);
	if (vhu_iotlb_negotiated(backend))
		return rp_wire_why_set(why, -EBADMSG, "features: expected no VIRTIO_F_ACCESS_PLATFORM");
	lost = backend->protocol_features & ~backend->config.protocol_features;
	if (lost != 0)
		return rp_wire_why_set(why, -ENOTSUP, "protocol features: 0x%llx are in use, and not offered any more",
				       (unsigned long long)lost);
	return 0;
}

static int
adopt_features(struct rp_vhu_backend *backend, struct rp_wire_parcel *parcel, struct rp_wire_why *why)
{
	uint64_t queues_max = rp_wire_parcel_get_number(parcel, "queues_max", UINT16_MAX);
	uint64_t queues_told = rp_wire_parcel_get_number(parcel, "queues_told", UINT16_MAX);
	int rc;

	backend->offered = rp_wire_parcel_get_number(parcel, "offered", UINT64_MAX);
	backend->features_asked = rp_wire_parcel_get_bool(parcel, "features_asked");
	backend->features_acked = rp_wire_parcel_get_bool(parcel, "features_acked");
	backend->features = rp_wire_parcel_get_number(parcel, "features", UINT64_MAX);
	backend->protocol_features = rp_wire_parcel_get_number(parcel, "protocol_features", UINT64_MAX);
	backend->status = (uint8_t)rp_wire_parcel_get_number(parcel, "status", UINT8_MAX);
	rc = rp_wire_parcel_result(parcel, why);
	if (rc == 0)
		rc = expect(queues_max == backend->config.queues_max && queues_told == backend->config.queues_told,
			    "number of queues", why);
	return rc < 0 ? rc : check_features(backend, why);
}

static int
adopt_region(struct rp_vhu_backend *backend, struct rp_wire_parcel *parcel, struct rp_wire_why *why)
{
	const struct rp_vhu_wire_region wire = {
		.gpa = rp_wire_parcel_get_number(parcel, "gpa", UINT64_MAX),
		.size_bytes = rp_wire_parcel_get_number(parcel, "size_bytes", UINT64_MAX),
		.uva = rp_wire_parcel_get_number(parcel, "uva", UINT64_MAX),
		.offset_bytes = rp_wire_parcel_get_number(parcel, "offset_bytes", UINT64_MAX),
	};
	unsigned int adds = (unsigned int)rp_wire_parcel_get_number(parcel, "adds", REGION_ADDS_MAX), i;
	RP_WIRE_FD_SCOPED int fd = rp_wire_parcel_need_fd(parcel, "fd");
	struct rp_vhu_region region;
	int rc = rp_wire_parcel_result(parcel, why);

	if (rc == 0)
		rc = vhu_region_from_wire(&wire, &region, why);
	if (rc == 0 && adds == 0)
		rc = rp_wire_why_set(why, -EBADMSG, "region at 0x%llx: added 0 times, expected 1 or more",
				     (unsigned long long)wire.gpa);
	for (i = 0; rc == 0 && i < backend->regions_count; i++)
		if (vhu_region_overlaps(&region, &backend->regions[i]))
			rc = vhu_region_overlap_error(&region, &backend->regions[i], why);
	if (rc < 0)
		return rc;
	region.fd = rp_wire_fd_take(&fd);
	backend->region_adds[backend->regions_count] = adds;
	backend->region_marks[backend->regions_count] = VHU_MARK_NEW;
	backend->regions[backend->regions_count++] = region;
	return 0;
}

static int
adopt_regions(struct rp_vhu_backend *backend, struct rp_wire_parcel *parcel, struct rp_wire_why *why)
{
	unsigned int count = (unsigned int)rp_wire_parcel_get_number(parcel, "regions_count", RP_VHU_SLOTS_MAX), i;
	int rc = rp_wire_parcel_result(parcel, why);

	for (i = 0; i < count && rc == 0; i++) {
		rp_wire_parcel_enter(parcel, "region", i);
		rc = adopt_region(backend, parcel, why);
		rp_wire_parcel_leave(parcel);
	}
	return rc;
}

/* @param ret_file its descriptor is the caller's, also after a failure. */
static int
adopt_shared_file(struct rp_wire_parcel *parcel, const char *name, struct rp_vhu_shared_file *ret_file,
		  struct rp_wire_why *why)
{
	rp_wire_parcel_enter(parcel, name, 0);
	ret_file->fd = rp_wire_parcel_need_fd(parcel, "fd");
	ret_file->size_bytes = rp_wire_parcel_get_number(parcel, "size_bytes", UINT64_MAX);
	ret_file->offset_bytes = rp_wire_parcel_get_number(parcel, "offset_bytes", UINT64_MAX);
	rp_wire_parcel_leave(parcel);
	return rp_wire_parcel_result(parcel, why);
}

static int
adopt_log(struct rp_vhu_backend *backend, struct rp_wire_parcel *parcel, struct rp_wire_why *why)
{
	struct rp_vhu_shared_file *file = &backend->log_file;
	unsigned int i;
	int rc = 0;

	backend->log_fd = rp_wire_parcel_get_fd(parcel, "log_fd");
	if (rp_wire_parcel_get_bool(parcel, "has_log")) {
		rc = adopt_shared_file(parcel, "log", file, why);
		if (rc == 0)
			rc = rp_vhu_log_create(file->fd, file->size_bytes, file->offset_bytes, &backend->log, why);
	}
	for (i = 0; rc == 0 && i < backend->regions_count; i++)
		rc = vhu_log_check_region(backend, &backend->regions[i], why);
	return rc < 0 ? rc : rp_wire_parcel_result(parcel, why);
}

static int
adopt_inflight(struct rp_vhu_backend *backend, struct rp_wire_parcel *parcel, struct rp_wire_why *why)
{
	struct rp_vhu_shared_file *file = &backend->inflight_file;
	struct rp_vhu_inflight_layout layout = {.packed = vhu_vring_packed(backend)};
	int rc;

	if (!rp_wire_parcel_get_bool(parcel, "has_inflight"))
		return rp_wire_parcel_result(parcel, why);
	layout.queues_count =
		(uint16_t)rp_wire_parcel_get_number(parcel, "inflight_queues_count", backend->config.queues_max);
	layout.queue_num =
		(uint16_t)rp_wire_parcel_get_number(parcel, "inflight_queue_num", backend->config.vring_num_max);
	rc = adopt_shared_file(parcel, "inflight", file, why);
	return rc < 0 ? rc :
			rp_vhu_inflight_create(file->fd, &layout, file->size_bytes, file->offset_bytes,
					       &backend->inflight, why);
}

static void
read_vring(struct vhu_vring *vring, unsigned int index, struct rp_wire_parcel *parcel)
{
	struct rp_vhu_vring *state = &vring->state;

	vring->num_known = rp_wire_parcel_get_bool(parcel, "num_known");
	state->num = (uint16_t)rp_wire_parcel_get_number(parcel, "num", UINT16_MAX);
	vring->base_wire = (uint32_t)rp_wire_parcel_get_number(parcel, "base_wire", UINT32_MAX);
	vring->base_ours = rp_wire_parcel_get_bool(parcel, "base_ours");
	vring->addr_known = rp_wire_parcel_get_bool(parcel, "addr_known");
	vring->addr.index = index;
	vring->addr.desc_uva = rp_wire_parcel_get_number(parcel, "desc_uva", UINT64_MAX);
	vring->addr.avail_uva = rp_wire_parcel_get_number(parcel, "avail_uva", UINT64_MAX);
	vring->addr.used_uva = rp_wire_parcel_get_number(parcel, "used_uva", UINT64_MAX);
	vring->enabled_by_message = rp_wire_parcel_get_bool(parcel, "enabled_by_message");
	state->log_used = rp_wire_parcel_get_bool(parcel, "log_used");
	state->log_gpa = rp_wire_parcel_get_number(parcel, "log_gpa", UINT64_MAX);
	state->started = rp_wire_parcel_get_bool(parcel, "started");
	vring->addr.flags = state->log_used ? RP_VHU_VRING_ADDR_LOG_MASK : 0;
	vring->addr.log_gpa = state->log_gpa;
	state->kick_fd = rp_wire_parcel_get_fd(parcel, "kick");
	state->call_fd = rp_wire_parcel_get_fd(parcel, "call");
	state->err_fd = rp_wire_parcel_get_fd(parcel, "err");
}

static int
adopt_vring(struct rp_vhu_backend *backend, unsigned int index, struct rp_wire_parcel *parcel, struct rp_wire_why *why)
{
	struct vhu_vring *vring = &backend->vrings[index];
	int rc;

	read_vring(vring, index, parcel);
	rc = rp_wire_parcel_result(parcel, why);
	if (rc == 0 && vring->state.started && (!vring->num_known || !vring->addr_known))
		rc = rp_wire_why_set(why, -EBADMSG, "started, expected its size and its addresses");
	if (rc == 0 && vring->num_known)
		rc = vhu_vring_check_num(backend, vring->state.num, vring->state.started, why);
	if (rc == 0)
		rc = vhu_vring_judge_base(backend, vring, vring->state.started, &vring->state.base, why);
	if (rc < 0 || !vring->state.started)
		return rc;
	if (vring->state.log_used)
		rc = vhu_log_check_used(backend, backend->log, index, vring->state.log_gpa, why);
	return rc < 0 ? rc :
			vhu_vring_translate(backend, index, backend->regions, backend->regions_count, &vring->state,
					    why);
}

static int
adopt_vrings(struct rp_vhu_backend *backend, struct rp_wire_parcel *parcel, struct rp_wire_why *why)
{
	unsigned int i;
	int rc = 0;

	for (i = 0; i < backend->config.queues_max && rc == 0; i++) {
		rp_wire_parcel_enter(parcel, "ring", i);
		rc = adopt_vring(backend, i, parcel, why);
		rp_wire_parcel_leave(parcel);
		if (rc < 0)
			rp_wire_why_prefix(why, "ring %u: ", i);
	}
	return rc;
}

static int
adopt_socket(struct rp_vhu_backend *backend, int *fd, const struct rp_wire_framing *framing,
	     struct rp_wire_conn **ret_conn, struct rp_wire_why *why)
{
	int rc = vhu_channel_check_socket(*fd, why);

	if (rc < 0)
		return rc;
	rc = rp_wire_conn_create(fd, framing, ret_conn);
	return rc < 0 ? rp_wire_why_set(why, rc, "descriptor: %s", strerror(-rc)) :
			rp_wire_conn_watch(*ret_conn, backend->epoll_fd);
}

static int
adopt_pending(struct rp_vhu_backend *backend, struct rp_wire_parcel *parcel, struct rp_wire_why *why)
{
	unsigned int count = (unsigned int)rp_wire_parcel_get_number(parcel, "pending_count", VHU_PENDING_MAX), i;
	int rc = rp_wire_parcel_result(parcel, why);

	for (i = 0; i < count && rc == 0; i++) {
		struct vhu_pending *pending = &backend->pending[i];

		rp_wire_parcel_enter(parcel, "pending", i);
		pending->request = (uint32_t)rp_wire_parcel_get_number(parcel, "request", UINT32_MAX);
		pending->token = rp_wire_parcel_get_number(parcel, "token", UINT64_MAX);
		rp_wire_parcel_leave(parcel);
		rc = rp_wire_parcel_result(parcel, why);
		if (rc == 0 && rp_vhu_dialect_find(&backend->dialect, pending->request) == NULL)
			rc = rp_wire_why_set(why, -EBADMSG, "request %u on the backend channel: there is none",
					     pending->request);
	}
	backend->pending_count = rc == 0 ? count : 0;
	return rc;
}

static int
adopt_sockets(struct rp_vhu_backend *backend, struct rp_wire_parcel *parcel, struct rp_wire_why *why)
{
	RP_WIRE_FD_SCOPED int conn_fd = rp_wire_parcel_need_fd(parcel, "connection");
	RP_WIRE_FD_SCOPED int channel_fd = rp_wire_parcel_get_fd(parcel, "channel");
	struct ucred peer = {0};
	socklen_t size = sizeof(peer);
	int rc = rp_wire_parcel_result(parcel, why);

	if (rc == 0 && getsockopt(conn_fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
		rc = rp_wire_why_set(why, -EBADMSG, "connection: %s", strerror(errno));
	if (rc == 0)
		rc = adopt_socket(backend, &conn_fd, &rp_vhu_request_framing, &backend->conn, why);
	if (rc == 0 && channel_fd >= 0)
		rc = adopt_socket(backend, &channel_fd, &rp_vhu_msg_framing, &backend->channel, why);
	if (rc == 0 && backend->channel != NULL)
		rc = adopt_pending(backend, parcel, why);
	backend->peer = peer.pid;
	return rc;
}

int
rp_vhu_backend_adopt(struct rp_vhu_backend *backend, struct rp_wire_parcel *parcel, struct rp_wire_why *why)
{
	int rc;

	if (backend->conn != NULL)
		return rp_wire_why_set(why, -EBUSY, "a frontend is connected");
	if (rp_wire_parcel_get_number(parcel, "version", UINT32_MAX) != VHU_GIVEN_VERSION)
		return rp_wire_parcel_result(parcel, why) < 0 ?
			       -EBADMSG :
			       rp_wire_why_set(why, -ENOTSUP, "version: found another than %u", VHU_GIVEN_VERSION);
	rc = check_dialect(backend, parcel, why);
	if (rc == 0)
		rc = adopt_features(backend, parcel, why);
	if (rc == 0)
		rc = adopt_regions(backend, parcel, why);
	if (rc == 0)
		rc = adopt_log(backend, parcel, why);
	if (rc == 0)
		rc = adopt_inflight(backend, parcel, why);
	if (rc == 0)
		rc = adopt_vrings(backend, parcel, why);
	if (rc == 0)
		rc = adopt_sockets(backend, parcel, why);
	if (rc < 0)
		vhu_backend_forget(backend);
	return rc;
}
