/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "vfio_user_iommu.h"

#define PAGE RP_VFU_IOMMU_PAGE_BYTES
#define PAGES_MAX 3u
#define COUNT FUZZ_VFU_IOMMU_THINGS

static struct rp_vfu_wire_pasid
pasid_of(struct fuzz_input *input)
{
	unsigned int kind = fuzz_u8(input);

	if (kind < 96)
		return (struct rp_vfu_wire_pasid){.pasid = kind % 4};
	if (kind < 240)
		return (struct rp_vfu_wire_pasid){.pasid = kind % 4, .flags = RP_VFU_IOMMU_PASID_MASK};
	return (struct rp_vfu_wire_pasid){.pasid = (uint32_t)fuzz_number(input), .flags = fuzz_u8(input)};
}

static uint64_t
page_of(struct fuzz_input *input)
{
	unsigned int kind = fuzz_u8(input);

	return kind < 240 ? (kind % 16) * PAGE : fuzz_number(input);
}

static void
translate(struct fuzz_vfu_message *message, struct fuzz_input *input)
{
	struct rp_vfu_wire_translate translate = {.iova = page_of(input), .access_mask = 1 + fuzz_below(input, 3)};

	translate.pasid = pasid_of(input);
	fuzz_vfu_put(message, &translate, sizeof(translate), 0);
}

static void
invalidate(struct fuzz_vfu_message *message, struct fuzz_input *input)
{
	struct rp_vfu_wire_invalidate invalidate = {.tag = fuzz_u8(input), .iova = page_of(input)};
	unsigned int kind = fuzz_u8(input);

	invalidate.size_bytes = kind < 240 ? (1 + kind % 16) * PAGE : fuzz_number(input);
	invalidate.pasid = pasid_of(input);
	if (kind % 8 == 7)
		invalidate.pasid.flags |= RP_VFU_INVALIDATE_ALL_MASK;
	if (kind % 16 == 6)
		invalidate.pasid = (struct rp_vfu_wire_pasid){.flags = RP_VFU_INVALIDATE_PASIDS_MASK};
	fuzz_vfu_put(message, &invalidate, sizeof(invalidate), 0);
}

static void
page_request(struct fuzz_vfu_message *message, struct fuzz_input *input)
{
	struct {
		struct rp_vfu_wire_page_request head;
		struct rp_vfu_wire_page pages[PAGES_MAX];
	} __attribute__((packed))
	request = {.head.group = fuzz_u8(input), .head.count = 1 + fuzz_below(input, PAGES_MAX)};
	uint32_t i, count = request.head.count;

	request.head.pasid = pasid_of(input);
	for (i = 0; i < count; i++)
		request.pages[i] = (struct rp_vfu_wire_page){.iova = page_of(input), .access_mask = 1 + i};
	if (fuzz_u8(input) >= 240)
		request.head.count = (uint32_t)fuzz_number(input);
	fuzz_vfu_put(message, &request, sizeof(request.head) + count * sizeof(request.pages[0]), 0);
}

static void
page_response(struct fuzz_vfu_message *message, struct fuzz_input *input)
{
	static const uint32_t codes[] = {RP_VFU_PAGE_SUCCESS, RP_VFU_PAGE_INVALID, RP_VFU_PAGE_FAILURE,
					 RP_VFU_PAGE_RESUME};
	struct rp_vfu_wire_page_response response = {.group = fuzz_u8(input)};
	unsigned int kind = fuzz_u8(input);

	response.code = kind < 160 ? 0 : kind < 248 ? codes[kind % 4] : (uint32_t)fuzz_number(input);
	fuzz_vfu_put(message, &response, sizeof(response), 0);
}

bool
fuzz_vfu_iommu_command(struct fuzz_vfu_message *message, struct fuzz_input *input, uint16_t command)
{
	switch (command) {
	case RP_VFU_TRANSLATE:
		translate(message, input);
		return true;
	case RP_VFU_INVALIDATE:
		invalidate(message, input);
		return true;
	case RP_VFU_PAGE_REQUEST:
		page_request(message, input);
		return true;
	case RP_VFU_PAGE_RESPONSE:
		page_response(message, input);
		return true;
	default:
		return false;
	}
}

