/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>

#include "vfu_server_iommu.h"

/*
 * A space for each PASID that the client mapped something with, made at the first one and
 * kept while the server lives: the device may have readers of it.
 */

struct rp_vfu_pasid *
rp_vfu_server_pasid_find(const struct rp_vfu_server *server, uint32_t pasid)
{
	struct rp_vfu_pasid *one;

	if (server->iommu == NULL)
		return NULL;
	LIST_FOREACH (one, &server->iommu->pasids, link)
		if (one->pasid == pasid)
			return one;
	return NULL;
}

int
rp_vfu_server_pasid_open(struct rp_vfu_server *server, uint32_t pasid, struct rp_vfu_pasid **ret_pasid,
			 struct rp_wire_why *why)
{
	struct rp_vfu_pasid *one = rp_vfu_server_pasid_find(server, pasid);
	int rc;

	*ret_pasid = one;
	if (one != NULL)
		return 0;
	one = calloc(1, sizeof(*one));
	if (one == NULL)
		return rp_wire_why_set(why, -ENOSPC, "pasid: 0x%x: no memory", pasid);
	rc = rp_dma_pasids_open(server->iommu->spaces, pasid, &one->dma, why);
	if (rc < 0) {
		free(one);
		return rc;
	}
	one->pasid = pasid;
	one->carrier = server->carrier;
	rp_dma_space_set_carrier(one->dma, &rp_vfu_carrier_pasid_ops, one);
	rp_dma_space_set_wake(one->dma, rp_vfu_carrier_wake, server->carrier);
	LIST_INSERT_HEAD(&server->iommu->pasids, one, link);
	*ret_pasid = one;
	return 0;
}

struct rp_dma_pasids *
rp_vfu_server_pasids(const struct rp_vfu_server *server)
{
	return server->iommu == NULL ? NULL : server->iommu->spaces;
}

struct rp_dma_space *
rp_vfu_server_pasid_dma(struct rp_vfu_server *server, uint32_t pasid)
{
	struct rp_vfu_pasid *one = rp_vfu_server_pasid_find(server, pasid);

	return one == NULL ? NULL : one->dma;
}

void
rp_vfu_server_pasids_settle(struct rp_vfu_server *server)
{
	struct rp_vfu_pasid *one;

	if (server->iommu == NULL)
		return;
	LIST_FOREACH (one, &server->iommu->pasids, link)
		(void)rp_dma_space_settled(one->dma, RP_DMA_SETTLED);
}

static bool
drop_memory(struct rp_dma_space *dma)
{
	bool had_memory = rp_dma_space_count(dma) > 0;

	rp_vfu_server_drop_memory(dma);
	return had_memory;
}

bool
rp_vfu_server_pasids_clear(struct rp_vfu_server *server)
{
	struct rp_vfu_pasid *one;
	bool had_memory = false;

	if (server->iommu == NULL)
		return false;
	LIST_FOREACH (one, &server->iommu->pasids, link)
		had_memory |= drop_memory(one->dma);
	return had_memory;
}

int
rp_vfu_server_pasids_create(struct rp_vfu_iommu *iommu)
{
	const struct rp_dma_pasid_limits limits = {.spaces_max = iommu->config.pasids_max,
						   .space = {.mappings_max = RP_VFU_DMA_MAPS_MAX}};

	return rp_dma_pasids_create(&limits, &iommu->spaces);
}

void
rp_vfu_server_pasids_destroy(struct rp_vfu_server *server)
{
	struct rp_vfu_iommu *iommu = server->iommu;

	iommu->spaces = rp_dma_pasids_destroy(iommu->spaces);
	while (!LIST_EMPTY(&iommu->pasids)) {
		struct rp_vfu_pasid *one = LIST_FIRST(&iommu->pasids);

		LIST_REMOVE(one, link);
		free(one);
	}
}
