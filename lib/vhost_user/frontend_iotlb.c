/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "vhu_frontend.h"

static int
require(const struct rp_vhu_frontend *frontend, struct rp_wire_why *why)
{
	if ((frontend->features & 1ull << RP_VHU_F_ACCESS_PLATFORM_BIT) != 0)
		return 0;
	return rp_wire_why_set(why, -ENOTSUP, "VIRTIO_F_ACCESS_PLATFORM was not negotiated");
}

static int
tell(struct rp_vhu_frontend *frontend, const struct rp_vhu_wire_iotlb *wire, struct rp_wire_why *why)
{
	int rc = require(frontend, why);

	if (rc < 0)
		return rc;
	if (wire->size_bytes == 0 || wire->iova + (wire->size_bytes - 1) < wire->iova)
		return rp_wire_why_set(why, -EINVAL, "IOTLB_MSG: %llu bytes at 0x%llx",
				       (unsigned long long)wire->size_bytes, (unsigned long long)wire->iova);
	/* In a callback nobody waits: the answer comes when it comes. */
	if (frontend->in_callback)
		return rp_vhu_frontend_submit(frontend, RP_VHU_IOTLB_MSG, wire, sizeof(*wire), NULL, 0, true, NULL,
					      NULL, why);
	return vhu_frontend_tell(frontend, RP_VHU_IOTLB_MSG, wire, sizeof(*wire), NULL, 0, why);
}

int
rp_vhu_frontend_iotlb_update(struct rp_vhu_frontend *frontend, uint64_t iova, uint64_t size_bytes, uint64_t uva,
			     uint8_t perm, struct rp_wire_why *why)
{
	struct rp_vhu_wire_iotlb wire = {
		.iova = iova, .size_bytes = size_bytes, .uva = uva, .perm = perm, .type = RP_VHU_IOTLB_UPDATE};

	if (perm == 0 || perm > (RP_VHU_IOTLB_READ_MASK | RP_VHU_IOTLB_WRITE_MASK))
		return rp_wire_why_set(why, -EINVAL, "IOTLB_MSG: permissions %u", perm);
	return tell(frontend, &wire, why);
}

int
rp_vhu_frontend_iotlb_invalidate(struct rp_vhu_frontend *frontend, uint64_t iova, uint64_t size_bytes,
				 struct rp_wire_why *why)
{
	struct rp_vhu_wire_iotlb wire = {.iova = iova, .size_bytes = size_bytes, .type = RP_VHU_IOTLB_INVALIDATE};

	return tell(frontend, &wire, why);
}

int
vhu_frontend_take_iotlb(struct rp_vhu_frontend *frontend, const struct rp_wire_msg *msg, struct rp_wire_why *why)
{
	struct rp_vhu_wire_iotlb wire;
	int rc = require(frontend, why);

	if (rc < 0)
		return rc;
	memcpy(&wire, msg->bytes + sizeof(struct rp_vhu_header), sizeof(wire));
	if ((wire.type != RP_VHU_IOTLB_MISS && wire.type != RP_VHU_IOTLB_ACCESS_FAIL) || wire.perm == 0)
		return rp_wire_why_set(why, -EBADMSG,
				       "type %u, permissions %u, expected 1 (miss) or 4 (access fail), with some",
				       wire.type, wire.perm);
	if (frontend->ops == NULL || frontend->ops->iotlb_miss == NULL)
		return rp_wire_why_set(why, -ENOTSUP, "nobody here who translates");
	return frontend->ops->iotlb_miss(frontend->ctx, wire.iova, wire.perm, wire.type == RP_VHU_IOTLB_ACCESS_FAIL,
					 why);
}
