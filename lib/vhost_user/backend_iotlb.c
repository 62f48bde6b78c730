/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * The frontend's IOMMU: translations that it tells or takes back, and those that we
 * ask for. With VIRTIO_F_ACCESS_PLATFORM negotiated, ring addresses and descriptors are
 * IOVAs, and mean nothing before an update said what is behind them.
 */

#include <errno.h>
#include <string.h>

#include "vhu_backend.h"

#define BIT(n) (1ull << (n))

bool
vhu_iotlb_negotiated(const struct rp_vhu_backend *backend)
{
	return (backend->features & BIT(RP_VHU_F_ACCESS_PLATFORM_BIT)) != 0;
}

static int
update(struct rp_vhu_backend *backend, const struct rp_vhu_wire_iotlb *wire, struct rp_wire_why *why)
{
	struct rp_vhu_iotlb entry = {
		.iova = wire->iova,
		.size_bytes = wire->size_bytes,
		.uva = wire->uva,
		.perm = wire->perm,
	};

	if (vhu_memory_translate(backend, wire->uva, wire->size_bytes, &entry.gpa) < 0)
		return rp_wire_why_set(why, -EBADMSG, "user address: %llu bytes at 0x%llx are in no memory region",
				       (unsigned long long)wire->size_bytes, (unsigned long long)wire->uva);
	return backend->ops->iotlb_update == NULL ? 0 : backend->ops->iotlb_update(backend->ctx, &entry, why);
}

static int
invalidate(struct rp_vhu_backend *backend, const struct rp_vhu_wire_iotlb *wire)
{
	if (backend->ops->iotlb_invalidate != NULL)
		backend->ops->iotlb_invalidate(backend->ctx, wire->iova, wire->size_bytes);
	return 0;
}

int
vhu_on_iotlb(struct rp_vhu_backend *backend, struct vhu_request *request, struct rp_wire_why *why)
{
	struct rp_vhu_wire_iotlb wire;

	if (!vhu_iotlb_negotiated(backend))
		return rp_wire_why_set(why, -ENOTSUP, "VIRTIO_F_ACCESS_PLATFORM was not negotiated");
	memcpy(&wire, request->payload, sizeof(wire));
	if (wire.size_bytes == 0 || wire.iova + (wire.size_bytes - 1) < wire.iova)
		return rp_wire_why_set(why, -EBADMSG,
				       "size: %llu bytes at 0x%llx, expected at least one and none beyond 2^64",
				       (unsigned long long)wire.size_bytes, (unsigned long long)wire.iova);
	switch (wire.type) {
	case RP_VHU_IOTLB_UPDATE:
		return update(backend, &wire, why);
	case RP_VHU_IOTLB_INVALIDATE:
		return invalidate(backend, &wire);
	default:
		return rp_wire_why_set(why, -EBADMSG, "type: %u, expected 2 (update) or 3 (invalidate) from a frontend",
				       wire.type);
	}
}

static int
ask(struct rp_vhu_backend *backend, enum rp_vhu_iotlb_type type, uint64_t iova, uint8_t perm, uint64_t token,
    struct rp_wire_why *why)
{
	struct rp_vhu_wire_iotlb wire = {.iova = iova, .perm = perm, .type = (uint8_t)type};
	int rc;

	if (perm == 0 || perm > (RP_VHU_IOTLB_READ_MASK | RP_VHU_IOTLB_WRITE_MASK))
		return rp_wire_why_set(why, -EINVAL, "permissions: %u, expected 1 to 3", perm);
	if (!vhu_iotlb_negotiated(backend))
		return rp_wire_why_set(why, -ENOTSUP, "the frontend did not negotiate VIRTIO_F_ACCESS_PLATFORM");
	rc = vhu_channel_require(backend, BIT(RP_VHU_PF_BACKEND_REQ_BIT) | BIT(RP_VHU_PF_REPLY_ACK_BIT), why);
	if (rc < 0)
		return rc;
	return vhu_channel_send(backend, RP_VHU_BACKEND_IOTLB_MSG, &wire, sizeof(wire), -1, token, why);
}

int
rp_vhu_backend_iotlb_miss(struct rp_vhu_backend *backend, uint64_t iova, uint8_t perm, uint64_t token,
			  struct rp_wire_why *why)
{
	return ask(backend, RP_VHU_IOTLB_MISS, iova, perm, token, why);
}

int
rp_vhu_backend_iotlb_access_fail(struct rp_vhu_backend *backend, uint64_t iova, uint8_t perm, uint64_t token,
				 struct rp_wire_why *why)
{
	return ask(backend, RP_VHU_IOTLB_ACCESS_FAIL, iova, perm, token, why);
}
