/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SA_PLACE_H
#define SA_PLACE_H

#include <rte_mempool.h>

#include "rp_dma_follow.h"
#include "rp_dma_vote.h"

/**
 * @file
 * The data path, on the NUMA node where the guests' memory is.
 *
 * Theory of operation: each ring that starts votes for the node of its memory (rp_dma_vote.h). The buffers of the pool are
 * moved to the node that has most, while all guests wait, and the data path's thread to its CPUs, to those of them that
 * the thread may run on (rp_dma_follow.h; DPDK ties an lcore to one CPU unless it is given several:
 * `--lcores 0@(0-7)`).
 *
 * Nothing here is needed for correctness: what cannot be moved stays. Pages move whole, so of a piece of the pool
 * only those that are all its own: with huge pages what shares one at either end stays, and a piece that lies within
 * one does not move at all.
 *
 * Threads: vote: the control side, with the gate closed; the rest: the data path's own.
 */

struct sa_place {
	struct rp_dma_vote vote;
	struct rp_dma_follower thread;
	struct rte_mempool *pool; /* borrowed */
};

void sa_place_init(struct sa_place *place, struct rte_mempool *pool);

/** @param node RP_DMA_NODE_ANY, or one that has no place here: nobody votes. @param by 1 or -1. */
void sa_place_vote(struct sa_place *place, int node, int by);

/** The calling thread is the data path's from now on. */
void sa_place_begin(struct sa_place *place);
/** No longer: it may run where it might before. */
void sa_place_end(struct sa_place *place);

/** Go to where the memory is. */
static inline void
sa_place_follow(struct sa_place *place)
{
	int node = rp_dma_vote_node(&place->vote);

	if (__builtin_expect(place->thread.sent != node, 0))
		rp_dma_follow(&place->thread, node);
}

#endif
