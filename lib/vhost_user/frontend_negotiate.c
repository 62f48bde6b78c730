/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include "vhu_frontend.h"

#define BIT(n) (1ull << (n))

/* What both sides have, less what needs something else that one of them has not. */
static uint64_t
choose(const struct rp_vhu_frontend *frontend, uint64_t offered)
{
	uint64_t chosen = offered & frontend->config.protocol_features;

	if ((chosen & BIT(RP_VHU_PF_INFLIGHT_SHMFD_BIT)) == 0)
		chosen &= ~BIT(RP_VHU_PF_GET_VRING_BASE_INFLIGHT_BIT);
	if ((chosen & BIT(RP_VHU_PF_BACKEND_REQ_BIT)) == 0)
		chosen &= ~frontend->dialect.vfio_mask;
	return chosen;
}

static int
negotiate_protocol(struct rp_vhu_frontend *frontend, struct rp_wire_why *why)
{
	uint64_t offered, queues = 1;
	int rc = vhu_frontend_get_u64(frontend, RP_VHU_GET_PROTOCOL_FEATURES, &offered, why);

	if (rc < 0)
		return rc;
	offered = choose(frontend, offered);
	rc = vhu_frontend_mention(frontend, RP_VHU_SET_PROTOCOL_FEATURES, &offered, sizeof(offered), NULL, 0, why);
	if (rc < 0)
		return rc;
	frontend->protocol_features = offered;
	if ((offered & 1ull << RP_VHU_PF_MQ_BIT) != 0)
		rc = vhu_frontend_get_u64(frontend, RP_VHU_GET_QUEUE_NUM, &queues, why);
	if (rc == 0 && (queues == 0 || queues > RP_VHU_QUEUES_MAX))
		rc = rp_wire_why_set(why, -EBADMSG, "GET_QUEUE_NUM: %llu, expected 1 to %u", (unsigned long long)queues,
				     RP_VHU_QUEUES_MAX);
	if (rc < 0)
		return rc;
	frontend->queues_offered = (uint16_t)queues;
	if ((offered & 1ull << RP_VHU_PF_BACKEND_REQ_BIT) != 0)
		rc = vhu_frontend_open_channel(frontend, why);
	return rc;
}

int
rp_vhu_frontend_negotiate(struct rp_vhu_frontend *frontend, struct rp_wire_why *why)
{
	int rc = vhu_frontend_get_u64(frontend, RP_VHU_GET_FEATURES, &frontend->features_offered, why);

	if (rc < 0)
		return rc;
	frontend->queues_offered = 1;
	if ((frontend->features_offered & 1ull << RP_VHU_F_PROTOCOL_FEATURES_BIT) != 0)
		rc = negotiate_protocol(frontend, why);
	return rc < 0 ? rc : vhu_frontend_tell(frontend, RP_VHU_SET_OWNER, NULL, 0, NULL, 0, why);
}
