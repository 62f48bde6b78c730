/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "vhu_backend.h"

/*
 * Memory and features stay: a frontend that tells the difference of its memory slots
 * does not tell them again, and acks features before it starts a ring anyway.
 */
int
vhu_on_reset_device(struct rp_vhu_backend *backend, struct vhu_request *request, struct rp_wire_why *why)
{
	(void)request, (void)why;
	vhu_vrings_clear(backend, RP_VHU_STOP_RESET);
	/* What was in flight is void; done again by the next start it would be done to other memory. */
	vhu_inflight_clear(backend);
	backend->status = 0;
	if (backend->ops->reset != NULL)
		backend->ops->reset(backend->ctx);
	return 0;
}

/*
 * Deprecated. "It is recommended that back-ends either ignore this message, or use it to
 * disable all rings"; what was said before stays said.
 */
int
vhu_on_reset_owner(struct rp_vhu_backend *backend, struct vhu_request *request, struct rp_wire_why *why)
{
	(void)request;
	return vhu_vrings_disable(backend, why);
}

int
vhu_on_send_rarp(struct rp_vhu_backend *backend, struct vhu_request *request, struct rp_wire_why *why)
{
	return backend->ops->rarp == NULL ? 0 : backend->ops->rarp(backend->ctx, request->payload, why);
}

int
vhu_on_set_mtu(struct rp_vhu_backend *backend, struct vhu_request *request, struct rp_wire_why *why)
{
	uint64_t mtu_bytes = vhu_request_u64(request);

	if (mtu_bytes < 68 || mtu_bytes > 65535)
		return rp_wire_why_set(why, -EBADMSG, "u64: MTU %llu, expected 68 to 65535",
				       (unsigned long long)mtu_bytes);
	return backend->ops->mtu == NULL ? 0 : backend->ops->mtu(backend->ctx, (uint16_t)mtu_bytes, why);
}

int
vhu_on_get_config(struct rp_vhu_backend *backend, struct vhu_request *request, struct rp_wire_why *why)
{
	struct rp_vhu_wire_config config;
	int rc;

	memcpy(&config, request->payload, sizeof(config));
	if (backend->ops->config_get == NULL)
		return rp_wire_why_set(why, -ENOTSUP, "no configuration space here");
	memcpy(request->reply, &config, sizeof(config));
	rc = backend->ops->config_get(backend->ctx, config.offset_bytes, config.size_bytes,
				      request->reply + sizeof(config), why);
	if (rc == 0)
		request->reply_bytes = (uint32_t)sizeof(config) + config.size_bytes;
	return rc;
}

int
vhu_on_set_config(struct rp_vhu_backend *backend, struct vhu_request *request, struct rp_wire_why *why)
{
	struct rp_vhu_wire_config config;

	memcpy(&config, request->payload, sizeof(config));
	if (backend->ops->config_set == NULL)
		return rp_wire_why_set(why, -ENOTSUP, "no writable configuration space here");
	return backend->ops->config_set(backend->ctx, config.offset_bytes, config.size_bytes,
					request->payload + sizeof(config), config.flags, why);
}

int
vhu_on_set_status(struct rp_vhu_backend *backend, struct vhu_request *request, struct rp_wire_why *why)
{
	uint64_t status = vhu_request_u64(request);
	int rc = 0;

	/* Zero is a reset (virtio 1.2, 2.1). Some frontends stop their rings before they say it, some ask for the bases after. */
	if (status > 0xff)
		return rp_wire_why_set(why, -EBADMSG, "u64: 0x%llx, expected a device status of 8 bits",
				       (unsigned long long)status);
	if (backend->ops->status != NULL)
		rc = backend->ops->status(backend->ctx, (uint8_t)status, why);
	if (rc < 0)
		return rc;
	backend->status = (uint8_t)status;
	if (status == 0)
		vhu_vrings_stop(backend, RP_VHU_STOP_STATUS);
	return 0;
}

int
vhu_on_get_status(struct rp_vhu_backend *backend, struct vhu_request *request, struct rp_wire_why *why)
{
	(void)why;
	vhu_request_reply_u64(request, backend->status);
	return 0;
}
