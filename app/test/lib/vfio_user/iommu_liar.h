/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef IOMMU_LIAR_H
#define IOMMU_LIAR_H

#include "rp_vfu_client_iommu.h"
#include "script.h"

/* Our client as an IOMMU, and a server made of bytes that asks it (script.h). */

#define IOMMU_AGREED                                                                                                   \
	"\"max_msg_fds\":8,\"ringpass.serve\":true,\"ringpass.remap\":true,\"ringpass.iommu\":{\"translations\":4,"    \
	"\"invalidations\":2,\"page_requests\":4,\"pasid_bits\":20}"

#define IOMMU_TOKENS 16

struct iommu_liar {
	struct liar liar;
	struct rp_vfu_client *client;
	struct rp_wire_why why;
	const char *agreed; /* what the server says to VERSION */
	bool is_iommu;
	/* What translate() says, and what it was asked. */
	int result;
	struct rp_vfu_client_translation answer;
	struct rp_vfu_client_translate asked;
	unsigned int asked_count;
	uint64_t tokens[IOMMU_TOKENS];
	/* The last page request; respond at once with `code`. */
	struct rp_vfu_client_page_group group;
	struct rp_vfu_client_page pages[8];
	unsigned int groups_count;
	bool responds;
	enum rp_vfu_page_code code;
	/* What the next INVALIDATE is answered with, beside its tag. */
	uint64_t tag_off; /* added to the tag */
	bool silent;
	bool silent_unmaps; /* a script answers them */
};

/* The one of the running test. */
extern struct iommu_liar iommu_liar;

int iommu_liar_setup(void **state);
int iommu_liar_teardown(void **state);

/* Connect. @param agreed the server's capabilities. @param config NULL: the default. */
void iommu_liar_begin(const char *agreed, const struct rp_vfu_client_config *config);
void iommu_liar_end(void);

/* The client offered that. */
void iommu_liar_assert_offer(const char *words, bool has);
/* The last answer, and the last command, that came outside a script. */
void iommu_liar_assert_replied(const uint8_t *vector, size_t vector_bytes);
void iommu_liar_assert_sent(const uint8_t *vector, size_t vector_bytes);

/* As script_play(). */
void iommu_liar_play(const struct script_step *steps, unsigned int count);

int iommu_liar_translate(void *ctx, uint64_t token, const struct rp_vfu_client_translate *request,
			 struct rp_vfu_client_translation *ret_translation);

/* Written down from doc/protocol/vfio-user-iommu.md. */
#define TRANSLATE(id, iova, access, pasid, flags)                                                                      \
	HEADER(id, 0x5205, 40, COMMAND, 0), U64(iova), U32(access), U32(0), U32(pasid), U32(flags)
#define TRANSLATION(id, iova, size, address, access, flags)                                                            \
	HEADER(id, 0x5205, 48, REPLY, 0), U64(iova), U64(size), U64(address), U32(access), U32(flags)
#define PAGES(id, flags, group, count, pasid, pasid_flags)                                                             \
	HEADER(id, 0x5207, 32 + 16 * (count), flags, 0), U32(group), U32(count), U32(pasid), U32(pasid_flags)
#define PAGE(iova, access) U64(iova), U32(access), U32(0)
#define PAGE_RESPONSE(id, group, code) HEADER(id, 0x5208, 24, NO_REPLY, 0), U32(group), U32(code)
#define DMA_READ_PASID(id, iova, count, pasid, flags)                                                                  \
	HEADER(id, 11, 40, COMMAND, 0), U64(iova), U64(count), U32(pasid), U32(flags)
#define DMA_WRITE_PASID(id, iova, count, pasid, flags)                                                                 \
	HEADER(id, 12, 40 + (count), COMMAND, 0), U64(iova), U64(count), U32(pasid), U32(flags)

#endif
