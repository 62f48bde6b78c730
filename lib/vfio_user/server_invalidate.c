/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "vfu_server_iommu.h"

/*
 * An INVALIDATE is answered when nobody uses what it took away. Nothing waits for that:
 * other commands are taken and answered meanwhile, other invalidations too, in the order in
 * which they settle. The client may be unable to answer a translation, or to make a page
 * present, before it knows that an invalidation is complete; the answer comes when it comes.
 */

/* A data path in full swing passes a quiescent point within microseconds. */
#define LOOKS_BEFORE_WAITING 64

static bool
is_settled_soon(struct rp_vfu_iommu *iommu, struct rp_vfu_invalidation *invalidation)
{
	unsigned int looks;

	for (looks = 0; looks < LOOKS_BEFORE_WAITING; looks++) {
		if (rp_dma_atc_settled(iommu->atc, &invalidation->of))
			return true;
		sched_yield();
	}
	return false;
}

/* What a command invalidates. */
static int
read_scope(const struct rp_vfu_wire_invalidate *wire, const struct rp_vfu_terms *terms,
	   struct rp_dma_atc_invalidation *ret_scope, struct rp_wire_why *why)
{
	const uint32_t more = RP_VFU_INVALIDATE_ALL_MASK | RP_VFU_INVALIDATE_PASIDS_MASK;
	bool all = (wire->pasid.flags & RP_VFU_INVALIDATE_ALL_MASK) != 0;
	struct rp_dma_atc_invalidation scope = {
		.all_pasids = (wire->pasid.flags & RP_VFU_INVALIDATE_PASIDS_MASK) != 0,
		.first_iova = all ? 0 : wire->iova,
		.last_iova = all ? UINT64_MAX : wire->iova + (wire->size_bytes - 1),
	};
	int rc = rp_vfu_msg_judge_pasid(&wire->pasid, more, terms, &scope.pasid, why);

	if (rc == 0 && scope.all_pasids && scope.pasid != RP_VFU_NO_PASID)
		rc = rp_wire_why_set(why, -EBADMSG, "flags: one PASID and every PASID");
	if (rc == 0)
		*ret_scope = scope;
	return rc;
}

static void
put_tag(struct rp_vfu_reply *reply, uint64_t tag)
{
	memcpy(reply->fixed, &tag, sizeof(tag));
	reply->fixed_bytes = sizeof(tag);
}

int
rp_vfu_server_on_invalidate(struct rp_vfu_server *server, const struct rp_vfu_msg_view *command, int *fds,
			    struct rp_vfu_reply *reply, struct rp_wire_why *why)
{
	struct rp_vfu_iommu *iommu = server->iommu;
	struct rp_dma_atc_invalidation scope;
	struct rp_vfu_invalidation *invalidation;
	struct rp_vfu_wire_invalidate wire;
	int rc;

	(void)fds;
	memcpy(&wire, command->payload, sizeof(wire));
	rc = read_scope(&wire, &server->terms, &scope, why);
	if (rc < 0)
		return rc;
	if (iommu->invalidations_count >= server->terms.value[RP_VFU_TERM_INVALIDATIONS])
		return rp_wire_why_set(why, -ENOSPC, "%u are under way", iommu->invalidations_count);
	invalidation = calloc(1, sizeof(*invalidation));
	if (invalidation == NULL)
		return rp_wire_why_set(why, -ENOSPC, "no memory");
	invalidation->of = scope;
	invalidation->header = command->header;
	invalidation->tag = wire.tag;
	rp_dma_atc_invalidate(iommu->atc, &invalidation->of);
	if (is_settled_soon(iommu, invalidation)) {
		free(invalidation);
		put_tag(reply, wire.tag);
		return 0;
	}
	STAILQ_INSERT_TAIL(&iommu->invalidations, invalidation, link);
	iommu->invalidations_count++;
	reply->kept = true;
	return 0;
}

/* @return 0 or -ENOTCONN. */
static int
answer(struct rp_vfu_server *server, const struct rp_vfu_invalidation *invalidation, struct rp_wire_why *why)
{
	struct rp_vfu_reply reply = {.fixed_bytes = 0};

	if ((invalidation->header.flags & RP_VFU_FLAG_NO_REPLY) != 0)
		return 0;
	put_tag(&reply, invalidation->tag);
	return rp_vfu_server_reply(server, &invalidation->header, &reply, 0, why);
}

int
rp_vfu_server_invalidations_settle(struct rp_vfu_server *server, struct rp_wire_why *why)
{
	struct rp_vfu_iommu *iommu = server->iommu;
	struct rp_vfu_invalidation *invalidation, *next;
	int rc = 0;

	if (iommu == NULL)
		return 0;
	for (invalidation = STAILQ_FIRST(&iommu->invalidations); invalidation != NULL && rc == 0; invalidation = next) {
		next = STAILQ_NEXT(invalidation, link);
		/* A client that does not read makes us keep one reply, and these as they are. */
		if ((rp_wire_conn_poll_events(server->conn) & POLLOUT) != 0)
			return 0;
		if (!rp_dma_atc_settled(iommu->atc, &invalidation->of))
			continue;
		STAILQ_REMOVE(&iommu->invalidations, invalidation, rp_vfu_invalidation, link);
		iommu->invalidations_count--;
		rc = answer(server, invalidation, why);
		free(invalidation);
	}
	return rc;
}

bool
rp_vfu_server_invalidations_wait(const struct rp_vfu_server *server)
{
	return server->iommu != NULL && server->iommu->invalidations_count > 0;
}

void
rp_vfu_server_invalidations_drop(struct rp_vfu_server *server)
{
	struct rp_vfu_iommu *iommu = server->iommu;

	while (!STAILQ_EMPTY(&iommu->invalidations)) {
		struct rp_vfu_invalidation *invalidation = STAILQ_FIRST(&iommu->invalidations);

		STAILQ_REMOVE_HEAD(&iommu->invalidations, link);
		free(invalidation);
	}
	iommu->invalidations_count = 0;
}