/* To where memory may be mapped, of the page or more, or of nothing that makes sense. */
static void
translation(struct fuzz_vfu_message *message, struct fuzz_input *input, const struct fuzz_vfu_asked *asked)
{
	struct rp_vfu_wire_translation answer = {.access_mask = fuzz_below(input, 4)};
	unsigned int kind = fuzz_u8(input);

	memcpy(&answer.iova, asked->payload, sizeof(answer.iova));
	answer.size_bytes = PAGE;
	answer.address = FUZZ_GPA + (kind % 16) * PAGE;
	if (kind >= 128) {
		answer.iova &= ~(16 * PAGE - 1);
		answer.size_bytes = 16 * PAGE;
		answer.address = FUZZ_GPA;
	}
	if (kind >= 224) {
		answer.flags = fuzz_u8(input);
		answer.size_bytes = fuzz_number(input);
	}
	if (kind >= 240)
		answer.iova = fuzz_number(input);
	if (kind >= 248)
		answer.address = fuzz_number(input);
	fuzz_vfu_put(message, &answer, sizeof(answer), 0);
}

bool
fuzz_vfu_iommu_reply(struct fuzz_vfu_message *message, struct fuzz_input *input, const struct fuzz_vfu_asked *asked)
{
	uint64_t tag;

	switch (asked->header.command) {
	case RP_VFU_TRANSLATE:
		translation(message, input, asked);
		return true;
	case RP_VFU_INVALIDATE:
		memcpy(&tag, asked->payload, sizeof(tag));
		if (fuzz_u8(input) >= 240)
			tag = fuzz_number(input);
		fuzz_vfu_put(message, &tag, sizeof(tag), 0);
		return true;
	default:
		return false;
	}
}

static uint32_t
fixed_bytes_of(uint16_t command)
{
	switch (command) {
	case RP_VFU_DMA_MAP:
	case RP_VFU_DMA_REMAP:
		return sizeof(struct rp_vfu_wire_dma_map);
	case RP_VFU_DMA_UNMAP:
		return sizeof(struct rp_vfu_wire_dma_unmap);
	case RP_VFU_DMA_READ:
	case RP_VFU_DMA_WRITE:
		return sizeof(struct rp_vfu_wire_dma_access);
	case RP_VFU_WINDOW_READ:
	case RP_VFU_WINDOW_WRITE:
		return sizeof(struct rp_vfu_wire_window_access);
	default:
		return 0;
	}
}

void
fuzz_vfu_add_pasid(struct fuzz_vfu_message *message, struct fuzz_input *input)
{
	struct rp_vfu_wire_pasid pasid = pasid_of(input);
	struct rp_vfu_header header;
	uint32_t fixed_bytes, data_bytes;
	uint8_t *at;

	memcpy(&header, message->bytes, sizeof(header));
	fixed_bytes = fixed_bytes_of(header.command);
	if (fixed_bytes == 0 || message->size_bytes < sizeof(header) + fixed_bytes ||
	    message->size_bytes + sizeof(pasid) > sizeof(message->bytes))
		return;
	at = message->bytes + sizeof(header) + fixed_bytes;
	data_bytes = message->size_bytes - (uint32_t)sizeof(header) - fixed_bytes;
	memmove(at + sizeof(pasid), at, data_bytes);
	memcpy(at, &pasid, sizeof(pasid));
	header.size_bytes += (uint32_t)sizeof(pasid);
	message->size_bytes += (uint32_t)sizeof(pasid);
	memcpy(message->bytes, &header, sizeof(header));
}

static struct rp_dma_atc *
atc_of(const struct fuzz_vfu_iommu *iommu)
{
	return rp_vfu_server_atc(iommu->server);
}

static uint32_t
our_pasid(struct fuzz_input *input)
{
	unsigned int kind = fuzz_below(input, 5);

	return kind == 4 ? RP_DMA_NO_PASID : kind;
}

static void
on_translated(struct rp_dma_atc_wait *wait, int error)
{
	struct fuzz_vfu_iommu *iommu = wait->ctx;
	bool *waiting = &iommu->waiting[wait - iommu->waits];

	fuzz_require(*waiting, "a wait ends once");
	fuzz_require(error == 0 || error == -EFAULT || error == -EIO || error == -ENOTCONN, "an end that there is");
	*waiting = false;
}

