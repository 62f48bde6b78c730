/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RP_VFU_CLIENT_IOMMU_H
#define RP_VFU_CLIENT_IOMMU_H

#include <stdbool.h>
#include <stdint.h>

#include "rp_vfu_client.h"
#include "rp_vfu_proto.h"

/**
 * @file
 * A client that is the device's IOMMU: `ringpass.iommu`, the client's end.
 *
 * Theory of operation: a client that was created with rp_vfu_client_config.iommu offers
 * the capability. With a server that agrees, what is mapped without a PASID is where
 * translations lead to, and no more what the device's own addresses mean: those are asked
 * for with translate(). An answer holds until it is invalidated. The order that keeps it
 * true: change your own tables first, then call _invalidate_start(); give no answer from
 * before that call after it; and use what was translated to as if the device did not until
 * done() has heard 0. While you wait for that you are still asked, and have to answer
 * or to say "later".
 *
 * A page request asks for pages to be made present; it is answered for the whole group,
 * after the memory behind it is mapped (its DMA_MAP was answered).
 *
 * Threads and ownership: as of rp_vfu_client.h. Callbacks run as its callbacks do: they
 * may start commands and must not wait.
 *
 * Specification: doc/protocol/vfio-user-iommu.md.
 */

#define RP_VFU_CLIENT_NO_PASID UINT32_MAX

/** What the device wants to know. */
struct rp_vfu_client_translate {
	uint32_t pasid; /**< RP_VFU_CLIENT_NO_PASID: none */
	uint32_t access_mask; /**< RP_VFU_DMA_MAP_*: what it is about to do */
	uint64_t iova; /**< of a whole page */
};

/** The answer. */
struct rp_vfu_client_translation {
	uint64_t iova; /**< where it begins: at or below what was asked for */
	uint64_t size_bytes; /**< of whole pages (4096), and holds the page that was asked for */
	uint64_t address; /**< of iova, in what is mapped without a PASID; of whole pages */
	uint32_t access_mask; /**< RP_VFU_DMA_MAP_*, may be more or less than was asked for; 0: not present */
	bool identity; /**< nothing is translated here, as far as the range goes */
};

/** A page that the device asks for. */
struct rp_vfu_client_page {
	uint64_t iova; /**< of a whole page */
	uint32_t access_mask; /**< RP_VFU_DMA_MAP_* */
};

/** Pages that are answered together. */
struct rp_vfu_client_page_group {
	uint32_t number; /**< for rp_vfu_client_page_respond() */
	uint32_t pasid; /**< RP_VFU_CLIENT_NO_PASID: none */
	const struct rp_vfu_client_page *pages; /**< borrowed, until the callback returns */
	uint32_t pages_count; /**< at least 1 */
};

/** What the client can do. Copied. Zero means the default. */
struct rp_vfu_client_iommu {
	uint32_t translations_max; /**< that it is asked at one moment; 0: 64, at most 256 */
	uint32_t invalidations_max; /**< that it has under way at one moment; 0: 64, at most 256 */
	uint32_t page_requests_max; /**< pages at one moment; 0: 64, at most 4096; without page_request(): none */
	uint32_t pasid_bits; /**< 1 to 20; 0: it knows no PASIDs */
	/**
	 * Translate. Required.
	 * @param token for rp_vfu_client_translated(), when it takes longer.
	 * @param ret_translation zeroes; the answer with 0.
	 * @return 0, -EINPROGRESS (later), or a negative errno: the device hears an error.
	 */
	int (*translate)(void *ctx, uint64_t token, const struct rp_vfu_client_translate *request,
			 struct rp_vfu_client_translation *ret_translation);
	/** Make pages present, then respond: from here or later. NULL: none are taken. */
	void (*page_request)(void *ctx, const struct rp_vfu_client_page_group *group);
	/**
	 * The device reads or writes memory that was mapped with a PASID but is not in this
	 * process; as dma_read() and dma_write() of rp_vfu_client_ops. NULL: -ENOTSUP.
	 */
	int (*dma_read)(void *ctx, uint32_t pasid, uint64_t iova, uint64_t size_bytes, void *ret_bytes);
	int (*dma_write)(void *ctx, uint32_t pasid, uint64_t iova, uint64_t size_bytes, const void *bytes);
};

