/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RP_DMA_ATC_TABLE_H
#define RP_DMA_ATC_TABLE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "rp_dma_atc.h"

/**
 * @file
 * Where translations are kept: blocks of a power of two, found by hashing, four places
 * for each hash. A block is looked for once in each size that there is.
 *
 * Readers take no lock: each place counts its changes before and after, and a reader
 * that sees the count move has found nothing, which is a miss and no harm. Every member
 * is atomic; loads acquire and stores release, so that a reader which sees a part of a
 * change sees that the count has moved. The store that ends a change and the load that
 * begins a look are sequentially consistent: of a reader that goes online and a writer
 * that takes an entry away, one sees the other (reader.h).
 *
 * Threads: find, any. The rest: one writer.
 */

#define RP_DMA_ATC_WAYS 4u
#define RP_DMA_ATC_SHIFT_MIN 12u
#define RP_DMA_ATC_SHIFT_MAX 63u

struct rp_dma_atc_place {
	_Atomic uint32_t changes; /* odd: one is under way */
	_Atomic uint32_t used; /* how often the hand spares it */
	_Atomic uint64_t page; /* iova >> shift */
	_Atomic uint64_t address; /* of the block */
	_Atomic uint64_t info; /* 0: free; PASID, shift, rights */
};

struct rp_dma_atc_table {
	struct rp_dma_atc_place *places;
	uint8_t *hands; /* of the clock, one for each set */
	uint32_t sets_count; /* a power of two */
	uint32_t count;
	uint32_t shift_counts[RP_DMA_ATC_SHIFT_MAX + 1];
	_Atomic uint64_t shifts_mask; /* sizes that there are */
};

/** @param entries_max at least RP_DMA_ATC_WAYS, a power of two. @return 0 or -ENOMEM. */
int rp_dma_atc_table_init(struct rp_dma_atc_table *table, uint32_t entries_max);
void rp_dma_atc_table_fini(struct rp_dma_atc_table *table);

/** @return whether it is known with all of that access; ret_translation from iova on is set then. */
bool rp_dma_atc_table_find(struct rp_dma_atc_table *table, uint32_t pasid, uint64_t iova, uint32_t access_mask,
			   struct rp_dma_translation *ret_translation);

/**
 * Keep the largest block around an address that lies in a range, where the range leads.
 * @param range of whole pages; its translated end does not wrap.
 * @param iova in the range.
 * @return whether another one went for it.
 */
bool rp_dma_atc_table_insert(struct rp_dma_atc_table *table, uint32_t pasid, const struct rp_dma_translation *range,
			     uint64_t iova);

/** Take away what an invalidation is about. */
void rp_dma_atc_table_remove(struct rp_dma_atc_table *table, const struct rp_dma_atc_invalidation *invalidation);

#endif
