/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stddef.h>

#include "vfio_user_caller.h"

/* A caller that is the device's IOMMU: at once, later, never, or with nonsense. */

#define PAGE RP_VFU_IOMMU_PAGE_BYTES
#define PASID_BITS 2u

static void
check_pasid(uint32_t pasid)
{
	fuzz_require(pasid == RP_VFU_CLIENT_NO_PASID || pasid >> PASID_BITS == 0,
		     "a PASID of no more bits than agreed");
}

static void
check_page(uint64_t iova, uint32_t access_mask)
{
	fuzz_require(iova % PAGE == 0, "a whole page");
	fuzz_require(access_mask >= 1 && access_mask <= 3, "an access that there is");
}

static struct rp_vfu_client_translation
translation(struct fuzz_input *input, uint64_t iova)
{
	struct rp_vfu_client_translation answer = {iova, PAGE, FUZZ_GPA, fuzz_below(input, 4), false};

	if (fuzz_u8(input) < 224)
		return answer;
	answer.iova = fuzz_number(input);
	answer.size_bytes = fuzz_number(input);
	answer.address = fuzz_number(input);
	return answer;
}

static int
on_translate(void *ctx, uint64_t token, const struct rp_vfu_client_translate *request,
	     struct rp_vfu_client_translation *ret_translation)
{
	struct fuzz_vfu_caller *caller = ctx;
	unsigned int kind = fuzz_u8(caller->input);

	check_pasid(request->pasid);
	check_page(request->iova, request->access_mask);
	fuzz_require(rp_vfu_client_invalidate(caller->client, NULL, NULL) == -EBUSY, "nobody waits in a callback");
	*ret_translation = translation(caller->input, request->iova);
	if (kind < 128)
		return 0;
	if (kind >= 240)
		return -EPERM;
	caller->tokens[caller->questions_count++ % FUZZ_VFU_QUESTIONS] = token;
	return -EINPROGRESS;
}

static void
on_page_request(void *ctx, const struct rp_vfu_client_page_group *group)
{
	struct fuzz_vfu_caller *caller = ctx;
	uint32_t i;

	check_pasid(group->pasid);
	fuzz_require(group->pages_count >= 1 && group->pages_count <= 4, "no more pages than agreed on");
	for (i = 0; i < group->pages_count; i++)
		check_page(group->pages[i].iova, group->pages[i].access_mask);
	caller->groups[group->number % FUZZ_VFU_QUESTIONS] = group->number;
	if (fuzz_u8(caller->input) < 96)
		fuzz_require(rp_vfu_client_page_respond(caller->client, group->number, RP_VFU_PAGE_SUCCESS) == 0,
			     "a group can be responded to");
}

const struct rp_vfu_client_iommu fuzz_vfu_client_iommu = {
	.translations_max = 4,
	.invalidations_max = 4,
	.page_requests_max = 4,
	.pasid_bits = PASID_BITS,
	.translate = on_translate,
	.page_request = on_page_request,
};

static void
invalidate(struct fuzz_vfu_caller *caller, unsigned int kind)
{
	const struct rp_vfu_client_iommu_range range = {
		.all_pasids = kind % 8 == 0,
		.pasid = kind % 8 == 1 ? RP_VFU_CLIENT_NO_PASID : kind % 8,
		.all = kind % 3 == 0,
		.iova = (kind % 16) * PAGE,
		.size_bytes = PAGE,
	};
	const struct rp_vfu_client_done done = fuzz_vfu_done(caller);

	if (kind % 2 == 0)
		FUZZ_VFU_CALL(caller, rp_vfu_client_invalidate(caller->client, &range, NULL));
	else if (rp_vfu_client_invalidate_start(caller->client, &range, &done, NULL) == 0)
		caller->started_count++;
}

static void
memory_of_pasid(struct fuzz_vfu_caller *caller, unsigned int kind)
{
	const struct rp_vfu_client_memory memory = {
		.iova = FUZZ_GPA,
		.size_bytes = FUZZ_MEMORY_BYTES,
		.fd = kind % 2 == 0 ? fuzz_fd(FUZZ_FD_SEALED) : -1,
		.hva = kind % 2 == 0 ? NULL : caller->memory,
		.access_mask = 1 + kind % 3,
		.has_pasid = true,
		.pasid = kind % 5,
	};

	if (kind % 4 < 2)
		FUZZ_VFU_CALL(caller, rp_vfu_client_dma_map_memory(caller->client, &memory, NULL));
	else if (kind % 4 == 2)
		FUZZ_VFU_CALL(caller, rp_vfu_client_dma_remap(caller->client, &memory, NULL));
	else
		FUZZ_VFU_CALL(caller, rp_vfu_client_pasid_unmap(caller->client, memory.pasid, FUZZ_GPA,
								FUZZ_MEMORY_BYTES / 2, NULL));
}

void
fuzz_vfu_iommu(struct fuzz_vfu_caller *caller)
{
	unsigned int what = fuzz_below(caller->input, 6), kind = fuzz_u8(caller->input);
	struct rp_vfu_client_translation answer;

	switch (what) {
	case 0:
	case 1:
		invalidate(caller, kind);
		break;
	case 2:
		memory_of_pasid(caller, kind);
		break;
	case 3:
		answer = translation(caller->input, (kind % 16) * PAGE);
		(void)rp_vfu_client_translated(caller->client, caller->tokens[kind % FUZZ_VFU_QUESTIONS],
					       kind < 224 ? &answer : NULL);
		break;
	case 4:
		(void)rp_vfu_client_page_respond(caller->client, caller->groups[kind % FUZZ_VFU_QUESTIONS],
						 kind < 224 ? RP_VFU_PAGE_SUCCESS : RP_VFU_PAGE_FAILURE);
		break;
	default:
		(void)rp_vfu_client_page_resume(caller->client);
		break;
	}
}
