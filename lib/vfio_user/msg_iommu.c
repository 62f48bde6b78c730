/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "vfu_msg_iommu.h"

#define ACCESS_MASK (RP_VFU_DMA_MAP_READ_MASK | RP_VFU_DMA_MAP_WRITE_MASK)
#define IN_PAGE (RP_VFU_IOMMU_PAGE_BYTES - 1)

/* Of a page that somebody is about to use. */
static int
check_page(uint64_t iova, uint32_t access_mask, uint32_t reserved, struct rp_wire_why *why)
{
	if ((iova & IN_PAGE) != 0)
		return rp_wire_why_set(why, -EBADMSG, "address: 0x%" PRIx64 " is not of a whole page of %" PRIu64, iova,
				       RP_VFU_IOMMU_PAGE_BYTES);
	if (access_mask == 0 || (access_mask & ~ACCESS_MASK) != 0)
		return rp_wire_why_set(why, -EBADMSG, "access: 0x%x, expected readable (1), writeable (2) or both",
				       access_mask);
	if (reserved != 0)
		return rp_wire_why_set(why, -EBADMSG, "reserved: 0x%x, expected 0", reserved);
	return 0;
}

int
rp_vfu_check_translate(const struct rp_vfu_msg_view *command, struct rp_wire_why *why)
{
	struct rp_vfu_wire_translate translate;

	memcpy(&translate, command->payload, sizeof(translate));
	return check_page(translate.iova, translate.access_mask, translate.reserved, why);
}

int
rp_vfu_check_invalidate(const struct rp_vfu_msg_view *command, struct rp_wire_why *why)
{
	struct rp_vfu_wire_invalidate invalidate;

	memcpy(&invalidate, command->payload, sizeof(invalidate));
	if ((invalidate.pasid.flags & RP_VFU_INVALIDATE_ALL_MASK) != 0)
		return 0;
	if (((invalidate.iova | invalidate.size_bytes) & IN_PAGE) != 0 || invalidate.size_bytes == 0)
		return rp_wire_why_set(why, -EBADMSG,
				       "size: 0x%" PRIx64 " from address 0x%" PRIx64
				       ", expected whole pages of %" PRIu64,
				       invalidate.size_bytes, invalidate.iova, RP_VFU_IOMMU_PAGE_BYTES);
	if (invalidate.size_bytes - 1 > UINT64_MAX - invalidate.iova)
		return rp_wire_why_set(why, -EBADMSG, "size: 0x%" PRIx64 " from address 0x%" PRIx64 " wraps",
				       invalidate.size_bytes, invalidate.iova);
	return 0;
}

int
rp_vfu_check_page_request(const struct rp_vfu_msg_view *command, struct rp_wire_why *why)
{
	uint32_t pages_bytes = command->payload_bytes - (uint32_t)sizeof(struct rp_vfu_wire_page_request), i;
	struct rp_vfu_wire_page_request request;
	int rc = 0;

	memcpy(&request, command->payload, sizeof(request));
	if (pages_bytes % sizeof(struct rp_vfu_wire_page) != 0 ||
	    request.count != pages_bytes / sizeof(struct rp_vfu_wire_page))
		return rp_wire_why_set(why, -EBADMSG, "count: %u, but %u bytes of pages, %zu each", request.count,
				       pages_bytes, sizeof(struct rp_vfu_wire_page));
	for (i = 0; i < request.count && rc == 0; i++) {
		struct rp_vfu_wire_page page;

		memcpy(&page, command->payload + sizeof(request) + i * sizeof(page), sizeof(page));
		rc = check_page(page.iova, page.access_mask, page.reserved, why);
	}
	return rc;
}

int
rp_vfu_check_page_response(const struct rp_vfu_msg_view *command, struct rp_wire_why *why)
{
	struct rp_vfu_wire_page_response response;

	memcpy(&response, command->payload, sizeof(response));
	switch (response.code) {
	case RP_VFU_PAGE_SUCCESS:
	case RP_VFU_PAGE_INVALID:
	case RP_VFU_PAGE_FAILURE:
	case RP_VFU_PAGE_RESUME:
		return 0;
	default:
		return rp_wire_why_set(why, -EBADMSG, "code: %u, expected 0, 1, 15 or 16", response.code);
	}
}
