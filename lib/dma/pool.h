/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RP_DMA_POOL_H
#define RP_DMA_POOL_H

#include <stdint.h>
#include <sys/queue.h>

/**
 * @file
 * Where a table's nodes come from: chunks of 2 MiB, of which only what is used is
 * touched. When a quarter of the first was, and for all others, the kernel is asked for
 * huge pages: a random lookup in a large table would else spend its time on the
 * processor's own page tables. A chunk with no node in use is given back.
 *
 * Threads: the space's writer.
 */

struct rp_dma_node;
struct rp_dma_chunk;

LIST_HEAD(rp_dma_chunks, rp_dma_chunk);

struct rp_dma_pool {
	struct rp_dma_chunks roomy; /* with nodes that are free */
	struct rp_dma_chunks full;
	uint32_t chunks_count;
	uint64_t edits_count; /* edit.c numbers them */
};

void rp_dma_pool_init(struct rp_dma_pool *pool);

/** Its nodes must be back. */
void rp_dma_pool_end(struct rp_dma_pool *pool);

/** A node, not initialised. @return NULL: no memory. */
struct rp_dma_node *rp_dma_pool_get(struct rp_dma_pool *pool);

/** Nobody reads it any more. */
void rp_dma_pool_put(struct rp_dma_pool *pool, struct rp_dma_node *node);

#endif
