/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RP_DMA_TABLE_H
#define RP_DMA_TABLE_H

#include <stdint.h>

/**
 * @file
 * The mappings of a space at one moment: sorted, disjoint, never changed once
 * published. A change makes another table.
 *
 * Threads: whoever has a table may read it; who frees it must know that nobody
 * reads it any more (reader.c).
 */

struct rp_dma_backing;

/** Ends are inclusive, so that a range may end at 2^64. */
struct rp_dma_entry {
	uint64_t first_iova;
	uint64_t last_iova;
	uint8_t *hva; /* of first_iova; NULL: no file */
	uint64_t offset_bytes; /* of first_iova, in the file */
	struct rp_dma_backing *backing; /* NULL: no file. The table holds no reference; the space does. */
	uint32_t access_mask;
};

struct rp_dma_table {
	uint32_t count;
	struct rp_dma_entry entries[];
};

/** What a space begins with and is cleared to, so that clearing cannot fail; never freed. */
extern const struct rp_dma_table rp_dma_table_empty;

/** Index of the first entry that ends at `iova` or above; `count` when there is none. */
uint32_t rp_dma_table_lower(const struct rp_dma_table *table, uint64_t iova);

/** The entry that holds `iova`, or NULL. */
const struct rp_dma_entry *rp_dma_table_find(const struct rp_dma_table *table, uint64_t iova);

/** A copy with one more entry, which overlaps none. @return NULL: no memory. */
struct rp_dma_table *rp_dma_table_with(const struct rp_dma_table *table, const struct rp_dma_entry *entry);

/** How many entries are left without the range: one more than before when it lies inside one entry. */
uint32_t rp_dma_table_count_without(const struct rp_dma_table *table, uint64_t first_iova, uint64_t last_iova);

/** A copy without the range; what straddles an end is cut. @return NULL: no memory. */
struct rp_dma_table *rp_dma_table_without(const struct rp_dma_table *table, uint64_t first_iova, uint64_t last_iova);

/** A copy with the entry in the place of whatever lay in its range. @return NULL: no memory. */
struct rp_dma_table *rp_dma_table_replaced(const struct rp_dma_table *table, const struct rp_dma_entry *entry);

/** Free a table that nobody reads. */
void rp_dma_table_free(const struct rp_dma_table *table);

#endif
