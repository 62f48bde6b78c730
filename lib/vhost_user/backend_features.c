/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "vhu_backend.h"

#define BIT(n) (1ull << (n))

int
vhu_on_get_features(struct rp_vhu_backend *backend, struct vhu_request *request, struct rp_wire_why *why)
{
	(void)why;
	backend->features_asked = true;
	vhu_request_reply_u64(request, backend->offered);
	return 0;
}

/* Saying the same again is what VMMs do, once per queue pair; another ring layout under a running ring is not. */
static int
refuse_change(const struct rp_vhu_backend *backend, uint64_t changed, uint64_t allowed, struct rp_wire_why *why)
{
	int ring = vhu_vrings_any_started(backend);

	if (ring < 0 || (changed & ~allowed) == 0)
		return 0;
	return rp_wire_why_set(why, -EBUSY, "u64: 0x%llx would change while ring %d is started",
			       (unsigned long long)(changed & ~allowed), ring);
}

int
vhu_on_set_features(struct rp_vhu_backend *backend, struct vhu_request *request, struct rp_wire_why *why)
{
	uint64_t features = vhu_request_u64(request);
	int rc;

	if ((features & ~backend->offered) != 0)
		return rp_wire_why_set(why, -EBADMSG, "u64: 0x%llx were not offered",
				       (unsigned long long)(features & ~backend->offered));
	rc = refuse_change(backend, features ^ backend->features, 1ull << RP_VHU_F_LOG_ALL_BIT, why);
	if (rc < 0)
		return rc;
	if (backend->ops->features != NULL)
		rc = backend->ops->features(backend->ctx, features, why);
	if (rc < 0)
		return rc;
	backend->features = features;
	backend->features_acked = true;
	return 0;
}

int
vhu_on_set_owner(struct rp_vhu_backend *backend, struct vhu_request *request, struct rp_wire_why *why)
{
	(void)backend, (void)request, (void)why;
	return 0; /* whoever holds the connection is the owner */
}

int
vhu_on_get_protocol_features(struct rp_vhu_backend *backend, struct vhu_request *request, struct rp_wire_why *why)
{
	(void)why;
	vhu_request_reply_u64(request, backend->config.protocol_features);
	return 0;
}

int
vhu_on_set_protocol_features(struct rp_vhu_backend *backend, struct vhu_request *request, struct rp_wire_why *why)
{
	uint64_t features = vhu_request_u64(request);
	char names[RP_WIRE_WHY_MAX];
	int rc;

	if ((features & ~backend->config.protocol_features) != 0) {
		rp_vhu_dialect_feature_names(&backend->dialect, features & ~backend->config.protocol_features, names,
					     sizeof(names));
		return rp_wire_why_set(why, -EBADMSG, "u64: %s not offered", names);
	}
	if ((features & BIT(RP_VHU_PF_GET_VRING_BASE_INFLIGHT_BIT)) != 0 &&
	    (features & BIT(RP_VHU_PF_INFLIGHT_SHMFD_BIT)) == 0)
		return rp_wire_why_set(why, -EBADMSG, "u64: GET_VRING_BASE_INFLIGHT without INFLIGHT_SHMFD");
	rc = refuse_change(backend, features ^ backend->protocol_features, 0, why);
	if (rc == 0)
		backend->protocol_features = features;
	return rc;
}

int
vhu_on_get_queue_num(struct rp_vhu_backend *backend, struct vhu_request *request, struct rp_wire_why *why)
{
	(void)why;
	vhu_request_reply_u64(request, backend->config.queues_told);
	return 0;
}
