/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * What makes a queue an accelerated one in the frontend: its notify area and the
 * VFIO file behind it. Which request carries them is the dialect's word.
 */

#include <errno.h>

#include "vhu_backend.h"

#define BIT(n) (1ull << (n))
#define VERSION_1_BIT 32

/* A file may go with the request: its own protocol feature, which the extension of 2018 implies. */
static int
require_file(const struct rp_vhu_backend *backend, uint64_t bits, struct rp_wire_why *why)
{
	bool is_2018 = backend->dialect.profile == RP_VHU_PROFILE_VFIO2018;

	if (is_2018 && (backend->features & BIT(VERSION_1_BIT)) == 0)
		return rp_wire_why_set(why, -ENOTSUP, "the frontend did not negotiate VERSION_1");
	return vhu_channel_require(backend, is_2018 ? bits : bits | BIT(RP_VHU_PF_BACKEND_SEND_FD_BIT), why);
}

static int
send_notify_area(struct rp_vhu_backend *backend, const struct rp_vhu_wire_area *area, int fd, uint64_t token,
		 struct rp_wire_why *why)
{
	uint32_t request = rp_vhu_dialect_notify_request(&backend->dialect, backend->protocol_features);

	return vhu_channel_send(backend, request, area, sizeof(*area), fd, token, why);
}

static int
require_notify_area(const struct rp_vhu_backend *backend, struct rp_wire_why *why)
{
	uint64_t bit = backend->dialect.profile == RP_VHU_PROFILE_VFIO2018 ? backend->dialect.vfio_mask :
									     BIT(RP_VHU_PF_HOST_NOTIFIER_BIT);

	if (rp_vhu_dialect_notify_request(&backend->dialect, backend->protocol_features) != 0)
		bit = 0;
	return require_file(backend, bit, why);
}

int
rp_vhu_backend_notify_area_set(struct rp_vhu_backend *backend, unsigned int queue, int fd, uint64_t offset_bytes,
			       uint64_t size_bytes, uint64_t token, struct rp_wire_why *why)
{
	struct rp_vhu_wire_area area = {
		.queue_flags = queue,
		.size_bytes = size_bytes,
		.offset_bytes = offset_bytes,
	};
	int rc;

	if (queue >= backend->config.queues_max || fd < 0)
		return rp_wire_why_set(why, -EINVAL, "queue %u, descriptor %d", queue, fd);
	rc = require_notify_area(backend, why);
	if (rc < 0)
		return rc;
	if (!backend->vrings[queue].state.started)
		return rp_wire_why_set(why, -EBUSY, "ring %u is not started", queue);
	return send_notify_area(backend, &area, fd, token, why);
}

int
rp_vhu_backend_notify_area_clear(struct rp_vhu_backend *backend, unsigned int queue, uint64_t token,
				 struct rp_wire_why *why)
{
	struct rp_vhu_wire_area area = {.queue_flags = queue | RP_VHU_VRING_NOFD_MASK};
	int rc;

	if (queue >= backend->config.queues_max)
		return rp_wire_why_set(why, -EINVAL, "queue %u", queue);
	rc = require_notify_area(backend, why);
	if (rc < 0)
		return rc;
	return send_notify_area(backend, &area, -1, token, why);
}

static int
send_vfio_file(struct rp_vhu_backend *backend, const struct rp_vhu_wire_vfio_file *file, int fd, uint64_t token,
	       struct rp_wire_why *why)
{
	const struct rp_vhu_msg_row *row = &backend->dialect.vfio_file;

	if (row->id == 0)
		return rp_wire_why_set(why, -ENOTSUP, "profile '%s' has no VFIO file",
				       rp_vhu_profile_name(backend->dialect.profile));
	/* The message of 2018 ends before the type. */
	return vhu_channel_send(backend, row->id, file, row->payload_max_bytes, fd, token, why);
}

int
rp_vhu_backend_vfio_file_set(struct rp_vhu_backend *backend, unsigned int queue, int fd, enum rp_vhu_vfio_type type,
			     uint64_t token, struct rp_wire_why *why)
{
	struct rp_vhu_wire_vfio_file file = {.queue_flags = queue, .type = type};
	int rc;

	if (queue >= backend->config.queues_max || fd < 0 || (unsigned int)type > RP_VHU_VFIO_CDEV)
		return rp_wire_why_set(why, -EINVAL, "queue %u, descriptor %d, type %u", queue, fd, (unsigned int)type);
	rc = require_file(backend, backend->dialect.vfio_mask, why);
	if (rc < 0)
		return rc;
	if (backend->dialect.profile == RP_VHU_PROFILE_VFIO2018 && type != RP_VHU_VFIO_GROUP)
		return rp_wire_why_set(why, -ENOTSUP, "profile 'vfio2018' knows VFIO groups only");
	return send_vfio_file(backend, &file, fd, token, why);
}

int
rp_vhu_backend_vfio_file_clear(struct rp_vhu_backend *backend, unsigned int queue, uint64_t token,
			       struct rp_wire_why *why)
{
	struct rp_vhu_wire_vfio_file file = {.queue_flags = queue | RP_VHU_VRING_NOFD_MASK};
	int rc;

	if (queue >= backend->config.queues_max)
		return rp_wire_why_set(why, -EINVAL, "queue %u", queue);
	rc = require_file(backend, backend->dialect.vfio_mask, why);
	if (rc < 0)
		return rc;
	return send_vfio_file(backend, &file, -1, token, why);
}
