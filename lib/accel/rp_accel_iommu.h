/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RP_ACCEL_IOMMU_H
#define RP_ACCEL_IOMMU_H

#include <stdbool.h>
#include <stdint.h>

#include "rp_accel.h"

/**
 * @file
 * A device that asks for translations, and who answers it.
 *
 * Theory of operation: whoever opens an accelerator may be its IOMMU. A device that agrees
 * (rp_accel_info.asks) keeps a cache of answers: the addresses of its rings and of what
 * they name mean nothing to it until they are translated, and a translation leads to what
 * was given to it with dma_map. What is translated may be mapped late: "not present" is an
 * answer, upon which the device asks for the page itself, and when that is responded to it
 * asks for the translation again.
 *
 * The order that keeps it true: change your own tables first, then call
 * rp_accel_ops.invalidate, and give no answer from before that afterwards. When it returned 0
 * nothing of the device uses the old translation. It asks meanwhile.
 *
 * Threads and callbacks: of the accelerator's thread, from inside its operations. A
 * callback may call translated and page_respond, and no other operation.
 *
 * Specification: doc/protocol/vfio-user-iommu.md.
 */

#define RP_ACCEL_IOMMU_PAGE_BYTES 4096u /**< of all that is asked and answered */

/** The answer to a question. */
struct rp_accel_translation {
	uint64_t iova; /**< where it begins: at or below the page that was asked for */
	uint64_t size_bytes; /**< of whole pages, and holds the page that was asked for */
	uint64_t address; /**< of iova, where dma_map gave memory; of whole pages */
	uint32_t access_mask; /**< RP_DMA_READ, RP_DMA_WRITE; 0: not present, and the rest means nothing */
	bool identity; /**< nothing is translated here */
};

/** A page that the device asks for. */
struct rp_accel_page {
	uint64_t iova; /**< of a whole page */
	uint32_t access_mask; /**< RP_DMA_READ, RP_DMA_WRITE */
};

/** Who is the IOMMU. Outlives the accelerator. */
struct rp_accel_iommu {
	/**
	 * Translate a page. Required.
	 * @param token for rp_accel_ops.translated, when it takes longer.
	 * @param ret_translation zeroes; the answer with 0.
	 * @return 0, -EINPROGRESS (later), or a negative errno: the device's access fails.
	 */
	int (*translate)(void *ctx, uint64_t token, uint64_t iova, uint32_t access_mask,
			 struct rp_accel_translation *ret_translation);
	/** Make pages present, then call rp_accel_ops.page_respond: now or later. Required. @param pages borrowed. */
	void (*page_request)(void *ctx, uint32_t group, const struct rp_accel_page *pages, unsigned int count);
	void *ctx;
};

/**
 * As rp_accel_open(), and be the device's IOMMU if it wants one: rp_accel_info.asks says so.
 * @param iommu NULL: as rp_accel_open().
 * @return as rp_accel_open().
 */
int rp_accel_open_translated(const struct rp_accel_registry *registry, const char *device_arguments,
			     const struct rp_accel_iommu *iommu, struct rp_accel *ret_accel, struct rp_wire_why *why);

/** For drivers: who would translate. @return borrowed; NULL: nobody, addresses are what they are. */
const struct rp_accel_iommu *rp_accel_devargs_iommu(const struct rp_accel_devargs *args);

#endif
