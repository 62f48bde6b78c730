/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RP_DMA_BOUNCE_INTERNAL_H
#define RP_DMA_BOUNCE_INTERNAL_H

#include <sys/queue.h>

#include "rp_dma_bounce.h"

/**
 * @file
 * The maps of a space. Threads: any, under the space's lock; the end is the writer's.
 */

#define RP_DMA_MAP_BUCKETS 1024u

struct rp_dma_map;

LIST_HEAD(rp_dma_map_bucket, rp_dma_map);

struct rp_dma_maps {
	/* By address, those that are out; then those under way, in no order. */
	struct rp_dma_map_bucket out[RP_DMA_MAP_BUCKETS];
	struct rp_dma_map_bucket moving;
};

/** End every map with -ECANCELED; done() runs here. Direct pointers become void. */
void rp_dma_maps_end(struct rp_dma_space *space);

#endif