/** What was agreed on. */
struct rp_vfu_client_iommu_terms {
	uint32_t translations_max;
	uint32_t invalidations_max;
	uint32_t page_requests_max;
	uint32_t pasid_bits;
};

/** What the device asked so far. */
struct rp_vfu_client_iommu_counters {
	uint64_t translations; /**< asked */
	uint64_t present; /**< answered with a translation */
	uint64_t invalidations; /**< complete */
	uint64_t page_requests; /**< pages */
	uint64_t page_groups;
	uint64_t page_overflows; /**< groups that were answered with a failure, because they were more than agreed */
};

/** @return 0, or -ENOTSUP: the server did not agree, addresses are what they are (all zeroes). */
int rp_vfu_client_iommu_terms(const struct rp_vfu_client *client, struct rp_vfu_client_iommu_terms *ret_terms);

/**
 * The answer to a translate() that returned -EINPROGRESS. May be called in a callback.
 * @param translation NULL: the device hears an error (EIO). access_mask 0: not present.
 * @return 0, -ENOENT (no such question: answered, or the server left), -EINVAL (what breaks a rule of the
 *         answer; it is still to be given).
 */
int rp_vfu_client_translated(struct rp_vfu_client *client, uint64_t token,
			     const struct rp_vfu_client_translation *translation);

/** What is invalidated. */
struct rp_vfu_client_iommu_range {
	bool all_pasids; /**< every PASID and none */
	uint32_t pasid; /**< or this one; RP_VFU_CLIENT_NO_PASID: without */
	bool all; /**< every address */
	uint64_t iova; /**< or from this one on, of a whole page */
	uint64_t size_bytes; /**< of whole pages */
};

/**
 * Take translations back. When done() hears 0 the device uses none of them any more, and
 * none that was asked for before it was told so.
 * @return as what ends in _start() (rp_vfu_client.h); -EAGAIN also when as many are under way
 *         as were agreed on; -ENOTSUP: the capability was not agreed on.
 */
int rp_vfu_client_invalidate_start(struct rp_vfu_client *client, const struct rp_vfu_client_iommu_range *range,
				   const struct rp_vfu_client_done *done, struct rp_wire_why *why);
/**
 * The same, and wait: translate() and page_request() are called meanwhile.
 * @return as calls of rp_vfu_client.h; -ENOTSUP: the capability was not agreed on.
 */
int rp_vfu_client_invalidate(struct rp_vfu_client *client, const struct rp_vfu_client_iommu_range *range,
			     struct rp_wire_why *why);

/**
 * Respond to a page request. May be called in a callback.
 * @param code RP_VFU_PAGE_SUCCESS; _INVALID: one of the pages is not there and will not be;
 *        _FAILURE: no page request can be served any more: all that are outstanding end so, and
 *        the device sends none until rp_vfu_client_page_resume().
 * @return 0, -ENOENT (no such group), -EINVAL (the code), -ENOTCONN.
 */
int rp_vfu_client_page_respond(struct rp_vfu_client *client, uint32_t number, enum rp_vfu_page_code code);

/** After a failure: page requests are served again. @return 0, -ENOTSUP or -ENOTCONN. */
int rp_vfu_client_page_resume(struct rp_vfu_client *client);

/**
 * As rp_vfu_client_dma_unmap_start(), of what was mapped with a PASID. To map: rp_vfu_client_memory.has_pasid.
 * @return as what ends in _start() (rp_vfu_client.h); -ENOTSUP: PASIDs were not agreed on; -EINVAL: one of too many bits.
 */
int rp_vfu_client_pasid_unmap_start(struct rp_vfu_client *client, uint32_t pasid, uint64_t iova, uint64_t size_bytes,
				    const struct rp_vfu_client_done *done, struct rp_wire_why *why);
/** The same, and wait. @return as calls of rp_vfu_client.h; -ENOTSUP, -EINVAL as above. */
int rp_vfu_client_pasid_unmap(struct rp_vfu_client *client, uint32_t pasid, uint64_t iova, uint64_t size_bytes,
			      struct rp_wire_why *why);

/** What happened since the client was made. */
void rp_vfu_client_iommu_counters(const struct rp_vfu_client *client,
				  struct rp_vfu_client_iommu_counters *ret_counters);

#endif
