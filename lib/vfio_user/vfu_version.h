/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VFU_VERSION_H
#define VFU_VERSION_H

#include <stddef.h>
#include <stdint.h>

#include "rp_vfu_msg.h"
#include "rp_wire_why.h"

/*
 * The JSON text of a VERSION: reading what a peer offers, agreeing, writing.
 * Pure functions. Specification: "VFIO_USER_VERSION".
 */

/* ringpass.iommu, neighbours among the terms. */
#define RP_VFU_TERMS_IOMMU_MASK                                                                                        \
	(1u << RP_VFU_TERM_TRANSLATIONS | 1u << RP_VFU_TERM_INVALIDATIONS | 1u << RP_VFU_TERM_PAGE_REQUESTS |          \
	 1u << RP_VFU_TERM_PASID_BITS)

/* What this library offers, all of it named, but what needs an IOMMU. */
void rp_vfu_terms_ours(struct rp_vfu_terms *ret_terms);

/* Do not offer one of them. */
void rp_vfu_terms_drop(struct rp_vfu_terms *terms, enum rp_vfu_term term);

/* Offer one more; what is below its floor is not offered. */
void rp_vfu_terms_offer(struct rp_vfu_terms *terms, enum rp_vfu_term term, uint64_t value);

/*
 * The capability of an IOMMU is whole or not there: translations and invalidations, and a
 * client that serves while it waits, on a socket of its own or because it said so.
 */
void rp_vfu_terms_settle_iommu(struct rp_vfu_terms *terms);

/*
 * Read the text of a VERSION. Unknown names are skipped, missing ones get the
 * specification's defaults.
 *
 * @param text as it came: `text_bytes` with the NUL, 0 for none.
 * @return 0 or -EBADMSG; ret_terms is set on success.
 */
int rp_vfu_terms_parse(const uint8_t *text, size_t text_bytes, struct rp_vfu_terms *ret_terms, struct rp_wire_why *why);

/*
 * The terms that both sides can keep; names only what `theirs` names.
 *
 * @return 0 or -EBADMSG (below the floor, nothing in common).
 */
int rp_vfu_terms_agree(const struct rp_vfu_terms *ours, const struct rp_vfu_terms *theirs,
		       struct rp_vfu_terms *ret_agreed, struct rp_wire_why *why);

/*
 * Write the terms that are named. Never longer than the text that offered them, but
 * for the position of a descriptor, which only an offer of that capability brings.
 *
 * @param ret_bytes with the NUL.
 * @return 0, -ENOSPC (room, memory).
 */
int rp_vfu_terms_format(const struct rp_vfu_terms *terms, char *ret_text, size_t room_bytes, size_t *ret_bytes);

#endif
