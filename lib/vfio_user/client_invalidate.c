/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "vfu_client_iommu.h"

/* One, from its sending to its reply. */
struct invalidating {
	struct rp_vfu_call call;
	struct rp_vfu_wire_invalidate wire;
	struct rp_vfu_client_done done;
};

static int
judge(const struct invalidating *invalidating, struct rp_wire_why *why)
{
	uint64_t tag;

	memcpy(&tag, invalidating->call.reply.payload, sizeof(tag));
	if (tag == invalidating->wire.tag)
		return 0;
	return rp_wire_why_set(why, -EBADMSG, "INVALIDATE: reply: tag 0x%" PRIx64 ", expected 0x%" PRIx64, tag,
			       invalidating->wire.tag);
}

static void
on_reply(struct rp_vfu_client *client, struct rp_vfu_call *call)
{
	struct invalidating *invalidating = call->owner;
	int error = call->error;

	client->iommu->invalidations_count--;
	if (error == 0)
		error = judge(invalidating, &call->why);
	if (error == 0)
		client->iommu->counters.invalidations++;
	rp_vfu_client_tell(client, &invalidating->done, error, &call->why);
	free(invalidating);
}

static int
set_pasid(const struct rp_vfu_client *client, const struct rp_vfu_client_iommu_range *range,
	  struct rp_vfu_wire_pasid *pasid, struct rp_wire_why *why)
{
	uint32_t judged;

	if (range->all_pasids) {
		pasid->flags |= RP_VFU_INVALIDATE_PASIDS_MASK;
		return 0;
	}
	if (range->pasid == RP_VFU_CLIENT_NO_PASID)
		return 0;
	pasid->pasid = range->pasid;
	pasid->flags |= RP_VFU_IOMMU_PASID_MASK;
	return rp_vfu_msg_judge_pasid(pasid, RP_VFU_INVALIDATE_ALL_MASK, &client->terms, &judged, why) < 0 ? -EINVAL :
													     0;
}

/* Our caller's range on the wire. @return 0 or -EINVAL. */
static int
write_range(const struct rp_vfu_client *client, const struct rp_vfu_client_iommu_range *range,
	    struct rp_vfu_wire_invalidate *ret_wire, struct rp_wire_why *why)
{
	const uint64_t in_page = RP_VFU_IOMMU_PAGE_BYTES - 1;

	if (range->all) {
		ret_wire->pasid.flags = RP_VFU_INVALIDATE_ALL_MASK;
		return set_pasid(client, range, &ret_wire->pasid, why);
	}
	if (((range->iova | range->size_bytes) & in_page) != 0 || range->size_bytes == 0 ||
	    range->size_bytes - 1 > UINT64_MAX - range->iova)
		return rp_wire_why_set(why, -EINVAL,
				       "INVALIDATE: 0x%" PRIx64 " bytes at 0x%" PRIx64
				       ", expected whole pages of %" PRIu64,
				       range->size_bytes, range->iova, RP_VFU_IOMMU_PAGE_BYTES);
	ret_wire->iova = range->iova;
	ret_wire->size_bytes = range->size_bytes;
	return set_pasid(client, range, &ret_wire->pasid, why);
}

int
rp_vfu_client_invalidate_start(struct rp_vfu_client *client, const struct rp_vfu_client_iommu_range *range,
			       const struct rp_vfu_client_done *done, struct rp_wire_why *why)
{
	struct rp_vfu_client_iommu_state *iommu = client->iommu;
	struct invalidating *invalidating;
	int rc;

	if (client->conn == NULL)
		return rp_wire_why_set(why, -ENOTCONN, "the server is gone");
	if (iommu == NULL || !iommu->agreed)
		return rp_wire_why_set(why, -ENOTSUP, "INVALIDATE: its capability was not agreed on");
	if (iommu->invalidations_count >= client->terms.value[RP_VFU_TERM_INVALIDATIONS])
		return rp_wire_why_set(why, -EAGAIN, "INVALIDATE: %u are under way", iommu->invalidations_count);
	invalidating = calloc(1, sizeof(*invalidating));
	if (invalidating == NULL)
		return rp_wire_why_set(why, -ENOMEM, "INVALIDATE: no memory");
	invalidating->done = *done;
	invalidating->wire.tag = ++iommu->tag;
	invalidating->call = (struct rp_vfu_call){
		.command = RP_VFU_INVALIDATE,
		.payload = &invalidating->wire,
		.payload_bytes = sizeof(invalidating->wire),
		.arrived = on_reply,
		.owner = invalidating,
	};
	rc = write_range(client, range, &invalidating->wire, why);
	if (rc == 0)
		rc = rp_vfu_client_submit(client, &invalidating->call, why);
	if (rc < 0) {
		free(invalidating);
		return rc;
	}
	iommu->invalidations_count++;
	rp_vfu_client_watch(client);
	return 0;
}

int
rp_vfu_client_invalidate(struct rp_vfu_client *client, const struct rp_vfu_client_iommu_range *range,
			 struct rp_wire_why *why)
{
	struct rp_vfu_batch batch = {.outstanding = 0};
	const struct rp_vfu_client_done done = rp_vfu_batch_done(&batch);
	uint64_t deadline_ms = 0;
	int rc = rp_vfu_client_may_wait(client, RP_VFU_INVALIDATE, why);

	if (rc < 0)
		return rc;
	do {
		rc = rp_vfu_client_invalidate_start(client, range, &done, why);
	} while (rc == -EAGAIN && (rc = rp_vfu_client_make_room(client, &deadline_ms, why)) == 0);
	batch.outstanding += rc == 0 ? 1 : 0;
	return rp_vfu_batch_wait(client, &batch, rc, why);
}
