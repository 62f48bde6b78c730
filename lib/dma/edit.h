/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RP_DMA_EDIT_H
#define RP_DMA_EDIT_H

#include "pool.h"
#include "table.h"

/**
 * @file
 * How a table becomes the next one. An edit copies the nodes on the way to what it
 * changes, and nothing else; the old table stays whole until somebody disposes of what
 * the edit replaced.
 *
 * The order: begin, erase at most once, insert as often as needed, then commit or
 * abort. Failures are kept, so that one look before the commit is enough. An aborted
 * edit has changed nothing.
 *
 * Threads: the space's writer. Two edits never overlap.
 */

/** What a table had and the next one has not. Readers of the old one may still look at it. */
struct rp_dma_gone {
	struct rp_dma_node *nodes;
	struct rp_dma_bucket *buckets;
};

struct rp_dma_edit {
	struct rp_dma_pool *pool;
	uint64_t table; /* as it is by now */
	uint64_t number;
	struct rp_dma_node *made_nodes;
	struct rp_dma_bucket *made_buckets;
	struct rp_dma_gone gone;
	bool failed; /* no memory */
};

void rp_dma_edit_begin(struct rp_dma_edit *edit, struct rp_dma_pool *pool, uint64_t table);

/**
 * Take the mappings of a range, which has each of them whole: who takes a part of one
 * takes all of it, and inserts the rest.
 */
void rp_dma_edit_erase(struct rp_dma_edit *edit, uint64_t first_iova, uint64_t last_iova);

/** Add one that overlaps none. */
void rp_dma_edit_insert(struct rp_dma_edit *edit, const struct rp_dma_entry *entry);

/** It did not fail: its table is good. @return what is to be disposed of. */
struct rp_dma_gone rp_dma_edit_commit(struct rp_dma_edit *edit);

/** Nothing was changed. */
void rp_dma_edit_abort(struct rp_dma_edit *edit);

/**
 * Nobody reads the old table any more.
 *
 * @param drop called once for each mapping that was erased and has an address. NULL: for none.
 */
void rp_dma_gone_dispose(struct rp_dma_gone *gone, struct rp_dma_pool *pool, void (*drop)(void *ctx, uint8_t *hva),
			 void *ctx);

#endif