static void
on_pages(struct rp_vfu_page_group *group, int error)
{
	struct fuzz_vfu_iommu *iommu = group->ctx;
	bool *asking = &iommu->asking[group - iommu->groups];

	fuzz_require(*asking, "a group ends once");
	fuzz_require(error == 0 || error == -EFAULT || error == -EIO || error == -ENOTCONN, "an end that there is");
	*asking = false;
}

void
fuzz_vfu_iommu_begin(struct fuzz_vfu_iommu *iommu, struct rp_vfu_server *server, struct fuzz_input *input)
{
	memset(iommu, 0, sizeof(*iommu));
	iommu->server = server;
	iommu->input = input;
}

static void
want(struct fuzz_vfu_iommu *iommu, unsigned int at)
{
	struct rp_dma_atc_wait *wait = &iommu->waits[at];
	uint64_t iova = page_of(iommu->input);

	if (iommu->waiting[at]) {
		rp_dma_atc_cancel(atc_of(iommu), wait);
		iommu->waiting[at] = false;
		return;
	}
	*wait = (struct rp_dma_atc_wait){.done = on_translated, .ctx = iommu};
	iommu->waiting[at] = rp_dma_atc_want(atc_of(iommu), wait, our_pasid(iommu->input), iova,
					     1 + fuzz_below(iommu->input, 3)) == -EINPROGRESS;
}

static void
use(struct fuzz_vfu_iommu *iommu, unsigned int at)
{
	uint64_t iova = page_of(iommu->input), size_bytes = 1 + fuzz_u16(iommu->input);
	uint32_t pasid = our_pasid(iommu->input), access_mask = 1 + fuzz_below(iommu->input, 3);
	struct rp_dma_translation found;

	rp_dma_atc_use_end(atc_of(iommu), &iommu->uses[at]);
	if (rp_dma_atc_use_begin(atc_of(iommu), &iommu->uses[at], pasid, iova, size_bytes, access_mask, &found) < 0)
		return;
	fuzz_require(found.iova == iova && found.size_bytes > 0 && found.size_bytes <= size_bytes,
		     "a translation is of what was asked for");
	fuzz_require(found.size_bytes - 1 <= UINT64_MAX - found.address, "a translation does not wrap");
	fuzz_require((found.access_mask & access_mask) == access_mask, "a translation has the rights");
}

static void
ask_for_page(struct fuzz_vfu_iommu *iommu, unsigned int at)
{
	struct rp_vfu_page_group *group = &iommu->groups[at];

	if (iommu->asking[at]) {
		rp_vfu_server_page_cancel(iommu->server, group);
		iommu->asking[at] = false;
		return;
	}
	iommu->pages[at] = (struct rp_vfu_page){page_of(iommu->input), 1 + fuzz_below(iommu->input, 3)};
	*group = (struct rp_vfu_page_group){.pasid = our_pasid(iommu->input),
					    .pages = &iommu->pages[at],
					    .pages_count = 1,
					    .done = on_pages,
					    .ctx = iommu};
	iommu->asking[at] = rp_vfu_server_page_request(iommu->server, group) == 0;
}

void
fuzz_vfu_iommu_act(struct fuzz_vfu_iommu *iommu)
{
	unsigned int kind = fuzz_u8(iommu->input), at = kind % COUNT;

	if (kind < 112)
		want(iommu, at);
	else if (kind < 176)
		use(iommu, at);
	else
		ask_for_page(iommu, at);
}

void
fuzz_vfu_iommu_check_idle(const struct fuzz_vfu_iommu *iommu)
{
	unsigned int i;

	fuzz_require(rp_dma_atc_count(atc_of(iommu)) == 0, "nothing is known without a client");
	for (i = 0; i < COUNT; i++)
		fuzz_require(!iommu->waiting[i] && !iommu->asking[i], "nobody waits without a client");
}

void
fuzz_vfu_iommu_let_go(struct fuzz_vfu_iommu *iommu)
{
	unsigned int i;

	for (i = 0; i < COUNT; i++)
		rp_dma_atc_use_end(atc_of(iommu), &iommu->uses[i]);
}
