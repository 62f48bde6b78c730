/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * The device's questions, from the vfio-user client to whoever opened the transport, and
 * the answers back. PASIDs are not offered.
 */

#include <errno.h>
#include <stdlib.h>

#include "rp_dma.h"
#include "transport_iommu.h"

_Static_assert(RP_DMA_READ == RP_VFU_DMA_MAP_READ_MASK && RP_DMA_WRITE == RP_VFU_DMA_MAP_WRITE_MASK,
	       "permissions are handed on as they are");

static struct rp_vfu_client_translation
on_the_wire(const struct rp_accel_translation *translation)
{
	return (struct rp_vfu_client_translation){
		.iova = translation->iova,
		.size_bytes = translation->size_bytes,
		.address = translation->address,
		.access_mask = translation->access_mask,
		.identity = translation->identity,
	};
}

static int
on_translate(void *ctx, uint64_t token, const struct rp_vfu_client_translate *request,
	     struct rp_vfu_client_translation *ret_translation)
{
	const struct transport *transport = ctx;
	struct rp_accel_translation answer = {.access_mask = 0};
	int rc = transport->iommu.translate(transport->iommu.ctx, token, request->iova, request->access_mask, &answer);

	if (rc == 0)
		*ret_translation = on_the_wire(&answer);
	return rc;
}

static void
on_page_request(void *ctx, const struct rp_vfu_client_page_group *group)
{
	const struct transport *transport = ctx;
	struct rp_accel_page *pages = calloc(group->pages_count, sizeof(*pages));
	uint32_t i;

	if (pages == NULL) {
		rp_vfu_client_page_respond(transport->client, group->number, RP_VFU_PAGE_INVALID);
		return;
	}
	for (i = 0; i < group->pages_count; i++)
		pages[i] = (struct rp_accel_page){group->pages[i].iova, group->pages[i].access_mask};
	transport->iommu.page_request(transport->iommu.ctx, group->number, pages, group->pages_count);
	free(pages);
}

const struct rp_vfu_client_iommu vfio_user_iommu_ops = {
	.translate = on_translate,
	.page_request = on_page_request,
};

bool
vfio_user_iommu_asks(const struct transport *transport)
{
	struct rp_vfu_client_iommu_terms terms;

	/* Without page requests nothing that is mapped late would ever be found. */
	return rp_vfu_client_iommu_terms(transport->client, &terms) == 0 && terms.page_requests_max > 0;
}

int
vfio_user_iommu_translated(void *priv, uint64_t token, const struct rp_accel_translation *translation)
{
	const struct transport *transport = priv;
	struct rp_vfu_client_translation wire;

	if (translation == NULL)
		return rp_vfu_client_translated(transport->client, token, NULL);
	wire = on_the_wire(translation);
	return rp_vfu_client_translated(transport->client, token, &wire);
}

int
vfio_user_iommu_page_respond(void *priv, uint32_t group, bool present)
{
	const struct transport *transport = priv;

	return rp_vfu_client_page_respond(transport->client, group,
					  present ? RP_VFU_PAGE_SUCCESS : RP_VFU_PAGE_INVALID);
}

int
vfio_user_iommu_invalidate(void *priv, uint64_t iova, uint64_t size_bytes, struct rp_wire_why *why)
{
	const struct rp_vfu_client_iommu_range range = {
		.pasid = RP_VFU_CLIENT_NO_PASID,
		.all = size_bytes == 0,
		.iova = iova,
		.size_bytes = size_bytes,
	};
	const struct transport *transport = priv;

	return rp_vfu_client_invalidate(transport->client, &range, why);
}
